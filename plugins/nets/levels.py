"""A generator of a few stochastic layers of plain numbers, for data of any kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.networks import Generator, Network, Ports
from genzoo.core.options import option
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.nets.blocks import with_label
from genzoo.plugins.nets.conv import ConvGenerator
from genzoo.plugins.nets.hierarchy import Hierarchy, start_at
from genzoo.plugins.nets.mlp import MLPGenerator
from genzoo.registry import declare


def perceptron(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, outputs))


@declare.generator("levels", paper="arXiv:1602.02282", tags=("hierarchy",))
class Levels(Hierarchy):
    """A few levels of plain numbers, from the top down, then ``decoder`` from what they come to.

    Its code is the standardized noise of all levels.
    """

    @dataclass(frozen=True)
    class Options(Hierarchy.Options):
        sizes: tuple[int, ...] = option((8, 16), "numbers of each level, from the top down", low=1, high=4096)
        width: int = option(128, "units of a hidden layer", low=1, high=65536)
        decoder: Literal["mlp", "conv"] = option("mlp", "network from the levels to the data")
        channels: int = option(32, "width of a decoder of convolutions", low=1, high=1024)
        hidden: int = option(0, "units of the decoder mlp's hidden layer, 0 for as many as width", low=0, high=65536)

    options: Options

    @classmethod
    def code_shape(cls, spec: DataSpec, latent: Latent, options: Network.Options) -> tuple[int, ...]:
        assert isinstance(options, cls.Options)
        return (sum(options.sizes),)

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        o = self.options
        self.shapes = [(n,) for n in o.sizes]
        if ports.inputs != (sum(o.sizes),):
            raise UsageError(f"levels has codes of {sum(o.sizes)} numbers here, not {ports.inputs}: "
                             "leave out latent.size and latent.grid")  # fmt: skip
        told = ports.classes + ports.condition
        self.start = nn.Parameter(torch.zeros(o.width))
        self.told = nn.Linear(told, o.width, bias=False) if told else None
        self.priors = nn.ModuleList(perceptron(o.width, 2 * n, o.width) for n in o.sizes)
        self.project = nn.ModuleList(nn.Linear(n, o.width) for n in o.sizes)
        self.rest = nn.ModuleList(perceptron(o.width, o.width, o.width) for _ in o.sizes)
        for made in self.priors:
            assert isinstance(made, nn.Sequential)
            assert isinstance(made[-1], nn.Linear)
            start_at(made[-1], 0)
        inner = Ports((o.width,), ports.outputs, ports.classes, condition=ports.condition)
        self.body: Generator
        if o.decoder == "conv":
            self.body = ConvGenerator(inner, ConvGenerator.Options(width=o.channels))
        else:
            self.body = MLPGenerator(inner, MLPGenerator.Options(width=o.hidden or o.width, depth=1))

    @property
    def feature_shape(self) -> tuple[int, ...]:
        return (self.options.width,)

    def by_layer(self, numbers: Tensor) -> list[Tensor]:
        return [numbers] * len(self.shapes)

    def reader(self, layer: int, *, above: bool) -> nn.Module:
        width = self.options.width
        made = perceptron((1 + above) * width, 2 * self.options.sizes[layer], width)
        assert isinstance(made[-1], nn.Linear)
        start_at(made[-1], 0)
        return made

    def begin(self, n: int, y: Tensor | None) -> Tensor:
        h = self.start.expand(n, -1)
        if self.told is None:
            return h
        told: Tensor = self.told(with_label(h[:, :0], y, self.ports.classes, self.ports.condition))
        return h + told

    def prior(self, layer: int, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_std = self.priors[layer](h).chunk(2, 1)
        return mean, log_std, h

    def join(self, layer: int, h: Tensor, z: Tensor) -> Tensor:
        h = h + self.project[layer](z)
        below: Tensor = h + self.rest[layer](h)
        return below

    def finish(self, h: Tensor, y: Tensor | None) -> Tensor:
        params: Tensor = self.body(h, y)
        return params
