"""Checks on arrays that people bring: what comes out is what `genzoo.core.data` stores."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genzoo.core.errors import UsageError

Array = NDArray[Any]
_MOST_CLASSES = 100_000


def parts(n: int, size: int = 4096) -> Iterator[slice]:
    """Cut ``n`` observations into slices of ``size``, so that what is computed on the way stays small."""
    return (slice(i, i + size) for i in range(0, n, size))


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
    if array.dtype.kind not in "biuf":
        words = {"O": "Python objects", "U": "text", "S": "text", "c": "complex numbers"}
        raise UsageError(f"{what} consists of {words.get(array.dtype.kind, str(array.dtype))}, not of numbers")
    return array


def finite(array: Array, what: str) -> Array:
    """The array as float32 that torch may hold, after a check that every number is finite."""
    with np.errstate(over="ignore"):
        out = np.ascontiguousarray(array, dtype=np.float32)
    bad, first = 0, None
    for part in parts(len(out)):
        wrong = ~np.isfinite(out[part])
        if wrong.any():
            index = np.unravel_index(int(wrong.argmax()), wrong.shape)
            first = first or (part.start + int(index[0]), *map(int, index[1:]))
            bad += int(wrong.sum())
    if bad:
        raise UsageError(f"{what} has {bad} values that are NaN or infinite as float32, the first at index {first}")
    return out if out.flags.writeable else out.copy()


def pixels(array: Array, what: str) -> tuple[Array, int | None]:
    """Image values as they are stored, and their levels: uint8, or float32 in [0, 1] with levels None."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8), 2
    if array.dtype == np.uint8:
        return (array if array.flags.writeable else array.copy()), 256
    low, high = array.min(), array.max()
    if array.dtype.kind in "iu":
        if low < 0 or high > 255:
            raise UsageError(f"{what} has whole numbers from {low} to {high}: 8-bit pixels are 0 to 255")
        return array.astype(np.uint8), 256
    array = finite(array, what)
    if low < -1e-6 or high > 1 + 1e-6:
        how = "scale or clip them"
        if low >= 0 and 2 < high <= 255:
            how = "divide by 255"
        elif -1 <= low < 0 and high <= 1:
            how = "use (x + 1) / 2"
        raise UsageError(f"{what} has floats from {low:.4g} to {high:.4g}: images are floats in [0, 1], so {how} first")
    if low < 0 or high > 1:  # by rounding only
        array = np.clip(array, 0, 1)
    eight_bit = np.empty(array.shape, np.uint8)
    for part in parts(len(array)):
        scaled = array[part] * np.float32(255)
        whole = np.rint(scaled)
        if np.abs(scaled - whole).max() > 1e-3:
            return array, None
        eight_bit[part] = whole
    if low == 0 and high == 1 and not ((eight_bit > 0) & (eight_bit < 255)).any():
        return eight_bit // 255, 2
    return eight_bit, 256


def channels_first(x: Array, layout: str | None, top: int, what: str) -> Array:
    """Images ``(N, H, W)`` or with channels on either side as ``(N, C, H, W)``, RGBA composited on white."""
    if x.ndim == 3:
        return x[:, None]
    if layout not in (None, "first", "last"):
        raise UsageError(f"layout is 'first' or 'last', not {layout!r}")
    first, last = x.shape[1] in (1, 3, 4), x.shape[3] in (1, 3, 4)
    if layout is None and first == last:
        which = "could be either" if first else "is neither with 1, 3 or 4 channels"
        raise UsageError(
            f"{what} has shape {x.shape}, which {which} of (N, C, H, W) and (N, H, W, C): say data.layout=first or last"
        )
    if layout == "last" or (layout is None and last):
        x = np.moveaxis(x, -1, 1)
    if x.shape[1] != 4:
        return x
    out = np.empty((len(x), 3, *x.shape[2:]), x.dtype)
    for part in parts(len(x)):
        rgba = x[part].astype(np.float32)
        alpha = rgba[:, 3:] / top
        mixed = rgba[:, :3] * alpha + top * (1 - alpha)
        out[part] = mixed if x.dtype.kind == "f" else np.rint(mixed)
    return out


def labels(y: Any, n: int, class_names: Sequence[str], what: str) -> tuple[Tensor | None, int]:
    """Labels as int64 ``(n,)`` and the number of classes."""
    if y is None:
        return None, 0
    found = numbers(y, f"the labels of {what}")
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.shape != (n,):
        raise UsageError(f"the labels of {what} have shape {found.shape}: {n} observations need shape ({n},)")
    if found.dtype.kind == "f":
        broken = ~np.isfinite(found) | (found != np.rint(found))
        if broken.any():
            i = int(broken.argmax())
            raise UsageError(f"label {found[i]:g} of {what} at index {i} is not a whole number")
    classes = len(class_names) or int(found.max()) + 1
    for wrong in (found < 0, found >= min(classes, _MOST_CLASSES)):
        if wrong.any():
            i = int(wrong.argmax())
            most = (classes if class_names else _MOST_CLASSES) - 1
            raise UsageError(f"label {int(found[i])} of {what} at index {i} is out of range: labels are 0 to {most}")
    return torch.from_numpy(found.astype(np.int64)), classes


def stack(arrays: list[Array]) -> Array:
    """Stack arrays of one shape and type into one, emptying the list so that memory is needed once."""
    out = np.empty((len(arrays), *arrays[0].shape), arrays[0].dtype)
    for i in reversed(range(len(arrays))):
        out[i] = arrays.pop()
    return out


def progress(items: Iterable[Any], total: int | None, doing: str) -> Iterable[Any]:
    """Show a bar on stderr while iterating, if that is a terminal and it takes more than a second."""
    from tqdm import tqdm

    bar: Iterable[Any] = tqdm(items, desc=doing, total=total, file=sys.stderr, delay=1, leave=False, disable=None)
    return bar
