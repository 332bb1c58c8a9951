"""What every VAE shares: an encoder, a likelihood, and a single player who moves all of the model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Objective, Plan, Player
from genzoo.core.posterior import Posterior
from genzoo.core.spec import DataSpec

DIAGONAL = ("normal", "bounded-normal", "batch-normal")  # posteriors that are diagonal normals
# What two players of a game move, where encoder and generator have losses of their own.
ENCODER, DECODER = ("encoder", "head", "prior"), ("generator", "likelihood")


class Variational(Objective):
    """Base of objectives that bound the likelihood, with any posterior and any prior.

    A variant says which noise it needs (`draw`) and what it minimizes (`loss`); `genzoo.core.model.Model` has
    the pieces: ``posterior``, ``code``, ``params``, ``likelihood``, and ``log_weights`` for importance-weighted
    bounds.
    """

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return Plan(posterior="normal", likelihood=True)

    def players(self) -> tuple[Player, ...]:
        return (Player("model", ("model",)),)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        assert model.head is not None
        return {"eps": draws.normal(*model.head.noise_shape)}

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        head = nets.model.head
        if head is not None:
            head.after_step(seen)

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        """The negative evidence lower bound itself, with neither weights nor free bits nor costs, in nats."""
        model = nets.model
        q = model.posterior(batch.x, batch.y)
        z, kl = model.code(q, noise["eps"], batch.y)
        return torch.sub(kl, model.likelihood.log_prob(model.params(q, z, batch.y), batch.x))


def plain_bound(model: Model, batch: Batch, q: Posterior, z: Tensor, kl: Tensor, weight: float | Tensor = 1.0) -> Loss:
    """The negative bound's two terms, of codes ``(B, *latent.shape)`` that were drawn from the posterior, and costs.

    ``weight`` is that of the KL.
    """
    return bound_of(model, batch, q, model.params(q, z, batch.y), kl, weight)


def bound_of(
    model: Model, batch: Batch, q: Posterior, params: Tensor, kl: Tensor, weight: float | Tensor = 1.0
) -> Loss:
    """Likewise, of data parameters that are there.

    Of detached ones only the likelihood's own scale learns: for objectives that judge reconstructions otherwise, so
    that their models still have a likelihood.
    """
    nll = -model.likelihood.log_prob(params, batch.x)
    coupled = coupled_terms(model, "nll", q=q)
    return Loss({"nll": nll, "kl": kl, **q.cost}, {"kl": weight}, coupled, sums=q.sums)


def coupled_terms(model: Model, *names: str, q: Posterior | None = None) -> dict[str, bool]:
    """`Loss.coupled` of named terms, where the likelihood ties observations together, and of a posterior's costs."""
    own = dict.fromkeys(names, model.likelihood.gathered) if model.likelihood.coupled else {}
    return own if q is None else own | dict.fromkeys(q.coupled, True)
