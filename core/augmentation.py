"""What a critic is shown of observations, real and generated alike, where there are few data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn


class Augmentation(nn.Module, ABC):
    """A random, differentiable change of observations. What it remembers are buffers, which checkpoints keep.

    Attributes:
        numbers: uniform numbers that one observation takes.
        rank: dimensions of an observation that it can change: 3 for images ``(channels, height, width)``; 0 for any.
        watched: what `after_step` follows: see `genzoo.core.regularizer.Regularizer`.
        reads_zero: whether it depends on where a score is zero, which some losses leave free.
    """

    numbers: int = 0
    rank: int = 0
    watched: tuple[str, ...] = ()
    reads_zero: bool = False

    @dataclass(frozen=True)
    class Options:
        pass

    options: Options

    def __init__(self, options: Options | None = None) -> None:
        super().__init__()
        self.options = options if options is not None else type(self).Options()

    @abstractmethod
    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """Change observations.

        Args:
            x: observations in model space ``(B, *shape)``.
            u: uniform numbers in [0, 1), ``(B, numbers)``, each observation's own.

        Returns:
            What the critic is shown, of the shape of ``x``.
        """

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        """Move what is remembered, by 0-d means over the whole batch of what is `watched`."""
        return None
