"""The networks of R3GAN: residual blocks of grouped convolutions without norms, which start as nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from genzoo.core.networks import Critic, Encoder, Generator, Ports
from genzoo.core.options import option
from genzoo.plugins.nets.blocks import Headed, convolution, gain, variance_preserving, with_label
from genzoo.plugins.nets.pyramid import Pyramid, Size
from genzoo.plugins.nets.resample import Resample
from genzoo.registry import declare


class GroupedBlock(nn.Module):
    """h + K₁(σ(K₃(σ(K₁ h)))), σ leaky ReLU, K₁ 1×1 convolutions to twice the channels and back, K₃ a grouped 3×3 one.

    Huang et al., *The GAN is dead; long live the GAN!*, arXiv:2501.05441. Without norms: the last convolution starts at
    zero, and the others at L^(-1/4) of what keeps the second moment, L the blocks of the network (Zhang et al.,
    arXiv:1901.09321, for three layers).
    """

    def __init__(self, channels: int, group: int, blocks: int) -> None:
        super().__init__()
        wide, scale = 2 * channels, gain("leaky-relu") * blocks**-0.25
        self.widen = convolution(channels, wide, 1, scale)
        self.mix = nn.Conv2d(wide, wide, 3, padding=1, groups=wide // math.gcd(wide, group))
        fan_in = 9 * math.gcd(wide, group)
        nn.init.normal_(self.mix.weight, 0.0, scale / math.sqrt(fan_in))
        assert self.mix.bias is not None
        nn.init.zeros_(self.mix.bias)
        self.narrow = convolution(wide, channels, 1, 0.0, bias=False)
        self.bend = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        change: Tensor = self.narrow(self.bend(self.mix(self.bend(self.widen(h)))))
        return h + change


class Grouped(Pyramid):
    """What the three share: stages of blocks, and what lies between them."""

    @dataclass(frozen=True)
    class Options(Pyramid.Options):
        width: int = option(32, "channels at the image's own resolution; doubles with each halving", low=1, high=1024)
        blocks: int = option(2, "residual blocks at each resolution", low=1, high=16)
        group: int = option(16, "channels of one group of the 3x3 convolutions", low=1, high=1024)

    options: Options
    name = "r3gan"

    def stage(self, channels: int) -> list[nn.Module]:
        """The blocks at one resolution."""
        o = self.options
        return [GroupedBlock(channels, o.group, o.blocks * len(self.sizes)) for _ in range(o.blocks)]

    def between(self, inputs: int, outputs: int, small: Size, large: Size, *, up: bool) -> list[nn.Module]:
        """Resampling, with a 1×1 convolution where the channels change: at the lower resolution, which is cheaper."""
        change = [convolution(inputs, outputs, 1, 1.0, bias=False)] if inputs != outputs else []
        sampled = [Resample(small, large, up)]
        return [*change, *sampled] if up else [*sampled, *change]


@declare.generator("r3gan", paper="arXiv:2501.05441", modalities=("image",))
class R3Generator(Grouped, Generator):
    """Learned start, scaled by the code → stages of grouped residual blocks, each twice as large → image (R3GAN)."""

    def __init__(self, ports: Ports, options: Grouped.Options | None = None) -> None:
        super().__init__(ports, options)
        sizes, channels = self.sizes, self.widths(len(self.sizes))
        self.basis = nn.Parameter(torch.empty(channels[-1], *sizes[-1]))
        nn.init.normal_(self.basis)
        self.linear = nn.Linear(ports.inputs[0] + ports.classes + ports.condition, channels[-1], bias=False)
        variance_preserving(self.linear, 1.0)
        layers = self.stage(channels[-1])
        for i in range(len(sizes) - 1, 0, -1):
            layers += self.between(channels[i], channels[i - 1], sizes[i], sizes[i - 1], up=True)
            layers += self.stage(channels[i - 1])
        self.layers = nn.Sequential(*layers)
        self.out = convolution(channels[0], ports.outputs[0], 1, 1.0, bias=False)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, *ports.inputs)`` to data parameters ``(B, *ports.outputs)``."""
        scales = self.linear(with_label(z, y, self.ports.classes, self.ports.condition))
        h = (self.basis * scales[:, :, None, None]).contiguous(memory_format=torch.channels_last)  # a third quicker
        image: Tensor = self.out(self.layers(h))
        return image


class Reader(Grouped, Headed):
    """What encoder and critic share: stages down to the smallest resolution, and a learned mean over places."""

    def __init__(self, ports: Ports, options: Grouped.Options | None = None) -> None:
        super().__init__(ports, options)
        sizes, channels = self.sizes, self.widths(len(self.sizes))
        self.first = convolution(ports.inputs[0], channels[0], 1, 1.0, bias=False)
        self.hear_with(channels[0], 1 / math.sqrt(ports.inputs[0] + 1), self.appended)
        layers = self.stage(channels[0])
        for i in range(1, len(sizes)):
            layers += self.between(channels[i - 1], channels[i], sizes[i], sizes[i - 1], up=False)
            layers += self.stage(channels[i])
        self.layers = nn.Sequential(*layers)
        self.basis = nn.Conv2d(channels[-1], channels[-1], sizes[-1], groups=channels[-1], bias=False)
        nn.init.normal_(self.basis.weight, 0.0, 1 / math.sqrt(math.prod(sizes[-1])))
        self.head = nn.Linear(channels[-1], ports.output_size, bias=False)
        variance_preserving(self.head, 1.0)
        self.finish(channels[-1])

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        h: Tensor = self.basis(self.layers(self.heard(self.first(x), y, beside)))
        return h.flatten(1)


@declare.encoder("r3gan", paper="arXiv:2501.05441", modalities=("image",))
class R3Encoder(Reader, Encoder):
    """Image → grouped residual blocks, half as large from stage to stage → numbers of a posterior."""


@declare.critic("r3gan", paper="arXiv:2501.05441", modalities=("image",))
class R3Critic(Reader, Critic):
    """Image → grouped residual blocks, half as large from stage to stage → scores (R3GAN); goes with any penalty.

    Not with spectral norm, which would divide the layers that start at zero by zero.
    """

    @dataclass(frozen=True)
    class Options(Grouped.Options):
        condition: Literal["projection", "concat"] = option("projection", "how labels enter, if there are any")
