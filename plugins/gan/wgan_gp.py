"""Wasserstein GAN with gradient penalty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from genzoo.core.math.penalties import one_centred
from genzoo.core.model import Model
from genzoo.core.networks import Critic
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch
from genzoo.core.options import option
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import declare


@declare.objective(
    "wgan-gp",
    paper="arXiv:1704.00028",
    tags=("gan", "wasserstein"),
    recipe={
        "generator": "conv",
        "critic": "conv",
        "options": {
            "latent.size": 64,
            "train.lr": 2e-4,
            "train.betas": (0.0, 0.9),
            "train.average": 10_000,
        },
        "presets": {
            "vector": {
                "generator": "mlp",
                "generator.depth": 3,
                "generator.activation": "relu",
                "critic": "mlp",
                "critic.depth": 3,
                "critic.activation": "relu",
                "latent.size": 2,
                "objective.gp_weight": 1.0,
                "train.batch_size": 256,
                "train.lr": 1e-3,
                "train.betas": (0.5, 0.9),
                "train.schedule": "cosine",
                "train.average": 0,
            }
        },
    },
)
class WGANGP(Adversarial):
    """Wasserstein GAN whose critic is kept 1-Lipschitz by a penalty on its gradients.

    The critic minimizes E[D(G(z))] - E[D(x)] + λ E[(‖∇D(x̂)‖₂ - 1)²] at x̂ on the lines between real and
    generated observations, one random point per pair; the generator minimizes -E[D(G(z))].
    """

    penalized = True

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        """Options of WGAN-GP."""

        critic_steps: int = option(5, "turns of the critic for one of the generator", low=1)
        gp_weight: float = option(10.0, "weight λ of the gradient penalty", low=0)

    options: Options

    def draw(self, player: str, draws: Draws, model: Model) -> dict[str, Tensor]:
        """Codes, and where on its line each point lies."""
        noise = super().draw(player, draws, model)
        return noise | {"mix": draws.uniform(1)} if player == "critic" else noise

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The negative estimate of the distance."""
        return fake - real

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """The part of the distance that the generator moves."""
        return -fake

    def penalty(self, critic: Critic, real: Batch, fake: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """λ (‖∇D(x̂)‖ - 1)²."""
        slope = one_centred(partial(critic, y=real.y), real.x, fake, noise["mix"])
        return {"penalty": self.options.gp_weight * slope}
