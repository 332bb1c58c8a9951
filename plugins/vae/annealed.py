"""VAE whose KL follows a capacity that rises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks
from genzoo.core.options import option
from genzoo.plugins.vae.variational import Variational, plain_bound
from genzoo.registry import declare


def risen(draws: Draws, share: float) -> float:
    """How much of a capacity is there, if it rises from 0 to 1 over a share of training."""
    return min(draws.progress / share, 1.0) if share else 1.0


@declare.objective("annealed-vae", paper="arXiv:1804.03599", tags=("vae", "disentanglement"), recipe={"like": "vae"})
class AnnealedVAE(Variational):
    """VAE with a capacity: -log p(x|z) + γ |E[KL] - C|, C rising from 0 over a share of training.

    The KL is the mean over the batch: each observation may take what it needs. With ``rise=0`` the capacity is a target
    from the start.

    When: numbers of the code should come to be used one after the other; or a KL of so many nats is wanted, be it to
    keep a posterior from collapsing.

    Cost: that of `vae`.
    """

    @dataclass(frozen=True)
    class Options(Variational.Options):
        gamma: float = option(1000.0, "γ, weight of the distance between KL and capacity", low=0)
        capacity: float = option(25.0, "C at its end, in nats", low=0)
        rise: float = option(0.5, "share of training over which it rises", low=0, high=1)

    options: Options

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """The posterior's noise, and the capacity."""
        o = self.options
        return {**super().draw(player, draws, model), "capacity": draws.number(o.capacity * risen(draws, o.rise))}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        q = nets.model.posterior(batch.x, batch.y)
        z, kl = nets.model.code(q, noise["eps"], batch.y)
        found, name = plain_bound(nets.model, batch, q, z, kl), "off capacity"
        terms = {k: v for k, v in found.terms.items() if k != "kl"}
        terms[name] = (all_gather(kl).mean() - noise["capacity"]).abs().expand(len(kl))
        return replace(found, terms=terms, weights={name: self.options.gamma}, shown={"kl": kl},
                       coupled={**found.coupled, name: True})  # fmt: skip
