"""From torch data sets to data."""

from __future__ import annotations

import itertools
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
from genzoo.core.data.arrays import Array, from_arrays
from genzoo.core.data.observations import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.noise import stream_seed

Item = tuple[Array, Any]  # observation and label, None for none
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
    x: Any
    if isinstance(dataset, IterableDataset):
        x, labels = _collected(_stream(dataset if loader is None else _rows(loader)), limit_bytes)
    elif hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        with _own_randomness():
            items = ItemArray(dataset)
            size = math.prod(items.shape) * items.dtype.itemsize
            if memory is not None and size > memory:
                x, labels = items, items.labels()
            else:
                x, labels = _collected(map(items.read, range(len(items))), limit_bytes, len(items))
    else:
        raise UsageError(f"{type(dataset).__name__} is no data set that can be read: it lacks __len__ or __getitem__")
    if labels is not None and isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names):
        how.setdefault("class_names", names)
    return from_arrays(x, labels, memory=memory, **how)


class ItemArray:
    """The observations of a map-style data set as an array that reads items as it is indexed, each checked."""

    def __init__(self, dataset: Any) -> None:
        if not len(dataset):
            raise UsageError("the data set is empty")
        self.dataset = dataset
        self._first = self.read(0)
        x = self._first[0]
        self.shape, self.dtype = (len(dataset), *x.shape), x.dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, index: slice | NDArray[np.int64]) -> Array:
        """Observations by a slice, or by an array of whole numbers."""
        numbers = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        out = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        with _own_randomness():
            for at, i in enumerate(numbers):
                out[at] = _like(self._first, i, self.read(i))[0]
        return out

    def labels(self) -> list[Any] | None:
        """Read every item, checking it, for its label."""
        numbers = arrays.progress(range(len(self)), len(self), "checking")
        found = [_like(self._first, i, self.read(i))[1] for i in numbers]
        return None if found[0] is None else found

    def read(self, i: int) -> Item:
        seed = stream_seed(i, 0x17E4)
        random.seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed other devices too
        with _failing_at(i):
            item = self.dataset[i]
        return _item(i, item)


def _collected(items: Iterator[Item], limit: int, total: int | None = None) -> tuple[Array, list[Any] | None]:
    """Observations and labels of items that are like the first one."""
    xs: list[Array] = []
    ys: list[Any] = []
    for i, (x, y) in enumerate(arrays.progress(items, total, "reading")):
        if xs:
            _like((xs[0], ys[0]), i, (x, y))
        if x.nbytes * (total or i + 1) > limit:
            raise UsageError(
                f"the data set is endless or large, more than limit_bytes = {limit / 2**30:.3g} GiB: take a part of "
                "it, store 8-bit pixels instead of floats, or raise limit_bytes"
            )
        xs.append(x)
        ys.append(y)
    if not xs:
        raise UsageError("the data set is empty")
    return arrays.stack(xs), None if ys[0] is None else ys


def _like(first: Item, i: int, item: Item) -> Item:
    """An item, which must be like the first one."""
    (x, y), (of, label) = item, first
    if (x.shape, x.dtype) != (of.shape, of.dtype):
        raise UsageError(
            f"item {i} is {x.dtype} of shape {x.shape} where item 0 is {of.dtype} of shape {of.shape}: "
            "resize or convert in the data set's transform"
        )
    if (y is None) != (label is None):
        raise UsageError(f"items 0 and {i} differ: one has a label and the other has none")
    return item


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


def _stream(items: Iterable[Any]) -> Iterator[Item]:
    """Each item's observation and label."""
    iterator, nothing = iter(items), object()
    for i in itertools.count():
        with _failing_at(i):
            item = next(iterator, nothing)
        if item is nothing:
            return
        yield _item(i, item)


@contextmanager
def _failing_at(i: int) -> Iterator[None]:
    try:
        yield
    except Exception as e:
        text = f"{type(e).__name__}: {str(e).partition(chr(10))[0]}"
        raise GenzooError(f"the data set failed at item {i}: {text}") from e


def _item(i: int, item: Any) -> Item:
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
