"""From torch data sets to data."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from genzoo.core.data import arrays
from genzoo.core.data.arrays import Array
from genzoo.core.data.intake import from_arrays
from genzoo.core.data.observations import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.noise import stream_seed

LIMIT_BYTES = 4 * 2**30  # of a stream, which cannot be read in another order and so must be in memory


def from_torch(dataset: Any, *, limit_bytes: int = LIMIT_BYTES, memory: int | None = None, **how: Any) -> Data:
    """Make data of a torch data set: read into memory once, or as it is needed where it does not fit.

    Before an item of a map-style data set is read, the global generators of Python, NumPy and torch are seeded
    with its number (and put back afterwards): a random augmentation is drawn once and stays.

    Args:
        dataset: a map-style Dataset or a finite IterableDataset that yields ``x`` or ``(x, y)``, with
            ``x`` a tensor, an array or a PIL image and ``y`` a whole number; or a DataLoader, whose
            map-style data set is read directly, without its sampler and collation.
        limit_bytes: refuse to read more into memory.
        memory: bytes beyond which a map-style data set is not read into memory but as it is needed, after one
            pass over all items that checks them; None is never.
        **how: keywords of `from_arrays`.

    Raises:
        UsageError: if items are of other kinds or shapes, or too many.
        GenzooError: if the data set itself fails; names the item.
    """
    loader = dataset if isinstance(dataset, DataLoader) else None
    dataset = dataset if loader is None else loader.dataset
    names = getattr(dataset, "classes", ())
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) in (1, 2):
        return from_arrays(*dataset.tensors, memory=memory, **how)
    if isinstance(dataset, IterableDataset):
        x, labels = _of_stream(dataset if loader is None else _rows(loader), limit_bytes)
    elif hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        x, labels = _of_items(dataset, limit_bytes, memory)
    else:
        raise UsageError(f"{type(dataset).__name__} is no data set that can be read: it lacks __len__ or __getitem__")
    if labels is not None and isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names):
        how.setdefault("class_names", names)
    return from_arrays(x, labels, memory=memory, **how)


class ItemArray:
    """The observations of a map-style data set as an array that reads items as it is indexed.

    Raises:
        GenzooError: if an item cannot be read; names it.
        UsageError: if one has another shape or type than the first; likewise.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        first, label = self._read(0)
        self.shape, self.dtype, self._labelled = (len(dataset), *first.shape), first.dtype, label is not None

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: slice | NDArray[np.int64]) -> Array:
        """Observations by a slice, or by an array of whole numbers."""
        numbers = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        out = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        with _own_randomness():
            for at, i in enumerate(numbers):
                out[at] = self.item(i)[0]
        return out

    def labels(self) -> list[Any] | None:
        """Read every item, checking it, for its label."""
        with _own_randomness():
            numbers = arrays.progress(range(len(self)), len(self), "checking")
            found = [self.item(i)[1] for i in numbers]
        return found if self._labelled else None

    def item(self, i: int) -> tuple[Array, Any]:
        """Item ``i``, observation and label, which must be like the first one."""
        x, y = self._read(i)
        _check_like(i, x, self.shape[1:], self.dtype)
        if (y is not None) != self._labelled:
            raise UsageError(f"items 0 and {i} differ: one has a label and the other has none")
        return x, y

    def _read(self, i: int) -> tuple[Array, Any]:
        seed = stream_seed(i, 0x17E4)
        random.seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed other devices too
        try:
            item = self.dataset[i]
        except Exception as e:
            raise _failed(i, e) from e
        return _item(i, item)


def _of_items(dataset: Any, limit: int, memory: int | None) -> tuple[Any, list[Any] | None]:
    """Observations, an array if they fit and else one that reads as it is indexed; and labels."""
    if not len(dataset):
        raise UsageError("the data set is empty")
    with _own_randomness():
        items = ItemArray(dataset)
        size = len(items) * math.prod(items.shape[1:]) * items.dtype.itemsize
        if memory is not None and size > memory:
            return items, items.labels()
        if size > limit:
            raise UsageError(
                f"the data set needs {size / 2**30:.3g} GiB, more than limit_bytes = {limit / 2**30:.3g} GiB: take a "
                "part of it, store 8-bit pixels instead of floats, or raise limit_bytes"
            )
        x, labels = np.empty(items.shape, items.dtype), []
        for i in arrays.progress(range(len(items)), len(items), "reading"):
            x[i], label = items.item(i)
            labels.append(label)
    return x, labels if labels[0] is not None else None


def _of_stream(items: Iterable[Any], limit: int) -> tuple[Array, list[Any] | None]:
    """Observations and labels of a stream."""
    xs: list[Array] = []
    ys: list[Any] = []
    for i, (x, y) in enumerate(_checked(arrays.progress(items, None, "reading"))):
        if xs:
            _check_like(i, x, xs[0].shape, xs[0].dtype)
            if (y is None) != (ys[0] is None):
                raise UsageError(f"items 0 and {i} differ: one has a label and the other has none")
        if x.nbytes * (i + 1) > limit:
            raise UsageError(
                f"the data set is endless or large, more than limit_bytes = {limit / 2**30:.3g} GiB: take a part of "
                "it, store 8-bit pixels instead of floats, or raise limit_bytes"
            )
        xs.append(x)
        ys.append(y)
    if not xs:
        raise UsageError("the data set is empty")
    return arrays.stack(xs), None if ys[0] is None else ys


def _check_like(i: int, x: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if (x.shape, x.dtype) != (tuple(shape), dtype):
        raise UsageError(
            f"item {i} is {x.dtype} of shape {x.shape} where item 0 is {dtype} of shape {tuple(shape)}: "
            "resize or convert in the data set's transform"
        )


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Put the global generators back as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _rows(loader: DataLoader[Any]) -> Iterator[Any]:
    """The items of the batches that a DataLoader yields."""
    for batch in loader:
        if loader.batch_size is None:
            yield batch
        else:
            yield from zip(*batch, strict=True) if isinstance(batch, (tuple, list)) else batch


def _checked(items: Iterable[Any]) -> Iterator[tuple[Array, Any]]:
    """Each item's observation and label; a failure of the data set says at which."""
    i, iterator = 0, iter(items)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except Exception as e:
            raise _failed(i, e) from e
        yield _item(i, item)
        i += 1


def _failed(i: int, e: Exception) -> GenzooError:
    return GenzooError(f"the data set failed at item {i}: {type(e).__name__}: {str(e).partition(chr(10))[0]}")


def _item(i: int, item: Any) -> tuple[Array, Any]:
    """One item's observation, as an array of its own, and its label or None."""
    x, y = item, None
    if isinstance(item, (tuple, list)):
        if len(item) not in (1, 2):
            raise UsageError(f"item {i} of the data set has {len(item)} parts: give x, or (x, y)")
        x, y = item[0], item[1] if len(item) == 2 else None
    if isinstance(x, dict):
        raise UsageError(f"item {i} of the data set is a dict with {', '.join(map(str, x))}: give x, or (x, y)")
    if hasattr(x, "convert") and hasattr(x, "getbands") and x.mode not in ("1", "L", "RGB", "RGBA", "I", "I;16", "F"):
        alpha = "A" in x.getbands() or "transparency" in x.info
        x = x.convert("RGBA" if alpha else "RGB")
    if isinstance(y, (Tensor, np.ndarray, np.generic)):
        if y.ndim and y.shape != (1,):
            raise UsageError(f"item {i} of the data set has a label of shape {tuple(y.shape)}: give a whole number")
        y = y.item()
    return np.array(arrays.numbers(x, f"item {i} of the data set")), y
