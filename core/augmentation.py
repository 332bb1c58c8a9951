"""What a critic is shown of observations, real and generated alike, where there are few data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from genzoo.core.model import Model
from genzoo.core.noise import Draws
from genzoo.core.options import Configured


class Augmentation(Configured, nn.Module, ABC):
    """A random, differentiable change of observations. What it remembers are buffers, which checkpoints keep."""

    replaces: bool = False  # it has `stand_in`

    numbers: int = 0  # uniform numbers that one observation takes
    rank: int = 0  # dimensions of an observation that it can change: 3 for (channels, height, width); 0 for any
    watched: tuple[str, ...] = ()  # what `after_step` follows: see `genzoo.core.regularizer.Regularizer`
    reads_zero: bool = False  # it depends on where a score is zero, which some losses leave free

    def draw(self, draws: Draws, model: Model) -> Tensor:
        """Draw the noise of one side in a turn, ``(B, ...)``."""
        return draws.uniform(self.numbers)

    @abstractmethod
    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """Change observations ``(B, *shape)`` in model space, by ``u`` of `draw`: ``(B, numbers)``, in [0, 1)."""

    def stand_in(self, real: Tensor, fake: Tensor, u: Tensor) -> Tensor:
        """What is real to the critic in its turn, of real and generated observations, one for each."""
        return real

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        """Move what is remembered, by 0-d means over the whole batch of what is `watched`."""
