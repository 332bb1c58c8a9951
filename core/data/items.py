"""From torch data sets, DataLoaders and whatever else yields items to data."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
    default_convert,
)

from genzoo.core.data.arrays import Array, from_arrays, numbers, progress, stack
from genzoo.core.data.observations import Data
from genzoo.core.errors import GenzooError, UsageError, said
from genzoo.core.noise import stream_seed

Item = tuple[Array, Any]  # observation and label, None for none
LIMIT_BYTES = 4 * 2**30  # of a stream, which cannot be read in another order and so must be in memory
MOST_ITEMS = 1_000_000  # of a stream that nobody limited: it may have no end
OBSERVATIONS = ("image", "img", "images", "pixel_values", "picture", "x", "data", "input", "inputs", "features")
LABELS = ("label", "labels", "y", "target", "targets", "class", "fine_label", "category")


@dataclass(frozen=True)
class Parts:
    """Which part of an item is the observation, and which its label: keys, or numbers of places; "" for the usual."""

    x: str = ""
    y: str = ""
    labels: bool = True


def from_torch(
    dataset: Any,
    *,
    limit_bytes: int = LIMIT_BYTES,
    memory: int | None = None,
    limit: int = 0,
    parts: Parts = Parts(),
    **how: Any,
) -> Data:
    """Make data of a torch data set: read into memory once, or as it is needed where it does not fit.

    Before an item of a map-style data set is read, the global generators of Python, NumPy and torch are seeded
    with its number (and put back afterwards): a random augmentation is drawn once and stays.

    ``dataset`` is a map-style Dataset or a finite IterableDataset (or anything else with items, such as those of the
    package ``datasets``) that yields ``x``, ``(x, y)`` or a dict with them, with ``x`` a tensor, an array or a PIL
    image and ``y`` a whole number, a word, or a row of attributes; or a DataLoader. Of one that visits all of a
    map-style data set that is read; one with a sampler, a batch_sampler or a collate_fn of its own is iterated once, as
    it is. ``limit`` reads the first items only, ``parts`` says which part of an item is what. More than
    ``limit_bytes`` are refused, and beyond ``memory`` bytes a map-style data set is read as it is needed, after one
    pass over all items that checks them; ``how`` are keywords of `from_arrays`. Raises `UsageError` if items are of
    other kinds or shapes, `GenzooError` naming the item that fails.
    """
    loader = dataset if isinstance(dataset, DataLoader) else None
    own = "" if loader is None else _own_ways(loader)
    dataset = dataset if loader is None else loader.dataset
    notes = [f"the DataLoader is iterated once, as it has {own} of its own"] if own else []
    if loader is not None and loader.drop_last and not own:
        notes.append("the DataLoader's drop_last is not needed here: all observations are read")
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) in (1, 2) and not own and not parts.x:
        tensors = dataset.tensors if parts.labels else dataset.tensors[:1]
        return _noted(from_arrays(*tensors, memory=memory, **how), notes)
    x: Any
    mapped = (
        hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__") and not isinstance(dataset, IterableDataset)
    )
    if own or (not mapped and hasattr(dataset, "__iter__")):
        with _own_randomness():
            torch.default_generator.manual_seed(0)
            stream = _stream(dataset if loader is None else _rows(loader), parts)
            x, labels = _collected(
                itertools.islice(stream, limit or None), limit_bytes, most=0 if limit else MOST_ITEMS
            )
    elif mapped:
        with _own_randomness():
            items = ItemArray(dataset, limit, parts)
            if items.differ():
                notes.append(
                    "items differ when they are read again (random transforms): each is drawn once and stays as it is; "
                    "--augmentation draws anew in every batch, and --set data.mirror=true mirrors"
                )
            size = math.prod(items.shape) * items.dtype.itemsize
            if memory is not None and size > memory:
                x, labels = items, items.labels()
            else:
                x, labels = _collected(map(items.read, range(len(items))), limit_bytes, len(items))
    else:
        raise UsageError(f"{type(dataset).__name__} is no data set that can be read: it lacks __len__ or __getitem__")
    if labels is not None and "class_names" not in how:
        labels, how["class_names"] = _named(dataset, labels, parts)
    return _noted(from_arrays(x, labels, memory=memory, **how), notes)


def _noted(data: Data, notes: list[str]) -> Data:
    return replace(data, read=data.read.noting(*notes))


def _own_ways(loader: DataLoader[Any]) -> str:
    """What a DataLoader does in a way of its own that its data set does not tell; "" if it visits all, in any order."""
    if isinstance(loader.dataset, IterableDataset):
        return "" if loader.collate_fn in (default_collate, default_convert) else "a collate_fn"
    sampler = loader.sampler
    whole = type(sampler) is SequentialSampler or (
        type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == len(sampler.data_source)
    )
    ways = ["a sampler"] if not whole else []
    ways += ["a batch_sampler"] if type(loader.batch_sampler) not in (BatchSampler, type(None)) else []
    ways += ["a collate_fn"] if loader.collate_fn not in (default_collate, default_convert) else []
    return " and ".join(ways)


def _named(dataset: Any, labels: list[Any], parts: Parts) -> tuple[list[Any], tuple[str, ...]]:
    """Labels, and the names of their classes that the data set, or the one that it is a part of, knows."""
    names, part = getattr(dataset, "classes", None), False
    features = getattr(dataset, "features", None)
    if names is None and isinstance(features, Mapping):  # of the package datasets
        keys = [parts.y] if parts.y else [k for k in LABELS if k in features]
        names = getattr(features.get(keys[0]), "names", None) if keys else None
    while names is None and hasattr(dataset, "dataset"):
        dataset, part = dataset.dataset, True
        names = getattr(dataset, "classes", None)
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in labels)
    if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
        return labels, ()
    if part and whole and all(0 <= v < len(names) for v in labels):
        there = sorted({int(v) for v in labels})  # of a part the classes that it has
        return [there.index(v) for v in labels], tuple(names[v] for v in there)
    return labels, tuple(names) if whole or set(labels) <= set(names) else ()


class ItemArray:
    """The observations of a map-style data set as an array that reads items as it is indexed, each checked."""

    def __init__(self, dataset: Any, limit: int = 0, parts: Parts = Parts()) -> None:
        if not len(dataset):
            raise UsageError("the data set is empty")
        self.dataset, self.parts = dataset, parts
        self._first = self.read(0)
        x = self._first[0]
        self.shape, self.dtype = (min(len(dataset), limit or len(dataset)), *x.shape), x.dtype

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
        numbers = progress(range(len(self)), len(self), "checking")
        found = [_like(self._first, i, self.read(i))[1] for i in numbers]
        return None if found[0] is None else found

    def differ(self) -> bool:
        """Whether an item is another one when it is read with other randomness."""
        again = self.read(0, 0x17E5)[0]
        return self._first[0].shape != again.shape or not np.array_equal(
            self._first[0], again, equal_nan=again.dtype.kind == "f"
        )

    def read(self, i: int, stream: int = 0x17E4) -> Item:
        seed = stream_seed(i, stream)
        random.seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed other devices too
        with _failing_at(i):
            item = self.dataset[i]
        return _item(i, item, self.parts)


def _collected(
    items: Iterator[Item], limit: int, total: int | None = None, most: int = 0
) -> tuple[Array, list[Any] | None]:
    """Observations and labels of items that are like the first one."""
    xs: list[Array] = []
    ys: list[Any] = []
    for i, (x, y) in enumerate(progress(items, total, "reading")):
        if xs:
            _like((xs[0], ys[0]), i, (x, y))
        if x.nbytes * (total or i + 1) > limit or 0 < most <= i:
            what = f"{most:,} items" if 0 < most <= i else f"limit_bytes = {limit / 2**30:.3g} GiB"
            part = said(limit=min(i, 100_000) or 1000)
            raise UsageError(f"the data set is endless or large, more than {what}: take a part of it, {part}")
        xs.append(x)
        ys.append(y)
    if not xs:
        raise UsageError("the data set is empty")
    return stack(xs), None if ys[0] is None else ys


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
        if loader.batch_size is None and type(loader.batch_sampler) is type(None):
            yield batch
        elif isinstance(batch, Mapping):
            yield from (dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True))
        elif isinstance(batch, (tuple, list)):
            yield from zip(*batch, strict=True) if _columns(batch) else batch
        else:
            yield from batch


def _columns(batch: Any) -> bool:
    """Whether a batch is one of observations and one of labels, rather than a list of items."""
    if len(batch) not in (1, 2) or not all(isinstance(b, (Tensor, np.ndarray, list)) for b in batch):
        return len(batch) > 2 and all(
            isinstance(b, Tensor) and len(b) == len(batch[0]) and b.ndim <= 1 for b in batch[1:]
        )
    return len(batch) == 1 or (len(batch[0]) == len(batch[1]) and getattr(batch[1], "ndim", 1) <= 2)


def _stream(items: Iterable[Any], parts: Parts) -> Iterator[Item]:
    """Each item's observation and label."""
    iterator, nothing = iter(items), object()
    for i in itertools.count():
        with _failing_at(i):
            item = next(iterator, nothing)
        if item is nothing:
            return
        yield _item(i, item, parts)


@contextmanager
def _failing_at(i: int) -> Iterator[None]:
    try:
        yield
    except Exception as e:
        text = f"{type(e).__name__}: {str(e).partition(chr(10))[0]}"
        raise GenzooError(f"the data set failed at item {i}: {text}") from e


def _item(i: int, item: Any, parts: Parts) -> Item:
    """One item's observation, as an array of its own, and its label or None."""
    x, y = item, None
    if isinstance(item, Mapping):
        x, y = _of_dict(i, item, parts)
    elif isinstance(item, (tuple, list)):
        if len(item) not in (1, 2) and not parts.x:
            raise UsageError(
                f"item {i} of the data set has {len(item)} parts: give x, or (x, y), or say which are these, "
                f"{said(x=0, y=1)}"
            )
        places = [int(p) if p.isdigit() else d for p, d in ((parts.x, 0), (parts.y, None if parts.x else 1))]
        if any(p is not None and p >= len(item) for p in places if p != 1 or parts.y):
            raise UsageError(f"item {i} of the data set has {len(item)} parts, numbered from 0")
        x, y = item[places[0] or 0], None if places[1] is None or places[1] >= len(item) else item[places[1]]
    y = y if parts.labels else None
    if hasattr(x, "convert") and hasattr(x, "getbands") and x.mode not in ("1", "L", "RGB", "RGBA", "I", "I;16", "F"):
        alpha = "A" in x.getbands() or "transparency" in x.info
        x = x.convert("RGBA" if alpha else "RGB")
    if isinstance(y, (Tensor, np.ndarray, np.generic)):
        if y.ndim > 1:
            raise UsageError(f"item {i} of the data set has a label of shape {tuple(y.shape)}: give a whole number")
        y = y.item() if not y.ndim or y.shape == (1,) else numbers(y, f"label {i} of the data set").tolist()
    return np.array(numbers(x, f"item {i} of the data set")), y


def _of_dict(i: int, item: Mapping[Any, Any], parts: Parts) -> tuple[Any, Any]:
    """Observation and label of a dict, by their usual names or those that were said."""
    there = {str(k).lower(): k for k in item}

    def one(wanted: str, usual: tuple[str, ...], letter: str) -> Any:
        if wanted and wanted.lower() not in there:
            raise UsageError(f"item {i} of the data set is a dict with {', '.join(there)}, and without {wanted}")
        key = there[wanted.lower()] if wanted else next((there[k] for k in usual if k in there), None)
        if key is None and letter == "x":
            raise UsageError(
                f"item {i} of the data set is a dict with {', '.join(there)}: say which is the observation, "
                f"{said(x=next(iter(there), 'KEY'))}"
            )
        return None if key is None else item[key]

    return one(parts.x, OBSERVATIONS, "x"), one(parts.y, LABELS, "y") if parts.labels else None
