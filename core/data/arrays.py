"""From arrays and torch data sets to data: numbers and labels checked, whose kind they are, whether they fit."""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from genzoo.core.data import rows
from genzoo.core.data.observations import Data
from genzoo.core.data.rows import ArrayLike, Rows, Stored, row_bytes
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import Reading, every, of, recognized
from genzoo.core.noise import stream_seed
from genzoo.core.units import free_bytes

Array = NDArray[Any]
Item = tuple[Array, Any]  # observation and label, None for none
LIMIT_BYTES = 4 * 2**30  # of a stream, which cannot be read in another order and so must be in memory
_MOST_CLASSES = 100_000


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
    layout: Literal["first", "last"] | None = None,
    class_names: Sequence[str] = (),
    standardize: bool = True,
    license: str = "",
    split: str = "train",
    memory: int | None = None,
) -> Data:
    """Make data of arrays or tensors, sharing their memory where nothing needs converting.

    Args:
        x: observations, as their modality takes them (see its page under docs/). Images are uint8 (0 … 255, also
            where only 0 and 1 occur), bool (binary: ``levels`` 2), whole numbers within 0 … 255, or floats in
            [0, 1], which are stored as uint8 if all are multiples of 1/255, and are binary if there are only zeros
            and ones; grey ``(N, H, W)``, or with 1, 3 or 4 channels first or last. Four channels are RGBA and are
            composited on white. Vectors are floats ``(N, D)``. A memory-mapped array, or another
            `genzoo.core.data.rows.ArrayLike`, is read into memory if it fits and otherwise as it is needed.
        y: class labels 0 … classes − 1, ``(N,)``, or None.
        name: for people, records and presets.
        modality: ``image``, ``vector`` or another's name; None goes by rank and type.
        layout: whether an image's channels come ``first`` or ``last``, any number of them; None finds out.
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
    about = Reading(name, tuple(class_names), license, split, memory, layout, standardize, modality is not None)
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
            i, most = int(wrong.argmax()), (classes if class_names else _MOST_CLASSES) - 1
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


def from_torch(dataset: Any, *, limit_bytes: int = LIMIT_BYTES, memory: int | None = None, **how: Any) -> Data:
    """Make data of a torch data set: read into memory once, or as it is needed where it does not fit.

    Before an item of a map-style data set is read, the global generators of Python, NumPy and torch are seeded
    with its number (and put back afterwards): a random augmentation is drawn once and stays.

    ``dataset`` is a map-style Dataset or a finite IterableDataset that yields ``x`` or ``(x, y)``, with ``x`` a
    tensor, an array or a PIL image and ``y`` a whole number; or a DataLoader, whose map-style data set is read,
    without its sampler and collation. More than ``limit_bytes`` are refused, and beyond ``memory`` bytes a map-style
    data set is read as it is needed, after one pass over all items that checks them; ``how`` are keywords of
    `from_arrays`. Raises `UsageError` if items are of other kinds or shapes, `GenzooError` naming the item that fails.
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
        numbers = progress(range(len(self)), len(self), "checking")
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
    for i, (x, y) in enumerate(progress(items, total, "reading")):
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
    return np.array(numbers(x, f"item {i} of the data set")), y
