"""The three kinds of network, and what one is built to.

A network knows shapes and conditions (`Ports`) and nothing of the objective that will train it, so any
objective runs on any architecture.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.mixed_precision import in_bfloat16
from genzoo.core.options import Configured
from genzoo.core.spec import DataSpec, Latent


@dataclass(frozen=True)
class Ports:
    """What a network must take and give, and what it must not do. Shapes are without the batch."""

    inputs: tuple[int, ...]  # shape of one input: a code, or an observation in model space
    outputs: tuple[int, ...]
    classes: int = 0  # class labels that it is conditioned on; 0 is none
    per_observation: bool = False  # no layer may mix observations, such as batch norm: building is refused otherwise
    beside: int = 0  # how many numbers come beside each input of a critic: a code, the labels of a pack
    condition: int = 0  # how many numbers it is conditioned on; `genzoo.core.conditions` says what ``y`` is then
    levels: int | None = None  # values that a number of an encoder's input can take, None if real or unknown

    @property
    def input_size(self) -> int:
        """Numbers in one input."""
        return math.prod(self.inputs)

    @property
    def output_size(self) -> int:
        """Numbers in one output."""
        return math.prod(self.outputs)


class Network(Configured, nn.Module, ABC):
    """Base of generators, encoders and critics: built from `Ports` and its own ``Options``.

    Subclasses declare a nested frozen dataclass ``Options`` and build their layers in ``__init__``
    after ``super().__init__(ports, options)``. They need no other argument.
    """

    tokens: bool = False  # it looks its input up by number, so that no gradient reaches it
    conditions: bool = False  # it reads the numbers that ``ports.condition`` announces; others are refused then

    def __init__(self, ports: Ports, options: Any = None) -> None:
        super().__init__(options)
        self.ports = ports

    def __init_subclass__(cls, **how: Any) -> None:
        """Let passes compute in the precision that training asks for (`genzoo.core.mixed_precision`)."""
        super().__init_subclass__(**how)
        for name in ("forward", "features"):
            if name in cls.__dict__:
                setattr(cls, name, in_bfloat16(cls.__dict__[name]))


class Generator(Network):
    """Codes, and a condition, to the parameters of data: a GAN's generator and a VAE's decoder alike."""

    codeless: bool = False  # it reads no code, and is for models of ``latent.size`` 0 only
    stages: tuple[int, ...] = ()  # how many numbers of a code each of its layers reads, where one goes by those before

    @classmethod
    def code_shape(cls, spec: DataSpec, latent: Latent, options: Network.Options) -> tuple[int, ...]:
        """Say the shape of its codes, ``(size,)`` or ``(size, grid, grid)``, where it follows from data and network.

        By default it is ``latent``, what the recipe asks for; sizes that a user gives are not asked about.
        """
        return latent.shape

    @property
    def last_weight(self) -> Tensor:
        """Weight of the last layer; that which was built last, unless it says otherwise."""
        return [p for p in self.parameters() if p.dim() > 1][-1]

    @abstractmethod
    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, *ports.inputs)`` to data parameters ``(B, *ports.outputs)``.

        They are unbounded: what the numbers mean is the likelihood's business. ``y`` is class labels, int64 ``(B,)``,
        or None if ``ports.classes`` is 0.
        """


class Encoder(Network):
    """Data, and a condition, to the numbers that make a posterior over codes."""

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Map observations in model space ``(B, *ports.inputs)`` to ``(B, *ports.outputs)``, unbounded."""


class Critic(Network):
    """A network that an objective trains beside the model and throws away.

    It may declare that it ``mixes``: a score depends on the other observations of the batch, and is computed from all
    of it on every process that shares it (`genzoo.core.distributed.gather.all_gather`). Such a critic is allowed under
    a gradient penalty; real and generated observations are judged apart, and its terms are coupled.
    """

    mixes: bool = False

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        """Judge inputs ``(B, *ports.inputs)`` in model space: logits ``(B, *ports.outputs)``.

        ``beside (B, ports.beside)`` is given only where ``ports.beside`` is not 0.
        """

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        """Return what the last layer reads, ``(B, F)``; a critic need not have it."""
        raise UsageError(f"this critic ({type(self).__name__}) has no features: name one that has, such as mlp or conv")
