"""R3GAN: a relativistic pairing loss with two zero-centred gradient penalties."""

from __future__ import annotations

from dataclasses import dataclass

from genzoo.core.options import option
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.plugins.gan.relativistic import RpGAN
from genzoo.plugins.regularizers.slopes import R1, R2
from genzoo.registry import declare


@declare.objective(
    "r3gan",
    paper="arXiv:2501.05441",
    tags=("gan", "relativistic"),
    recipe={
        "like": "gan",
        "options": {"train.betas": (0.0, 0.99)},
        "presets": {
            "image": {"critic.spectral_norm": False},
            "vector": {"objective.gamma": 0.05, "train.lr": 2e-3},
            "ring8": {"objective.every": 4, "train.lr": 3e-3},
            # As published for 32x32 colour: 20 million observations, everything on a cosine.
            "cifar10": {
                "objective.gamma": (0.05, 0.005),
                "train.batch_size": 512,
                "train.epochs": 400,
                "train.lr": (2e-4, 5e-5),
                "train.betas": (0.0, 0.9),
                "train.beta2": (0.9, 0.99),
                "train.schedule": "cosine",
                "train.average": (0.0, 5_000_000),
            },
            "stacked-digits": {
                "train.lr": 2e-3,
                "train.schedule": "cosine",
                "objective.gamma": 0.5,
                "objective.every": 4,
            },
            "stacked-fashion": {
                "train.lr": 2e-3,
                "train.schedule": "cosine",
                "objective.gamma": 0.5,
                "objective.every": 4,
            },
        },
    },
)
class R3GAN(RpGAN):
    """Relativistic GAN with R1 and R2: every fake is judged against a real one, which forbids dropping modes.

    The critic minimizes E[softplus(-(D(x) - D(G(z))))] + γ/2 (E‖∇D(x)‖² + E‖∇D(G(z))‖²); the generator
    minimizes E[softplus(-(D(G(z)) - D(x)))]. It converges locally, where the plain relativistic loss need not.

    When: no mode may be lost, or long trainings must stay stable. The weight γ matters: less for the plane than for
    pictures. No batch norm in the critic.

    Cost: one turn of the critic for one of the generator, with second derivatives at real and fake observations; with
    ``every`` above 1 only that often.
    """

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        gamma: float | tuple[float, float] = option(
            1.0, "weight γ of both gradient penalties; START,END follows train.schedule", low=0
        )

        every: int = option(1, "steps from one penalty to the next, which weighs as many times more", low=1)

    options: Options

    def __init__(self, options: Adversarial.Options | None = None) -> None:
        super().__init__(options)
        how = (self.options.gamma, self.options.every)
        self.regularizers.update({"r1": R1(R1.Options(*how)), "r2": R2(R2.Options(*how))})
