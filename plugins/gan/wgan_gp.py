"""Wasserstein GAN with gradient penalty."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genzoo.core.options import option
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.plugins.regularizers.lipschitz import Lipschitz
from genzoo.registry import declare


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
class WGANGP(Adversarial):
    """Wasserstein GAN whose critic is kept 1-Lipschitz by a penalty on its gradients.

    The critic minimizes E[D(G(z))] - E[D(x)] + λ E[(‖∇D(x̂)‖₂ - 1)²] at x̂ on the lines between real and
    generated observations, one random point per pair; the generator minimizes -E[D(G(z))].

    When: a loss that falls as samples get better is wanted, or another GAN breaks down. No batch norm in the critic.

    Cost: five turns of the critic for one of the generator, and second derivatives in each: about twice a plain turn.
    """

    shift_invariant = True

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        critic_steps: int = option(5, "turns of the critic for one of the generator", low=1)
        gp_weight: float = option(10.0, "weight λ of the gradient penalty", low=0)

    options: Options

    def __init__(self, options: Adversarial.Options | None = None) -> None:
        super().__init__(options)
        self.regularizers["penalty"] = Lipschitz(Lipschitz.Options(self.options.gp_weight))

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return -fake
