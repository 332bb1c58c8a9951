"""FactorVAE: a critic of codes keeps their numbers independent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.distributed.gather import all_gather
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, CriticPlan, Loss, Networks, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.vae import VAE
from genzoo.registry import declare


@declare.objective(
    "factor-vae",
    paper="arXiv:1802.05983",
    tags=("vae", "disentanglement"),
    recipe={"like": "vae", "critic": "mlp", "options": {"critic.width": 256, "critic.depth": 4}},
)
class FactorVAE(VAE):
    """FactorVAE: the evidence lower bound less γ times the total correlation of the codes, KL(q(z) ‖ Π q(z_j)).

    A critic D tells codes from mixed ones, whose numbers come of different observations: it minimizes
    softplus(-D(z)) + softplus(D(mixed)), so that D(z) comes to be log q(z) - log Π q(z_j), and the model minimizes its
    mean. The paper's critic has six layers of 1,000.

    Cost: that of `vae`, a critic of codes, and one more pass of the encoder for its turn.
    """

    @dataclass(frozen=True)
    class Options(VAE.Options):
        gamma: float = option(10.0, "weight of the total correlation", low=0)
        critic_lr: float = option(1e-4, "learning rate of the critic", low=0)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        return replace(super().plan(spec, classes), critics=(CriticPlan(inputs="codes", labels=False),))

    def players(self) -> tuple[Player, ...]:
        return (*super().players(), Player("critic", ("critic",), lr=self.options.critic_lr, betas=(0.5, 0.9)))

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """The posterior's noise; and for the critic an order of the batch for each number of a code."""
        noise = super().draw(player, draws, model)
        return noise if player == "model" else noise | {"order": draws.uniform(model.latent.numbers)}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        """The bound and the total correlation, or the critic's two kinds of codes."""
        if player == "critic":
            with torch.no_grad():
                z = nets.model.posterior(batch.x, batch.y).sample(noise["eps"])
            mixed = permuted(all_gather(z), all_gather(noise["order"]))
            apart = softplus(nets.critic(mixed)).mean().expand(z.shape[0])
            terms = {"codes": softplus(-nets.critic(z)).squeeze(1), "permuted codes": apart}
            return Loss(terms, dict.fromkeys(terms, 0.5), {"permuted codes": True})
        q = nets.model.posterior(batch.x, batch.y)
        z, kl = nets.model.code(q, noise["eps"], batch.y)
        found = self.bound(nets.model, batch, noise, q, z, kl)
        terms = {**found.terms, "total correlation": nets.critic(z).squeeze(1)}
        return replace(found, terms=terms, weights={**found.weights, "total correlation": self.options.gamma})

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "model":
            super().after_step(player, nets, seen)


def permuted(z: Tensor, order: Tensor) -> Tensor:
    """Codes ``(B, …)`` whose every number comes of another observation, by ``(B, numbers)`` of random order."""
    return z.flatten(1).gather(0, order.argsort(0)).view_as(z)
