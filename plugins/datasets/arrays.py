"""A user's own .npy or .npz file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from genzoo.core.data import ArrayOptions, Data, DataSource, Split, from_arrays
from genzoo.core.data.labels import names_in
from genzoo.core.data.npy import Archive, FileArray
from genzoo.core.data.summary import Read
from genzoo.core.errors import UsageError, said
from genzoo.core.modality import of
from genzoo.core.options import option
from genzoo.core.units import free_bytes
from genzoo.registry import declare

OBSERVATIONS = ("x", "images", "image", "imgs", "data", "samples", "arr_0")
LABELS = ("y", "labels", "label", "targets")
CONDITIONS, FACTORS = ("condition",), ("latents_classes",)  # the latter of dSprites
SPLITS = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
SPRITES = ("colour", "shape*", "scale", "orientation", "x", "y")  # what dSprites' factors are
Array = NDArray[Any]


@declare.dataset(
    "array",
    summary="your .npy or .npz file of images or vectors",
    modalities=("image", "vector"),
    tags=("own",),
)
class ArrayFile(DataSource):
    """Images or vectors in a NumPy file: what `genzoo.core.data.from_arrays` accepts.

    A ``.npy`` file holds the observations. A ``.npz`` file holds them under one of the keys ``x``, ``images``,
    ``imgs``, ``data``, ``samples``, ``arr_0`` (or is its only array; or the option ``x`` says), with labels, if any,
    under ``y``, ``labels``, ``targets`` or ``arr_1`` (or the option ``y`` says), what these are called, if they are
    numbers from 0 on, under ``class_names`` ``(K,)``, and numbers that a conditional model is told, if any, under
    ``condition`` ``(N, K)``. Names that begin or end with a split (``train_images``, ``x_test``, ``y_val``) are of that
    split; without one, the test split is a tenth of the observations, held out with seed 0. The
    files of MedMNIST and dSprites are read as they are. Nothing is unpickled.

    Observations that do not fit into memory are read from the file as they are needed, unless the file is
    compressed (save it with ``np.savez``, not ``np.savez_compressed``): such arrays have to fit.
    """

    @dataclass(frozen=True)
    class Options(ArrayOptions):
        path: str = option("", "the .npy or .npz file")
        standardize: bool = option(True, "give vectors a model space of mean 0 and deviation 1 per column")

    options: Options

    def read(self, split: Split) -> Data:
        if not self.options.path:
            raise UsageError("the data set 'array' needs a path to a .npy or .npz file")
        path = Path(self.options.path).expanduser()
        parts = self._parts(path)
        train, other = parts["train"], parts.get("test") or parts.get("val")
        if other is None:
            whole = self._data(train, path.stem)
            n = len(whole)
            held = n // 10 or 1
            first, test = whole.hold_out(held, seed=0) if n > 1 or split == "test" else (whole, whole)
            counts = () if whole.y is None else tuple(whole.y.bincount(minlength=whole.spec.classes).tolist())
            others = (("held out", held),) if split == "train" and n > 1 else ()
            read = Read(n, "" if split == "all" else "held out", others, counts)
            test = whole if split == "all" else test
        else:
            _require_alike(path.stem, train, other)
            whole = self._data(train + other, path.stem)
            n = len(train)
            first, test = whole.take(slice(n)), whole.take(slice(n, None))
            if whole.y is not None and (new := set(whole.y[n:].tolist()) - set(whole.y[:n].tolist())):
                label = whole.spec.class_names[min(new)] if whole.spec.class_names else min(new)
                raise UsageError(f"{path.stem} has the label {label} to test, which is none of those to train on")
            chosen = "train" if split == "train" else "test" if "test" in parts else "val"
            sizes = {name: len(part) for name, part in parts.items()}
            read = Read(sum(sizes.values()), "own", tuple((k, v) for k, v in sizes.items() if k != chosen))
        if self.options.standardize:
            first = of(first.spec).standardized(first)  # the test split has no say in the units
        if first.condition is not None:
            first = first.conditioned(first.condition, first.spec.conditions)
        found = first if split == "train" else replace(test, spec=first.spec, split=split)
        found = replace(found, read=read.noting(*whole.read.notes))
        # Now that it is known which observations are meant, they are read, if they fit.
        most = free_bytes() // 2 if self.memory is None else self.memory
        return found.to("cpu") if found.nbytes <= most else found

    def own_splits(self) -> bool:
        """Whether the file has a test split, or one for validation."""
        return len(self._parts(Path(self.options.path).expanduser())) > 1

    def _parts(self, path: Path) -> dict[str, Part]:
        """What the file holds of each split; observations are opened, not read."""
        if not path.exists():
            raise UsageError(f"there is no file {str(path)!r}")
        o, stored = self.options, Archive(path)
        if path.suffix.lower() == ".npy":
            return {"train": Part([stored["arr_0"]])}
        keys = _keys(stored.files, path, o.x, o.y or ("" if o.labels in ("auto", "none") else o.labels))
        parts = dict[str, Part]()
        for split, found in keys.items():
            held = [
                None if found[k] is None or (k == "y" and o.labels == "none") else stored[found[k]][:]
                for k in Part.MORE
            ]
            parts[split] = Part([stored[found["x"]]], *held, names=names_in(stored, held[0], path.name))
        return parts

    def _data(self, part: Part, name: str) -> Data:
        o = self.options
        data = from_arrays(
            part if len(part.xs) > 1 else part.xs[0], part.y, name=name, standardize=False, memory=0,
            class_names=part.names, **o.reading(),
        )  # fmt: skip
        if any(isinstance(x, FileArray) and x.member for x in part.xs):  # from front to back, not in a split's order
            data = data.to("cpu")
            for x in part.xs:
                if isinstance(x, FileArray):
                    x.close()
        if part.told is not None:
            data = data.conditioned(part.told)
        if part.factors is not None:
            factors = torch.from_numpy(part.factors.astype(np.int64)).reshape(len(data), -1)
            names = SPRITES if factors.shape[1] == 6 else tuple(f"factor {i}" for i in range(factors.shape[1]))
            data = replace(data, factors=factors, factor_names=names)
        return data


@dataclass(frozen=True)
class Part:
    """Observations of one split or several after one another, as an array that is read as it is indexed, with labels.

    ``told`` are conditions ``(N, K)``; ``factors`` made the observations.
    """

    MORE: ClassVar[tuple[str, ...]] = ("y", "told", "factors")

    xs: list[Any]
    y: Array | None = None
    told: Array | None = None
    factors: Array | None = None
    names: tuple[str, ...] = field(default=(), kw_only=True)  # of the classes

    def __len__(self) -> int:
        return sum(map(len, self.xs))

    def __add__(self, other: Part) -> Part:
        pairs = [(getattr(self, k), getattr(other, k)) for k in self.MORE]
        arrays = (None if a is None else np.concatenate([a, b]) for a, b in pairs)
        return Part([*self.xs, *other.xs], *arrays, names=self.names if self.names == other.names else ())

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.xs[0].shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        found: np.dtype[Any] = self.xs[0].dtype
        return found

    def __getitem__(self, index: slice | NDArray[np.int64]) -> Array:
        numbers = np.arange(len(self))[index]
        out, start = np.empty((len(numbers), *self.shape[1:]), self.dtype), 0
        for x in self.xs:
            here = (numbers >= start) & (numbers < start + len(x))
            if here.any():
                out[here] = x[numbers[here] - start]
            start += len(x)
        return out


def _require_alike(name: str, train: Part, test: Part) -> None:
    """Refuse splits that differ in more than what is observed."""
    for a, b in zip(_words(train), _words(test), strict=True):
        if a != b:
            raise UsageError(f"{name} has {a} to train on and {b} to test: store both alike")


def _words(part: Part) -> list[str]:
    """What both splits must have alike."""
    kinds = {"b": "truth values", "f": "floats"}
    return [
        f"observations of shape {part.shape[1:]}",
        kinds.get(part.dtype.kind, f"whole numbers of {8 * part.dtype.itemsize} bits"),
        "no labels" if part.y is None else "labels" + f" of {math.prod(part.y.shape[1:])} numbers" * (part.y.ndim > 1),
        f"{0 if part.told is None else np.atleast_2d(part.told).shape[-1]} conditions",
    ]


def _keys(keys: list[str], path: Path, x: str, y: str) -> dict[str, dict[str, Any]]:
    """Which keys hold what, by split: observations, labels, conditions, factors; None for none."""
    for key, what in ((x, "x"), (y, "y")):
        if key and key not in keys:
            raise UsageError(
                f"{path} has the arrays {', '.join(keys) or '(none)'}, and none called {key}: data.{what}=KEY"
            )
    named = {key: _named(key) for key in keys}
    splits = {split for split, base in named.values() if base in OBSERVATIONS} or {"train"}
    splits = {named[x][0]} | ({s for s, b in named.values() if b == named[x][1]}) if x else splits | {"train"}
    found: dict[str, dict[str, Any]] = {}
    for split in sorted(splits, key=("train", "test", "val").index):
        own = [key for key in keys if named[key][0] == split]
        given = [key for key in (x, y) if key]
        bases = (OBSERVATIONS if not x else (named[x][1],), LABELS if not y else (named[y][1],), CONDITIONS, FACTORS)
        got = [
            given[0] if x and split == named[x][0] and what == 0 else _one_of(names, own, named, path)
            for what, names in enumerate(bases)
        ]
        got[0] = got[0] or (keys[0] if len(keys) == 1 else None)
        if got[1] is None and got[0] is not None and named[got[0]][1] == "arr_0":
            got[1] = _one_of(("arr_1",), own, named, path)
        if got[0] is None:
            raise UsageError(
                f"{path} has the arrays {', '.join(keys) or '(none)'}: call the observations one of "
                f"{', '.join(OBSERVATIONS)}, or say which they are, {said(x=keys[0] if keys else 'KEY')}"
            )
        found[split] = dict(zip(("x", *Part.MORE), got, strict=True))
    if "train" not in found:
        found = {"train": next(iter(found.values()))}
    return found


def _named(key: str) -> tuple[str, str]:
    """The split that a key's name begins or ends with, train if none, and what is left of the name."""
    text = key.lower()
    for word, split in SPLITS.items():
        if text.startswith(f"{word}_"):
            return split, text.removeprefix(f"{word}_")
        if text.endswith(f"_{word}"):
            return split, text.removesuffix(f"_{word}")
    return "train", text


def _one_of(names: tuple[str, ...], keys: list[str], named: dict[str, tuple[str, str]], path: Path) -> str | None:
    found = [key for key in keys if named[key][1] in names]
    if len(found) > 1:
        which = said(**{"x" if names[0] == "x" else "y": found[0]})
        raise UsageError(f"{path} has several arrays that could be meant, {', '.join(found)}: say which, {which}")
    return found[0] if found else None
