"""What generators with styles have in common."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from genzoo.core.networks import Generator


class StyledGenerator(Generator):
    """A generator with an intermediate code of each of its layers, the styles, which lengths of paths are about."""

    layers: int  # how many layers have a style
    style_size: int  # numbers in one

    @abstractmethod
    def styles(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map codes ``(B, *ports.inputs)`` to styles ``(B, layers, style_size)``."""

    @abstractmethod
    def from_styles(self, w: Tensor) -> Tensor:
        """Map styles ``(B, layers, style_size)`` to data parameters ``(B, *ports.outputs)``."""

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.from_styles(self.styles(z, y))
