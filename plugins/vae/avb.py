"""Adversarial variational Bayes: a critic of pairs stands for the KL, so that the posterior needs no density."""

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
from genzoo.core.posterior import Posterior, normal_log_prob
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.variational import Variational, coupled_terms
from genzoo.registry import declare


@declare.objective(
    "avb",
    paper="arXiv:1701.04722",
    tags=("vae", "gan"),
    recipe={
        "like": "vae",
        "posterior": "implicit",
        "presets": {"image": {"critic": "conv", "critic.width": 16}, "vector": {"critic": "mlp"}},
    },
)
class AVB(Variational):
    """Adversarial variational Bayes: minimize E_q[-log p(x|z) + T(x, z)], T a critic of pairs.

    T minimizes softplus(-T(x, z)) + softplus(T(x, z_p)), z ~ q(z|x) against z_p ~ p(z), and comes to be
    log q(z|x) - log p(z), whose mean is the KL. With adaptive contrast it need not say what a normal can: r(z|x),
    normal with mean and variance of q(z|x), takes the prior's place, T is that of (z - mean) / deviation, and the loss
    has T + log r(z|x) - log p(z).

    When: posteriors of any shape are wanted, by ``--posterior implicit``, that are drawn from and have no density.

    Cost: a critic of observations beside the networks of `vae`, and two of its passes a step.
    """

    @dataclass(frozen=True)
    class Options(Variational.Options):
        contrast: int = option(16, "codes that a posterior's mean and variance are taken from; 0: no contrast", low=0)
        critic_steps: int = option(1, "turns of the critic for one of the model", low=1)
        critic_lr: float = option(1e-3, "learning rate of the critic", low=0)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        critic = CriticPlan(beside="codes")
        contrast = self.options.contrast > 0  # without it the prior is in T alone, which only its own turn moves
        return Plan(posterior="implicit", likelihood=True, critics=(critic,), points=True, moves_prior=contrast)

    def players(self) -> tuple[Player, ...]:
        o = self.options
        return Player("critic", ("critic",), o.critic_steps, o.critic_lr), *super().players()

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        assert model.head is not None
        noise = super().draw(player, draws, model)
        if self.options.contrast:
            noise["more"] = draws.normal(self.options.contrast, *model.head.noise_shape)
        if player == "critic":
            noise["other"] = draws.normal(*model.latent.shape) if "more" in noise else model.prior.draw(draws)
        return noise

    def contrast(self, q: Posterior, noise: Mapping[str, Tensor]) -> tuple[Tensor, Tensor] | None:
        """Mean and log variance of r(z|x), ``(B, *latent.shape)`` each, as constants; None without contrast."""
        if "more" not in noise:
            return None
        with torch.no_grad():
            variance, mean = torch.var_mean(q.sample(noise["more"].transpose(0, 1)), 0, correction=0)
        return mean, variance.clamp(min=1e-8).log()

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        model = nets.model
        with torch.set_grad_enabled(player == "model" and torch.is_grad_enabled()):
            q = model.posterior(batch.x, batch.y)
            z, r = q.sample(noise["eps"]), self.contrast(q, noise)
        standard = z if r is None else (z - r[0]) * torch.exp(-0.5 * r[1])
        t = self.told(nets, batch, standard)
        if player == "critic":
            others = softplus(self.told(nets, batch, noise["other"]))
            return Loss({"codes": softplus(-t), "others": others}, shown={"T": t})
        nll = -model.likelihood.log_prob(model.params(q, z, batch.y), batch.x)
        if r is not None:
            t = t + normal_log_prob(z, *r).flatten(1).sum(1) - model.prior.log_prob(z, batch.y)
        return Loss({"nll": nll, "kl": t, **q.cost}, coupled=coupled_terms(model, "nll", q=q), sums=q.sums)

    def told(self, nets: Networks, batch: Batch, z: Tensor) -> Tensor:
        """T of observations with codes ``(B, *latent.shape)``, ``(B,)``."""
        scores: Tensor = nets.critic(batch.x, batch.y, z.flatten(1))
        return scores.squeeze(1).float()

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "model":
            super().after_step(player, nets, seen)

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        """The negative bound as the critic sees it, which is no better than the critic."""
        return self.loss("model", nets, batch, noise).per_observation()
