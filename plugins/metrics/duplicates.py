"""The birthday paradox: how many different things a model makes, from how often it makes one twice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.evaluation.report import POPULATION
from genzoo.core.math.intervals import Estimate, normal, poisson
from genzoo.core.math.neighbours import centred, nearest, slabs
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare


@dataclass(frozen=True)
class Duplicates:
    """Near-identical pairs within one set of samples.

    Attributes:
        support: 1 / P(two samples are the same): how many equally likely things there are, or as good as
            that many. Infinite if no pair was found; then ``low`` still tells how many there are at least.
        pairs: indices of the pairs, nearest first, ``(P, 2)``, at most as many as asked for.
        distance: of each, ``(P,)``.
        count: how many pairs there are in all.
        threshold: distance within which two samples count as the same.
    """

    support: Estimate
    pairs: Tensor
    distance: Tensor
    count: int
    threshold: float


def duplicates(samples: Tensor, threshold: float, *, keep: int = 20) -> Duplicates:
    """Count near-identical pairs (S. Arora and Y. Zhang, arXiv:1706.08224), and infer the support's size.

    Among s draws of N equally likely things, s (s - 1) / 2N pairs are expected: about √N draws show the first.
    The people of the paper looked at the 20 nearest pairs; here a distance decides, and the pairs are kept to
    be looked at.

    Args:
        samples: pixels or features ``(N, D)``.
        threshold: see `threshold_of`, which takes it from real data.
        keep: how many pairs to return.

    Raises:
        UsageError: if the threshold is negative.
    """
    if not threshold >= 0:
        raise UsageError(f"a distance within which samples are the same cannot be {threshold:g}")
    x = checks.features(samples, "samples")
    n = len(x)
    a, _ = centred(x, x)
    norms = a.square().sum(1)
    slack = 8 * torch.finfo(x.dtype).eps * (norms.max() + norms.mean())  # the product's rounding; undone below
    found = []
    for rows, slab in slabs(a, a):
        near = (slab <= threshold**2 + slack - norms[rows, None]).nonzero()
        near[:, 0] += rows.start
        found.append(near[near[:, 0] < near[:, 1]])
    candidates = torch.cat(found)
    step = max(4_000_000 // x.shape[1], 1)
    exact = [(x[i] - x[j]).square().sum(1).sqrt() for i, j in (c.unbind(1) for c in torch.split(candidates, step))]
    distance = torch.cat(exact) if exact else x.new_empty(0)
    same = distance <= threshold
    pairs, distance = candidates[same], distance[same]
    each = torch.bincount(pairs.flatten(), minlength=n).double()
    nearest_first = distance.argsort(stable=True)[:keep]
    return Duplicates(_support(each), pairs[nearest_first], distance[nearest_first], len(pairs), threshold)


def threshold_of(data: Tensor, quantile: float = 0.001) -> float:
    """The distance to its nearest neighbour that only this share of real observations stays below.

    Args:
        data: in the same pixels or features, ``(M, D)``; about as many as there will be samples.
        quantile: as above. Data have real duplicates too, which is why it is not 0.
    """
    x = checks.features(data, "data")
    return torch.quantile(nearest(x, x, itself=True)[0][:, 0].double(), quantile).item()


def _support(each: Tensor) -> Estimate:
    """Inverse of the share of pairs that are the same, from how many pairs each sample is in."""
    n, count = len(each), each.sum().item() / 2
    pairs = n * (n - 1) / 2
    low, high = poisson(round(count))
    # Few pairs are as good as independent. Where they crowd around likely things, the jackknife is wider.
    without = (count - each) / ((n - 1) * (n - 2) / 2) if n > 2 else each
    error = ((without - without.mean()).square().sum() * (n - 1) / n).sqrt().item()
    rate = normal(count / pairs, error, (n,), "")
    low, high = min(low / pairs, rate.low), max(high / pairs, rate.high)
    value, least, most = (1 / v if v > 0 else math.inf for v in (count / pairs, high, low))
    return Estimate(value, least, most, (n,), "exact Poisson or jackknife, the wider")


@declare.metric(
    "duplicates",
    summary="birthday paradox: how many different things the model makes, from near-identical pairs",
    direction="higher",
    unit="things",
    needs=("samples", "data", "features"),
    paper="arXiv:1706.08224",
    tags=("copies",),
)
class Birthday(Metric):
    """How many equally likely things would show as many near-identical pairs of samples; infinite if none shows.

    Two samples are the same if their features are nearer than all but a thousandth of the data are to their
    nearest neighbour. The details tell the same number of the data themselves.
    """

    covers = POPULATION

    @dataclass(frozen=True)
    class Options(Metric.Options):
        quantile: float = option(0.001, "share of the data whose nearest neighbour is as near", low=0, high=1)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        x, y = evidence.fake_features.features, evidence.real_features.features
        threshold = threshold_of(y, self.options.quantile)
        found, usual = duplicates(x, threshold), duplicates(y, threshold)
        details = {
            "pairs": found.count,
            "pairs among the data": usual.count,
            "support of the data": usual.support.value,
            "threshold": threshold,
            "indices": found.pairs.tolist(),
        }
        pair = found.pairs[:10]
        drawn = evidence.pictured(evidence.samples[torch.cat([pair[:, 0], pair[:, 1]])]) if len(pair) else None
        pictures = {} if drawn is None else {"pairs": drawn}
        return Measured(found.support, details, pictures)

    def refuses(self, evidence: Evidence) -> str:
        return "" if min(evidence.n_fake, len(evidence.data)) > 2 else "it needs three samples and three observations"
