"""A generator of two grids of codes, a coarse one and a fine one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.networks import Generator, Network, Ports
from genzoo.core.options import option
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.nets.conv import ConvGenerator
from genzoo.plugins.nets.pyramid import Size, enlarged, ladder
from genzoo.registry import declare


@declare.generator("two-grids", paper="arXiv:1906.00446", modalities=("image",), tags=("hierarchy", "quantizer"))
class TwoGrids(Generator):
    """Two grids of codes, one after the other in a flat code: the coarse one is enlarged, and `conv` goes on from both.

    The finer grid is ``down`` halvings below the image, the coarser one more.
    """

    conditions = True

    @dataclass(frozen=True)
    class Options(ConvGenerator.Options):
        dim: int = option(32, "numbers of a vector on either grid", low=1, high=4096)
        down: int = option(1, "halvings from the image to the finer grid", low=1, high=8)

    options: Options

    @classmethod
    def grids(cls, shape: tuple[int, ...], options: Options) -> tuple[Size, Size]:
        """The coarse and the fine one."""
        sizes = ladder(*shape[1:])[1:] if len(shape) == 3 else []
        if not sizes:
            raise UsageError(f"two-grids makes images of 8 pixels a side or more, not shape {shape}")
        fine = min(options.down, len(sizes)) - 1
        return sizes[min(fine + 1, len(sizes) - 1)], sizes[fine]

    @classmethod
    def code_shape(cls, spec: DataSpec, latent: Latent, options: Network.Options) -> tuple[int, ...]:
        assert isinstance(options, cls.Options)
        return (options.dim * sum(math.prod(size) for size in cls.grids(spec.shape, options)),)

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        o = self.options
        self.sizes = self.grids(ports.outputs, o)
        self.parts = [o.dim * h * w for h, w in self.sizes]
        if ports.inputs != (sum(self.parts),):
            raise UsageError(f"two-grids has codes of {sum(self.parts)} numbers here, not {ports.inputs}: "
                             "leave out latent.size and latent.grid")  # fmt: skip
        self.coarse = nn.Sequential(nn.Conv2d(o.dim, o.dim, 3, padding=1), nn.SiLU(), nn.Conv2d(o.dim, o.dim, 1))
        inner = Ports((2 * o.dim, *self.sizes[1]), ports.outputs, ports.classes, condition=ports.condition)
        self.body = ConvGenerator(inner, o)

    def split(self, z: Tensor) -> list[Tensor]:
        """Codes ``(B, numbers)`` as grids ``(B, dim, h, w)``."""
        parts = torch.split(z, self.parts, 1)
        return [torch.unflatten(p, 1, (self.options.dim, *size)) for p, size in zip(parts, self.sizes, strict=True)]

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, numbers)`` to data parameters ``(B, *ports.outputs)``."""
        coarse, fine = self.split(z)
        image: Tensor = self.body(torch.cat([enlarged(self.coarse(coarse), self.sizes[1]), fine], 1), y)
        return image
