"""The autoencoder: codes are points, without a bound, and a prior is fitted to them afterwards."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.variational import Variational, coupled_terms
from genzoo.registry import declare


@declare.objective(
    "ae",
    paper="doi:10.1126/science.1127647",
    tags=("vae", "autoencoder"),
    recipe={
        "like": "vae",
        "posterior": "point",
        "prior": "unfitted",
        "likelihood": "gaussian",
        "options": {"likelihood.sigma": "fixed"},
    },
)
class Autoencoder(Variational):
    """Autoencoder: maximize log p(x|z) at the code z of x, and nothing else.

    When: reconstructions or codes are all that is wanted, or a baseline is. It has neither a prior nor a bound on the
    likelihood: ``genzoo prior fit RUN --prior mixture`` makes a model that samples.

    Cost: that of `vae`.
    """

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return Plan(posterior="point", likelihood=True, prior="unfitted", posteriors=("point",), moves_prior=False)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        return {}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        model = nets.model
        return self.scored(model, batch, model.generator(model.posterior(batch.x, batch.y).mean, batch.y))

    def scored(self, model: Model, batch: Batch, params: Tensor) -> Loss:
        """-log p(x|z) in nats, of data parameters that were made of the codes."""
        nll = -model.likelihood.log_prob(params, batch.x)
        return Loss({"nll": nll}, coupled=coupled_terms(model, "nll"))

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        """-log p(x|z) at the code of x, in nats."""
        return Autoencoder.loss(self, "model", nets, batch, {}).terms["nll"]
