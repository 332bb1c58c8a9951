"""A generator of many stochastic layers on a few resolutions of an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.networks import Network, Ports
from genzoo.core.options import option
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.nets.blocks import norm2d, with_label
from genzoo.plugins.nets.hierarchy import Hierarchy, start_at
from genzoo.plugins.nets.pyramid import Size, enlarged, ladder
from genzoo.registry import declare


def bottleneck(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """1×1, 3×3 and 1×1 convolutions."""
    return nn.Sequential(
        nn.GELU(), nn.Conv2d(inputs, width, 1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1),
        nn.GELU(), nn.Conv2d(width, outputs, 1),
    )  # fmt: skip


class Excited(nn.Module):
    """Each channel times a gate that goes by the means of all of them (squeeze and excitation: arXiv:1709.01507)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        few = max(channels // 4, 1)
        self.gate = nn.Sequential(nn.Linear(channels, few), nn.SiLU(), nn.Linear(few, channels), nn.Sigmoid())

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        gated: Tensor = h * self.gate(h.mean((2, 3)))[:, :, None, None]
        return gated


def depthwise(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """NVAE's cell: 1×1 to three times the channels, 5×5 in each, gates, 1×1.

    Norms are of groups of channels, where NVAE's are of the batch: those have no statistics to estimate anew before
    sampling.
    """
    wide = 3 * width
    return nn.Sequential(
        norm2d("group", inputs), nn.Conv2d(inputs, wide, 1), nn.SiLU(),
        nn.Conv2d(wide, wide, 5, padding=2, groups=wide), norm2d("group", wide), nn.SiLU(), Excited(wide),
        nn.Conv2d(wide, outputs, 1),
    )  # fmt: skip


CELLS = {"bottleneck": bottleneck, "depthwise": depthwise}


class Layer(nn.Module):
    """What gives p(z|above) at every place, and what its sample adds to the features."""

    def __init__(self, width: int, z: int, scale: float, cell: str) -> None:
        super().__init__()
        self.prior, self.rest = CELLS[cell](width, 2 * z + width, width), CELLS[cell](width, width, width)
        self.project = nn.Conv2d(z, width, 1)
        for last, by in ((self.prior[-1], 0.0), (self.rest[-1], scale), (self.project, scale)):
            assert isinstance(last, nn.Conv2d)
            start_at(last, by)


@declare.generator("top-down", paper="arXiv:2011.10650", modalities=("image",), tags=("hierarchy",))
class TopDown(Hierarchy):
    """Top-down generator: many stochastic layers on a few resolutions, from the lowest to half the image's.

    Its code is the standardized noise of every layer. Cells are VDVAE's bottlenecks, or NVAE's depthwise ones.
    """

    @dataclass(frozen=True)
    class Options(Hierarchy.Options):
        width: int = option(32, "channels of features", low=1, high=4096)
        z: int = option(2, "channels of a layer's code", low=1, high=256)
        layers: tuple[int, ...] = option((6, 4), "stochastic layers at each resolution, from the lowest", low=1)
        cell: Literal["bottleneck", "depthwise"] = option("bottleneck", "what layers are made of")

    options: Options

    @classmethod
    def resolutions(cls, shape: tuple[int, ...], options: Options) -> list[Size]:
        """The resolution of every layer, from the top down."""
        if len(shape) != 3 or min(shape[1:]) < 4 or not options.layers:
            raise UsageError(f"top-down makes images of 4 pixels a side or more, in layers, not shape {shape}")
        sizes = ladder(*shape[1:])[:0:-1] or [(shape[1], shape[2])]
        return [sizes[min(i, len(sizes) - 1)] for i, n in enumerate(options.layers) for _ in range(n)]

    @classmethod
    def code_shape(cls, spec: DataSpec, latent: Latent, options: Network.Options) -> tuple[int, ...]:
        assert isinstance(options, cls.Options)
        return (sum(options.z * h * w for h, w in cls.resolutions(spec.shape, options)),)

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        o = self.options
        self.sizes = self.resolutions(ports.outputs, o)
        self.shapes = [(o.z, *size) for size in self.sizes]
        numbers = sum(map(math.prod, self.shapes))
        if ports.inputs != (numbers,):
            raise UsageError(f"top-down has codes of {numbers} numbers here, not {ports.inputs}: "
                             "leave out latent.size and latent.grid")  # fmt: skip
        self.start = nn.Parameter(torch.zeros(o.width, *self.sizes[0]))
        told = ports.classes + ports.condition
        self.told = nn.Linear(told, o.width, bias=False) if told else None
        scale = 1 / math.sqrt(len(self.sizes))
        self.layers = nn.ModuleList(Layer(o.width, o.z, scale, o.cell) for _ in self.sizes)
        self.out = nn.Sequential(nn.GELU(), nn.Conv2d(o.width, ports.outputs[0], 3, padding=1))

    @property
    def feature_shape(self) -> tuple[int, ...]:
        return (self.options.width, *max(self.sizes, key=math.prod))

    def by_layer(self, numbers: Tensor) -> list[Tensor]:
        return [F.adaptive_avg_pool2d(numbers, size) for size in self.sizes]

    def reader(self, layer: int, *, above: bool) -> nn.Module:
        width = self.options.width
        made = CELLS[self.options.cell]((1 + above) * width, 2 * self.options.z, width)
        assert isinstance(made[-1], nn.Conv2d)
        start_at(made[-1], 0)
        return made

    def begin(self, n: int, y: Tensor | None) -> Tensor:
        h = self.start.expand(n, -1, -1, -1)
        if self.told is None:
            return h
        told = with_label(h[:, :0, 0, 0], y, self.ports.classes, self.ports.condition)
        begun: Tensor = h + self.told(told)[:, :, None, None]
        return begun

    def at(self, layer: int, h: Tensor) -> Tensor:
        return enlarged(h, self.sizes[layer])

    def _layer(self, i: int) -> Layer:
        layer = self.layers[i]
        assert isinstance(layer, Layer)
        return layer

    def prior(self, layer: int, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, width = self.options.z, self.options.width
        mean, log_std, more = torch.split(self._layer(layer).prior(h), [z, z, width], 1)
        return mean, log_std, h + more

    def join(self, layer: int, h: Tensor, z: Tensor) -> Tensor:
        h = h + self._layer(layer).project(z)
        below: Tensor = h + self._layer(layer).rest(h)
        return below

    def finish(self, h: Tensor, y: Tensor | None) -> Tensor:
        image: Tensor = self.out(F.interpolate(h, self.ports.outputs[1:]))
        return image
