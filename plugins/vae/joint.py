"""VAE of normal numbers and categories, each kind with a KL that follows a capacity of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from genzoo.core.distributed.gather import all_gather
from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.posteriors.product import Product, ProductHead
from genzoo.plugins.vae.annealed import risen
from genzoo.plugins.vae.variational import Variational, plain_bound
from genzoo.registry import declare


@declare.objective(
    "joint-vae",
    paper="arXiv:1804.00104",
    tags=("vae", "discrete", "disentanglement"),
    recipe={
        "like": "vae",
        "posterior": "product",
        "prior": "product",
        "options": {"latent.size": 20, "posterior.normal": 10},
        "presets": {"vector": {"latent.size": 12, "posterior.normal": 2}},
    },
)
class JointVAE(Variational):
    """JointVAE: -log p(x|z, c) + γ |E[KL_z] - C_z| + γ |E[KL_c] - C_c|, z normal numbers and c categories.

    Either capacity rises from 0 over a share of training, and C_c to log K for each category at most: its KL can be no
    larger. KLs are means over the batch.

    When: data fall into kinds that nobody labelled, and vary within each: with one capacity, numbers take all of it.

    Cost: that of `vae`.
    """

    @dataclass(frozen=True)
    class Options(Variational.Options):
        gamma: float = option(30.0, "γ, weight of the distances between KL and capacity", low=0)
        numbers: float = option(5.0, "C_z of the normal numbers at its end, in nats", low=0)
        categories: float = option(5.0, "C_c of the categories at its end, in nats", low=0)
        rise: float = option(0.5, "share of training over which both rise", low=0, high=1)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return replace(super().plan(spec, classes), posterior="product", posteriors=("product",))

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """The posterior's noise, and both capacities."""
        o, head = self.options, model.head
        assert isinstance(head, ProductHead)  # as planned
        share, most = risen(draws, o.rise), head.categorical.places * math.log(head.categorical.codes)
        capacities = {"normal": o.numbers * share, "categorical": min(o.categories * share, most)}
        return {**super().draw(player, draws, model), **{k: draws.number(c) for k, c in capacities.items()}}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        q = nets.model.posterior(batch.x, batch.y)
        if not isinstance(q, Product) or q.closed != nets.model.prior.family:
            raise UsageError("joint-vae holds KLs in closed form to its capacities: use --prior product")
        found = plain_bound(nets.model, batch, q, q.sample(noise["eps"]), q.kl().sum(1))
        terms, shown = {k: v for k, v in found.terms.items() if k != "kl"}, dict[str, Tensor]()
        for kind, kl in q.kls.items():
            terms[f"off capacity, {kind}"] = (all_gather(kl).mean() - noise[kind]).abs().expand(len(kl))
            shown[f"kl, {kind}"] = kl
        off = tuple(name for name in terms if name.startswith("off capacity"))
        return replace(found, terms=terms, weights=dict.fromkeys(off, self.options.gamma), shown=shown,
                       coupled={**found.coupled, **dict.fromkeys(off, True)})  # fmt: skip
