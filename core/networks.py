"""The three kinds of network, and what one is built to.

A network knows shapes and conditions (`Ports`) and nothing of the objective that will train it, so any
objective runs on any architecture.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Ports:
    """What a network must take and give, and what it must not do.

    Attributes:
        inputs: shape of one input, without the batch: a code, or an observation in model space.
        outputs: shape of one output, without the batch.
        classes: number of class labels it is conditioned on; 0 means none, and ``y`` is None.
        per_observation: no layer may mix observations (a critic under a gradient penalty): batch norm
            is refused while building, with the reason.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    classes: int = 0
    per_observation: bool = False

    @property
    def input_size(self) -> int:
        """Numbers in one input."""
        return math.prod(self.inputs)

    @property
    def output_size(self) -> int:
        """Numbers in one output."""
        return math.prod(self.outputs)


class Network(nn.Module, ABC):
    """Base of generators, encoders and critics: built from `Ports` and its own ``Options``.

    Subclasses declare a nested frozen dataclass ``Options`` and build their layers in ``__init__``
    after ``super().__init__(ports, options)``. They need no other argument.
    """

    @dataclass(frozen=True)
    class Options:
        """No options."""

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__()
        self.ports = ports
        self.options = options if options is not None else type(self).Options()


class Generator(Network):
    """Codes, and a condition, to the parameters of data: a GAN's generator and a VAE's decoder alike."""

    @abstractmethod
    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes to data parameters.

        Args:
            z: codes, ``(B, *ports.inputs)``.
            y: class labels, int64 ``(B,)``, or None if ``ports.classes`` is 0.

        Returns:
            ``(B, *ports.outputs)``, unbounded: what the numbers mean is the likelihood's business.
        """


class Encoder(Network):
    """Data, and a condition, to the numbers that make a posterior over codes."""

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Map observations in model space ``(B, *ports.inputs)`` to ``(B, *ports.outputs)``, unbounded."""


class Critic(Network):
    """A network that an objective trains beside the model and throws away."""

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Judge observations in model space ``(B, *ports.inputs)``; returns ``(B, *ports.outputs)`` logits."""
