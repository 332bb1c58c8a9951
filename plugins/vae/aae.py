"""Adversarial autoencoders, WAE-GAN among them: a critic tells codes from the prior's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, CriticPlan, Loss, Networks, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.variational import Variational, coupled_terms
from genzoo.registry import declare

declare.recipe(
    "wae-gan",
    summary="Wasserstein autoencoder: codes without noise, which a critic keeps to the prior",
    paper="arXiv:1711.01558",
    tags=("vae", "gan", "autoencoder"),
    like="aae",
    posterior="point",
    likelihood="gaussian",
    options={"likelihood.sigma": "fixed", "likelihood.value": 3.162278, "objective.weight": 0.5},
    presets={"image": {"likelihood.value": 6.324555}},
)


@declare.objective(
    "aae",
    paper="arXiv:1511.05644",
    tags=("vae", "gan"),
    recipe={"like": "vae", "critic": "mlp", "options": {"critic.width": 256, "critic.depth": 4}},
)
class AAE(Variational):
    """Adversarial autoencoder: E[-log p(x|z)] + λ E[softplus(-D(z))] over codes z of the encoder.

    The critic minimizes softplus(-D(z_p)) + softplus(D(z)) with z_p ~ p(z), so that D comes to be log p(z) - log q(z),
    of the codes of all observations together: they follow the prior as a whole, and not one by one as in a `vae`. Any
    prior that can be drawn from will do, and any posterior; ``point`` has no noise.

    WAE-GAN is the same with c ‖x - x̂‖² in place of -log p(x|z): a Gaussian of σ² = 1/2c, in data units 10 for a
    c of .05, with λ = .5.

    When: codes should follow a prior whose density is not known, or keep more of an observation than a `vae`'s.

    Cost: that of `vae`, and a small critic of codes.
    """

    @dataclass(frozen=True)
    class Options(Variational.Options):
        weight: float = option(1.0, "λ, weight of the game on codes", low=0)
        critic_lr: float = option(1e-3, "learning rate of the critic", low=0)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        # Told the class, the critic keeps the codes of each class to the prior that its samples are made from.
        return Plan(
            posterior="normal", likelihood=True, critics=(CriticPlan(inputs="codes"),), points=True, moves_prior=False
        )

    def players(self) -> tuple[Player, ...]:
        return (*super().players(), Player("critic", ("critic",), lr=self.options.critic_lr, betas=(0.5, 0.9)))

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        noise = super().draw(player, draws, model)
        return noise if player == "model" else noise | {"prior": model.prior.draw(draws)}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        model, critic = nets.model, nets.critic
        if player == "critic":
            with torch.no_grad():
                z = model.posterior(batch.x, batch.y).sample(noise["eps"])
            told = {"prior": -critic(noise["prior"], batch.y).squeeze(1), "codes": critic(z, batch.y).squeeze(1)}
            return Loss({name: softplus(score) for name, score in told.items()}, dict.fromkeys(told, 0.5))
        q = model.posterior(batch.x, batch.y)
        z = q.sample(noise["eps"])
        nll = -model.likelihood.log_prob(model.params(q, z, batch.y), batch.x)
        terms = {"nll": nll, "adversarial": softplus(-critic(z, batch.y).squeeze(1)), **q.cost}
        coupled = coupled_terms(model, "nll", q=q)
        return Loss(terms, {"adversarial": self.options.weight}, coupled, sums=q.sums)

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "model":
            super().after_step(player, nets, seen)

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        """What the autoencoder minimizes, with the critic as it is."""
        loss = self.loss("model", nets, batch, noise)
        return loss.terms["nll"] + self.options.weight * loss.terms["adversarial"]
