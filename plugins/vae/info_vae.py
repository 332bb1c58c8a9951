"""InfoVAE: the codes of all data together are drawn to the prior, and those of one observation need not be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.errors import UsageError
from genzoo.core.math.kernels import KERNELS, unbiased_mmd
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.variational import Variational, plain_bound
from genzoo.registry import declare

PRIOR = "codes of the prior"


@declare.objective("info-vae", paper="arXiv:1706.02262", tags=("vae",), recipe={"like": "vae"})
class InfoVAE(Variational):
    """InfoVAE: -log p(x|z) + (1 - α) KL(q(z|x) ‖ p(z)) + (α + λ - 1) MMD²(q(z), p(z)).

    The squared discrepancy is unbiased, of the batch's codes and as many of the prior. α = λ = 1 is a VAE with an MMD;
    with α = 1 only the MMD is left (MMD-VAE), and the posterior cannot collapse.

    When: a VAE's codes say too little, or its samples differ from its reconstructions.

    Cost: that of `vae`.
    """

    @dataclass(frozen=True)
    class Options(Variational.Options):
        alpha: float = option(0.0, "α, information between data and code that costs nothing; at 1 all of it", high=1)
        strength: float = option(1000.0, "λ, weight of the whole divergence between codes and prior")
        kernel: Literal["imq", "rbf"] = option("imq", "inverse multiquadrics, or a Gaussian")

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        o = self.options
        if o.alpha + o.strength < 1:
            least = 1 - o.alpha
            raise UsageError(
                f"the MMD's weight α + λ - 1 is {o.alpha + o.strength - 1:g}, so that training would maximize it: "
                f"--set objective.strength={least:g} or more"
            )
        # The MMD's codes are constants, so that with the KL's weight goes what moves a prior.
        return replace(super().plan(spec, classes), draws_prior=True, moves_prior=o.alpha != 1)

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """The posterior's noise, and codes of the prior."""
        return {**super().draw(player, draws, model), PRIOR: model.prior.draw(draws).detach()}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        q, o = nets.model.posterior(batch.x, batch.y), self.options
        z, kl = nets.model.code(q, noise["eps"], batch.y)
        found = plain_bound(nets.model, batch, q, z, kl)
        mmd = unbiased_mmd(all_gather(z.flatten(1)), all_gather(noise[PRIOR].flatten(1)), KERNELS[o.kernel])
        return replace(found, terms={**found.terms, "mmd": mmd.expand(len(z))},
                       weights={"kl": 1 - o.alpha, "mmd": o.alpha + o.strength - 1},
                       coupled={**found.coupled, "mmd": True})  # fmt: skip
