"""The hinge loss of SAGAN, SNGAN and BigGAN, and ACGAN: with a critic that also says the class."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy

from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic
from genzoo.core.objective import Plan
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import declare


@declare.objective(
    "hinge", paper="arXiv:1705.02894", tags=("gan",), recipe={"like": "gan", "options": {"train.betas": (0.0, 0.9)}}
)
class Hinge(Adversarial):
    """Geometric GAN: the critic stops where it is sure by a margin.

    The critic minimizes E[relu(1 - D(x))] + E[relu(1 + D(G(z)))], whose least value is 2 (1 - TV(p, q)), TV the total
    variation; the generator minimizes -E[D(G(z))].

    When: with spectral norm on images, and as the loss to add regularizers and augmentations to: `--regularizer r1=0.1`
    keeps modes, `--regularizer lecam --augment ada` help where data are few.

    Cost: that of `gan`; R1 about half more, less with `regularizer.r1.every`.
    """

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return (1 - real).relu() + (1 + fake).relu()

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return -fake


@declare.objective(
    "acgan", paper="arXiv:1610.09585", tags=("gan", "conditional"), recipe={"like": "hinge", "conditional": True}
)
class ACGAN(Hinge):
    """Auxiliary classifier GAN: the critic is not told the class, and learns to say it; hinge loss.

    Both players add λ times a cross-entropy: the critic that of the classes of real observations, the generator that
    of the classes that it was asked for. It favours samples that are easy to classify over diverse ones.

    When: few classes that are easy to tell apart. With many, a conditional `hinge`, whose critic is told the class,
    keeps more diversity.

    Cost: that of `hinge`.
    """

    @dataclass(frozen=True)
    class Options(Hinge.Options):
        weight: float = option(1.0, "weight λ of the classification", low=0)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        if not classes:
            raise UsageError("an auxiliary classifier needs labels: train a conditional model on data that has them")
        return Plan(critics=(self.critic_plan(spec, outputs=1 + classes, labels=False),))

    def score(self, critic: Critic, x: Tensor, y: Tensor | None, beside: Tensor | None = None) -> Tensor:
        outputs: Tensor = critic(x)
        return outputs.float()

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().critic_loss(real[:, 0], fake[:, 0])

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return -fake[:, 0]

    def further(self, player: str, real: Tensor | None, fake: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """The cross-entropy, in nats: of real observations in the critic's turn, of samples in the generator's."""
        assert y is not None  # the plan refuses what has no labels
        logits = fake if real is None else real
        return {"classify": self.options.weight * cross_entropy(logits[:, 1:], y, reduction="none")}
