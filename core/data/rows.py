"""Observations in storage form, in memory or read as they are needed; numbers between it, model space, data units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genzoo.core.errors import UsageError

if TYPE_CHECKING:
    from genzoo.core.spec import DataSpec

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


class Joined:
    """Rows of several after one another, none of which is copied."""

    def __init__(self, parts: Sequence[Tensor | Rows]) -> None:
        self.parts, self.dtype = tuple(parts), parts[0].dtype
        self.shape = (sum(map(len, parts)), *parts[0].shape[1:])

    def __len__(self) -> int:
        return int(self.shape[0])

    def take(self, index: Tensor) -> Tensor:
        out, start = torch.empty((len(index), *self.shape[1:]), dtype=self.dtype), 0
        for part in self.parts:
            here = (index >= start) & (index < start + len(part))
            out[here] = pick(part, index[here] - start)
            start += len(part)
        return out


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


def _per_axis(spec: DataSpec, values: Sequence[float], device: torch.device) -> float | Tensor:
    """One number, or a tensor that broadcasts along the first axis of an observation."""
    if len(values) == 1:
        return float(values[0])
    shape = (len(values),) + (1,) * (len(spec.shape) - 1)
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(shape)


def affine(spec: DataSpec, device: torch.device, levels: int | None) -> tuple[float | Tensor, float | Tensor]:
    """The (a, b) of model = (x - a) * b, for x stored as 0 … levels − 1, or in data units if None."""
    top = 1 if levels is None else levels - 1
    middle = _per_axis(spec, [s * top for s in spec.shift], device)
    return middle, _per_axis(spec, [1 / (s * top) for s in spec.scale], device)


_affine = lru_cache(maxsize=64)(affine)  # not a new tensor, and a wait for its copy, in every batch


def rows_to_model(spec: DataSpec, rows: Tensor) -> Tensor:
    """Stored numbers ``(B, *spec.shape)``, which may be changed, to model space; the trainer's hot path."""
    middle, factor = _affine(spec, rows.device, spec.levels)
    return rows.to(torch.float32).sub_(middle).mul_(factor)


def numbers_to_model(spec: DataSpec, x: Tensor) -> Tensor:
    """Bring numbers ``(B, *spec.shape)`` to model space by the spec's scale and shift, float32.

    They are uint8 as stored (0 … levels − 1; 8-bit pixels where levels is None), or floats in data units. Raises
    `UsageError` for another shape, or stored values beyond ``levels``.
    """
    if tuple(x.shape[1:]) != spec.shape:
        raise UsageError(f"observations of shape {tuple(x.shape[1:])} given where the model takes {spec.shape}")
    levels = None
    if x.dtype in (torch.uint8, torch.bool):
        levels = 2 if x.dtype == torch.bool else spec.levels or 256
        if levels < 256 and x.numel() and int(x.max()) >= levels:
            raise UsageError(f"8-bit values must be 0 to {levels - 1} here, not {int(x.max())}: give floats in [0, 1]")
    middle, factor = affine(spec, x.device, levels)
    return x.to(torch.float32).sub(middle).mul_(factor)


def random_numbers(spec: DataSpec, n: int, seed: int, *, whole: bool) -> Tensor:
    """Random numbers in model space, float32 ``(n, *spec.shape)``: levels, or normal ones.

    With ``whole`` the normal ones are sums of twelve whole numbers, nearly normal and the same on every processor.
    """
    g = torch.Generator().manual_seed(seed)
    if spec.levels:
        return torch.randint(spec.levels, (n, *spec.shape), generator=g) * (2 / (spec.levels - 1)) - 1
    if whole:
        return torch.randint(-(2**15), 2**15 + 1, (12, n, *spec.shape), generator=g).sum(0) / 2**16
    return torch.randn(n, *spec.shape, generator=g)


def numbers_to_units(spec: DataSpec, x: Tensor, bounds: tuple[float, float] | None = None) -> Tensor:
    """Bring model space to data units by the spec's scale and shift, clipped to ``bounds``."""
    scale, shift = (_per_axis(spec, v, x.device) for v in (spec.scale, spec.shift))
    x = x.to(torch.float32).mul(scale).add_(shift)
    return x if bounds is None else x.clamp_(*bounds)  # a Gaussian's mean may lie outside


def require_finite(x: Tensor, who: str) -> tuple[float, float]:
    """Least and greatest of the numbers given to a model; raises `UsageError` if one is NaN or infinite."""
    if x.dtype == torch.bool:
        return 0.0, 1.0
    low, high = (float(v) for v in torch.aminmax(x))
    if not math.isfinite(low + high):  # NaN is both
        raise UsageError(f"the data for {who} has values that are NaN or infinite")
    return low, high
