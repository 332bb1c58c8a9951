"""What a run computes on, and how: nothing of it is a part of the model. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from genzoo.core.errors import UsageError
from genzoo.core.units import parse_size


@dataclass(frozen=True)
class Hardware:
    """Device, precision, and where data lie.

    Attributes:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: of the CPU; None leaves torch's setting.
        precision: ``float32``; ``bfloat16``: networks compute in autocast, and losses, penalties, likelihoods and KL
            stay in float32; ``auto`` is the caller's to settle.
        compile: compile every player's turn.
        shard: split the generator over the processes; None is the caller's to settle.
        data_memory: the most bytes, or text such as ``2GB``, that data may take on the device; None decides by what is
            free (see `genzoo.core.data.feed.Feed`).
        data_workers: processes that read data which are streamed; None decides by the cores.

    Raises:
        UsageError: if a value is none, or two do not go together.
    """

    device: str = "auto"
    threads: int | None = None
    precision: str = "float32"
    compile: bool = False
    shard: bool | None = None
    data_memory: int | str | None = None
    data_workers: int | None = None

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise UsageError(f"precision is auto, float32 or bfloat16, not {self.precision!r}")
        if self.data_workers is not None and not (type(self.data_workers) is int and 0 <= self.data_workers <= 256):
            raise UsageError(f"data_workers takes a whole number from 0 to 256, not {self.data_workers!r}")
        if self.shard and self.compile:
            raise UsageError("a generator that is split over processes is not compiled: leave out shard or compile")
        self.memory  # noqa: B018 (text that is no size is refused)

    @property
    def memory(self) -> int | None:
        """Bytes that data may take on the device."""
        return parse_size(self.data_memory, "data_memory")
