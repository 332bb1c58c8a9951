"""What a sample is and what a code is: plain, torch-free descriptions that travel in ``config.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.options import option


@dataclass(frozen=True)
class DataSpec:
    """What one observation is, and how model space maps to data units.

    Networks and objectives work in *model space*; people have 8-bit pixels, or floats in their own
    units. The two are tied by ``people = model * scale + shift``: for images model space is
    [-1, 1] and data units are [0, 1]; for real vectors it is standardized.
    """

    modality: str  # the kind of data, by its registered name: `genzoo.core.modality.of` gives all that differs by it
    shape: tuple[int, ...]  # of one observation in model space, e.g. (1, 28, 28) or (2,)
    levels: int | None = None  # how many values a number can take (256 for 8-bit images, 2 for binary), None if real
    classes: int = 0  # class labels, 0 if there are none
    class_names: tuple[str, ...] = ()  # empty if unknown
    scale: tuple[float, ...] = (1.0,)  # from model space to data units, one number or one per element of the first axis
    shift: tuple[float, ...] = (0.0,)  # likewise
    name: str = ""  # of the data set, for records and presets
    conditions: tuple[str, ...] = ()  # names of the numbers that networks may be told beside or instead of the label
    condition_scale: tuple[float, ...] = ()  # of each, from what networks are told to data units: a standard deviation
    condition_shift: tuple[float, ...] = ()  # likewise: a mean
    facts: Mapping[str, Any] = field(default_factory=dict, hash=False)  # what the modality says beyond that, plain data

    def __post_init__(self) -> None:
        kind = of(self.modality)
        if not self.shape or any(not isinstance(s, int) or s < 1 for s in self.shape):
            raise UsageError(f"a sample's shape must be positive whole numbers, not {self.shape}")
        if self.levels is not None and not 2 <= self.levels <= 65536:
            raise UsageError(f"data with levels has 2 to 65536 of them, not {self.levels}")
        if self.classes < 0 or len(self.class_names) not in (0, self.classes):
            raise UsageError(f"{self.classes} classes do not go with {len(self.class_names)} names of classes")
        for what, scale, shift in (
            ("data", self.scale, self.shift),
            ("conditions", self.condition_scale, self.condition_shift),
        ):
            if any(not math.isfinite(s) or s <= 0 for s in scale) or not all(map(math.isfinite, shift)):
                raise UsageError(f"the scale of {what} must be positive, and scale and shift finite")
        if {len(self.scale), len(self.shift)} - {1, self.shape[0]}:
            raise UsageError(f"scale and shift are one number or {self.shape[0]}, one for each along the first axis")
        if not len(self.conditions) == len(self.condition_scale) == len(self.condition_shift):
            raise UsageError("conditions have a name, a scale and a shift each")
        object.__setattr__(self, "facts", kind.facts(dict(self.facts)))
        kind.check(self)

    @property
    def size(self) -> int:
        """How many numbers one observation has."""
        return math.prod(self.shape)

    @classmethod
    def image(
        cls,
        channels: int,
        height: int,
        width: int,
        *,
        levels: int | None = 256,
        classes: int = 0,
        class_names: tuple[str, ...] = (),
        name: str = "",
    ) -> DataSpec:
        """Describe images: model space [-1, 1], data units [0, 1]."""
        shape = (channels, height, width)
        return cls("image", shape, levels, classes, class_names, (0.5,), (0.5,), name)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {k: v for k, v in plain.items() if v or not k.startswith(("condition", "facts"))}

    @property
    def classes_called(self) -> tuple[str, ...]:
        """The name of each class, its number where there are no names."""
        return self.class_names or tuple(map(str, range(self.classes)))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DataSpec:
        """Rebuild from `to_dict`'s output."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**fields)


@dataclass(frozen=True)
class Latent:
    """The code space: plain vectors, or vectors on the places of a square grid."""

    size: int = option(16, "numbers in a code, or at each place of its grid; 0 for no code", low=0, high=65536)
    grid: int = option(0, "height and width of a grid of codes, 0 for flat codes", low=0, high=1024)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one code: ``(size,)``, or ``(size, grid, grid)``."""
        return (self.size, self.grid, self.grid) if self.grid else (self.size,)

    @property
    def numbers(self) -> int:
        """Numbers in a code."""
        return math.prod(self.shape)

    @property
    def text(self) -> str:
        """The shape in words: ``16``, ``32×7×7``."""
        return "×".join(map(str, self.shape))

    def __post_init__(self) -> None:
        if self.numbers > 2**28:
            raise UsageError(f"a code of {self.text} numbers is larger than any model's")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; of flat codes without the grid, as every version reads it."""
        return {"size": self.size, "grid": self.grid} if self.grid else {"size": self.size}
