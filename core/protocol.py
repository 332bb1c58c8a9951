"""How samples are drawn and judged: what two numbers must share to be compared. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Protocol:
    """What `genzoo.evaluate`, `genzoo.compare` and what they call measure by."""

    n: int | None = None  # samples to draw, and the most observations to use; None goes by the data
    seed: int = 0  # of sampling and of every other random choice
    split: Literal["train", "test", "all"] | None = None  # of named data; None takes all that was not trained on
    noise: bool = False  # draw samples from the likelihood instead of giving its mean
    truncation: float | None = None  # keep codes within ± this many standard deviations
    extractor: Any = None  # name of an extractor, a file, or an `Extractor`; None takes the one that fits
    batch_size: int = 256
    device: str = "auto"
    cache: bool = True  # keep features of data on disk, and use those that are there

    def words(self) -> list[str]:
        """How samples are drawn, as results tell it."""
        return ["draw=noise"] * self.noise + ([] if self.truncation is None else [f"truncation={self.truncation:g}"])
