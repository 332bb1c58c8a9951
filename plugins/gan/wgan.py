"""Wasserstein GANs: the critic is kept Lipschitz by clipping its weights, or by a penalty on its gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.objective import Networks
from genzoo.core.options import option
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.plugins.regularizers.slopes import Divergence, Lipschitz
from genzoo.registry import declare


class Wasserstein(Adversarial):
    """The critic minimizes E[D(G(z))] - E[D(x)], the generator -E[D(G(z))]."""

    shift_invariant = True

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        critic_steps: int = option(5, "turns of the critic for one of the generator", low=1)

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return -fake


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
class WGAN(Wasserstein):
    """Wasserstein GAN: the critic estimates the earth mover's distance, kept Lipschitz by clipping its weights.

    The critic minimizes E[D(G(z))] - E[D(x)] with every weight in [-c, c] after each of its steps; the
    generator minimizes -E[D(G(z))].

    When: to reproduce the article. Clipping wastes what the critic could tell: `wgan-gp` is better at the same length.

    Cost: five turns of the critic for one of the generator, each without second derivatives.
    """

    @dataclass(frozen=True)
    class Options(Wasserstein.Options):
        clip: float = option(0.01, "largest absolute weight of the critic", low=1e-6)

    options: Options

    @torch.no_grad()
    def after_step(self, player: str, nets: Networks, seen: Mapping[str, Tensor]) -> None:
        if player == "critic":
            weights: list[Tensor] = list(nets.critic.parameters())
            torch._foreach_clamp_min_(weights, -self.options.clip)
            torch._foreach_clamp_max_(weights, self.options.clip)


@declare.objective(
    "wgan-gp",
    paper="arXiv:1704.00028",
    tags=("gan", "wasserstein"),
    recipe={
        "like": "gan",
        "options": {"train.betas": (0.0, 0.9)},
        "presets": {
            "image": {"critic.spectral_norm": False},
            "vector": {"objective.gp_weight": 1.0, "train.betas": (0.5, 0.9)},
        },
    },
)
class WGANGP(Wasserstein):
    """Wasserstein GAN whose critic is kept 1-Lipschitz by a penalty on its gradients.

    The critic minimizes E[D(G(z))] - E[D(x)] + λ E[(‖∇D(x̂)‖₂ - 1)²] at x̂ on the lines between real and
    generated observations, one random point per pair; the generator minimizes -E[D(G(z))].

    When: a loss that falls as samples get better is wanted, or another GAN breaks down. No batch norm in the critic.

    Cost: five turns of the critic for one of the generator, and second derivatives in each: about twice a plain turn.
    """

    @dataclass(frozen=True)
    class Options(Wasserstein.Options):
        gp_weight: float = option(10.0, "weight λ of the gradient penalty", low=0)
        one_sided: bool = option(False, "penalize only slopes above 1 (WGAN-LP)")

    options: Options

    def __init__(self, options: Adversarial.Options | None = None) -> None:
        super().__init__(options)
        penalty = Lipschitz.Options(self.options.gp_weight, one_sided=self.options.one_sided)
        self.regularizers["penalty"] = Lipschitz(penalty)


declare.recipe(
    "wgan-lp",
    summary="WGAN-GP that penalizes only slopes above 1",
    paper="arXiv:1709.08894",
    tags=("gan", "wasserstein"),
    like="wgan-gp",
    options={"objective.one_sided": True},
)


@declare.objective(
    "wgan-div",
    paper="arXiv:1712.01026",
    tags=("gan", "wasserstein"),
    recipe={"like": "gan", "presets": {"image": {"critic.spectral_norm": False}}},
)
class WGANDiv(Wasserstein):
    """Wasserstein divergence GAN: a power of the critic's slopes in place of a Lipschitz constraint.

    The critic minimizes E[D(G(z))] - E[D(x)] + k/2 (E‖∇D(x)‖ᵖ + E‖∇D(G(z))‖ᵖ), the generator -E[D(G(z))].

    When: a Wasserstein-like loss whose penalty needs no points between real and generated observations.

    Cost: that of `wgan-gp`.
    """

    @dataclass(frozen=True)
    class Options(Wasserstein.Options):
        k: float = option(2.0, "weight of the penalty", low=0)
        power: float = option(6.0, "power p of the slopes", low=2)

    options: Options

    def __init__(self, options: Adversarial.Options | None = None) -> None:
        super().__init__(options)
        self.regularizers["slopes"] = Divergence(Divergence.Options(self.options.k, power=self.options.power))
