"""LSGAN: scores are fitted to targets by least squares."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genzoo.core.options import option
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import declare


@declare.objective(
    "lsgan",
    paper="arXiv:1611.04076",
    tags=("gan",),
    recipe={"like": "gan", "presets": {"vector": {"regularizer": ["r1=0.05", "r2=0.05"]}}},
)
class LSGAN(Adversarial):
    """Least squares GAN: the critic fits b to real and a to generated observations, the generator wants c.

    The critic minimizes ½ (D(x) - b)² + ½ (D(G(z)) - a)², the generator ½ (D(G(z)) - c)². With (a, b, c) = (-1, 1, 0)
    it descends a Pearson χ² divergence of p + q from 2q; (0, 1, 1) is the usual choice.

    When: a loss whose gradient does not fade where the critic is sure. Without spectral norm or a penalty it diverges.

    Cost: that of `gan`.
    """

    @dataclass(frozen=True)
    class Options(Adversarial.Options):
        targets: tuple[float, float, float] = option((0.0, 1.0, 1.0), "a (fake), b (real) and c (for the generator)")

    options: Options

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        a, b, _ = self.options.targets
        return ((real - b).square() + (fake - a).square()) / 2

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return (fake - self.options.targets[2]).square() / 2
