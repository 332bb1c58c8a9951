"""What was read and what was not, of data that people bring: a record, and the sentences and plain data made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genzoo.core.modality import of
from genzoo.core.text import one_line

if TYPE_CHECKING:
    from genzoo.core.data.observations import Data
    from genzoo.core.spec import DataSpec

SYSTEM = "files of the system"  # what desktops and archives leave behind, left out of every folder
MOST_CLASSES = 12  # that a sentence names one by one


@dataclass(frozen=True, eq=False)
class Read:
    """What a reader found where it read.

    Attributes:
        total: observations of the source, whatever was taken of them; 0 if that is not known.
        splits: where its splits come from: they are its ``own``, a tenth was ``held out``, or "" if there are none.
        others: observations in each other split, by its name.
        counts: observations of each class in all of the source, if that is known.
        left_out: what was not read and how often: ``("hidden", 3)``, ``(".txt files", 2)``.
        notes: what a person would want to know, a sentence each: how numbers were mapped, what was taken for what.
        files: names of the observations, in their order, ``(N,)``; None where they are in no files of their own.
        again: reads the same observations as a spec of the same kind writes them, where that is not the same: those
            that are left of all after each of the choices that follow the spec.
    """

    total: int = 0
    splits: Literal["own", "held out", ""] = ""
    others: tuple[tuple[str, int], ...] = ()
    counts: tuple[int, ...] = ()
    left_out: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()
    files: NDArray[np.object_] | None = None
    again: Callable[..., Data] | None = None

    def taken(self, chosen: Tensor | slice) -> Read:
        """The same of some observations, which have their own names only."""
        if self.files is None and self.again is None:
            return self
        rows = chosen if isinstance(chosen, slice) else chosen.cpu().numpy()
        return replace(
            self,
            files=None if self.files is None else self.files[rows],
            again=None if self.again is None else partial(_chosen, self.again, rows),
        )

    def noting(self, *notes: str) -> Read:
        """The same with more notes, each once."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *filter(None, notes)))))


def _chosen(again: Callable[..., Data], rows: Any, spec: DataSpec, *then: Any) -> Data:
    return again(spec, rows, *then)


UNKNOWN = Read()


def file_names(names: Sequence[str]) -> NDArray[np.object_]:
    """Names of observations as `Read` keeps them."""
    found: NDArray[np.object_] = np.empty(len(names), object)
    found[:] = names
    return found


def was_read(data: Data, *, validation: int = 0, steps: int = 0) -> dict[str, Any]:
    """What was read, as plain data; ``validation`` are held out of it by training, which takes ``steps``."""
    read, used = data.read, len(data) + validation
    found: dict[str, Any] = {
        "name": data.name,
        "observations": max(read.total, used),
        "used": used,
        "kind": of(data.spec).many if max(read.total, used) > 1 else of(data.spec).one,
        "shape": list(of(data.spec).unit_shape(data.spec)),
        "each": of(data.spec).describe(data.spec).removeprefix(of(data.spec).many).partition(" (")[0].strip(),
        "classes": _classes(data),
        "split": data.split,
        "splits": read.splits,
        "others": dict(read.others),
        "validation": validation,
        "left_out": dict(read.left_out),
        "notes": list(read.notes),
        "steps": steps,
    }
    found = {k: v for k, v in found.items() if v}
    return found | {"said": [sentence(found), *surprises(found, system=True)]}


def sentence(found: dict[str, Any]) -> str:
    """What was read in one sentence, of what `was_read` gave."""
    total, used = found["observations"], found["used"]
    each = found.get("each") or "of " + "×".join(map(str, found["shape"]))
    split, splits, others = found.get("split", "train"), found.get("splits", ""), found.get("others", {})
    held = sum(others.values()) if splits == "held out" and split == "train" else 0
    said = f"{total:,}" if used + held == total else f"{used:,}" if splits == "own" else f"{used:,} of {total:,}"
    text = f"{one_line(found.get('name') or 'data', 80)}: {said} {found['kind']} {each}"
    if counts := found.get("classes"):
        text += f" in {len(counts)} {'classes' if len(counts) > 1 else 'class'}"
        named = ", ".join(f"{one_line(name, 40)} {n:,}" for name, n in list(counts.items())[:MOST_CLASSES])
        text += f" ({named}{', …' if len(counts) > MOST_CLASSES else ''})"
    if split == "all":
        text += ", all splits" if splits == "own" else ""
    elif splits == "own":
        beside = ", ".join(f"{name} {n:,}" for name, n in others.items())
        text += f", its {split} split" + (f" (beside it: {beside})" if beside else "")
    elif split == "test":
        text += ", the tenth that is held out for testing" if splits else ", the test split"
    elif held:
        text += f", {held:,} held out"
    text += f", {found['validation']:,} for validation" if found.get("validation") else ""
    return text + (f"; {found['steps']:,} step{'s' * (found['steps'] > 1)}" if found.get("steps") else "")


def surprises(found: dict[str, Any], *, system: bool = False) -> list[str]:
    """What a person would not expect, a line each, of what `was_read` gave; with ``system`` also files of systems."""
    left = {what: n for what, n in found.get("left_out", {}).items() if system or what != SYSTEM}
    told = ", ".join(f"{what} {n:,}" for what, n in left.items())
    return [*([f"left out: {told}"] if told else []), *found.get("notes", ())]


def _classes(data: Data) -> dict[str, int]:
    """How many observations of each class there are, in all of the source where that is known."""
    spec = data.spec
    if data.y is None or not spec.classes:
        return {}
    counts = data.read.counts or data.y.bincount(minlength=spec.classes).tolist()
    return dict(zip(spec.classes_called, map(int, counts), strict=False))
