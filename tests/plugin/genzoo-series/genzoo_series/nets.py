"""A generator of smooth curves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.networks import Generator, Ports
from genzoo.core.options import option
from genzoo.registry import declare


@declare.generator("series-curves", modalities=("series",))
class Curves(Generator):
    """A perceptron that puts out coefficients of cosines over time, so that what it makes is smooth."""

    @dataclass(frozen=True)
    class Options(Generator.Options):
        """Size of the perceptron."""

        width: int = option(64, "hidden units", low=1)

    options: Options
    basis: Tensor

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        if len(ports.outputs) != 2:
            raise UsageError("series-curves makes time series (channels, steps)")
        channels, steps = ports.outputs
        self.hidden = nn.Linear(ports.input_size + ports.classes, self.options.width)
        self.head = nn.Linear(self.options.width, channels * steps)
        time = (torch.arange(steps) + 0.5) / steps
        self.register_buffer("basis", torch.cos(math.pi * torch.arange(steps)[:, None] * time), persistent=False)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """See `Generator.forward`."""
        z = z.flatten(1)
        if y is not None:
            z = torch.cat([z, F.one_hot(y, self.ports.classes).to(z.dtype)], 1)
        found: Tensor = self.head(F.silu(self.hidden(z)))
        return found.unflatten(1, self.ports.outputs) @ self.basis.to(found.dtype)
