"""The networks of StyleGAN2, small: modulated convolutions, and a residual critic that sees how alike a batch is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.networks import Critic, Ports
from genzoo.core.options import option
from genzoo.plugins.nets.blocks import SLOPE, Headed, with_label
from genzoo.plugins.nets.deviation import MinibatchDeviation
from genzoo.plugins.nets.pyramid import Pyramid, Size, strides
from genzoo.plugins.nets.resample import EqualConv, EqualLinear, Resample, smoothing
from genzoo.plugins.nets.styled import StyledGenerator
from genzoo.registry import declare


def bent(h: Tensor) -> Tensor:
    """√2 times the leaky ReLU, which about keeps the second moment."""
    return F.leaky_relu(h, SLOPE) * math.sqrt(2)


def unit(z: Tensor) -> Tensor:
    """Scale each observation's numbers ``(B, N)`` to a mean square of 1."""
    return z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Modulated(nn.Module):
    """A convolution whose inputs are scaled by a style; demodulated, its outputs keep a variance of 1.

    Karras et al., *Analyzing and Improving the Image Quality of StyleGAN*, arXiv:1912.04958: weights w_oikl s_i, over
    the root of their squares' sum. Scaling inputs and outputs is the same as scaling each observation's weights, and
    one convolution does it for the whole batch. Between two resolutions it is a transposed one, smoothed.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, style: int, by: Size = (1, 1), odd: Size = (0, 0),
                 demodulate: bool = True) -> None:  # fmt: skip
        super().__init__()
        self.by, self.odd, self.demodulate = by, odd, demodulate
        self.pad = (kernel // 2 if by[0] == 1 else 0, kernel // 2 if by[1] == 1 else 0)
        self.style = EqualLinear(style, inputs, bias=1.0)
        self.conv = EqualConv(inputs, outputs, kernel)
        self.register_buffer("filter", smoothing(by) if by != (1, 1) else None)
        self.filter: Tensor | None

    def forward(self, h: Tensor, w: Tensor) -> Tensor:
        """Map features ``(B, inputs, H, W)`` and a style's code ``(B, style)`` to ``(B, outputs, ...)``."""
        s, weight = self.style(w), self.conv.weight * self.conv.scale
        h = h * s[:, :, None, None]
        if self.filter is None:
            h = F.conv2d(h, weight, None, 1, self.pad)
        else:
            h = F.conv_transpose2d(h, weight.transpose(0, 1), None, self.by, self.pad, self.odd)
            c, around = h.shape[1], (self.by[0] - 1, self.by[1] - 1)
            h = F.conv2d(h, self.filter.expand(c, -1, -1, -1), None, 1, around, 1, c)
        if self.demodulate:
            norm = (s.square() @ weight.square().sum((2, 3)).t() + 1e-8).rsqrt()
            h = h * norm[:, :, None, None]
        assert self.conv.bias is not None
        return h + self.conv.bias[:, None, None]


@declare.generator("stylegan2", paper="arXiv:1912.04958", modalities=("image",))
class StyleGAN2Generator(Pyramid, StyledGenerator):
    """Code → mapping → styles of modulated convolutions from a learned start up to the image (StyleGAN2).

    Images are added up over the resolutions. Without noise inputs: the picture is a function of the code.
    """

    @dataclass(frozen=True)
    class Options(Pyramid.Options):
        width: int = option(32, "channels at the image's own resolution; doubles with each halving", low=1, high=1024)
        styles: int = option(128, "numbers in a style's code", low=1, high=4096)
        mapping: int = option(2, "layers from the code to the styles", low=1, high=16)
        normalize: bool = option(
            True, "codes are brought to one length first; without, truncation draws styles together"
        )

    options: Options
    name = "stylegan2"

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        o, sizes, told = self.options, self.sizes, ports.classes + ports.condition
        channels, self.style_size = self.widths(len(sizes)), o.styles
        self.embed = EqualLinear(told, ports.inputs[0]) if told else None
        widths = [ports.inputs[0] * (2 if told else 1), *[o.styles] * o.mapping]
        self.mapping = nn.ModuleList(EqualLinear(a, b, rate=0.01) for a, b in pairwise(widths))
        self.constant = nn.Parameter(torch.empty(channels[-1], *sizes[-1]))
        nn.init.normal_(self.constant)
        convs, images = [Modulated(channels[-1], channels[-1], 3, o.styles)], [self._image(channels[-1])]
        self.ups = nn.ModuleList()
        for i in range(len(sizes) - 2, -1, -1):
            by, (h, w) = strides(sizes[i + 1], sizes[i]), sizes[i + 1]
            odd = (sizes[i][0] - by[0] * h, sizes[i][1] - by[1] * w)
            convs += [Modulated(channels[i + 1], channels[i], 3, o.styles, by, odd)]
            convs += [Modulated(channels[i], channels[i], 3, o.styles)]
            images += [self._image(channels[i])]
            self.ups.append(Resample(sizes[i + 1], sizes[i], up=True))
        self.convs, self.images = nn.ModuleList(convs), nn.ModuleList(images)
        self.layers = len(convs) + 1  # an image goes by the style of the layer that comes next

    def _image(self, channels: int) -> Modulated:
        return Modulated(channels, self.ports.outputs[0], 1, self.options.styles, demodulate=False)

    def styles(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, N)`` to styles ``(B, layers, styles)``, the same for every layer."""
        w = unit(z) if self.options.normalize else z
        if self.embed is not None:
            said = with_label(z[:, :0], y, self.ports.classes, self.ports.condition)
            w = torch.cat([w, unit(self.embed(said))], 1)
        for layer in self.mapping:
            w = bent(layer(w))
        return w[:, None].expand(-1, self.layers, -1)

    def from_styles(self, w: Tensor) -> Tensor:
        """Map styles ``(B, layers, styles)`` to data parameters ``(B, *ports.outputs)``."""
        each = w.unbind(1)
        start = self.constant[None].contiguous(memory_format=torch.channels_last)  # a third quicker
        h = bent(self.convs[0](start, each[0]))
        image: Tensor = self.images[0](h, each[1])
        for i, up in enumerate(self.ups):
            h = bent(self.convs[2 * i + 1](h, each[2 * i + 1]))
            h = bent(self.convs[2 * i + 2](h, each[2 * i + 2]))
            image = up(image) + self.images[i + 1](h, each[2 * i + 3])
        return image


class Shrink(nn.Module):
    """(S(down(h)) + K(down(K(h)))) / √2, K 3×3 convolutions with leaky ReLU, S a 1×1 one."""

    def __init__(self, inputs: int, outputs: int, small: Size, large: Size) -> None:
        super().__init__()
        self.first = EqualConv(inputs, inputs, 3)
        self.last = EqualConv(inputs, outputs, 3, by=strides(small, large))
        self.down, self.shortcut = Resample(small, large, up=False), EqualConv(inputs, outputs, 1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, inputs, *large)`` to ``(B, outputs, *small)``."""
        shrunk: Tensor = self.shortcut(self.down(h)) + bent(self.last(bent(self.first(h))))
        return shrunk * math.sqrt(0.5)


@declare.critic("stylegan2", paper="arXiv:1912.04958", modalities=("image",))
class StyleGAN2Critic(Pyramid, Headed, Critic):
    """Image → residual blocks → deviation of the batch → scores, with equalized learning rates (StyleGAN2).

    With a ``group`` of 2 or more it compares observations, so that it sees where samples are all alike.
    """

    @dataclass(frozen=True)
    class Options(Pyramid.Options):
        width: int = option(32, "channels at the image's own resolution; doubles with each halving", low=1, high=1024)
        group: int = option(4, "observations whose deviation is seen; 1 compares none", low=1, high=1024)
        condition: Literal["projection", "concat"] = option("projection", "how labels enter, if there are any")

    options: Options
    name = "stylegan2"

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        sizes, channels = self.sizes, self.widths(len(self.sizes))
        last, self.mixes = channels[-1], self.options.group > 1
        self.first = EqualConv(ports.inputs[0], channels[0], 1)
        self.hear_with(channels[0], 1 / math.sqrt(ports.inputs[0] + 1), self.appended)
        steps = range(len(sizes) - 1)
        self.blocks = nn.ModuleList(Shrink(channels[i], channels[i + 1], sizes[i + 1], sizes[i]) for i in steps)
        self.deviation = MinibatchDeviation(self.options.group) if self.mixes else None
        self.conv = EqualConv(last + self.mixes, last, 3)
        self.linear = EqualLinear(last * math.prod(sizes[-1]), last)
        self.head = EqualLinear(last, ports.output_size)
        self.finish(last)

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        h = bent(self.heard(self.first(x), y, beside))
        for block in self.blocks:
            h = block(h)
        h = self.deviation(h) if self.deviation is not None else h
        return bent(self.linear(bent(self.conv(h)).flatten(1)))
