"""Checks on arrays that people bring: what comes out is what `genzoo.core.data` stores."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genzoo.core.errors import UsageError

Array = NDArray[Any]
_MOST_CLASSES = 100_000


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
    refuse_no_numbers(array.dtype, what)
    return array


def refuse_no_numbers(dtype: Any, what: str) -> None:
    """Raise `UsageError` for a NumPy type that is none of numbers."""
    if dtype.kind not in "biuf":
        words = {"O": "Python objects", "U": "text", "S": "text", "c": "complex numbers"}
        raise UsageError(f"{what} consists of {words.get(dtype.kind, str(dtype))}, not of numbers")


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
