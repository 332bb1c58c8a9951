"""Pictures whose causes are known: one shape each, of known size, rotation, position and colour."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

SHAPES = ("square", "ellipse", "triangle")
NAMES = ("shape*", "size", "rotation", "position x", "position y", "colour*")  # * is a name, the others are numbers
VALUES = (len(SHAPES), 6, 8, 8, 8, 6)
COLOURS = ((0.90, 0.22, 0.20), (0.95, 0.75, 0.10), (0.25, 0.70, 0.25),
           (0.10, 0.70, 0.75), (0.20, 0.35, 0.90), (0.75, 0.30, 0.80))  # fmt: skip


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
