"""Base of data sets that have a name; and data made of data: standardized, or binarized."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genzoo.core.data.observations import Data
from genzoo.core.data.rows import Joined, Mapped, chunks, read
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.noise import stream_seed
from genzoo.core.options import Configured, option

Binarize = Literal["no", "static", "dynamic"]
Split = Literal["train", "test", "all"]
SPLITS = ("train", "test", "all")


class DataSource(Configured, ABC):
    """Base of the registry's kind ``dataset``: something with a name that can be loaded.

    Subclasses implement `read`, and declare their options in a nested ``Options`` that extends this one. One whose
    splits are not its own overrides `own_splits`, and reads ``all``, too, in the order in which it is kept.

    Attributes:
        memory: bytes that observations may take in memory; None is up to half of what is free. What needs more is
            better read as it is needed: `genzoo.core.data.from_arrays` does so with what is not in memory.
        held: what is read in place of a file, where a modality names the data set as its ``held``.
    """

    @dataclass(frozen=True)
    class Options(Configured.Options):
        binarize: Literal["no", "static", "dynamic"] = option(
            "no", "draw 0/1 pixels with the grey value as probability: once (static) or in every batch (dynamic)"
        )
        limit: int = option(0, "first observations only, 0 for all", low=0)
        mirror: bool = option(False, "to train on, each image mirrored left to right, too")
        labels: str = option("auto", "class labels: auto, none, or the column or key that holds them")

    memory: int | None = None
    held: Any = None

    options: Options

    @abstractmethod
    def read(self, split: Split) -> Data:
        """Read one split, whole, as it is; ``all`` is asked for only where there are no `own_splits`."""

    def own_splits(self) -> bool:
        """Whether the data come as train and test; otherwise the test split is held out of all."""
        return True

    def load(self, split: Split = "train") -> Data:
        """Read one split and apply the common options (static binarization: seed 0 for train, 1 for test)."""
        if split not in SPLITS:
            raise UsageError(f"a data set's split is 'train', 'test' or 'all', not {split!r}")
        if split == "all" and self.own_splits():
            return joined(self.load("train"), self.load("test"))
        return finished(self.read(split), self.options, split)


@dataclass(frozen=True)
class ArrayOptions(DataSource.Options):
    """Options of arrays and items, whether they are in a file or in memory."""

    x: str = option("", "key of the observations in a file or an item; by default one of the usual names")
    y: str = option("", "key of the labels, likewise")
    layout: Literal["auto", "first", "last", "grey"] = option("auto", "where images have their channels")
    alpha: Literal["white", "keep"] = option("white", "composite RGBA on white, or keep the fourth channel")
    white: float = option(0.0, "the number that is white in images; 0 goes by the range over all of them")
    black: float = option(0.0, "the number that is black in images")
    modality: str = option("auto", "the kind of data, such as image or vector; auto goes by rank and type")

    def reading(self) -> dict[str, Any]:
        """Keywords of `genzoo.core.data.from_arrays`."""
        return {
            "layout": None if self.layout == "auto" else self.layout,
            "modality": {"auto": None}.get(self.modality, self.modality),
            "alpha": self.alpha == "keep",
            "white": self.white or None,
            "black": self.black or None,
        }


def finished(data: Data, options: DataSource.Options, split: str) -> Data:
    """Apply the options that all data take."""
    if options.labels == "none":
        data = unlabelled(data)
    if 0 < options.limit < len(data):
        data = data.take(slice(options.limit))
    if options.mirror and split == "train":
        data = mirrored(data)
    return binarize(data, options.binarize, seed=0 if split == "train" else 1)


def mirrored(data: Data) -> Data:
    """Images, and the same ones mirrored left to right after them."""
    if not of(data.spec).pixels:
        raise UsageError(f"only images are mirrored, and {data.name or 'this'} is {data.spec.modality} data")
    flipped = _changed(data, Mapped(data.rows, _flipped, data.rows.dtype))
    both = joined(replace(data, rows=read(data.rows, data.device) if data.in_memory else data.rows),
                  replace(data, rows=flipped))  # fmt: skip
    counts = data.read.counts
    if counts and data.y is not None:
        more = data.y.bincount(minlength=data.spec.classes).tolist()
        counts = tuple(a + b for a, b in zip(counts, more, strict=True))
    found = replace(data.read, total=data.read.total + len(data), counts=counts, files=both.read.files)
    found = found.noting(f"each of {len(data):,} images to train on is there mirrored, too")
    return replace(both, split=data.split, read=found)


def _flipped(x: Tensor, _: Tensor) -> Tensor:
    return x.flip(-1)


def joined(first: Data, second: Data) -> Data:
    """Two parts of the same data as one, by the first one's spec."""

    def both(a: Tensor | None, b: Tensor | None) -> Tensor | None:
        return None if a is None or b is None else torch.cat([a, b])

    rows = [first.rows, second.rows]
    whole = torch.cat(rows) if isinstance(rows[0], Tensor) and isinstance(rows[1], Tensor) else Joined(rows)  # type: ignore[arg-type]
    y, factors, condition = (both(getattr(first, k), getattr(second, k)) for k in ("y", "factors", "condition"))
    names = [d.read.files for d in (first, second)]
    files = None if names[0] is None or names[1] is None else np.concatenate([names[0], names[1]])
    read = replace(first.read, splits="", others=(), counts=(), files=files, again=None)
    return replace(first, rows=whole, y=y, factors=factors, condition=condition, split="all", read=read)


def unlabelled(data: Data) -> Data:
    """The same observations without classes."""
    read = replace(data.read, counts=())
    return replace(data, y=None, spec=replace(data.spec, classes=0, class_names=()), read=read)


def standardized(data: Data) -> Data:
    """Return vectors ``(N, D)`` with a spec whose model space has mean 0 and standard deviation 1 per column.

    The observations stay as they are, in data units; a constant column gets scale 1.
    """
    n, total = len(data), torch.zeros(data.spec.shape, dtype=torch.float64)
    first: Tensor | None = None
    constant = torch.ones(data.spec.shape, dtype=torch.bool)
    for x in map(Tensor.cpu, chunks(data.rows)):
        first = x[0].clone() if first is None else first
        total += x.double().sum(0)
        constant &= (x == first).all(0)
    shift, square = total / n, torch.zeros_like(total)
    for x in map(Tensor.cpu, chunks(data.rows)):
        square += (x.double() - shift).square_().sum(0)
    scale = (square / n).sqrt()
    scale = torch.where(constant | (scale < torch.finfo(torch.float32).tiny), 1.0, scale)
    return replace(data, spec=replace(data.spec, scale=tuple(scale.tolist()), shift=tuple(shift.tolist())))


def binarize(data: Data, mode: Binarize, seed: int = 0) -> Data:
    """Turn grey (or colour) values into 0/1 pixels, each 1 with its value as probability.

    ``static`` draws every pixel once (R. Salakhutdinov and I. Murray, ICML 2008), ``dynamic`` anew in every batch,
    ``no`` leaves the data alone, and binary images stay as they are. What ``seed`` draws for an image depends on its
    number alone, not on how many there are, nor on whether they are in memory. Raises `UsageError` for other data.
    """
    if mode == "no":
        return data
    if mode not in ("static", "dynamic"):
        raise UsageError(f"binarize is one of 'no', 'static', 'dynamic', not {mode!r}")
    if not of(data.spec).pixels:
        raise UsageError(f"only images can be binarized, and {data.name or 'this'} is {data.spec.modality} data")
    levels = data.spec.levels
    if levels == 2:
        return data
    rows, spec = data.rows, replace(data.spec, levels=2)
    if mode == "dynamic":
        if levels not in (256, None):
            rows = _changed(data, Mapped(rows, partial(_unit, levels), torch.float32))
        return replace(data, rows=rows, spec=spec, dynamic=True)
    drawn = Mapped(rows, partial(_drawn, levels, seed), torch.uint8)
    return replace(data, rows=_changed(data, drawn), spec=spec)


def _changed(data: Data, rows: Mapped) -> Tensor | Mapped:
    """Changed rows, in memory where the data are, else changed as they are read."""
    return read(rows, data.device) if data.in_memory else rows


def _unit(levels: int | None, x: Tensor, _: Tensor) -> Tensor:
    """Stored values as floats in [0, 1]."""
    return x.to(torch.float32) / (1 if levels is None else levels - 1)


def _drawn(levels: int | None, seed: int, x: Tensor, index: Tensor) -> Tensor:
    uniform = uniform_at(seed, index, x[0].numel()).view(x.shape)
    return (uniform < _unit(levels, x.cpu(), index)).to(device=x.device, dtype=torch.uint8)


def uniform_at(seed: int, index: Tensor, size: int) -> Tensor:
    """Uniform numbers in [0, 1) that belong to the numbers of rows.

    Number j of row i is output i·size + j of SplitMix64 (G. Steele, D. Lea and C. Flood, OOPSLA 2014), whose
    state is a counter: any row can be drawn without those before it.

    ``index`` is int64 ``(B,)``; what comes out is float32 ``(B, size)``, multiples of 2⁻²⁴.
    """
    gamma = np.uint64(0x9E3779B97F4A7C15)
    counted: NDArray[np.uint64] = np.arange(1, size + 1, dtype=np.uint64)
    at: NDArray[np.uint64] = index.cpu().numpy().astype(np.uint64)[:, None] * np.uint64(size) + counted
    z: NDArray[np.uint64] = at * gamma + np.uint64(stream_seed(seed, 0xB17))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return torch.from_numpy((z >> np.uint64(40)).astype(np.float32)) * 2.0**-24
