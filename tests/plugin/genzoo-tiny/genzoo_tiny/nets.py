"""Gated perceptrons: h = (A x) · σ(B x), smooth and without dead units (Dauphin et al., arXiv:1612.08083)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import glu

from genzoo.core.errors import UsageError
from genzoo.core.networks import Critic, Encoder, Generator, Network, Ports
from genzoo.core.options import option


class Gated(Network):
    """Gated hidden layers, then a linear head. A label shifts what enters the gates of the first layer."""

    @dataclass(frozen=True)
    class Options(Network.Options):
        width: int = option(128, "units in a hidden layer", low=1, high=65536)
        depth: int = option(2, "hidden layers", low=1, high=64)

    options: Options

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        width, depth = self.options.width, self.options.depth
        sizes = [ports.input_size] + [width] * (depth - 1)
        self.hidden = nn.ModuleList(nn.Linear(size, 2 * width) for size in sizes)
        self.head = nn.Linear(width, ports.output_size)
        self.embed = nn.Embedding(ports.classes, 2 * width) if ports.classes else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Map ``(B, *ports.inputs)`` to ``(B, *ports.outputs)``."""
        h = x.flatten(1)
        for i, layer in enumerate(self.hidden):
            h = layer(h)
            if i == 0 and self.embed is not None:
                if y is None:
                    raise UsageError("this network is conditioned on classes; pass a label for each observation")
                h = h + self.embed(y)
            h = glu(h)
        out: Tensor = self.head(h)
        return out.view(len(x), *self.ports.outputs)


class GatedGenerator(Gated, Generator):
    """Codes to data."""


class GatedEncoder(Gated, Encoder):
    """Data to the numbers of a posterior."""


class GatedCritic(Gated, Critic):
    """Data to scores."""
