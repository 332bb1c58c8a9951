"""GANs of texts by the score function: ScratchGAN, SeqGAN and MaliGAN differ in what a draw is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.distributed.gather import all_gather
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, CriticPlan, Loss, Networks, Objective, Plan, Player
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.gumbel_gan import BESIDE, one_hot, text_likelihood, text_shape
from genzoo.plugins.modalities.alphabet import PAD
from genzoo.registry import declare


@declare.objective(
    "reinforce-gan",
    paper="arXiv:1905.09922",
    tags=("gan", "text"),
    modalities=("text",),
    recipe={
        "generator": "constant",
        "critic": "text-gru",
        "likelihood": "ar-gru",
        "options": {
            "latent.size": 0,
            "train.validation": 0.05,
            "train.batch_size": 256,
            "train.lr": 1e-4,
            "objective.critic_lr": 3e-4,
            "train.betas": (0.5, 0.999),
            "train.schedule": "cosine",
            "train.clip": 1.0,
        },
    },
)
class ReinforceGAN(Objective):
    """GAN of texts whose generator follows Σ_t (R_t - b) ∇log p(x_t | x_<t), the score function.

    The critic scores every token given those before it and minimizes the mean over tokens of softplus(-d(x)) +
    softplus(d(G)). A token's reward is r_t = 2 σ(d_t) - 1, and R_t = Σ_s≥t γ^(s-t) r_s. The baseline b is a moving
    average of R, which no gradient sees. ``weight=maligan`` takes B w - 1 for R - b, w the softmax over the batch of
    the critic's mean logit of each text (arXiv:1702.07983).

    When: to study texts trained without likelihood, with large batches. By likelihood `lm` is better: see `gumbel-gan`.

    Cost: draws token by token without slopes, then one pass over all tokens.
    """

    watched = ("reward",)
    compare_with = BESIDE
    baseline: Tensor

    @dataclass(frozen=True)
    class Options(Objective.Options):
        weight: Literal["plain", "maligan"] = option("plain", "what a draw is worth")
        discount: float = option(0.9, "γ, by which a later token's reward counts for less", low=0, high=1)
        memory: float = option(0.95, "share of the baseline that a step keeps", low=0, high=0.9999)
        critic_steps: int = option(1, "turns of the critic for one of the generator", low=1)
        critic_lr: float | None = option(None, "the critic's learning rate, none for the run's", low=0)
        critic_first: float = option(0.0, "share of training in which only the critic learns", low=0, high=0.9)

    options: Options

    def __init__(self, options: Options | None = None) -> None:
        super().__init__(options)
        self.register_buffer("baseline", torch.zeros(()))

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        length, levels = text_shape(spec)
        return Plan(likelihood=True, critics=(CriticPlan(inputs=(length, levels), outputs=(length,)),))

    def players(self) -> tuple[Player, ...]:
        critic = Player("critic", ("critic",), turns=self.options.critic_steps, lr=self.options.critic_lr)
        return critic, Player("generator", ("generator", "likelihood"))

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        on = draws.number(float(draws.progress >= self.options.critic_first))
        return {"z": model.prior.draw(draws), "u": draws.uniform(model.spec.shape[0]), "on": on}

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        model, levels = nets.model, text_shape(nets.model.spec)[1]
        likelihood = text_likelihood(model)
        with torch.no_grad():
            params = model.generator(noise["z"], batch.y)
            drawn = likelihood.sample(params, uniform=noise["u"])
        fake, there = one_hot(drawn, levels), likelihood.tokens(drawn) != PAD
        if player == "critic":
            real = likelihood.tokens(batch.x) != PAD
            d_real, d_fake = nets.critic(one_hot(batch.x, levels), batch.y), nets.critic(fake, batch.y)
            loss = _mean(softplus(-d_real), real) + _mean(softplus(d_fake), there)
            return Loss({"adversarial": loss}, shown={"real": _mean(d_real, real), "fake": _mean(d_fake, there)})
        with torch.no_grad():
            logits = nets.critic(fake, batch.y)
            worth, reward = self.worth(logits, there)
        log_p = likelihood.token_log_prob(model.generator(noise["z"], batch.y), drawn)
        coupled = {"adversarial": True} if self.options.weight == "maligan" else {}
        return Loss({"adversarial": -(worth * log_p).sum(1)}, weights={"adversarial": noise["on"]}, coupled=coupled,
                    shown={"reward": reward})  # fmt: skip

    def worth(self, logits: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """What each token of each draw is worth ``(B, L)``, and the mean of R over a draw's tokens ``(B,)``."""
        if self.options.weight == "maligan":
            score = _mean(logits, there)
            share = torch.exp(score - torch.logsumexp(all_gather(score), 0)) * len(all_gather(score))
            return (share - 1)[:, None] * there, score
        reward = (2 * torch.sigmoid(logits) - 1) * there
        sums, total = torch.zeros_like(reward), torch.zeros_like(reward[:, 0])
        for t in reversed(range(reward.shape[1])):
            total = reward[:, t] + self.options.discount * total
            sums[:, t] = total
        return (sums - self.baseline) * there, _mean(sums, there)

    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "generator" and "reward" in seen:
            self.baseline.lerp_(seen["reward"].to(self.baseline), 1 - self.options.memory)

    def held_out(self, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Tensor | None:
        """-log p(x) in nats, exact without a code."""
        params = nets.model.generator(noise["z"], batch.y)
        return -nets.model.likelihood.log_prob(params, batch.x)


def _mean(x: Tensor, there: Tensor) -> Tensor:
    """Mean over the places of a text that are no padding, ``(B,)``."""
    return (x * there).sum(1) / there.sum(1).clamp(min=1)
