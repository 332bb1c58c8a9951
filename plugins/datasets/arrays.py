"""A user's own .npy or .npz file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from genzoo.core.data import ArrayLike, Data, DataSource, Split, from_arrays
from genzoo.core.data.npy import Archive, FileArray
from genzoo.core.data.summary import Read
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.options import option
from genzoo.core.units import free_bytes
from genzoo.registry import declare

OBSERVATIONS = ("x", "x_train", "images", "data", "arr_0")
LABELS = ("y", "y_train", "labels")
Array = NDArray[Any]


@declare.dataset(
    "array",
    summary="your .npy or .npz file of images or vectors",
    modalities=("image", "vector"),
    tags=("own",),
)
class ArrayFile(DataSource):
    """Images or vectors in a NumPy file: what `genzoo.core.data.from_arrays` accepts.

    A ``.npy`` file holds the observations. A ``.npz`` file holds them under one of the keys ``x``, ``x_train``,
    ``images``, ``data``, ``arr_0`` (or is its only array), with labels, if any, under ``y``, ``y_train``,
    ``labels`` or ``arr_1``, numbers that a conditional model is told, if any, under ``condition`` ``(N, K)``, and may
    hold a test split as ``x_test``, ``y_test`` and ``condition_test``; otherwise the test split is a tenth of the
    observations, held out with seed 0. Nothing is unpickled.

    Observations that do not fit into memory are read from the file as they are needed, unless the file is
    compressed (save it with ``np.savez``, not ``np.savez_compressed``): such arrays have to fit.
    """

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        path: str = option("", "the .npy or .npz file")
        layout: Literal["auto", "first", "last"] = option("auto", "where images have their channels")
        modality: str = option("auto", "the kind of data, such as image or vector; auto goes by rank and type")
        standardize: bool = option(True, "give vectors a model space of mean 0 and deviation 1 per column")

    options: Options

    def read(self, split: Split) -> Data:
        if not self.options.path:
            raise UsageError("the data set 'array' needs a path to a .npy or .npz file")
        path = Path(self.options.path).expanduser()
        x, y, told, x_test, y_test, told_test = _load(path)
        if x_test is None:
            whole = self._data(x, y, told, path.stem)
            held = len(whole) // 10 or 1
            train, test = whole.hold_out(held, seed=0) if len(whole) > 1 or split == "test" else (whole, whole)
            counts = () if whole.y is None else tuple(whole.y.bincount(minlength=whole.spec.classes).tolist())
            others = (("held out", held),) if split == "train" and len(whole) > 1 else ()
            read = Read(len(whole), "" if split == "all" else "held out", others, counts)
            test = whole if split == "all" else test
        else:
            other = ("test", len(x_test)) if split == "train" else ("train", len(x))
            read = Read(len(x) + len(x_test), "own", (other,))
            train = self._data(x, y, told, path.stem)  # opened, for what it is
            test = train if split == "train" else self._data(x_test, y_test, told_test, f"{path.stem} (test)", train)
        if self.options.standardize:
            train = of(train.spec).standardized(train)  # the test split has no say in the units
        if train.condition is not None:
            train = train.conditioned(train.condition)
        found = train if split == "train" else replace(test, spec=train.spec, name=train.name, split=split)
        found = replace(found, read=read)
        # Now that it is known which observations are meant, they are read, if they fit.
        most = free_bytes() // 2 if self.memory is None else self.memory
        return found.to("cpu") if found.nbytes <= most else found

    def own_splits(self) -> bool:
        path = Path(self.options.path).expanduser()
        return (
            path.suffix.lower() == ".npz" and path.exists() and any(k.lower() == "x_test" for k in Archive(path).files)
        )

    def _data(self, x: ArrayLike, y: Array | None, told: Array | None, name: str, like: Data | None = None) -> Data:
        layout = None if self.options.layout == "auto" else self.options.layout
        names = () if like is None or y is None else tuple(map(str, range(like.spec.classes)))
        kind = {"auto": None}.get(self.options.modality, self.options.modality)
        data = from_arrays(
            x, y, name=name, modality=kind, layout=layout, class_names=names, standardize=False, memory=0
        )
        if isinstance(x, FileArray) and x.member:  # from front to back, and not in the order of a split
            data = data.to("cpu")
            x.close()
        if told is not None:
            data = data.conditioned(told)
        if like is None:
            return data
        ours, theirs = (_words(d) for d in (like, data))
        for a, b in zip(ours, theirs, strict=True):
            if a != b:
                raise UsageError(f"{like.name} has {a} to train on and {b} to test: store both alike")
        return data


def _words(data: Data) -> list[str]:
    """What both splits must have alike."""
    spec = data.spec
    return [
        f"observations of shape {spec.shape}",
        "no labels" if data.y is None else "labels",
        f"{len(spec.conditions)} conditions",
        "real numbers" if spec.levels is None else f"{spec.levels} levels",
    ]


def _load(path: Path) -> tuple[Any, ...]:
    """Observations, labels and conditions, then those of its test split; observations are opened, not read."""
    if not path.exists():
        raise UsageError(f"there is no file {str(path)!r}")
    stored = Archive(path)
    if path.suffix.lower() == ".npy":
        return stored["arr_0"], *[None] * 5
    x, x_test, *more = _keys(stored.files, path)
    y, y_test, told, told_test = (None if key is None else stored[key][:] for key in more)
    return stored[x], y, told, None if x_test is None else stored[x_test], y_test, told_test


def _keys(keys: list[str], path: Path) -> tuple[Any, ...]:
    """Which keys hold observations, labels and conditions, each followed by the test split's; None for none."""
    x = _one_of(OBSERVATIONS, keys, path) or (keys[0] if len(keys) == 1 else None)
    if x is None:
        known = ", ".join(OBSERVATIONS)
        raise UsageError(f"{path} has the arrays {', '.join(keys) or '(none)'}: call the observations one of {known}")
    y = _one_of(("arr_1",) if x == "arr_0" else LABELS, keys, path)
    others = (_one_of((name,), keys, path) for name in ("x_test", "y_test", "condition", "condition_test"))
    x_test, y_test, told, told_test = others
    return x, x_test, y, y_test, told, told_test


def _one_of(names: tuple[str, ...], keys: list[str], path: Path) -> str | None:
    found = [key for key in keys if key.lower() in names]
    if len(found) > 1:
        raise UsageError(f"{path} has several arrays that could be meant, {', '.join(found)}: keep one of them")
    return found[0] if found else None
