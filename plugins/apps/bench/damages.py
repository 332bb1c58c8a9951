"""Ways to spoil real pictures, each to two degrees: what metrics should see."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from genzoo.core.data import Data
from genzoo.core.modality import Spoil, every

Degree = Literal["slight", "heavy"]
Damaged = tuple[Tensor, Tensor]  # rows as stored ``(N, …)`` and labels ``(N,)``


@dataclass(frozen=True)
class Damage:
    """A way to spoil real pictures, to two degrees.

    Attributes:
        title: for people.
        what: the two degrees in words.
        apply: takes the pictures to spoil, the training data, how many, the degree and what draws.
    """

    title: str
    what: str
    apply: Callable[[Data, Data, int, Degree, torch.Generator], Damaged]


def _pictures(pool: Data, index: Tensor) -> Damaged:
    assert pool.y is not None
    return pool.x[index], pool.y[index]


def _some(pool: Data, n: int, random: torch.Generator) -> Damaged:
    return _pictures(pool, torch.randperm(len(pool), generator=random)[:n])


def clean(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    """Pictures as they are."""
    return _some(pool, n, random)


def _dropped(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    assert pool.y is not None
    classes = pool.spec.classes
    gone = max(classes // 5, 1) if degree == "slight" else max(6 * classes // 10, 2)
    kept = torch.randperm(classes, generator=random)[gone:]
    members = torch.isin(pool.y, kept).nonzero().flatten()
    return _pictures(pool, members[torch.randperm(len(members), generator=random)[:n]])


def _repeated(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    times = 4 if degree == "slight" else 25
    few = torch.randperm(len(pool), generator=random)[: math.ceil(n / times)]
    return _pictures(pool, few.repeat(times)[:n])


def _copied(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    (x, y), share = _some(pool, n, random), 0.2 if degree == "slight" else 0.8
    stolen, labels = _some(training, round(share * n), random)
    x, y = x.clone(), y.clone()
    x[: len(stolen)], y[: len(stolen)] = stolen, labels
    return x, y


def _mislabelled(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    x, y = _some(pool, n, random)
    wrong = round((0.2 if degree == "slight" else 0.8) * n)
    shift = torch.randint(1, pool.spec.classes, (wrong,), generator=random)
    return x, torch.cat([(y[:wrong] + shift) % pool.spec.classes, y[wrong:]])


def _spoilt(spoil: Spoil, pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    x, y = _some(pool, n, random)
    return spoil(x, degree, random), y


DAMAGES: Mapping[str, Damage] = {  # the modalities' own, and those of any data with labels
    **{name: Damage(d.title, d.what, partial(_spoilt, d.spoil)) for m in every() for name, d in m.damages().items()},
    "dropped": Damage("dropped classes", "2 and 6 of 10 classes missing", _dropped),
    "repeated": Damage("duplicates", "every picture 4 and 25 times", _repeated),
    "copies": Damage("training copies", "20 % and 80 % of the pictures out of the training data", _copied),
    "labels": Damage("wrong labels", "20 % and 80 % of the labels that were asked for are others", _mislabelled),
}
