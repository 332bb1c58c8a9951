"""What a run computes on, and how: nothing of it is a part of the model. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from genzoo.core.errors import UsageError
from genzoo.core.units import parse_size


@dataclass(frozen=True)
class Hardware:
    """Device, precision, and where data lie; raises `UsageError` if two do not go together."""

    device: str = "auto"  # or cpu, cuda, mps
    threads: int | None = None  # of the CPU; None leaves torch's setting
    precision: str = "float32"  # or bfloat16: networks compute in autocast, losses in float32; auto is the caller's
    compile: bool = False  # every player's turn
    shard: bool | None = None  # split the generator over the processes; None is the caller's to settle
    data_memory: int | str | None = None  # bytes, or 2GB, that data may take on the device; None goes by what is free
    data_workers: int | None = None  # processes that read data which are streamed; None goes by the cores

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise UsageError(f"precision is auto, float32 or bfloat16, not {self.precision!r}")
        if self.data_workers is not None and not (type(self.data_workers) is int and 0 <= self.data_workers <= 256):
            raise UsageError(f"data_workers takes a whole number from 0 to 256, not {self.data_workers!r}")
        if self.shard and self.compile:
            raise UsageError("a generator that is split over processes is not compiled: leave out --shard or --compile")
        self.memory  # noqa: B018 (text that is no size is refused)

    @property
    def memory(self) -> int | None:
        """Bytes that data may take on the device."""
        return parse_size(self.data_memory, "data_memory")
