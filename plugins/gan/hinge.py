"""The hinge loss of SAGAN, SNGAN and BigGAN."""

from __future__ import annotations

from torch import Tensor

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
