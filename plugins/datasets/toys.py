"""Mixtures of Gaussians in the plane, whose modes and densities are known: where mode collapse shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from genzoo.core.data import Data, DataSource, KnownModes, Split
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

PROTOCOL = 2_500  # samples that papers judge mixtures by (arXiv:1705.07761)


class Mixture(DataSource):
    """Equally likely Gaussians N(cₖ, σ²I): x = c_y + σε with y uniform over the modes; the label is y.

    Networks work on standardized numbers: model space is the plane divided by `spread`, the centres' root mean
    square along an axis (2.83 for the grid, .71 for the ring).

    Attributes:
        name: of the data set.
        centres: means of the modes, ``(K, 2)``.
        sigma: standard deviation of every mode along each axis.
    """

    name: ClassVar[str]
    centres: ClassVar[tuple[tuple[float, float], ...]]
    sigma: ClassVar[float]

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        samples: int = option(100_000, "points of the train split; the test split has a tenth of it", low=1)
        seed: int = option(0, "seed of the draw")

    options: Options

    @classmethod
    def spread(cls) -> float:
        """Root mean square of the centres along an axis."""
        return math.sqrt(sum(a * a + b * b for a, b in cls.centres) / (2 * len(cls.centres)))

    def read(self, split: Split) -> Data:
        train = split == "train"
        n = self.options.samples if train else max(1, self.options.samples // 10)
        random = generator(self.options.seed, 0 if train else 1)
        y = torch.randint(len(self.centres), (n,), generator=random)
        x = torch.tensor(self.centres)[y] + self.sigma * torch.randn(n, 2, generator=random)
        spec = DataSpec("vector", (2,), classes=len(self.centres), scale=(self.spread(),), name=self.name)
        modes = KnownModes(PROTOCOL, self.centres, self.sigma)
        return Data(spec, x, y, name=self.name, license="CC0-1.0", split=split, modes=modes)


@declare.dataset(
    "ring8",
    summary="8 Gaussians on a circle of radius 1, σ = .01",
    paper="arXiv:1611.02163",
    modalities=("vector",),
    tags=("toy", "bundled"),
)
class Ring8(Mixture):
    """8 Gaussians evenly on the unit circle, σ = .01, the first at angle 0 (L. Metz et al., arXiv:1611.02163)."""

    name = "ring8"
    centres = tuple((math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8))
    sigma = 0.01


@declare.dataset(
    "grid25",
    summary="25 Gaussians on a grid of spacing 2, σ = .05",
    paper="arXiv:1705.07761",
    modalities=("vector",),
    tags=("toy", "bundled"),
)
class Grid25(Mixture):
    """25 Gaussians at {−4, −2, 0, 2, 4}², σ = .05 (A. Srivastava et al., arXiv:1705.07761)."""

    name = "grid25"
    centres = tuple((float(a), float(b)) for a in range(-4, 5, 2) for b in range(-4, 5, 2))
    sigma = 0.05
