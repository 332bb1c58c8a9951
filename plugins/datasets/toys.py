"""Data of known distribution, drawn on demand: mixtures in the plane, pictures of known causes, strings, stacks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from genzoo.core.data import Data, DataSource, KnownModes, Split
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.datasets.bundled import Digits, FashionMini
from genzoo.plugins.datasets.fashion_mnist import FashionMNIST
from genzoo.registry import declare

PROTOCOL = 2_500  # samples that papers judge mixtures by (arXiv:1705.07761)
SHAPES = ("square", "ellipse", "triangle")
NAMES = ("shape*", "size", "rotation", "position x", "position y", "colour*")  # * is a name, the others are numbers
VALUES = (len(SHAPES), 6, 8, 8, 8, 6)
COLOURS = ((0.90, 0.22, 0.20), (0.95, 0.75, 0.10), (0.25, 0.70, 0.25),
           (0.10, 0.70, 0.75), (0.20, 0.35, 0.90), (0.75, 0.30, 0.80))  # fmt: skip
TESTED = 26_000  # stacks of the test split, as the protocol takes
STAY = (0.9, 0.7)  # of binary strings, the probability that 0 follows 0, and that 1 follows 1


class Mixture(DataSource):
    """Equally likely Gaussians N(cₖ, σ²I): x = c_y + σε with y uniform over the modes; the label is y.

    Networks work on standardized numbers: model space is the plane divided by `spread`, the centres' root mean
    square along an axis (2.83 for the grid, .71 for the ring).
    """

    name: ClassVar[str]
    centres: ClassVar[tuple[tuple[float, float], ...]]  # means of the modes
    sigma: ClassVar[float]  # standard deviation of every mode along each axis

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


@declare.dataset(
    "factors",
    summary="one shape of known kind, size, rotation, position and colour, drawn on demand",
    modalities=("image",),
    tags=("toy", "bundled", "factors"),
)
class Factors(DataSource):
    """One shape on black: 3 shapes × 6 sizes × 8 rotations × 8 × 8 positions × 6 colours, drawn when it is asked for.

    In the manner of dSprites (L. Matthey et al., 2017), in colour. The factors of each picture are independent
    and uniform; they are the data's ``factors``, which disentanglement scores are measured against, and the
    shape is the label. Rotations go from 0 to 79°, so that no two of a shape are the same.
    """

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        samples: int = option(20_000, "pictures of the train split; the test split has a quarter of it", low=4)
        size: int = option(32, "pixels a side", low=16, high=128)
        seed: int = option(0, "seed of the factors")
        condition: bool = option(False, "give the factors that are numbers, not names, as conditions beside the label")

    options: Options

    def read(self, split: Split) -> Data:
        o = self.options
        n = o.samples if split == "train" else o.samples // 4
        random = generator(o.seed, 0 if split == "train" else 1)
        factors = torch.stack([torch.randint(v, (n,), generator=random) for v in VALUES], 1)
        x = torch.cat([draw(part, o.size) for part in torch.split(factors, 1000)])
        spec = DataSpec.image(3, o.size, o.size, classes=len(SHAPES), class_names=SHAPES, name="factors")
        data = Data(
            spec, x, factors[:, 0].clone(), name="factors", license="CC0-1.0", split=split,
            factors=factors, factor_names=NAMES,
        )  # fmt: skip
        if not o.condition:
            return data
        numbers = [i for i, name in enumerate(NAMES) if not name.endswith("*")]
        most = torch.tensor([VALUES[i] - 1 for i in numbers]).double()
        scale = (most * (most + 2) / 12).sqrt()  # uniform over 0 … most
        names = tuple(NAMES[i] for i in numbers)
        known = replace(spec, conditions=names, condition_scale=tuple(scale.tolist()),
                        condition_shift=tuple((most / 2).tolist()))  # fmt: skip
        return data.conditioned(factors[:, numbers], names, like=known)


def draw(factors: Tensor, size: int) -> Tensor:
    """Pictures ``(N, 3, size, size)``, uint8, of factors ``(N, 6)`` in the order of `NAMES`."""
    shape, scale, turn, column, row, colour = factors.unbind(1)
    radius = (0.15 + 0.02 * scale.double()) * size
    angle = turn.double() * (math.pi / 2 / VALUES[2])
    middle = torch.stack([column, row], 1).double() * (0.32 / 7 * size) + 0.34 * size
    at = torch.arange(size, dtype=torch.float64) + 0.5
    dx = at[None, None, :] - middle[:, 0, None, None]
    dy = at[None, :, None] - middle[:, 1, None, None]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x, y, r = cos * dx + sin * dy, cos * dy - sin * dx, radius[:, None, None]
    square = torch.maximum(x.abs(), y.abs()) - 0.8 * r
    # The level sets of an ellipse's equation, over their slope: a distance near the edge, where it counts.
    level = ((x / r) ** 2 + (y / (0.6 * r)) ** 2).sqrt()
    slope = ((x / r**2) ** 2 + (y / (0.6 * r) ** 2) ** 2).sqrt() / level.clamp(min=1e-9)
    ellipse = (level - 1) / slope.clamp(min=1e-9)
    triangle = torch.maximum(y - 0.5 * r, (x.abs() * 1.6 - y) / math.hypot(1.6, 1) - 0.5 * r)
    distance = torch.stack([square, ellipse, triangle], 1)[torch.arange(len(shape)), shape]
    covered = (0.5 - distance).clamp(0, 1)  # of each pixel, nearly
    return (
        (covered[:, None] * torch.tensor(COLOURS, dtype=torch.float64)[colour][:, :, None, None] * 255).round().byte()
    )


@declare.dataset(
    "strings",
    summary="binary strings of a Markov chain, as pictures of one row; their entropy is known",
    modalities=("image",),
    tags=("toy", "bundled"),
)
class Strings(DataSource):
    """Binary strings, stored as pictures of one row: the first symbol is fair, a later one repeats with `STAY`."""

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        samples: int = option(20_000, "strings of the train split; the test split has a quarter of it", low=4)
        length: int = option(8, "symbols of a string", low=2, high=256)
        seed: int = option(0, "seed of the draw")

    options: Options

    @staticmethod
    def entropy(length: int) -> float:
        """Entropy of a string in nats: what a perfect model's negative log-likelihood is."""
        of = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in STAY]
        one, total = 0.5, math.log(2)
        for _ in range(length - 1):
            total += (1 - one) * of[0] + one * of[1]
            one = one * STAY[1] + (1 - one) * (1 - STAY[0])
        return total

    def read(self, split: Split) -> Data:
        o, train = self.options, split == "train"
        n = o.samples if train else o.samples // 4
        u = torch.rand(n, o.length, generator=generator(o.seed, 0 if train else 1))
        x = torch.empty(n, o.length, dtype=torch.uint8)
        x[:, 0] = u[:, 0] < 0.5
        for i in range(1, o.length):
            stay = torch.tensor(STAY)[x[:, i - 1].long()]
            x[:, i] = torch.where(u[:, i] < stay, x[:, i - 1], 1 - x[:, i - 1])
        spec = DataSpec.image(1, 1, o.length, levels=2, name="strings")
        return Data(spec, x[:, None, None], name="strings", license="CC0-1.0", split=split)


class Stacked(DataSource):
    """Three pictures, drawn independently, as the channels of one."""

    name: str
    """Of the data."""
    classifier: str
    """Extractor that tells the class of each channel."""

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        samples: int = option(60_000, "stacks of the train split; the test split has 26,000 at most", low=1)
        seed: int = option(0, "seed of the draw")

    options: Options

    def base(self, split: Split) -> Data:
        """The grey pictures to draw from."""
        raise NotImplementedError

    def read(self, split: Split) -> Data:
        o, base = self.options, self.base(split)
        n = o.samples if split == "train" else min(o.samples, TESTED)
        chosen = torch.randint(len(base), (n, 3), generator=generator(o.seed, 0 if split == "train" else 1))
        x = base.x[:, 0][chosen]
        spec = DataSpec.image(3, *base.spec.shape[1:], name=self.name)
        return replace(
            base, spec=spec, rows=x, y=None, name=self.name, modes=KnownModes(TESTED, classifier=self.classifier)
        )


@declare.dataset(
    "stacked-digits",
    summary="three handwritten digits as colour channels: 1,000 modes",
    paper="arXiv:1611.02163",
    modalities=("image",),
    tags=("toy", "bundled"),
)
class StackedDigits(Stacked):
    """Three handwritten digits, drawn independently, as the channels of one: the numbers from 0 to 999.

    The protocol of stacked MNIST (L. Metz et al., arXiv:1611.02163): 26,000 samples, modes and reverse KL by a
    classifier of each channel (the metrics ``stacked-modes`` and ``stacked-kl``). There are no labels: a thousand
    classes would tell a model what it is to find.
    """

    name, classifier = "stacked-digits", "digit-classifier"

    def base(self, split: Split) -> Data:
        return Digits().read(split)


@declare.dataset(
    "stacked-fashion",
    summary="three pictures of clothes as colour channels: 1,000 modes",
    paper="arXiv:1611.02163",
    modalities=("image",),
    tags=("toy", "bundled"),
)
class StackedFashion(Stacked):
    """Three pictures of clothes, drawn independently, as the channels of one: 10³ combinations of classes.

    The protocol of stacked MNIST (see ``stacked-digits``) on Fashion-MNIST, whose classes are harder to tell apart.
    """

    name, classifier = "stacked-fashion", "fashion-classifier"

    @dataclass(frozen=True)
    class Options(Stacked.Options):
        whole: bool = option(False, "of the whole Fashion-MNIST, which has to be there, instead of the part that ships")

    options: Options

    def base(self, split: Split) -> Data:
        source: DataSource = FashionMNIST() if self.options.whole else FashionMini()
        return source.read(split)
