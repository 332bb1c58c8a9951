"""Ways to spoil real pictures, each to two degrees: what metrics should see."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.data import Data

Degree = Literal["slight", "heavy"]
Damaged = tuple[Tensor, Tensor]  # 8-bit pictures ``(N, C, H, W)`` and labels ``(N,)``


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


def _blurred(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    x, y = _some(pool, n, random)
    sigma = 0.6 if degree == "slight" else 1.5
    line = torch.arange(-5, 6.0)
    kernel = torch.exp(-0.5 * (line / sigma) ** 2)
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1, 1, 1)
    image = F.pad(x.float(), (5, 5, 5, 5), mode="reflect")
    image = F.conv2d(image, kernel, groups=x.shape[1])
    return _rounded(F.conv2d(image, kernel.transpose(2, 3), groups=x.shape[1])), y


def _noisy(pool: Data, training: Data, n: int, degree: Degree, random: torch.Generator) -> Damaged:
    x, y = _some(pool, n, random)
    sigma = 0.05 if degree == "slight" else 0.2
    return _rounded(x + 255 * sigma * torch.randn(x.shape, generator=random)), y


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


def _rounded(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)


DAMAGES: Mapping[str, Damage] = {
    "blur": Damage("blur", "Gaussian blur with σ of 0.6 and 1.5 pixels", _blurred),
    "noise": Damage("noise", "Gaussian noise with σ of .05 and .2 of full scale", _noisy),
    "dropped": Damage("dropped classes", "2 and 6 of 10 classes missing", _dropped),
    "repeated": Damage("duplicates", "every picture 4 and 25 times", _repeated),
    "copies": Damage("training copies", "20 % and 80 % of the pictures out of the training data", _copied),
    "labels": Damage("wrong labels", "20 % and 80 % of the labels that were asked for are others", _mislabelled),
}
