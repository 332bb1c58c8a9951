"""The networks of FastGAN: a few gated convolutions for each resolution, and low ones that excite high ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.networks import Critic, Generator, Ports
from genzoo.core.options import option
from genzoo.plugins.nets.blocks import (
    SLOPE,
    Headed,
    convolution,
    gain,
    norm2d,
    normalize_spectrally,
    refuse_batch_norm,
    variance_preserving,
)
from genzoo.plugins.nets.pyramid import Pyramid, Size, strides
from genzoo.plugins.nets.resnet import pooled
from genzoo.registry import declare

FAR = 4  # halvings between what excites and what is excited, as 4 and 64 pixels are


class Excitation(nn.Module):
    """h · sigmoid(K₁(silu(K(pool(low))))): a low resolution says which channels of a high one count.

    Liu et al., *Towards Faster and Stabilized GAN Training*, arXiv:2101.04775. The pool leaves 4 to 7 rows and columns,
    all of which K reads.
    """

    def __init__(self, low: int, high: int, size: Size) -> None:
        super().__init__()
        self.by = (max(1, size[0] // 4), max(1, size[1] // 4))
        self.read = nn.Conv2d(low, high, (size[0] // self.by[0], size[1] // self.by[1]))
        self.weigh = nn.Conv2d(high, high, 1)
        for layer in (self.read, self.weigh):
            variance_preserving(layer, 1.0)

    def gates(self, low: Tensor) -> Tensor:
        """Numbers between 0 and 1, ``(B, high, 1, 1)``."""
        return torch.sigmoid(self.weigh(F.silu(self.read(pooled(low, self.by)))))

    def forward(self, h: Tensor, low: Tensor) -> Tensor:
        """Scale features ``(B, high, H, W)`` by what those of a low resolution ``(B, low, h, w)`` say."""
        return h * self.gates(low)


class Gated(nn.Module):
    """A 3×3 convolution to twice the channels, its norm, and the first half times the sigmoid of the second."""

    def __init__(self, inputs: int, outputs: int, norm: str) -> None:
        super().__init__()
        self.conv, self.norm = convolution(inputs, 2 * outputs, 3, 2.0, bias=norm == "none"), norm2d(norm, 2 * outputs)

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H, W)``."""
        return F.glu(self.norm(self.conv(h)), 1)


@declare.generator("fastgan", paper="arXiv:2101.04775", modalities=("image",))
class FastGANGenerator(Pyramid, Generator):
    """Code → linear → gated convolutions, step by step twice as large, high ones excited by low ones (FastGAN)."""

    @dataclass(frozen=True)
    class Options(Pyramid.Options):
        width: int = option(32, "channels at the image's own resolution; doubles with each halving", low=1, high=1024)
        norm: Literal["none", "batch"] = option("batch", "normalization of each convolution")
        spectral_norm: bool = option(False, "divide each weight matrix by its largest singular value")

    options: Options
    name = "fastgan"

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        refuse_batch_norm(ports, self.options.norm)
        sizes, norm = self.sizes, self.options.norm
        n, channels = len(sizes), self.widths(len(sizes))
        self.begin_with(channels[-1], 1.0)
        # As published 8 pixels excite 128, 16 excite 256: what lies lower is excited by nothing.
        self.by = {i: min(i + FAR, n - 1) for i in range(max(1, n - FAR))}
        each = {str(i): Excitation(channels[j], channels[i], sizes[j]) for i, j in self.by.items()}
        self.excitations = nn.ModuleDict(each)
        self.blocks = nn.ModuleList(Gated(channels[min(i + 1, n - 1)], channels[i], norm) for i in range(n))
        self.out = convolution(channels[0], ports.outputs[0], 3, 0.5)
        if self.options.spectral_norm:
            normalize_spectrally(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, *ports.inputs)`` to data parameters ``(B, *ports.outputs)``."""
        n = len(self.sizes)
        h = self.blocks[n - 1](self.begin(z, y).contiguous(memory_format=torch.channels_last))  # a third quicker
        found = {n - 1: h}
        for i in range(n - 2, -1, -1):
            h = self.blocks[i](F.interpolate(h, self.sizes[i]))
            if i in self.by:
                h = self.excitations[str(i)](h, found[self.by[i]])
            found[i] = h
        image: Tensor = self.out(h)
        return image


class Halving(nn.Module):
    """½ (K₃(σ(K₄ h)) + S(pool(h))), each through a norm and σ, leaky ReLU; K₄ has stride 2, S is a 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int, by: Size, norm: str) -> None:
        super().__init__()
        bias, scale = norm == "none", gain("leaky-relu")
        self.by = by
        self.first = nn.Conv2d(inputs, outputs, (2 + by[0], 2 + by[1]), by, padding=1, bias=bias)
        variance_preserving(self.first, scale)
        self.last = convolution(outputs, outputs, 3, scale, bias)
        self.direct = convolution(inputs, outputs, 1, scale, bias)
        self.norms = nn.ModuleList(norm2d(norm, outputs) for _ in range(3))

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H/2, W/2)``."""
        deep = F.leaky_relu(self.norms[0](self.first(h)), SLOPE)
        deep = F.leaky_relu(self.norms[1](self.last(deep)), SLOPE)
        direct = F.leaky_relu(self.norms[2](self.direct(pooled(h, self.by))), SLOPE)
        return 0.5 * (deep + direct)


@declare.critic("fastgan", paper="arXiv:2101.04775", modalities=("image",))
class FastGANCritic(Pyramid, Headed, Critic):
    """Image → halved by convolutions and by pooling, the lowest excited by the highest → scores (FastGAN)."""

    @dataclass(frozen=True)
    class Options(Headed.CriticOptions, Pyramid.Options):
        norm: Literal["none", "batch"] = option("none", "normalization of each convolution")

    options: Options
    name = "fastgan"

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        refuse_batch_norm(ports, self.options.norm)
        sizes, n = self.sizes, len(self.sizes)
        channels = [ports.inputs[0], *self.widths(n - 1)]
        norms = ["none", *[self.options.norm] * (n - 2)]  # none next to the image
        steps = zip(pairwise(channels), pairwise(sizes), norms, strict=True)
        self.blocks = nn.ModuleList(Halving(a, b, strides(low, high), norm) for (a, b), (high, low), norm in steps)
        self.hear_with(channels[1], 1 / math.sqrt(channels[0] + 1), self.appended)
        self.excitation = Excitation(channels[1], channels[-1], sizes[1]) if n > 2 else None
        self.head = nn.Linear(channels[-1] * math.prod(sizes[-1]), ports.output_size)
        self.finish(self.head.in_features)

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        h = first = self.heard(self.blocks[0](x), y, beside)
        for block in self.blocks[1:]:
            h = block(h)
        h = h if self.excitation is None else self.excitation(h, first)
        return h.flatten(1)
