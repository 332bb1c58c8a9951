"""What networks between images and codes share: resolutions, how they begin, and what they are told.

Every architecture for images goes down and up one `ladder`, so that each of them takes any size, even or odd.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.conditions import numbers_of
from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic, Encoder, Generator, Network, Ports
from genzoo.core.options import option
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.nets.blocks import as_numbers, labels, shaped, variance_preserving, with_label

Size = tuple[int, int]


def ladder(height: int, width: int) -> list[Size]:
    """Return the resolutions from an image's own down to the smallest: an axis is halved while it has 8 or more.

    Halves are rounded down: ``ladder(30, 44)`` is ``[(30, 44), (15, 22), (7, 11), (7, 5)]``.
    """
    sizes = [(height, width)]
    while max(sizes[-1]) >= 8:
        h, w = sizes[-1]
        sizes.append((h // 2 if h >= 8 else h, w // 2 if w >= 8 else w))
    return sizes


def strides(small: Size, large: Size) -> Size:
    """How many rows and columns of one resolution come to one of another: 2 along an axis that is halved, else 1."""
    return 2 if small[0] < large[0] else 1, 2 if small[1] < large[1] else 1


def enlarged(h: Tensor, size: Size) -> Tensor:
    """Features at a higher resolution, by repeating them."""
    larger: Tensor = h if h.shape[2:] == size else F.interpolate(h, size)
    return larger


def nearest(sizes: Sequence[Size], side: int) -> int:
    """The number of the resolution whose longer side is nearest to so many pixels; the larger of two."""
    return min(range(len(sizes)), key=lambda i: abs(max(sizes[i]) - side))


class Pyramid(Network):
    """Networks between images and codes. Labels are one-hot numbers or planes beside a code, or biases of channels."""

    @dataclass(frozen=True)
    class Options(Network.Options):
        width: int = option(32, "channels at the highest inner resolution; doubles with each halving", low=1, high=1024)
        max_width: int = option(256, "most channels at any resolution", low=1, high=8192)

    options: Options
    conditions = True
    name: str = ""  # what users call it
    smallest: int = 8
    largest: int = 256
    grids: bool = False  # its codes may lie on a grid
    by_norm: int = 0  # how many numbers its norms are told (`for_norms`), which its first layer is not told then

    @classmethod
    def code_shape(cls, spec: DataSpec, latent: Latent, options: Network.Options) -> tuple[int, ...]:
        """A grid of codes lies on the resolution that is nearest to the recipe's."""
        sides = spec.shape[1:]
        square = [h for h, w in ladder(*sides)[1:] if h == w] if latent.grid and len(sides) == 2 else []
        if not square:
            return latent.shape
        grid = min(square, key=lambda size: abs(size - latent.grid))
        return (latent.size, grid, grid)

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        made, name = isinstance(self, Generator), self.name
        image, code = (ports.outputs, ports.inputs) if made else (ports.inputs, ports.outputs)
        verb, kind = "makes" if made else "reads", "encoder" if isinstance(self, Encoder) else "critic"
        mlp = f"--{'generator' if made else kind} mlp"
        if len(image) != 3:
            raise UsageError(f"{name} {verb} images of channels, height, width, not shape {image}; use {mlp}")
        if not all(self.smallest <= s <= self.largest for s in image[1:]):
            large = max(image[1:]) > self.largest
            fitting, clips = (self.largest, "shorter") if large else (self.smallest, "longer")
            raise UsageError(
                f"{name} {verb} images of {self.smallest} to {self.largest} pixels a side, not {image[1]}x{image[2]}: "
                f"bring pictures to another size with --set data.size={fitting}, take {clips} clips of sounds, "
                f"or use {mlp}"
            )
        self.sizes, self.grid = ladder(*image[1:]), len(code) == 3 and not isinstance(self, Critic)
        if self.grid and not self.grids:
            part = "generator" if made else kind
            raise UsageError(f"{name} has flat codes, not of shape {code}: use --{part} conv, or leave out latent.grid")
        if self.grid and code[1:] not in self.sizes[1:]:
            there = " or ".join(f"{h}x{w}" for h, w in self.sizes[1:])
            fitting = self.sizes[-1][0]
            raise UsageError(
                f"{name} has codes on a grid of {there}, or flat ones, not of shape {code}: --set latent.grid={fitting}"
            )
        if self.grid:
            self.sizes = self.sizes[: self.sizes.index((code[1], code[2])) + 1]

    def widths(self, n: int) -> list[int]:
        """Channels at n resolutions, from the highest inner one down."""
        return [min(self.options.width * 2**i, self.options.max_width) for i in range(n)]

    def begin_with(self, channels: int, scale: float) -> None:
        """Make the layer that brings a code, and what comes with it, to the lowest resolution."""
        told = 0 if self.by_norm else self.ports.classes + self.ports.condition
        self.start = (channels, *self.sizes[-1])
        self.linear: nn.Linear | nn.Conv2d
        if self.grid:
            self.linear = nn.Conv2d(self.ports.inputs[0] + told, channels, 3, padding=1)
        else:
            self.linear = nn.Linear(self.ports.inputs[0] + told, math.prod(self.start))
        variance_preserving(self.linear, scale)

    def begin(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Codes ``(B, *ports.inputs)`` as features ``(B, C, h, w)``."""
        told = (0, 0) if self.by_norm else (self.ports.classes, self.ports.condition)
        if not self.grid:
            return shaped(self.linear(with_label(z, y, *told)), self.start)
        planes = with_label(z[:, :0], y, *told)[:, :, None, None].expand(-1, -1, *z.shape[2:])
        features: Tensor = self.linear(torch.cat([z, planes], 1))
        return features

    def for_norms(self, z: Tensor, y: Tensor | None) -> list[Tensor]:
        """What norms are told, ``(B, by_norm)``, if they are: a further argument of a `ToldSequential`."""
        return [as_numbers(y, self.ports.classes, self.ports.condition, z)] if self.by_norm else []

    def hear_with(self, channels: int, scale: float, appended: tuple[int, int]) -> None:
        """Make what adds to the first features of an image what is told beside it.

        A bias for every channel is what a constant plane beside the image comes to (but for the border).
        """
        classes, told = appended
        self.label = nn.Embedding(classes, channels) if classes else None
        if self.label is not None:
            nn.init.normal_(self.label.weight, 0.0, scale)
        self.told = nn.Linear(told, channels, bias=False) if told else None
        if self.told is not None:
            nn.init.normal_(self.told.weight, 0.0, scale)
        self.beside = nn.Linear(self.ports.beside, channels, bias=False) if self.ports.beside else None

    def heard(self, h: Tensor, y: Tensor | None, beside: Tensor | None) -> Tensor:
        """Features ``(B, C, H, W)`` with what is told beside the image."""
        if self.beside is not None:
            h = h + self.beside(beside)[:, :, None, None]
        if self.label is not None:
            h = h + self.label(labels(y, self.ports.classes))[:, :, None, None]
        if self.told is not None:
            h = h + self.told(numbers_of(y, self.ports.condition))[:, :, None, None]
        return h
