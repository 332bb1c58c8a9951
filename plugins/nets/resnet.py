"""Residual networks for images, as SNGAN, SAGAN and BigGAN have them, with self-attention at one resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.networks import Critic, Encoder, Generator, Ports
from genzoo.core.options import option
from genzoo.plugins.nets.attention import Attention
from genzoo.plugins.nets.blocks import (
    Headed,
    convolution,
    norm2d,
    normalize_spectrally,
    refuse_batch_norm,
    variance_preserving,
)
from genzoo.plugins.nets.pyramid import Pyramid, Size, nearest, strides
from genzoo.registry import declare

# A block adds two things, each of half the variance; spectral norm and a norm behind it undo any scale.
HALF, GAIN = math.sqrt(0.5), math.sqrt(2)


def pooled(h: Tensor, by: Size) -> Tensor:
    """The means of so many rows and columns; a last odd one is dropped."""
    return h if by == (1, 1) else F.avg_pool2d(h, by)


class Up(nn.Module):
    """S(up(h)) + K(relu(norm(K(up(relu(norm(h))))))), K 3×3 convolutions, S a 1×1 one, ``up`` by nearest neighbours.

    Conditional norms are told what the block is told beside its features.
    """

    def __init__(self, inputs: int, outputs: int, size: Size, norm: str, told: int = 0) -> None:
        super().__init__()
        self.size = size
        self.norms = nn.ModuleList([norm2d(norm, inputs, told), norm2d(norm, outputs, told)])
        self.first = convolution(inputs, outputs, 3, GAIN)
        self.last = convolution(outputs, outputs, 3, 1.0)
        self.shortcut = convolution(inputs, outputs, 1, HALF)

    def forward(self, h: Tensor, *told: Tensor) -> Tensor:
        """Map ``(B, inputs, h, w)`` to ``(B, outputs, *size)``."""
        change = self.first(F.interpolate(self.norms[0](h, *told).relu(), self.size))
        change = self.last(self.norms[1](change, *told).relu())
        # A 1×1 convolution and nearest neighbours may change places.
        grown: Tensor = F.interpolate(self.shortcut(h), self.size) + change
        return grown


class Down(nn.Module):
    """pool(S h) + pool(K(relu(K(relu(h))))), K 3×3 convolutions, S a 1×1 one; ``first`` leaves out the outer relu.

    Next to the image there is nothing to be rectified yet. Where channels and resolution stay, S does nothing.
    """

    def __init__(self, inputs: int, outputs: int, by: Size, first: bool = False) -> None:
        super().__init__()
        self.by, self.rectify = by, not first
        self.first = convolution(inputs, outputs, 3, GAIN if self.rectify else 1.0)
        self.last = convolution(outputs, outputs, 3, 1.0)
        moves = inputs != outputs or by != (1, 1)
        self.shortcut = convolution(inputs, outputs, 1, HALF) if moves else nn.Identity()

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, h, w)``."""
        change = self.last(self.first(h.relu() if self.rectify else h).relu())
        # Pooling first is the same, and cheaper.
        shrunk: Tensor = self.shortcut(pooled(h, self.by)) + pooled(change, self.by)
        return shrunk


class Resnet(Pyramid):
    """What the three share: width at the image's own resolution, and where there is attention."""

    @dataclass(frozen=True)
    class Options(Pyramid.Options):
        width: int = option(32, "channels at the image's own resolution; doubles with each halving", low=1, high=1024)
        attention: int = option(
            0, "self-attention at the resolution nearest to so many pixels, 0: none", low=0, high=256
        )

    options: Options
    name, grids = "resnet", True

    def attending(self, channels: list[int], blocks: range) -> dict[str, Attention]:
        """Attention behind the block, of those that give these resolutions, that is nearest to the one asked for."""
        if not self.options.attention:
            return {}
        at = blocks[nearest([self.sizes[i] for i in blocks], self.options.attention)]
        return {str(at): Attention(channels[at])}

    def grow_with(self, norm: str, told: list[int]) -> None:
        """Make a generator's blocks, whose norms are told so many numbers each, and what follows them."""
        channels, steps = self.widths(len(self.sizes)), range(len(self.sizes) - 2, -1, -1)
        ups = [Up(channels[i + 1], channels[i], self.sizes[i], norm, n) for i, n in zip(steps, told, strict=True)]
        self.blocks, self.attention = nn.ModuleList(ups), nn.ModuleDict(self.attending(channels, steps))
        self.norm = norm2d("batch" if norm == "class" else norm, channels[0])
        self.out = convolution(channels[0], self.ports.outputs[0], 3, 0.5)

    def grow(self, h: Tensor, told: list[list[Tensor]]) -> Tensor:
        """Features at the lowest resolution, and what the norms of each block are told, to data parameters."""
        h = h.contiguous(memory_format=torch.channels_last)  # a third quicker
        for i, block in enumerate(self.blocks):
            h, at = block(h, *told[i]), str(len(self.blocks) - 1 - i)
            h = self.attention[at](h) if at in self.attention else h
        image: Tensor = self.out(self.norm(h).relu())
        return image


@declare.generator(
    "resnet",
    summary="Residual blocks from the code up to 8..256 pixels",
    paper="arXiv:1802.05957",
    modalities=("image",),
)
class ResnetGenerator(Resnet, Generator):
    """Code → linear → smallest resolution → residual blocks, each twice as large → image (Miyato et al., SNGAN).

    As published for 32×32: ``width=256``, ``max_width=256``. It takes codes and labels as ``conv`` does.
    """

    @dataclass(frozen=True)
    class Options(Resnet.Options):
        norm: Literal["none", "batch", "layer", "group", "class"] = option(
            "batch", "normalization before each activation; class: batch norm with gains and shifts of each class"
        )
        spectral_norm: bool = option(False, "divide each weight matrix by its largest singular value")

    options: Options

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        refuse_batch_norm(ports, self.options.norm)
        self.by_norm = ports.classes + ports.condition if self.options.norm == "class" else 0
        self.begin_with(self.widths(len(self.sizes))[-1], 1.0)
        self.grow_with(self.options.norm, [self.by_norm] * (len(self.sizes) - 1))
        if self.options.spectral_norm:
            normalize_spectrally(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, *ports.inputs)`` to data parameters ``(B, *ports.outputs)``."""
        return self.grow(self.begin(z, y), [self.for_norms(z, y)] * len(self.blocks))


class Reader(Resnet, Headed):
    """What encoder and critic share: residual blocks down to the smallest resolution, and some that stay there."""

    def __init__(self, ports: Ports, options: Resnet.Options | None = None) -> None:
        super().__init__(ports, options)
        sizes, stay = self.sizes, getattr(self.options, "blocks", 0)
        channels = [ports.inputs[0], *self.widths(len(sizes))[1:]]
        downs = range(1, len(sizes))
        blocks = [Down(channels[i - 1], channels[i], strides(sizes[i], sizes[i - 1]), first=i == 1) for i in downs]
        blocks += [Down(channels[-1], channels[-1], (1, 1)) for _ in range(stay)]
        self.blocks = nn.ModuleList(blocks)
        self.hear_with(channels[1], 1 / math.sqrt(channels[0] + 1), self.appended)
        self.attention = nn.ModuleDict(self.attending(channels, downs))
        self.last = channels[-1]

    def look(self, x: Tensor, y: Tensor | None, beside: Tensor | None) -> Tensor:
        """Rectified features ``(B, C, h, w)`` at the smallest resolution."""
        h = x
        for i, block in enumerate(self.blocks, 1):
            h = block(h)
            h = self.heard(h, y, beside) if i == 1 else h
            h = self.attention[str(i)](h) if str(i) in self.attention else h
        return h.relu()


@declare.encoder(
    "resnet",
    summary="Residual blocks from 8..256 pixels down to the code",
    paper="arXiv:1802.05957",
    modalities=("image",),
)
class ResnetEncoder(Reader, Encoder):
    """Image → residual blocks, each half as large → numbers of a posterior, flat or on a grid."""

    def __init__(self, ports: Ports, options: Resnet.Options | None = None) -> None:
        super().__init__(ports, options)
        places = math.prod(self.sizes[-1])
        self.head = (
            nn.Conv2d(self.last, ports.outputs[0], 1) if self.grid else nn.Linear(self.last * places, ports.output_size)
        )
        self.finish(self.last * places)

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        return self.look(x, y, beside).flatten(1)

    def forward(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        if not self.grid:
            return super().forward(x, y, beside)
        grid: Tensor = self.head(self.look(x, y, beside))
        return grid


@declare.critic(
    "resnet",
    summary="Residual blocks from 8..256 pixels down to a score",
    paper="arXiv:1802.05957",
    modalities=("image",),
)
class ResnetCritic(Reader, Critic):
    """Image → residual blocks, each half as large → sum over all places → scores (Miyato et al., SNGAN).

    As published for 32×32: ``width=128``, ``max_width=128``; without batch norm, so it goes with any penalty.
    """

    @dataclass(frozen=True)
    class Options(Reader.CriticOptions, Resnet.Options):
        blocks: int = option(1, "residual blocks at the smallest resolution", low=0, high=16)

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        self.head = nn.Linear(self.last, ports.output_size)
        variance_preserving(self.head, 1 / math.prod(self.sizes[-1]))  # of a sum, not of a mean
        self.finish(self.last)

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        """The sum over all places, ``(B, F)``: scores go by how much of a picture there is."""
        return self.look(x, y, beside).sum((2, 3))
