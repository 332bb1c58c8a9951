"""Samples that copy training observations, and samples that the model makes twice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric, as_floats
from genzoo.core.evaluation.report import POPULATION
from genzoo.core.math.intervals import Estimate, normal, poisson, share, smaller
from genzoo.core.math.neighbours import centred, nearest, slabs
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare

_CELLS = 4_000_000  # numbers of differences held at a time
_DEPTH = 8  # neighbours looked at for one that is no duplicate of the first


@dataclass(frozen=True)
class Memorization:
    """How near samples come to the training set.

    `nearer` less half of ties is .5 for a perfect model and 1 for a copying one (C. Meehan et al., arXiv:2004.05675).
    """

    copies: Estimate  # share of samples with a ratio below the limit
    unseen: Estimate | None  # the same share among held-out data: what a model that copies nothing scores
    nearer: Estimate | None  # probability that a sample lies nearer to the training set than held-out data do
    limit: float  # of the ratio
    index: Tensor  # the copies among the samples, the nearest to its original first, (C,)
    original: Tensor  # index of the training observation that each copies, (C,)
    neighbour: Tensor  # index of every sample's nearest training observation, (N,)
    distance: Tensor  # to it, (N,)

    @property
    def found(self) -> bool:
        """Whether samples are copies more often than unseen data are, beyond both intervals."""
        return self.copies.low > (self.limit**2 if self.unseen is None else self.unseen.high)


def memorization(
    samples: Tensor, training: Tensor, unseen: Tensor | None = None, *, limit: float = 1 / 3
) -> Memorization:
    """Distance-ratio test: a copy is much nearer to one training observation than to any other.

    The ratio is of the distance to the nearest and to the second nearest (T. Yoon et al., ICML SPIGM 2023),
    where the second is the next that is no duplicate of the first, so that repeated data hide no copy. All are pixels
    or features: samples ``(N, D)``, all that the model was trained on ``(M, D)``, and held-out data ``(H, D)``, which
    say what share below the limit is to be expected.

    Raises:
        UsageError: if the limit is not between 0 and 1, there is one training observation, or the sizes differ.
    """
    if not 0 < limit < 1:
        raise UsageError(f"the ratio below which a sample is a copy lies between 0 and 1, not at {limit:g}")
    x, train = checks.pair(samples, training, least=1, names=("samples", "training data"))
    if len(train) < 2:
        raise UsageError("memorization needs at least two training observations to compare distances")
    distance, neighbour, ratio = _ratios(x, train)
    index = (ratio < limit).nonzero().flatten()
    index = index[distance[index].argsort(stable=True)]
    expected = nearer = None
    if unseen is not None:
        held, _ = checks.pair(unseen, training, least=1, names=("unseen data", "training data"))
        far, _, usual = _ratios(held.to(train), train)
        expected, nearer = share(usual < limit), smaller(distance, far)
    return Memorization(share(ratio < limit), expected, nearer, limit, index, neighbour[index], neighbour, distance)


def _ratios(x: Tensor, train: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distance to the nearest training observation, its index, and the ratio to the second, ``(N,)`` each."""
    distance, index = nearest(x, train, min(_DEPTH, len(train)))
    first, step = train[index[:, 0]], max(_CELLS // (index.shape[1] * x.shape[1]), 1)
    parts = zip(torch.split(first, step), torch.split(index, step), strict=True)
    apart = torch.cat([(train[i] - f[:, None]).square().sum(2).sqrt() for f, i in parts])
    same = apart <= 1e-5 * train.square().sum(1).mean().sqrt()
    second = torch.where(same.all(1), distance[:, -1], distance.gather(1, same.int().argmin(1)[:, None])[:, 0])
    first_distance = distance[:, 0].contiguous()
    return first_distance, index[:, 0], first_distance / second.clamp(min=torch.finfo(second.dtype).tiny)


@declare.metric(
    "memorization",
    direction="lower",
    unit="share",
    needs=("samples", "data", "training"),
    paper="Yoon et al., ICML SPIGM 2023",
    tags=("default", "copies"),
)
class Copies(Metric):
    """Share of samples that copy a training observation, with pictures of the copies.

    A copy is much nearer to one training observation than to the next, in pixels. Beside it stands the same share
    among the data, which is what a model that copies nothing scores; the details' ``found`` is true if the samples'
    share is above it beyond both intervals.
    """

    covers = "the share of unlimited samples, given the training data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        ratio: float = option(
            0.3333333333333333, "nearest over second nearest distance that makes a copy", low=0.01, high=0.99
        )
        limit: int = option(2000, "samples, and data, that are judged", low=1)

    def measure(self, evidence: Evidence) -> Measured:
        training = evidence.training
        assert training is not None
        o, train = self.options, as_floats(training)
        unseen = None if evidence.data.split in ("train", "all") else evidence.real[: o.limit].flatten(1)
        samples = evidence.samples[: o.limit]
        found = memorization(samples.flatten(1), train.flatten(1), unseen, limit=o.ratio)
        details = {
            "found": found.found,
            "share among the data": found.unseen.value if found.unseen else None,
            "nearer than the data": found.nearer.value if found.nearer else None,
            "samples": found.index.tolist()[:100],
            "originals": found.original.tolist()[:100],
            "training observations": len(train),
        }
        nearest = found.distance.argsort(stable=True)[:10]
        shown = {"nearest": (nearest, found.neighbour[nearest]), "copies": (found.index[:10], found.original[:10])}
        pictures: dict[str, Tensor] = {}
        for name, (ours, theirs) in shown.items():
            drawn = evidence.pictured(torch.cat([samples[ours], train[theirs]])) if len(ours) else None
            pictures |= {} if drawn is None else {name: drawn}
        return Measured(found.copies, details, pictures, n_fake=len(samples))


@dataclass(frozen=True)
class Duplicates:
    """Near-identical pairs within one set of samples.

    `support` is 1 / P(two samples are the same): how many equally likely things there are, or as good as that many.
    It is infinite if no pair was found; then its `low` still tells how many there are at least.
    """

    support: Estimate
    pairs: Tensor  # indices of the pairs, nearest first, (P, 2), at most as many as asked for
    distance: Tensor  # of each, (P,)
    count: int  # how many pairs there are in all


def duplicates(samples: Tensor, threshold: float, *, keep: int = 20) -> Duplicates:
    """Count near-identical pairs (S. Arora and Y. Zhang, arXiv:1706.08224), and infer the support's size.

    Among s draws of N equally likely things, s (s - 1) / 2N pairs are expected: about √N draws show the first.
    The people of the paper looked at the 20 nearest pairs of samples ``(N, D)``; here a distance decides, which
    `threshold_of` takes from real data, and that many pairs are kept to be looked at.

    Raises:
        UsageError: if the threshold is negative, or there are fewer than three samples.
    """
    if not threshold >= 0:
        raise UsageError(f"a distance within which samples are the same cannot be {threshold:g}")
    x = checks.features(samples, "samples", least=3)
    a, _ = centred(x, x)
    norms = a.square().sum(1)
    slack = 8 * torch.finfo(x.dtype).eps * (norms.max() + norms.mean())  # the product's rounding; undone below
    found = []
    for rows, slab in slabs(a, a):
        near = (slab <= threshold**2 + slack - norms[rows, None]).nonzero()
        near[:, 0] += rows.start
        found.append(near[near[:, 0] < near[:, 1]])
    candidates = torch.cat(found)
    parts = torch.split(candidates, max(_CELLS // x.shape[1], 1))
    distance = torch.cat([(x[i] - x[j]).square().sum(1).sqrt() for i, j in (c.unbind(1) for c in parts)])
    same = distance <= threshold
    pairs, distance = candidates[same], distance[same]
    each = torch.bincount(pairs.flatten(), minlength=len(x)).double()
    nearest_first = distance.argsort(stable=True)[:keep]
    return Duplicates(_support(each), pairs[nearest_first], distance[nearest_first], len(pairs))


def threshold_of(data: Tensor, quantile: float = 0.001) -> float:
    """The distance to its nearest neighbour that only this share of real observations ``(M, D)`` stays below.

    In the same pixels or features as the samples, and about as many. Data have real duplicates too, which is why the
    share is not 0.
    """
    x = checks.features(data, "data", least=3)
    return torch.quantile(nearest(x, x, itself=True)[0][:, 0].double(), quantile).item()


def _support(each: Tensor) -> Estimate:
    """Inverse of the share of pairs that are the same, from how many pairs each sample is in."""
    n, count = len(each), each.sum().item() / 2
    pairs = n * (n - 1) / 2
    low, high = poisson(round(count))
    # Few pairs are as good as independent. Where they crowd around likely things, the jackknife is wider.
    without = (count - each) / ((n - 1) * (n - 2) / 2)
    error = ((without - without.mean()).square().sum() * (n - 1) / n).sqrt().item()
    rate = normal(count / pairs, error, (n,), "")
    low, high = min(low / pairs, rate.low), max(high / pairs, rate.high)
    value, least, most = (1 / v if v > 0 else math.inf for v in (count / pairs, high, low))
    return Estimate(value, least, most, (n,), "exact Poisson or jackknife, the wider")


@declare.metric(
    "duplicates",
    direction="higher",
    unit="things",
    needs=("samples", "data", "features"),
    paper="arXiv:1706.08224",
    tags=("copies",),
)
class Birthday(Metric):
    """Birthday paradox: how many different things the model makes, from near-identical pairs.

    How many equally likely things would show as many pairs of samples; infinite if none shows. Two samples are the same
    if their features are nearer than all but a thousandth of the data are to their nearest neighbour. The details tell
    the same number of the data themselves.
    """

    covers = POPULATION

    @dataclass(frozen=True)
    class Options(Metric.Options):
        quantile: float = option(0.001, "share of the data whose nearest neighbour is as near", low=0, high=1)

    def measure(self, evidence: Evidence) -> Measured:
        x, y = checks.both(evidence)
        threshold = threshold_of(y, self.options.quantile)
        found, usual = duplicates(x, threshold), duplicates(y, threshold)
        details = {
            "pairs": found.count,
            "pairs among the data": usual.count,
            "support of the data": usual.support.value,
            "threshold": threshold,
            "indices": found.pairs.tolist(),
        }
        drawn = evidence.pictured(evidence.samples[found.pairs[:10].T.flatten()]) if found.count else None
        return Measured(found.support, details, {} if drawn is None else {"pairs": drawn})
