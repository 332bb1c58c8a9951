"""Observations in memory: how they are stored, how batches reach model space, and how they come in."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from genzoo.core import arrays
from genzoo.core.arrays import Array, parts
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import option
from genzoo.core.spec import DataSpec

Split = Literal["train", "test"]
Binarize = Literal["no", "static", "dynamic"]
LIMIT_BYTES = 4 * 2**30  # what is read into memory without being asked twice


@dataclass(frozen=True, eq=False)
class Data:
    """A data set in memory, with what it is.

    Attributes:
        spec: what one observation is.
        x: observations ``(N, *spec.shape)`` in storage form: uint8 holding 0 … levels − 1 where
            ``spec.levels`` is set, float32 in people's units otherwise.
        y: class labels, int64 ``(N,)``, or None.
        name: for people and records.
        license: of the data.
        split: ``train``, ``test`` or ``held-out``.
        dynamic: ``x`` holds grey values (uint8 0 … 255, or floats in [0, 1]) and every batch draws its
            0/1 pixels anew; ``spec.levels`` is 2.
    """

    spec: DataSpec
    x: Tensor
    y: Tensor | None = None
    name: str = ""
    license: str = ""
    split: str = "train"
    dynamic: bool = False

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of observations and labels."""
        return self.x.nbytes + (0 if self.y is None else self.y.nbytes)

    def fingerprint(self) -> str:
        """Return the sha256 of shapes, types and bytes of ``x`` and ``y`` in hexadecimal; computed once."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for t in (self.x,) if self.y is None else (self.x, self.y):
            digest.update(f"{tuple(t.shape)} {t.dtype} ".encode())
            for part in parts(len(t)):
                digest.update(t[part].cpu().numpy().tobytes())
        return digest.hexdigest()

    def take(self, indices: Tensor | Sequence[int] | slice) -> Data:
        """Return the observations at ``indices``, in that order."""
        if not isinstance(indices, slice):
            indices = torch.as_tensor(indices, dtype=torch.int64, device=self.x.device)
        return replace(self, x=self.x[indices], y=None if self.y is None else self.y[indices])

    def hold_out(self, n: int, seed: int) -> tuple[Data, Data]:
        """Split into what remains and ``n`` observations held out, by a seeded permutation.

        Raises:
            UsageError: unless at least one observation is on either side.
        """
        if not 0 < n < len(self):
            raise UsageError(f"cannot hold out {n} of {len(self)} observations: one must be left on either side")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.take(order[n:]), replace(self.take(order[:n]), split="held-out")

    def to(self, device: torch.device | str) -> Data:
        """Return the data on ``device``."""
        return replace(self, x=self.x.to(device), y=None if self.y is None else self.y.to(device))

    def batch(self, index: Tensor, uniform: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return observations in model space, and their labels. The trainer's hot path.

        Args:
            index: int64 ``(B,)`` on the data's device.
            uniform: numbers in [0, 1), ``(B, *spec.shape)``, that decide the pixels if ``dynamic``.

        Returns:
            ``x`` float32 ``(B, *spec.shape)`` and ``y`` int64 ``(B,)`` or None.
        """
        x = self.x.index_select(0, index)
        if self.dynamic:
            if uniform is None:
                raise GenzooError("dynamically binarized data need uniform numbers for every batch")
            x = torch.lt(uniform * 255 if x.dtype == torch.uint8 else uniform, x)
        # index_select gave a fresh tensor: floats may be changed in place.
        x = x.to(torch.float32).sub_(self._middle).mul_(self._factor)
        return x, None if self.y is None else self.y.index_select(0, index)

    @cached_property
    def _middle(self) -> float | Tensor:
        return _affine(self.spec, self.x.device, self.spec.levels)[0]

    @cached_property
    def _factor(self) -> float | Tensor:
        return _affine(self.spec, self.x.device, self.spec.levels)[1]


def _per_axis(spec: DataSpec, values: Sequence[float], device: torch.device) -> float | Tensor:
    """One number, or a tensor that broadcasts along the first axis of an observation."""
    if len(values) == 1:
        return float(values[0])
    shape = (len(values),) + (1,) * (len(spec.shape) - 1)
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(shape)


def _affine(spec: DataSpec, device: torch.device, levels: int | None) -> tuple[float | Tensor, float | Tensor]:
    """The (a, b) of model = (x - a) * b, for x stored as 0 … levels − 1, or in people's units if None."""
    top = 1 if levels is None else levels - 1
    middle = _per_axis(spec, [s * top for s in spec.shift], device)
    return middle, _per_axis(spec, [1 / (s * top) for s in spec.scale], device)


def to_model(spec: DataSpec, x: Tensor) -> Tensor:
    """Bring observations to model space.

    Args:
        spec: what they are.
        x: ``(B, *spec.shape)``; uint8 as stored (0 … levels − 1; 8-bit pixels where levels is None), or
            people's floats ([0, 1] for images, own units for vectors).

    Returns:
        float32 ``(B, *spec.shape)``.

    Raises:
        UsageError: for another shape, or stored values beyond ``levels``.
    """
    if tuple(x.shape[1:]) != spec.shape:
        raise UsageError(f"observations of shape {tuple(x.shape[1:])} given where the model takes {spec.shape}")
    levels = None
    if x.dtype in (torch.uint8, torch.bool):
        levels = 2 if x.dtype == torch.bool else spec.levels or 256
        if levels < 256 and x.numel() and int(x.max()) >= levels:
            raise UsageError(f"8-bit values must be 0 to {levels - 1} here, not {int(x.max())}: give floats in [0, 1]")
    middle, factor = _affine(spec, x.device, levels)
    return x.to(torch.float32).sub(middle).mul_(factor)


def to_people(spec: DataSpec, x: Tensor) -> Tensor:
    """Bring model space ``(B, *spec.shape)`` to people's floats: [0, 1] for images, own units for vectors."""
    scale, shift = (_per_axis(spec, v, x.device) for v in (spec.scale, spec.shift))
    x = x.to(torch.float32).mul(scale).add_(shift)
    return x.clamp_(0, 1) if spec.modality == "image" else x  # a Gaussian's mean may lie outside


def to_pixels(spec: DataSpec, x: Tensor) -> Tensor:
    """Round people's floats of images, clipped to [0, 1], to 8-bit pixels 0 … 255, uint8 of the same shape."""
    if spec.modality != "image":
        raise UsageError(f"only images have pixels, and this is {spec.modality} data")
    return x.to(torch.float32).clamp(0, 1).mul_(255).round_().to(torch.uint8)


def standardized(data: Data) -> Data:
    """Return vectors ``(N, D)`` with a spec whose model space has mean 0 and standard deviation 1 per column.

    The observations stay as they are, in people's units; a constant column gets scale 1.
    """
    x = data.x.double()
    scale, shift = x.std(0, correction=0), x.mean(0)
    constant = (x == x[0]).all(0) | (scale < torch.finfo(torch.float32).tiny)
    scale = torch.where(constant, 1.0, scale)
    return replace(data, spec=replace(data.spec, scale=tuple(scale.tolist()), shift=tuple(shift.tolist())))


def binarize(data: Data, mode: Binarize, seed: int = 0) -> Data:
    """Turn grey (or colour) values into 0/1 pixels, each 1 with its value as probability.

    Args:
        data: images; those that are binary already stay as they are.
        mode: ``static`` draws every pixel once (R. Salakhutdinov and I. Murray, ICML 2008), ``dynamic``
            anew in every batch, ``no`` leaves the data alone.
        seed: of the static draw. What is drawn for the first k images does not depend on how many follow.

    Raises:
        UsageError: if the data are not images.
    """
    if mode == "no":
        return data
    if mode not in ("static", "dynamic"):
        raise UsageError(f"binarize is one of 'no', 'static', 'dynamic', not {mode!r}")
    if data.spec.modality != "image":
        raise UsageError(f"only images can be binarized, and {data.name or 'this'} is {data.spec.modality} data")
    levels = data.spec.levels
    if levels == 2:
        return data
    x, spec = data.x, replace(data.spec, levels=2)
    if mode == "dynamic":
        return replace(
            data, x=x if levels in (256, None) else x.to(torch.float32) / (levels - 1), spec=spec, dynamic=True
        )
    random = torch.Generator().manual_seed(seed)
    drawn = torch.empty(x.shape, dtype=torch.uint8)
    for part in parts(len(x)):
        grey = x[part].cpu().to(torch.float32) / (1 if levels is None else levels - 1)
        drawn[part] = torch.rand(grey.shape, generator=random) < grey
    return replace(data, x=drawn.to(x.device), spec=spec)


class DataSource(ABC):
    """Base of the registry's kind ``dataset``: something with a name that can be loaded.

    Subclasses implement `read`, and declare their options in a nested ``Options`` that extends this one.
    """

    @dataclass(frozen=True)
    class Options:
        """What every data set can be asked."""

        binarize: Literal["no", "static", "dynamic"] = option(
            "no", "draw 0/1 pixels with the grey value as probability: once (static) or in every batch (dynamic)"
        )
        limit: int = option(0, "first observations only, 0 for all", low=0)

    def __init__(self, options: Options | None = None) -> None:
        self.options = options if options is not None else type(self).Options()

    @abstractmethod
    def read(self, split: Split) -> Data:
        """Read one split, whole, as it is."""

    def load(self, split: Split = "train") -> Data:
        """Read one split and apply the common options (static binarization: seed 0 for train, 1 for test).

        Raises:
            GenzooError: if it is not there or cannot be read.
            UsageError: if an option does not fit the data.
        """
        if split not in ("train", "test"):
            raise UsageError(f"a data set's split is 'train' or 'test', not {split!r}")
        data = self.read(split)
        if 0 < self.options.limit < len(data):
            data = data.take(slice(self.options.limit))
        return binarize(data, self.options.binarize, seed=0 if split == "train" else 1)


def from_arrays(
    x: Any,
    y: Any = None,
    *,
    name: str = "",
    modality: Literal["image", "vector"] | None = None,
    layout: Literal["first", "last"] | None = None,
    class_names: Sequence[str] = (),
    standardize: bool = True,
    license: str = "",
    split: str = "train",
) -> Data:
    """Make data of arrays or tensors, sharing their memory where nothing needs converting.

    Args:
        x: images or vectors. Images are uint8 (0 … 255, also where only 0 and 1 occur), bool (binary:
            ``levels`` 2), whole numbers within 0 … 255, or floats in [0, 1], which are stored as uint8 if
            all are multiples of 1/255, and are binary if there are only zeros and ones; grey ``(N, H, W)``, or
            with 1, 3 or 4 channels first or last. Four channels are RGBA and are composited on white. Vectors
            are floats ``(N, D)``.
        y: class labels 0 … classes − 1, ``(N,)``, or None.
        name: for people, records and presets.
        modality: ``image`` or ``vector``; None goes by rank and type.
        layout: whether an image's channels come ``first`` or ``last``, any number of them; None finds out.
        class_names: what the labels are called; also says how many there are.
        standardize: give vectors a model space of mean 0 and standard deviation 1 per column.
        license: of the data.
        split: which part it is.

    Raises:
        UsageError: for anything else; one sentence that says what was found and what to do.
    """
    what = name or "the data"
    array = arrays.numbers(x, what)
    if modality not in (None, "image", "vector"):
        raise UsageError(f"arrays are of modality 'image' or 'vector', not {modality!r}")
    if array.ndim not in ((2,) if modality == "vector" else (3, 4) if modality == "image" else (2, 3, 4)):
        raise UsageError(
            f"{what} has shape {array.shape}: give images as (N, H, W), (N, C, H, W) or (N, H, W, C), vectors as (N, D)"
        )
    if array.size == 0:
        raise UsageError(f"{what} is empty: its shape is {array.shape}")
    labels, classes = arrays.labels(y, len(array), class_names, what)
    names = tuple(class_names) if classes else ()
    if array.ndim == 2:
        if array.dtype.kind != "f" and modality is None:
            raise UsageError(
                f"{what} has shape {array.shape} and type {array.dtype}: reshape to (N, H, W) if these are "
                "images, or convert to float32 if they are vectors"
            )
        stored = torch.from_numpy(arrays.finite(array, what))
        spec = DataSpec("vector", tuple(stored.shape[1:]), classes=classes, class_names=names, name=name)
        data = Data(spec, stored, labels, name, license, split)
        return standardized(data) if standardize else data
    pixels, levels = arrays.pixels(array, what)
    pixels = arrays.channels_first(pixels, layout, 1 if levels in (2, None) else 255, what)
    channels, height, width = pixels.shape[1:]
    spec = DataSpec.image(channels, height, width, levels=levels, classes=classes, class_names=names, name=name)
    return Data(spec, torch.from_numpy(np.ascontiguousarray(pixels)), labels, name, license, split)


def from_torch(dataset: Any, *, limit_bytes: int = LIMIT_BYTES, **how: Any) -> Data:
    """Read a torch data set into memory, once: a random augmentation is drawn once and stays.

    Args:
        dataset: a map-style Dataset or a finite IterableDataset that yields ``x`` or ``(x, y)``, with
            ``x`` a tensor, an array or a PIL image and ``y`` a whole number; or a DataLoader, whose
            map-style data set is read directly, without its sampler and collation.
        limit_bytes: refuse to read more.
        **how: keywords of `from_arrays`.

    Raises:
        UsageError: if items are of other kinds or shapes, or too many.
        GenzooError: if the data set itself fails; names the item.
    """
    loader = dataset if isinstance(dataset, DataLoader) else None
    dataset = dataset if loader is None else loader.dataset
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) in (1, 2):
        return from_arrays(*dataset.tensors, **how)
    total: int | None = None
    items: Iterable[Any]
    if isinstance(dataset, IterableDataset):
        items = dataset if loader is None else _rows(loader)
    elif hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        total = len(dataset)
        items = (dataset[i] for i in range(total))
    else:
        raise UsageError(f"{type(dataset).__name__} is no data set that can be read: it lacks __len__ or __getitem__")
    xs: list[Array] = []
    ys: list[Any] = []
    nbytes = 0
    for x, y in map(_item, _named_failures(arrays.progress(items, total, "reading"))):
        if xs and (x.shape, x.dtype) != (xs[0].shape, xs[0].dtype):
            raise UsageError(
                f"item {len(xs)} is {x.dtype} of shape {x.shape} where item 0 is {xs[0].dtype} of shape {xs[0].shape}: "
                "resize or convert in the data set's transform"
            )
        if ys and (y is None) != (ys[0] is None):
            raise UsageError(f"items 0 and {len(ys)} differ: one has a label and the other has none")
        nbytes += x.nbytes
        if max(nbytes, x.nbytes * (total or 0)) > limit_bytes:
            size = f"needs {x.nbytes * total / 2**30:.3g} GiB" if total else "is endless or large"
            raise UsageError(
                f"the data set {size}, more than limit_bytes = {limit_bytes / 2**30:.3g} GiB: take a part of it, store "
                "8-bit pixels instead of floats, or raise limit_bytes"
            )
        xs.append(x)
        ys.append(y)
    if not xs:
        raise UsageError("the data set is empty")
    labels = None if ys[0] is None else ys
    names = getattr(dataset, "classes", ())
    if labels is not None and isinstance(names, (list, tuple)) and all(isinstance(n, str) for n in names):
        how.setdefault("class_names", names)
    return from_arrays(arrays.stack(xs), labels, **how)


def _rows(loader: DataLoader[Any]) -> Iterator[Any]:
    """The items of the batches that a DataLoader yields."""
    for batch in loader:
        if loader.batch_size is None:
            yield batch
        else:
            yield from zip(*batch, strict=True) if isinstance(batch, (tuple, list)) else batch


def _named_failures(items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    """Number the items; a failure of the data set says at which."""
    i, iterator = 0, iter(items)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            return
        except Exception as e:
            raise GenzooError(
                f"the data set failed at item {i}: {type(e).__name__}: {str(e).partition(chr(10))[0]}"
            ) from e
        yield i, item
        i += 1


def _item(numbered: tuple[int, Any]) -> tuple[Array, Any]:
    """One item's observation, as an array of its own, and its label or None."""
    i, item = numbered
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
