"""Observations that are read as they are needed, and what can be done with rows wherever they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CHUNK_BYTES = 2**23  # of what is read at a time on the way through all rows


class Rows(Protocol):
    """Observations in storage form that are not (or not all) in memory. Must survive a fork.

    Attributes:
        shape: ``(N, *shape of one observation)``.
        dtype: of what `take` gives.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype

    def __len__(self) -> int: ...

    def take(self, index: Tensor) -> Tensor:
        """Read rows: int64 ``(B,)`` on the CPU to a fresh tensor ``(B, *shape of one observation)``.

        Raises:
            GenzooError: if one cannot be read; names it.
        """
        ...


class ArrayLike(Protocol):
    """What rows can be made of: something that is indexed, by a slice or numbers, as a NumPy array's first axis is."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, index: Any, /) -> Any: ...


class Stored:
    """Rows of an array, a file or a list of items, brought to storage form as they are read.

    ``form`` turns ``(B, …)`` raw rows into stored ones of ``dtype``, each by itself; ``shape`` is that of all.
    """

    def __init__(
        self, raw: ArrayLike, form: Callable[[NDArray[Any]], NDArray[Any]], shape: tuple[int, ...], dtype: torch.dtype
    ) -> None:
        self.raw, self.form, self.shape, self.dtype = raw, form, shape, dtype

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, index: Tensor) -> Tensor:
        found = np.ascontiguousarray(self.form(self.raw[index.numpy()]))
        return torch.from_numpy(found if found.flags.writeable else found.copy())


class Picked:
    """Some of other rows, by an index int64 ``(N,)`` on the device of a tensor's: no row is copied."""

    def __init__(self, base: Tensor | Rows, index: Tensor) -> None:
        inner = base if isinstance(base, Picked) else None
        self.base: Tensor | Rows = base if inner is None else inner.base
        self.index: Tensor = index if inner is None else inner.index[index]
        self.shape, self.dtype = (len(index), *base.shape[1:]), base.dtype

    def __len__(self) -> int:
        return len(self.index)

    def take(self, index: Tensor) -> Tensor:
        return pick(self.base, self.index.index_select(0, index))


class Mapped:
    """Other rows, each changed by a function of itself and its number: ``(rows (B, …), numbers (B,))`` to rows."""

    def __init__(self, base: Tensor | Rows, function: Callable[[Tensor, Tensor], Tensor], dtype: torch.dtype) -> None:
        self.base, self.function, self.shape, self.dtype = base, function, tuple(base.shape), dtype

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, index: Tensor) -> Tensor:
        return self.function(pick(self.base, index), index)


def pick(rows: Tensor | Rows, index: Tensor) -> Tensor:
    """Return rows ``index`` as a tensor of their own."""
    return rows.index_select(0, index) if isinstance(rows, Tensor) else rows.take(index)


def device_of(rows: Tensor | Rows) -> torch.device:
    """Where rows are indexed, and where they come out: the CPU, unless a tensor elsewhere is underneath."""
    while isinstance(rows, (Picked, Mapped)):
        rows = rows.base
    return rows.device if isinstance(rows, Tensor) else torch.device("cpu")


def in_memory(rows: Tensor | Rows) -> bool:
    """Whether rows are a tensor, or a choice of a tensor's rows."""
    return isinstance(rows.base if isinstance(rows, Picked) else rows, Tensor)


def row_bytes(rows: Tensor | Rows) -> int:
    """Bytes of one observation in storage form."""
    return math.prod(rows.shape[1:]) * rows.dtype.itemsize


def chunks(rows: Tensor | Rows) -> Iterator[Tensor]:
    """All rows in their order, some megabytes at a time."""
    n, size = len(rows), max(CHUNK_BYTES // max(row_bytes(rows), 1), 1)
    device = device_of(rows)
    for start in range(0, n, size):
        if isinstance(rows, Tensor):
            yield rows[start : start + size]
        else:
            yield rows.take(torch.arange(start, min(start + size, n), device=device))


def read(rows: Tensor | Rows, device: torch.device | str) -> Tensor:
    """All rows as one tensor on a device; one that is there already is returned as it is."""
    if isinstance(rows, Tensor):
        return rows.to(device)
    out, start = torch.empty(rows.shape, dtype=rows.dtype, device=device), 0
    for part in chunks(rows):
        out[start : start + len(part)] = part
        start += len(part)
    return out
