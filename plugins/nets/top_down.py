"""A generator of many stochastic layers, each of which goes by those above it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.networks import Generator, Network, Ports
from genzoo.core.options import option
from genzoo.core.posterior import normal_kl, normal_log_prob
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.nets.blocks import with_label
from genzoo.plugins.nets.pyramid import ladder
from genzoo.registry import declare

Size = tuple[int, int]


@dataclass(frozen=True)
class Descent:
    """What a way down through the layers gives."""

    params: Tensor  # of the data, (B, *ports.outputs)
    code: Tensor  # standardized noise of all layers, (B, numbers)
    kl: Tensor  # of each of its numbers to the prior in nats, given those above, (B, numbers); 0 from the prior
    log_q: Tensor  # log density of the code, (B,); of the prior's, 0


def block(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """A bottleneck: 1×1, 3×3 and 1×1 convolutions."""
    return nn.Sequential(
        nn.GELU(), nn.Conv2d(inputs, width, 1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1),
        nn.GELU(), nn.Conv2d(width, outputs, 1),
    )  # fmt: skip


def start_at(last: nn.Module, scale: float) -> None:
    """Scale the initial weights of a layer; with 0, and its bias, it gives nothing at the start."""
    assert isinstance(last, nn.Conv2d)
    with torch.no_grad():
        last.weight.mul_(scale)
        if scale == 0 and last.bias is not None:
            last.bias.zero_()


class Layer(nn.Module):
    """p(z|above) = N(μ, σ²) at every place, and what its sample adds to the features."""

    def __init__(self, width: int, z: int, scale: float) -> None:
        super().__init__()
        self.z, self.width = z, width
        self.prior, self.rest = block(width, 2 * z + width, width), block(width, width, width)
        self.project = nn.Conv2d(z, width, 1)
        start_at(self.prior[-1], 0)
        start_at(self.rest[-1], scale)
        start_at(self.project, scale)

    def forward(self, h: Tensor, eps: Tensor) -> Tensor:
        """Features ``(B, width, H, W)`` and standardized noise ``(B, z, H, W)`` to the features below."""
        mean, log_std, more = self.prior(h).split([self.z, self.z, self.width], 1)
        h = h + more + self.project(mean + log_std.clamp(-5, 5).exp() * eps)
        below: Tensor = h + self.rest(h)
        return below


@declare.generator("top-down", paper="arXiv:2011.10650", modalities=("image",), tags=("hierarchy",))
class TopDown(Generator):
    """Top-down generator: many stochastic layers on a few resolutions, from the lowest to half the image's.

    Its code is the standardized noise ε of every layer, z = μ(above) + σ(above) ε, so that its prior is N(0, 1) for any
    depth, and seeds, truncation and a posterior's KL mean what they always do.
    """

    @dataclass(frozen=True)
    class Options(Generator.Options):
        width: int = option(32, "channels of features", low=1, high=4096)
        z: int = option(2, "channels of a layer's code", low=1, high=256)
        layers: tuple[int, ...] = option((6, 4), "stochastic layers at each resolution, from the lowest", low=1)

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
        self.parts = [o.z * h * w for h, w in self.sizes]
        if ports.inputs != (sum(self.parts),):
            raise UsageError(f"top-down has codes of {sum(self.parts)} numbers here, not {ports.inputs}: "
                             "leave out latent.size and latent.grid")  # fmt: skip
        self.start = nn.Parameter(torch.zeros(o.width, *self.sizes[0]))
        told = ports.classes + ports.condition
        self.told = nn.Linear(told, o.width, bias=False) if told else None
        scale = 1 / math.sqrt(len(self.sizes))
        self.layers = nn.ModuleList(Layer(o.width, o.z, scale) for _ in self.sizes)
        self.out = nn.Sequential(nn.GELU(), nn.Conv2d(o.width, ports.outputs[0], 3, padding=1))

    def descend(
        self, eps: Tensor, y: Tensor | None, ask: Callable[[int, Tensor], Tensor] | None = None, given: bool = False
    ) -> Descent:
        """Go down, by normal noise ``eps (B, numbers)``; without a posterior, or if ``given``, it is the code itself.

        A posterior ``ask`` maps a layer's number and features to mean and log variance ``(B, 2 z, H, W)``.
        """
        h = self.start.expand(eps.shape[0], -1, -1, -1)
        if self.told is not None:
            told = with_label(eps[:, :0], y, self.ports.classes, self.ports.condition)
            h = h + self.told(told)[:, :, None, None]
        codes, divergences, log_q = [], [], eps.new_zeros(eps.shape[0])
        for i, (layer, size) in enumerate(zip(self.layers, self.sizes, strict=True)):
            h = h if h.shape[2:] == size else F.interpolate(h, size)
            part = torch.unflatten(torch.split(eps, self.parts, 1)[i], 1, (self.options.z, *size))
            if ask is not None:
                mean, log_var = ask(i, h).float().chunk(2, 1)
                part = part if given else torch.addcmul(mean, torch.exp(0.5 * log_var), part)
                divergences.append(normal_kl(mean, log_var).flatten(1))
                log_q = log_q + normal_log_prob(part, mean, log_var).flatten(1).sum(1)
            codes.append(part.flatten(1))
            h = layer(h, part)
        image: Tensor = self.out(F.interpolate(h, self.ports.outputs[1:]))
        code = torch.cat(codes, 1)
        return Descent(image, code, torch.cat(divergences, 1) if divergences else torch.zeros_like(code), log_q)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, numbers)`` to data parameters ``(B, *ports.outputs)``."""
        return self.descend(z, y).params
