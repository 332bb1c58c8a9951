"""From arrays to data: numbers checked, whose kind they are, whether they fit."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genzoo.core.data import rows
from genzoo.core.data.observations import Data
from genzoo.core.data.rows import ArrayLike, Rows, Stored, row_bytes
from genzoo.core.errors import UsageError
from genzoo.core.modality import Reading, every, of, recognized
from genzoo.core.notebook import shows_progress
from genzoo.core.units import free_bytes

Array = NDArray[Any]


class Form(Protocol):
    """Turns raw rows ``(B, …)`` into stored ones, each by itself; says the shape of one and their type.

    ``same`` is whether raw rows need no change, and torch may hold (and change) their memory.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> torch.dtype: ...
    def same(self, raw: Array) -> bool: ...
    def __call__(self, raw: Array) -> Array: ...


def from_arrays(
    x: Any,
    y: Any = None,
    *,
    name: str = "",
    modality: str | None = None,
    layout: Literal["first", "last", "grey"] | None = None,
    black: float | None = None,
    white: float | None = None,
    alpha: bool = False,
    class_names: Sequence[str] = (),
    standardize: bool = True,
    license: str = "",
    split: str = "train",
    memory: int | None = None,
) -> Data:
    """Make data of arrays or tensors, sharing their memory where nothing needs converting.

    Args:
        x: observations, as their modality takes them (see its page under docs/). Images are bool (binary:
            ``levels`` 2) or numbers whose range over all data says what white is: 0 … 255, 0 … 65535 (brought to 8
            bits), or floats in [0, 1], which are stored as uint8 if all are multiples of 1/255 as far as their type can
            tell; they are binary if there are only zeros and ones; grey ``(N, H, W)``, or with 1, 3 or 4 channels
            first or last. Four channels are RGBA and are composited on white. Vectors are floats ``(N, D)``. A
            memory-mapped array, or another `genzoo.core.data.rows.ArrayLike`, is read into memory if it fits and
            otherwise as it is needed.
        y: class labels ``(N,)``, whole numbers or words, whose distinct values are the classes (0 … K − 1 stay as they
            are); one-hot rows, or attributes ``(N, K)``, which become conditions; or None.
        name: for people, records and presets.
        modality: ``image``, ``vector`` or another's name; None goes by rank and type.
        layout: whether an image's channels come ``first`` or ``last``, any number of them; None finds out.
        black: the number that is black, where the range does not say so.
        white: the number that is white, likewise.
        alpha: keep a fourth channel as it is.
        class_names: what the labels are called; also says how many there are.
        standardize: give vectors a model space of mean 0 and standard deviation 1 per column.
        license: of the data.
        split: which part it is.
        memory: bytes that may be taken for observations; None takes up to half of what is free.

    Raises:
        UsageError: for anything else; one sentence that says what was found and what to do.
    """
    what = name or "the data"
    own = not isinstance(x, (Tensor, np.ndarray)) and not is_lazy(x) and any(m.takes(x) for m in every())
    given: Any = x if own or is_lazy(x) else numbers(x, what)
    kind = of(modality) if modality is not None else recognized(given, what)
    if not own:
        _require_numbers(given.dtype, what)
        if 0 in given.shape:
            raise UsageError(f"{what} is empty: its shape is {tuple(given.shape)}")
    about = Reading(name, tuple(class_names), license, split, memory, layout, black, white, alpha, standardize,
                    modality is not None)  # fmt: skip
    return kind.read(given, y, about)


def is_lazy(x: Any) -> bool:
    """Whether an array is not in memory: mapped from a file, or one of ours that reads as it is indexed."""
    if isinstance(x, np.memmap):
        return True
    known = isinstance(x, (Tensor, np.ndarray, list, tuple, str))
    return not known and isinstance(getattr(x, "dtype", None), np.dtype) and not hasattr(x, "__array__")


def raw_parts(raw: ArrayLike) -> Iterator[Array]:
    """All raw rows in their order, some megabytes at a time."""
    n, row = raw.shape[0], math.prod(raw.shape[1:]) * raw.dtype.itemsize
    size = max(rows.CHUNK_BYTES // max(row, 1), 1)
    return (raw[i : i + size] for i in range(0, n, size))


def stored(raw: ArrayLike, form: Form, memory: int | None) -> Tensor | Rows:
    """Raw rows in storage form: their own memory where nothing changes, a tensor if it fits, else read as needed.

    ``memory`` is the bytes that a tensor may take; None takes up to half of what is free.
    """
    if isinstance(raw, np.ndarray) and form.same(raw):
        return torch.from_numpy(raw.reshape(len(raw), *form.shape))
    found = Stored(raw, form, (raw.shape[0], *form.shape), form.dtype)
    most = free_bytes() // 2 if memory is None else memory
    if len(found) * row_bytes(found) > most:
        return found
    out, start = torch.empty(found.shape, dtype=found.dtype), 0
    for part in raw_parts(raw):  # slices of the raw rows, which are quicker to take than lists of them
        out.numpy()[start : start + len(part)] = form(part)
        start += len(part)
    return out


def numbers(x: Any, what: str) -> Array:
    """Anything array-like as a numpy array of numbers or truth values, not copied where it need not be."""
    if isinstance(x, Tensor):
        if x.layout != torch.strided:
            raise UsageError(f"{what} is a sparse tensor: call to_dense() on it")
        odd = x.is_floating_point() and x.dtype not in (torch.float16, torch.float32, torch.float64)
        x = (x.to(torch.float32) if odd else x).numpy(force=True)
    try:
        array = np.asarray(x)
    except ValueError:
        raise UsageError(f"{what} is a list of things of different lengths: give one array of numbers") from None
    _require_numbers(array.dtype, what)
    return array


def _require_numbers(dtype: Any, what: str) -> None:
    if dtype.kind not in "biuf":
        words = {"O": "Python objects", "U": "text", "S": "text", "c": "complex numbers"}
        raise UsageError(f"{what} consists of {words.get(dtype.kind, str(dtype))}, not of numbers")


def stack(arrays: list[Array]) -> Array:
    """Stack arrays of one shape and type into one, emptying the list so that memory is needed once."""
    out = np.empty((len(arrays), *arrays[0].shape), arrays[0].dtype)
    for i in reversed(range(len(arrays))):
        out[i] = arrays.pop()
    return out


def progress(items: Iterable[Any], total: int | None, doing: str) -> Iterable[Any]:
    """Show a bar on stderr while iterating, if that is a terminal and it takes more than a second."""
    from tqdm import tqdm

    bar: Iterable[Any] = tqdm(items, desc=doing, total=total, file=sys.stderr, delay=1, leave=False,
                              disable=not shows_progress())  # fmt: skip
    return bar
