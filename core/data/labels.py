"""Labels as people bring them, whole numbers, words, one-hot rows or attributes, and the classes that they are of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genzoo.core.errors import GenzooError, UsageError

if TYPE_CHECKING:
    from genzoo.core.data.npy import Archive
    from genzoo.core.data.observations import Data
    from genzoo.core.spec import DataSpec

MOST_CLASSES = 100_000


@dataclass(frozen=True)
class Labels:
    """Class labels 0 … classes − 1 with the names of the classes, or attributes; neither, where there are none."""

    y: Tensor | None = None  # int64 ``(N,)``
    classes: int = 0
    names: tuple[str, ...] = ()  # empty where the labels came as numbers from 0 on
    attributes: NDArray[np.float32] | None = None  # ``(N, K)``, which a conditional model is told as numbers

    def conditioned(self, data: Data) -> Data:
        """Data that has the attributes as conditions, if there are some."""
        if self.attributes is None:
            return data
        names = [f"attribute {i}" for i in range(self.attributes.shape[1])]
        note = f"labels of shape {self.attributes.shape} are attributes: conditions of a model, and no classes"
        found = data.conditioned(self.attributes, names)
        object.__setattr__(found, "read", found.read.noting(note))
        return found


def labels(y: Any, n: int, class_names: Sequence[str], what: str) -> Labels:
    """What ``n`` labels are; the distinct values are the classes, unless they are 0 … K − 1 or classes have names.

    Raises:
        UsageError: says which label is none.
    """
    if y is None or y is False:
        return Labels()
    found = _array(y, what)
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim == 2 and len(found) == n and found.shape[1] > 1:
        return _columns(found, class_names, what)
    if found.shape != (n,):
        raise UsageError(f"the labels of {what} have shape {found.shape}: {n} observations need shape ({n},)")
    if found.dtype.kind in "US":
        return _words(found, class_names, what)
    if found.dtype.kind == "f":
        broken = ~np.isfinite(found) | (found != np.rint(found))
        if broken.any():
            i = int(broken.argmax())
            raise UsageError(
                f"label {found[i]:g} of {what} at index {i} is not a whole number: give classes, or leave labels out "
                "(--set data.labels=none)"
            )
    found = found.astype(np.int64)
    if class_names:
        wrong = (found < 0) | (found >= len(class_names))
        if wrong.any():
            i = int(wrong.argmax())
            most = len(class_names) - 1
            raise UsageError(f"label {int(found[i])} of {what} at index {i} is out of range: labels are 0 to {most}")
        return Labels(torch.from_numpy(found), len(class_names), tuple(class_names))
    values, index = np.unique(found, return_inverse=True)
    _few(len(values), what)
    whole = bool((values == np.arange(len(values))).all())
    index = index.reshape(-1).astype(np.int64)
    return Labels(torch.from_numpy(index), len(values), () if whole else tuple(map(str, values.tolist())))


def are_numbers(y: Any, numbers: Sequence[int], what: str) -> bool:
    """Whether labels ``(N,)`` or ``(N, 1)`` are all among some numbers."""
    if y is None or y is False:
        return False
    found = _array(y, what)
    flat = found.ndim == 1 or found.shape[1:] == (1,)
    return flat and found.dtype.kind != "U" and bool(np.isin(found, np.asarray(numbers)).all())


def names_in(stored: Archive, y: Any, what: str) -> tuple[str, ...]:
    """The ``class_names`` of a file, ``(K,)`` different words, if labels are numbers 0 … K − 1 or one-hot; or none."""
    if y is None or "class_names" not in stored.files:
        return ()
    with suppress(GenzooError):  # they are Python objects, which nobody reads
        return _different(stored["class_names"], y, what)
    return ()


def _different(names: Any, y: Any, what: str) -> tuple[str, ...]:
    if names.dtype.kind not in "SU" or len(names.shape) != 1:
        return ()
    found = tuple(map(str, _array(names[:], what).tolist()))
    if len({name for name in found if name.strip()}) < len(found):
        return ()
    one_hot = len(np.shape(y)) == 2 and np.shape(y)[1] == len(found) > 1
    return found if one_hot or are_numbers(y, range(len(found)), what) else ()


def in_arrays(y: Tensor | None, spec: DataSpec) -> dict[str, NDArray[Any]]:
    """Labels ``(N,)`` of a spec's classes as arrays of a file, which names the classes; nothing without labels."""
    if y is None:
        return {}
    return {"labels": y.cpu().numpy()} | ({"class_names": np.array(spec.class_names)} if spec.class_names else {})


def class_folders(spec: DataSpec) -> list[str]:
    """What the folder of each class is called: its name as a file's, or its number, so that sorting keeps the order."""
    if not spec.class_names:
        return [f"{i:0{len(str(spec.classes - 1))}d}" for i in range(spec.classes)]
    names = [re.sub(r'[\x00-\x1f/\\:*?"<>|]', "-", name).strip(" .") or f"class {i}"
             for i, name in enumerate(spec.class_names)]  # fmt: skip
    times = Counter(names)
    return [name if times[name] == 1 else f"{name} ({i})" for i, name in enumerate(names)]


def among(own: DataSpec, known: DataSpec) -> list[int]:
    """The number of each class of ``own`` data among the ``known`` classes, −1 of one that is none of them.

    It goes by name, which is the number of a class without one, then by that of the class's folder, then by this but
    for capitals or zeros in front; each is taken once. Where none is known so and all are called by whole numbers, it
    goes by number.
    """
    names, found = own.classes_called, [-1] * own.classes
    ours, theirs = class_folders(own), class_folders(known)
    for mine, called in (
        (names, known.classes_called),
        (ours, theirs),
        ([_plain(name) for name in ours], [_plain(name) for name in theirs]),
    ):
        number, taken = {name: k for k, name in reversed([*enumerate(called)])}, {*found}
        for i, name in enumerate(mine):
            if found[i] < 0 and (k := number.get(name, -1)) not in taken:
                found[i] = k
                taken.add(k)
    if any(k >= 0 for k in found) or not all(re.fullmatch(r"[0-9]{1,9}", name) for name in names):
        return found
    return [int(name) if int(name) < known.classes else -1 for name in names]


def renumbered(y: Tensor, own: DataSpec, known: DataSpec) -> Tensor:
    """Labels ``(N,)`` of ``own`` classes as the ``known`` ones are numbered, −1 of one that is none of them.

    Words are classes without names, if there are as many, in their order. Labels stay where either has no classes.
    """
    if not own.classes or not known.classes or (own.classes, own.class_names) == (known.classes, known.class_names):
        return y
    numbers = among(own, known)
    if own.classes == known.classes and not (own.class_names and known.class_names) and max(numbers) < 0:
        return y
    return torch.tensor(numbers, device=y.device)[y]


def _plain(name: str) -> str:
    """A name in small letters; a whole number without zeros in front."""
    return re.sub(r"^0+(?=[0-9]+$)", "", name.casefold())


def known_words(found: Data, spec: DataSpec) -> Data:
    """Samples without their labels, if these are words in the alphabet's order and the data's classes have no names."""
    if found.y is None or spec.class_names or max(among(found.spec, spec)) >= 0:
        return found
    return replace(found, y=None, spec=replace(found.spec, classes=0, class_names=()))


def by_value(values: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """Number of each value among the distinct ones, and those: in order as numbers if all are, else as text."""
    distinct = in_order(set(values))
    number = {value: i for i, value in enumerate(distinct)}
    return [number[v] for v in values], tuple(distinct)


def in_order(names: Any) -> list[str]:
    """Names in their order: 1, 2, 10 if all are whole numbers, else as text."""
    whole = all(n.removeprefix("-").isascii() and n.removeprefix("-").isdigit() for n in names)
    return sorted(names, key=(lambda n: (int(n), n)) if whole else None)


def _array(y: Any, what: str) -> NDArray[Any]:
    if isinstance(y, Tensor):
        y = y.detach().to(torch.float32 if y.dtype == torch.bfloat16 else y.dtype).cpu().numpy()
    try:
        found = np.asarray(y)
    except ValueError:
        raise UsageError(f"the labels of {what} are of different lengths: give one for each observation") from None
    if found.dtype.kind == "O" and all(isinstance(v, str) for v in found.flat):
        found = found.astype(str)
    if found.dtype.kind == "S":
        found = np.char.decode(found, "utf-8", "replace")
    if found.dtype.kind not in "biufU":
        raise UsageError(f"the labels of {what} consist of {found.dtype}, not of numbers or words")
    return found


def _words(found: NDArray[Any], class_names: Sequence[str], what: str) -> Labels:
    values = [str(v) for v in found.tolist()]
    if class_names:
        number = {name: i for i, name in enumerate(class_names)}
        for i, v in enumerate(values):
            if v not in number:
                raise UsageError(f"label {v!r} of {what} at index {i} is none of {', '.join(class_names)}")
        index, names = [number[v] for v in values], tuple(class_names)
    else:
        index, names = by_value(values)
        _few(len(names), what)
    return Labels(torch.tensor(index, dtype=torch.int64), len(names), names)


def _columns(found: NDArray[Any], class_names: Sequence[str], what: str) -> Labels:
    """One-hot rows, or attributes."""
    if found.dtype.kind == "U":
        raise UsageError(f"the labels of {what} are words of shape {found.shape}: give one for each observation")
    numbers = found.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise UsageError(f"the labels of {what} have values that are NaN or infinite")
    if ((numbers == 0) | (numbers == 1)).all() and (numbers.sum(1) == 1).all():
        classes = numbers.shape[1]
        names = tuple(class_names) if len(class_names) == classes else ()
        return Labels(torch.from_numpy(numbers.argmax(1).astype(np.int64)), classes, names)
    return Labels(attributes=numbers)


def _few(classes: int, what: str) -> None:
    if classes > MOST_CLASSES:
        raise UsageError(f"the labels of {what} have {classes:,} values: classes are {MOST_CLASSES:,} at most")
