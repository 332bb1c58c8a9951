"""Wasserstein GAN with weight clipping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.objective import Networks
from genzoo.core.options import option
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import declare


@declare.objective(
    "wgan",
    paper="arXiv:1701.07875",
    tags=("gan", "wasserstein"),
    recipe={
        "like": "gan",
        "options": {"train.optimizer": "rmsprop", "train.lr": 5e-5, "train.betas": (0.9, 0.999)},
        "presets": {"image": {"critic.spectral_norm": False}, "vector": {"train.lr": 1e-3}},
    },
)
class WGAN(Adversarial):
    """Wasserstein GAN: the critic estimates the earth mover's distance, kept Lipschitz by clipping its weights.

    The critic minimizes E[D(G(z))] - E[D(x)] with every weight in [-c, c] after each of its steps; the
    generator minimizes -E[D(G(z))].

    When: to reproduce the article. Clipping wastes what the critic could tell: `wgan-gp` is better at the same length.

    Cost: five turns of the critic for one of the generator, each without second derivatives.
    """

    shift_invariant = True

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        critic_steps: int = option(5, "turns of the critic for one of the generator", low=1)
        clip: float = option(0.01, "largest absolute weight of the critic", low=1e-6)

    options: Options

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return -fake

    @torch.no_grad()
    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "critic":
            weights: list[Tensor] = list(nets.critic.parameters())
            torch._foreach_clamp_min_(weights, -self.options.clip)
            torch._foreach_clamp_max_(weights, self.options.clip)
