"""Orders and weights for data whose classes, or whose observations, are of unlike size."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from genzoo.core.data.observations import Data
from genzoo.core.data.rows import chunks
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.noise import Order, generator

Sampling = Literal["uniform", "length", "balanced", "log-frequency"]
WINDOW = 50  # batches among which observations are sorted by length


class ClassOrder(Order):
    """Visits classes by shares, and the observations of a class alike; a function of (seed, epoch), like `Order`.

    An epoch is N positions. Of each class it holds its share of them, rounded down or up at random so that the
    expectation is exact, spread evenly: with equal shares every class is in each run of as many positions as there
    are classes. Within an epoch no observation is visited twice before all others of its class were visited once.

    ``y`` is labels, int64 ``(N,)``; ``shares`` those of each class, ``(C,)``, not negative and 0 for classes without
    observations, normalized to a sum of 1.
    """

    def __init__(self, y: Tensor, shares: Tensor, seed: int, device: torch.device | str = "cpu") -> None:
        super().__init__(len(y), seed, device)
        y = y.cpu()
        self._members = torch.split(y.argsort(stable=True), torch.bincount(y, minlength=len(shares)).tolist())
        self._bounds = (shares.double() / shares.double().sum()).cumsum(0) * len(y)
        self._bounds[-1] = len(y)

    def _draw(self, epoch: int) -> Tensor:
        random = generator(self.seed, epoch, 0xC1A5)
        ends = (self._bounds + torch.rand((), generator=random, dtype=torch.float64)).floor().long()
        counts = torch.diff(ends, prepend=ends.new_zeros(1)).tolist()
        chosen, places = [], []
        for members, count in zip(self._members, counts, strict=True):
            if not count:
                continue
            passes = math.ceil(count / len(members))
            order = torch.rand(passes, len(members), generator=random).argsort(1).flatten()[:count]
            chosen.append(members[order])
            places.append((torch.arange(count) + torch.rand(count, generator=random, dtype=torch.float64)) / count)
        return torch.cat(chosen)[torch.cat(places).argsort(stable=True)]


class LengthOrder(Order):
    """`Order`, with observations of like length in a batch: what is cut to the longest of a batch costs less.

    Of the batches that lie wholly in an epoch each `WINDOW` in a row are sorted by length among themselves, and come
    in an order drawn anew: so each observation is still visited once in an epoch. ``lengths`` is int64 ``(N,)``.
    """

    def __init__(self, lengths: Tensor, batch: int, seed: int, device: torch.device | str = "cpu") -> None:
        super().__init__(len(lengths), seed, device)
        self._lengths, self._batch = lengths.cpu(), batch

    def _draw(self, epoch: int) -> Tensor:
        index, random = super()._draw(epoch), generator(self.seed, epoch, 0x1E46)
        first = -epoch * self.n % self._batch  # what is left of the batch that began in the epoch before
        last = first + (self.n - first) // self._batch * self._batch
        for start in range(first, last, WINDOW * self._batch):
            some = index[start : min(start + WINDOW * self._batch, last)]
            batches = some[self._lengths[some].argsort(stable=True)].view(-1, self._batch)
            index[start : start + len(some)] = batches[torch.randperm(len(batches), generator=random)].flatten()
        return index


def order_of(sampling: Sampling, data: Data, batch: int, seed: int, conditional: bool, device: torch.device) -> Order:
    """The order that ``train.sampling`` names, for so many observations a batch.

    ``uniform`` visits all observations once in an epoch, and so does ``length``, see `LengthOrder`. ``balanced`` visits
    all classes equally often, and ``log-frequency`` a class by log(1 + its observations) (Xu et al., *Modeling tabular
    data using conditional GAN*, arXiv:1907.00503, section 4.3), for a ``conditional`` model, which is told the label.
    Raises `UsageError` where labels or lengths are wanting.
    """
    if sampling == "uniform":
        return Order(len(data), seed, device)
    if sampling == "length":
        found = [of(data.spec).lengths(data.spec, rows) for rows in chunks(data.rows)]
        lengths = [part for part in found if part is not None]
        if not lengths:
            raise UsageError(f"train.sampling=length is for texts, and {of(data.spec).many} are all of one length")
        return LengthOrder(torch.cat(lengths), batch, seed, device)
    y = data.y
    if y is None:
        raise UsageError(f"train.sampling={sampling} goes by class labels, and this data has none")
    if sampling == "log-frequency" and not conditional:
        raise UsageError("train.sampling=log-frequency needs a conditional model, which can give the classes' own "
                         "frequencies back: add --conditional, or --set train.sampling=balanced")  # fmt: skip
    counts = torch.bincount(y.cpu()).double()
    return ClassOrder(y, counts.log1p() if sampling == "log-frequency" else (counts > 0).double(), seed, device)


def class_weights(
    option: str | tuple[float, ...], y: Tensor | None, classes: int, device: torch.device
) -> Tensor | None:
    """Weights of the classes' observations whose mean over the data is 1, float32 ``(classes,)``; None for none.

    ``option`` is ``none``; ``balanced``, which lets all classes weigh the same together; or a number for each class.
    ``y`` is the data's labels, int64 ``(N,)``. Raises `UsageError` without labels, or for another count of numbers.
    """
    if option == "none":
        return None
    if y is None or not classes:
        raise UsageError("train.class_weights goes by class labels, and this data has none")
    counts = torch.bincount(y.cpu(), minlength=classes).double()
    if isinstance(option, tuple):
        if len(option) != classes:
            raise UsageError(f"train.class_weights takes {classes} numbers, one for each class, not {len(option)}")
        weights = torch.tensor(option, dtype=torch.float64)
    else:
        weights = torch.where(counts > 0, 1 / counts, 0.0)
    total = (weights * counts).sum() / counts.sum()
    if not total > 0:
        raise UsageError("train.class_weights leaves no observation any weight")
    return (weights / total).float().to(device)
