"""Convolutional networks for images of any channels, 8 to 128 pixels high and wide, shaped by the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from genzoo.core.conditions import numbers_of
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.networks import Critic, Encoder, Generator, Network, Ports
from genzoo.core.options import option
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.nets.blocks import (
    ACTIVATIONS,
    Headed,
    gain,
    labels,
    norm2d,
    refuse_batch_norm,
    sequence,
    shaped,
    variance_preserving,
    with_label,
)
from genzoo.registry import declare

SMALLEST, LARGEST = 8, 128

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


class Conv(Network):
    """What the three share: the resolutions, the channels at each, and the layers between them.

    Along an axis that is halved a layer has kernel 4 and stride 2, along another kernel 3 and stride 1, as
    in DCGAN (Radford et al., arXiv:1511.06434); the generator's transposed convolutions add one row or
    column where the half was rounded down, so that every size comes out exactly. The layer next to the
    image goes straight between the image and half its resolution, and has no norm on the image's side:
    at equal time a layer at full resolution costs more than it gives.

    Without norm, hidden weights start variance-preserving (He et al., arXiv:1502.01852, for the taps that
    are really summed), since smaller ones shrink features layer by layer: a penalized critic that starts
    at half that scale learns later. A weight that a norm follows starts at a tenth
    of its natural scale: the norm undoes any scale, but Adam's steps are absolute, so the smaller weight
    turns faster (a VAE on binarized Fashion-MNIST, 700 steps at 1e-3: −ELBO 248.4 against 256.7).
    """

    @dataclass(frozen=True)
    class Options(Network.Options):
        width: int = option(32, "channels at the highest inner resolution; doubles with each halving", low=1, high=1024)
        max_width: int = option(256, "most channels at any resolution", low=1, high=8192)
        norm: Literal["none", "batch", "layer", "group"] = option("batch", "normalization before each activation")
        residual: int = option(0, "residual blocks at each inner resolution", low=0, high=16)
        dropout: float = option(0.0, "share of channels dropped after each activation while training", low=0, high=0.9)
        activation: Literal["leaky-relu", "relu", "silu", "gelu"] = option("leaky-relu", "leaky ReLU has slope 0.2")

    options: Options
    conditions = True

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        o = self.options
        refuse_batch_norm(ports, o.norm)
        made = isinstance(self, Generator)
        image, code = (ports.outputs, ports.inputs) if made else (ports.inputs, ports.outputs)
        verb, kind = "makes" if made else "reads", "encoder" if isinstance(self, Encoder) else "critic"
        mlp = f"--{'generator' if made else kind} mlp"
        if len(image) != 3:
            raise UsageError(f"conv {verb} images of channels, height, width, not shape {image}; use {mlp}")
        if not all(SMALLEST <= s <= LARGEST for s in image[1:]):
            fitting = LARGEST if max(image[1:]) > LARGEST else SMALLEST
            raise UsageError(
                f"conv {verb} images of {SMALLEST} to {LARGEST} pixels a side, not {image[1]}x{image[2]}: "
                f"bring the pictures to another size with --set data.size={fitting}, or use {mlp}"
            )
        self.sizes, self.grid = ladder(*image[1:]), len(code) == 3 and not isinstance(self, Critic)
        if self.grid and code[1:] not in self.sizes[1:]:
            there = " or ".join(f"{h}x{w}" for h, w in self.sizes[1:])
            fitting = self.sizes[-1][0]
            raise UsageError(
                f"conv has codes on a grid of {there}, or flat ones, not of shape {code}: --set latent.grid={fitting}"
            )
        if self.grid:
            self.sizes = self.sizes[: self.sizes.index((code[1], code[2])) + 1]
        self.channels = [image[0], *(min(o.width * 2**i, o.max_width) for i in range(len(self.sizes) - 1))]
        self.bias = o.norm == "none"  # of a hidden layer: a norm brings its own, and would subtract the layer's

    def _after(self, channels: int, *, normed: bool = True) -> list[nn.Module]:
        """Return what follows a hidden layer: norm, activation, dropout, residual blocks."""
        o = self.options
        layers = [norm2d(o.norm, channels)] if normed else []
        layers += [ACTIVATIONS[o.activation](), nn.Dropout2d(o.dropout)]
        return layers + [Residual(channels, o) for _ in range(o.residual)]


def initial_gain(o: Conv.Options) -> float:
    """Scale of a hidden layer's initial weights: natural, or a tenth before a norm (see `Conv`)."""
    return gain(o.activation) if o.norm == "none" else 0.1


class Residual(nn.Module):
    """h + conv(act(norm(conv(h)))), whose second part starts at a tenth of its natural scale."""

    def __init__(self, channels: int, o: Conv.Options) -> None:
        super().__init__()
        first = nn.Conv2d(channels, channels, 3, padding=1, bias=o.norm == "none")
        last = nn.Conv2d(channels, channels, 3, padding=1)
        variance_preserving(first, initial_gain(o))
        variance_preserving(last, 0.1 * gain(o.activation))
        act, drop = ACTIVATIONS[o.activation](), nn.Dropout2d(o.dropout)
        self.body = sequence([first, norm2d(o.norm, channels), act, drop, last])

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        change: Tensor = self.body(h)
        return h + change


def _steps(small: Size, large: Size) -> tuple[Size, Size]:
    """Kernel and stride between two rungs of the ladder, by axis."""
    halved = [s < n for s, n in zip(small, large, strict=True)]
    return (4 if halved[0] else 3, 4 if halved[1] else 3), (2 if halved[0] else 1, 2 if halved[1] else 1)


@declare.generator(
    "conv", summary="Convolutions from the code up to 8..128 pixels", paper="arXiv:1511.06434", modalities=("image",)
)
class ConvGenerator(Conv, Generator):
    """Code → linear → smallest resolution → transposed convolutions → image.

    Takes a flat code, to which labels are appended as one-hot numbers; or a grid of codes that is one of its
    resolutions, to which labels are appended as one-hot planes.
    """

    @classmethod
    def code_shape(cls, spec: DataSpec, latent: Latent, options: Network.Options) -> tuple[int, ...]:
        """A grid of codes lies on the resolution that is nearest to the recipe's."""
        square = [h for h, w in ladder(*spec.shape[1:])[1:] if h == w] if latent.grid and of(spec).pixels else []
        if not square:
            return latent.shape
        grid = min(square, key=lambda size: abs(size - latent.grid))
        return (latent.size, grid, grid)

    def __init__(self, ports: Ports, options: Conv.Options | None = None) -> None:
        super().__init__(ports, options)
        channels, sizes, scale = self.channels, self.sizes, initial_gain(self.options)
        self.start = (channels[-1], *sizes[-1])
        # Unlike a convolution's, this bias differs by position, so a norm after it takes nothing away.
        told = ports.classes + ports.condition
        self.linear: nn.Linear | nn.Conv2d
        if self.grid:
            self.linear = nn.Conv2d(ports.inputs[0] + told, channels[-1], 3, padding=1)
        else:
            self.linear = nn.Linear(ports.inputs[0] + told, math.prod(self.start))
        variance_preserving(self.linear, min(scale, 1.0))
        layers = self._after(channels[-1])
        for i in range(len(sizes) - 1, 0, -1):
            kernel, stride = _steps(sizes[i], sizes[i - 1])
            odd = (sizes[i - 1][0] - stride[0] * sizes[i][0], sizes[i - 1][1] - stride[1] * sizes[i][1])
            up = nn.ConvTranspose2d(
                channels[i], channels[i - 1], kernel, stride, padding=1, output_padding=odd, bias=i == 1 or self.bias
            )
            variance_preserving(up, scale if i > 1 else 0.5)
            layers += [up, *(self._after(channels[i - 1]) if i > 1 else [])]
        self.layers = sequence(layers)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, *ports.inputs)`` to data parameters ``(B, *ports.outputs)``."""
        told = self.ports.classes, self.ports.condition
        if self.grid:
            planes = with_label(z[:, :0], y, *told)[:, :, None, None].expand(-1, -1, *z.shape[2:])
        start = self.linear(torch.cat([z, planes], 1) if self.grid else with_label(z, y, *told))
        image: Tensor = self.layers(start if self.grid else shaped(start, self.start))
        return image


class Reader(Conv, Headed):
    """What encoder and critic share: convolutions down to the smallest resolution, then a linear head."""

    def __init__(self, ports: Ports, options: Conv.Options | None = None) -> None:
        super().__init__(ports, options)
        channels, sizes, a = self.channels, self.sizes, gain(self.options.activation)
        layers: list[nn.Module] = []
        for i in range(1, len(sizes)):
            kernel, stride = _steps(sizes[i], sizes[i - 1])
            # No norm next to the image: it would take away contrast and, by group, a label's plane.
            down = nn.Conv2d(channels[i - 1], channels[i], kernel, stride, padding=1, bias=i == 1 or self.bias)
            variance_preserving(down, a if i == 1 else initial_gain(self.options))
            layers += [down, *self._after(channels[i], normed=i > 1)]
        self.first, self.layers = layers[0], sequence(layers[1:])
        classes, told = self.appended
        # A bias for every channel is what a constant plane beside the image comes to (but for the border).
        self.label = nn.Embedding(classes, channels[1]) if classes else None
        if self.label is not None:
            nn.init.normal_(self.label.weight, 0.0, a / math.sqrt(channels[0] + 1))
        self.told = nn.Linear(told, channels[1], bias=False) if told else None
        if self.told is not None:
            nn.init.normal_(self.told.weight, 0.0, a / math.sqrt(channels[0] + 1))
        self.beside = nn.Linear(ports.beside, channels[1], bias=False) if ports.beside else None
        if self.grid:
            self.head = nn.Conv2d(channels[-1], ports.outputs[0], 1)
        else:
            self.head = nn.Linear(channels[-1] * math.prod(sizes[-1]), ports.output_size)
        self.finish(channels[-1] * math.prod(sizes[-1]))

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        """Return the last resolution's features, flat: ``(B, F)``."""
        h: Tensor = self.first(x)
        if self.beside is not None:
            h = h + self.beside(beside)[:, :, None, None]
        if self.label is not None:
            h = h + self.label(labels(y, self.ports.classes))[:, :, None, None]
        if self.told is not None:
            h = h + self.told(numbers_of(y, self.ports.condition))[:, :, None, None]
        features: Tensor = self.layers(h)
        return features.flatten(1)


@declare.encoder(
    "conv", summary="Convolutions from 8..128 pixels down to the code", paper="arXiv:1511.06434", modalities=("image",)
)
class ConvEncoder(Reader, Encoder):
    """Image → convolutions → numbers of a posterior."""

    def forward(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        if not self.grid:
            return super().forward(x, y, beside)
        grid: Tensor = self.head(shaped(self.features(x, y, beside), (-1, *self.sizes[-1])))
        return grid


@declare.critic(
    "conv", summary="Convolutions from 8..128 pixels down to a score", paper="arXiv:1511.06434", modalities=("image",)
)
class ConvCritic(Reader, Critic):
    """Image → convolutions → scores; without norm unless asked, since penalties forbid batch norm."""

    @dataclass(frozen=True)
    class Options(Reader.CriticOptions, Conv.Options):
        norm: Literal["none", "batch", "layer", "group"] = option("none", "normalization before each activation")
