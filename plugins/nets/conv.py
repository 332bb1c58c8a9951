"""Convolutional networks for images of any channels, 8 to 128 pixels high and wide, shaped by the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from genzoo.core.networks import Critic, Encoder, Generator, Ports
from genzoo.core.options import option
from genzoo.plugins.nets.blocks import (
    ACTIVATIONS,
    Conditioned,
    Headed,
    gain,
    norm2d,
    normalize_spectrally,
    refuse_batch_norm,
    sequence,
    shaped,
    variance_preserving,
)
from genzoo.plugins.nets.pyramid import Pyramid, Size, strides
from genzoo.registry import declare


class Conv(Pyramid):
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
    class Options(Pyramid.Options):
        norm: Literal["none", "batch", "layer", "group"] = option("batch", "normalization before each activation")
        residual: int = option(0, "residual blocks at each inner resolution", low=0, high=16)
        dropout: float = option(0.0, "share of channels dropped after each activation while training", low=0, high=0.9)
        activation: Literal["leaky-relu", "relu", "silu", "gelu"] = option("leaky-relu", "leaky ReLU has slope 0.2")

    options: Options
    name, largest, grids = "conv", 128, True

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        o = self.options
        refuse_batch_norm(ports, o.norm, "generator" if isinstance(self, Generator) else "critic")
        image = ports.outputs if isinstance(self, Generator) else ports.inputs
        self.channels = [image[0], *self.widths(len(self.sizes) - 1)]
        norm: str = o.norm
        self.by_norm = ports.classes + ports.condition if norm == "class" else 0
        self.bias = o.norm == "none"  # of a hidden layer: a norm brings its own, and would subtract the layer's

    def _after(self, channels: int, *, normed: bool = True) -> list[nn.Module]:
        """Return what follows a hidden layer: norm, activation, dropout, residual blocks."""
        o = self.options
        layers = [norm2d(o.norm, channels, self.by_norm)] if normed else []
        layers += [ACTIVATIONS[o.activation](), nn.Dropout2d(o.dropout)]
        kind = ConditionedResidual if self.by_norm else Residual
        return layers + [kind(channels, o, self.by_norm) for _ in range(o.residual)]


def initial_gain(o: Conv.Options) -> float:
    """Scale of a hidden layer's initial weights: natural, or a tenth before a norm (see `Conv`)."""
    return gain(o.activation) if o.norm == "none" else 0.1


class Residual(nn.Module):
    """h + conv(act(norm(conv(h)))), whose second part starts at a tenth of its natural scale."""

    def __init__(self, channels: int, o: Conv.Options, told: int = 0) -> None:
        super().__init__()
        first = nn.Conv2d(channels, channels, 3, padding=1, bias=o.norm == "none")
        last = nn.Conv2d(channels, channels, 3, padding=1)
        variance_preserving(first, initial_gain(o))
        variance_preserving(last, 0.1 * gain(o.activation))
        act, drop = ACTIVATIONS[o.activation](), nn.Dropout2d(o.dropout)
        self.body = sequence([first, norm2d(o.norm, channels, told), act, drop, last])

    def forward(self, h: Tensor, *told: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        change: Tensor = self.body(h, *told)
        return h + change


class ConditionedResidual(Residual, Conditioned):
    """The same with a norm that is told of the class."""


def _steps(small: Size, large: Size) -> tuple[Size, Size]:
    """Kernel and stride between two rungs of the ladder, by axis."""
    h, w = strides(small, large)
    return (2 + h, 2 + w), (h, w)


@declare.generator(
    "conv", summary="Convolutions from the code up to 8..128 pixels", paper="arXiv:1511.06434", modalities=("image",)
)
class ConvGenerator(Conv, Generator):
    """Code → linear → smallest resolution → transposed convolutions → image.

    Takes a flat code, to which labels are appended as one-hot numbers; or a grid of codes that is one of its
    resolutions, to which labels are appended as one-hot planes. With ``norm=class`` labels enter by the norms instead.
    """

    @dataclass(frozen=True)
    class Options(Conv.Options):
        norm: Literal["none", "batch", "layer", "group", "class"] = option(  # type: ignore[assignment]  # one more
            "batch", "normalization before each activation; class: batch norm with gains and shifts of each class"
        )
        spectral_norm: bool = option(False, "divide each weight matrix by its largest singular value")

    def __init__(self, ports: Ports, options: Conv.Options | None = None) -> None:
        super().__init__(ports, options)
        channels, sizes, scale = self.channels, self.sizes, initial_gain(self.options)
        # Unlike a convolution's, the bias of the first layer differs by position, so a norm takes nothing away.
        self.begin_with(channels[-1], min(scale, 1.0))
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
        if getattr(self.options, "spectral_norm", False):
            normalize_spectrally(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, *ports.inputs)`` to data parameters ``(B, *ports.outputs)``."""
        image: Tensor = self.layers(self.begin(z, y), *self.for_norms(z, y))
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
        self.hear_with(channels[1], a / math.sqrt(channels[0] + 1), self.appended)
        if self.grid:
            self.head = nn.Conv2d(channels[-1], ports.outputs[0], 1)
        else:
            self.head = nn.Linear(channels[-1] * math.prod(sizes[-1]), ports.output_size)
        self.finish(channels[-1] * math.prod(sizes[-1]))

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        """Return the last resolution's features, flat: ``(B, F)``."""
        features: Tensor = self.layers(self.heard(self.first(x), y, beside))
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
