"""Instance noise: what the critic is shown is blurred, less and less."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genzoo.core.augmentation import Augmentation
from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.options import option
from genzoo.registry import declare


@declare.augmentation("instance-noise", paper="arXiv:1610.04490")
class InstanceNoise(Augmentation):
    """x + σ ε, ε normal, for real and generated observations, σ falling linearly to 0 (Sønderby et al., 1610.04490).

    Blurred distributions overlap, so that the critic cannot become sure before the generator is near. For any kind of
    data; it costs nothing.
    """

    @dataclass(frozen=True)
    class Options(Augmentation.Options):
        sigma: float = option(0.1, "σ at the start, in model space: images lie in [-1, 1]", low=0)
        until: float = option(1.0, "share of the run after which σ is 0", low=1e-6)

    options: Options

    def draw(self, draws: Draws, model: Model) -> Tensor:
        sigma = self.options.sigma * max(1 - draws.progress / self.options.until, 0.0)
        return sigma * draws.normal(*model.spec.shape)

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        return x + u
