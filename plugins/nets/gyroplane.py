"""A perceptron whose first layer reads points of the Poincaré ball by their distances to hyperplanes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.math.hyperbolic import added, from_tangent
from genzoo.core.networks import Generator, Ports
from genzoo.plugins.nets.mlp import MLP, MLPGenerator
from genzoo.registry import declare


class Gyroplanes(nn.Module):
    """2 ‖a‖ asinh(2 ⟨-p ⊕ z, a⟩ / ((1 - ‖-p ⊕ z‖²) ‖a‖)): signed distances to hyperplanes through p, times 2 ‖a‖."""

    def __init__(self, size: int, planes: int) -> None:
        super().__init__()
        self.point = nn.Parameter(0.1 * torch.randn(planes, size))  # in the tangent space of the middle
        self.normal = nn.Parameter(torch.randn(planes, size) / math.sqrt(4 * size))

    def forward(self, z: Tensor) -> Tensor:
        """``(B, size)`` to ``(B, planes)``."""
        moved = added(-from_tangent(self.point), z[:, None])
        length = self.normal.square().sum(-1).clamp(min=1e-12).sqrt()
        along = (moved * self.normal).sum(-1) / length
        return 2 * length * torch.asinh(2 * along / (1 - moved.square().sum(-1)))


@declare.generator(
    "gyroplane", paper="arXiv:1901.06033", summary="Gyroplane layer and a perceptron, for hyperbolic codes"
)
class GyroplaneGenerator(Generator):
    """Point of the Poincaré ball → distances to hyperplanes → 128 → 128 → data."""

    conditions = True

    @dataclass(frozen=True)
    class Options(MLP.Options):
        pass

    options: Options

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        if len(ports.inputs) != 1:
            raise UsageError("the gyroplane generator reads flat codes: --set latent.grid=0")
        width = self.options.width
        self.planes = Gyroplanes(ports.inputs[0], width)
        rest = Ports((width,), ports.outputs, ports.classes, ports.per_observation, 0, ports.condition)
        self.rest = MLPGenerator(rest, self.options)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        numbers: Tensor = self.rest(self.planes(z.float()), y)
        return numbers
