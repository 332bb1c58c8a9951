"""How samples are drawn and judged: what two numbers must share to be compared. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Protocol:
    """What `genzoo.evaluate`, `genzoo.compare` and what they call measure by.

    Attributes:
        n: samples to draw, and the most observations to use; None goes by the data.
        seed: of sampling and of every other random choice.
        split: of the data, where it is a name or a path.
        noise: draw samples from the likelihood instead of giving its mean.
        truncation: keep codes within ± this many standard deviations.
        extractor: name of an extractor, a file, or an `Extractor`; None takes the one that fits.
        batch_size: observations at a time.
        device: where networks run.
        cache: whether to keep features of data on disk, and use those that are there.
    """

    n: int | None = None
    seed: int = 0
    split: Literal["train", "test"] = "test"
    noise: bool = False
    truncation: float | None = None
    extractor: Any = None
    batch_size: int = 256
    device: str = "auto"
    cache: bool = True

    def words(self) -> list[str]:
        """How samples are drawn, as results tell it."""
        return ["draw=noise"] * self.noise + ([] if self.truncation is None else [f"truncation={self.truncation:g}"])
