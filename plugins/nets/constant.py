"""A generator of no code: the same learned numbers for every observation, or for every one of a class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.networks import Generator, Ports
from genzoo.plugins.nets.blocks import as_numbers
from genzoo.registry import declare


@declare.generator("constant", summary="Learned numbers, for models without a code")
class ConstantGenerator(Generator):
    """Learned numbers, a set for each class if there are classes."""

    codeless = True

    def __init__(self, ports: Ports, options: Generator.Options | None = None) -> None:
        super().__init__(ports, options)
        if ports.input_size:
            raise UsageError("the constant generator reads no code: --set latent.size=0")
        self.numbers = nn.Parameter(0.1 * torch.randn(max(ports.classes, 1), *ports.outputs))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, …)`` to the same parameters ``(B, *ports.outputs)``."""
        if not self.ports.classes:
            return self.numbers.expand(len(z), *self.ports.outputs)
        found: Tensor = torch.tensordot(as_numbers(y, self.ports.classes, 0, self.numbers), self.numbers, 1)
        return found
