"""What tells samples from data: a classifier, and how far sorted projections must be moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.evaluation.report import AT_COUNTS
from genzoo.core.math import logistic
from genzoo.core.math.intervals import Estimate, at_least, jackknife, share
from genzoo.core.math.neighbours import nearest
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare

_PART = 32  # projections at a time
_VOTERS = 5  # nearest neighbours: odd, so that there are no ties


@dataclass(frozen=True)
class TwoSample:
    """What a classifier achieves on samples and data that it was not trained on."""

    accuracy: Estimate  # .5 if nothing tells them apart, 1 if everything does
    p_value: float  # probability of that accuracy or a higher one if the distributions were equal
    real: float  # share of the data that are taken for data
    fake: float  # share of the samples that are taken for samples


def two_sample(
    samples: Tensor, data: Tensor, *, judge: Literal["logistic", "neighbours"] = "logistic", seed: int = 0
) -> TwoSample:
    """Train on one half and test on the other (D. Lopez-Paz and M. Oquab, arXiv:1610.06545).

    Sets of features ``(N, D)`` and ``(M, D)`` of unequal size are cut to the smaller one, so that chance is one half.
    The judge is ``logistic`` regression, or a vote of five ``neighbours``, which sees what no plane can part (in sets
    of many features it needs many observations).

    Raises:
        UsageError: if a set has fewer than four observations.
    """
    fake, real = checks.pair(samples, data, least=4)
    n = min(len(fake), len(real)) // 2
    train, test = [], []
    for i, s in enumerate((fake, real)):
        order = torch.randperm(len(s), generator=generator(seed, i)).to(s.device)
        train.append(s[order[:n]])
        test.append(s[order[n : 2 * n]])
    x, held = torch.cat(train), torch.cat(test)
    y = torch.arange(2, device=x.device).repeat_interleave(n)
    if judge == "logistic":
        guess = logistic.fit(x, y, 2, decay=1e-2).predict(held)
    else:
        guess = (y[nearest(held, x, min(_VOTERS, 2 * n - 1 + n % 2))[1]].double().mean(1) > 0.5).long()
    right = guess == y
    shares = (right[n:].double().mean().item(), right[:n].double().mean().item())
    return TwoSample(share(right), at_least(int(right.sum()), 2 * n, 0.5), *shares)


@declare.metric(
    "c2st",
    direction="lower",
    unit="accuracy",
    needs=("samples", "data", "features"),
    paper="arXiv:1610.06545",
    tags=("distribution",),
)
class ClassifierTwoSample(Metric):
    """Classifier two-sample test: accuracy of telling samples from data, 50 % is best.

    A classifier of features is trained on one half of samples and data and tested on the other.
    """

    covers = "the accuracy of this classifier on unlimited samples and data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        judge: Literal["logistic", "neighbours"] = option("logistic", "a plane between them, or a vote of neighbours")

    def measure(self, evidence: Evidence) -> Measured:
        found = two_sample(*checks.both(evidence), judge=self.options.judge, seed=evidence.seed)
        details = {"p-value": found.p_value, "data taken for data": found.real, "samples taken for samples": found.fake}
        return Measured(found.accuracy, details)


def sliced_wasserstein(x: Tensor, y: Tensor, *, projections: int = 256, resamples: int = 0, seed: int = 0) -> Estimate:
    """(E over directions θ of W₂(θ·x, θ·y)²)^½ of ``(N, D)`` and ``(M, D)``, in their units (Rabin et al., SSVM 2011).

    The square of that between N(m, σ²I) and N(0, τ²I) in D dimensions is ‖m‖²/D + (σ - τ)². A finite set is some way
    off even from its own distribution, so only values from equal counts compare. ``resamples`` are parts of the
    jackknife for the interval, which tells of the choice of directions too; 0 for none.

    Raises:
        UsageError: if the sets' sizes differ.
    """
    x, y = checks.pair(x, y, least=1)
    directions = torch.randn(projections, x.shape[1], generator=generator(seed, 0), dtype=torch.float64)
    directions = (directions / directions.norm(dim=1, keepdim=True)).to(x.device, x.dtype)
    centre = y.mean(0)
    px, py = ((s - centre) @ directions.T for s in (x, y))

    def ordered(a: Tensor) -> Tensor:
        return a.T.contiguous().sort(dim=-1).values

    def costs(a: Tensor, b: Tensor) -> Tensor:
        parts = zip(torch.split(a, _PART), torch.split(b, _PART), strict=True)
        return torch.cat([moved(p.double(), q.double(), 2.0) for p, q in parts])

    def statistic(a: Tensor, b: Tensor) -> float:
        return float(costs(a, b).mean().item() ** 0.5)

    # Other directions would give another number: the variance of a mean, by the delta method for its root.
    each = costs(ordered(px), ordered(py))
    mean = each.mean().item()
    slope = mean**-0.5 / 2 if mean > 0 else 0.0
    more = slope**2 * each.var().item() / projections if projections > 1 else 0.0
    return jackknife(statistic, px, py, parts=resamples, prepare=ordered, more=more, seed=seed, low=0.0)


def moved(x: Tensor, y: Tensor, power: float) -> Tensor:
    """W_p^p between ascending numbers ``(..., N)`` and ``(..., M)`` along the last axis, exact for any N and M."""
    n, m = x.shape[-1], y.shape[-1]
    if n == m:
        return (x - y).abs().pow(power).mean(-1)
    # Both quantile functions are constant between the levels i/n and j/m, counted here in units of 1/nm.
    ends = torch.unique(torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n])).to(x.device)
    widths = ends.diff(prepend=ends.new_zeros(1)).double() / (n * m)
    distance: Tensor = (x[..., (ends - 1) // m] - y[..., (ends - 1) // n]).abs().pow(power)
    cost: Tensor = (distance * widths).sum(-1)
    return cost


@declare.metric(
    "sliced-wasserstein",
    direction="lower",
    needs=("samples", "data", "features"),
    paper="Rabin et al., SSVM 2011",
    tags=("distribution",),
)
class SlicedWasserstein(Metric):
    """Sliced Wasserstein-2 distance between features, in their units.

    Root mean square over random directions of how far sorted projections of features must be moved.
    """

    covers = AT_COUNTS

    @dataclass(frozen=True)
    class Options(Metric.Options):
        projections: int = option(256, "random directions", low=1)
        resamples: int = option(25, "parts of the jackknife; 0 for no interval", low=0)

    def measure(self, evidence: Evidence) -> Estimate:
        o = self.options
        return sliced_wasserstein(
            *checks.both(evidence), projections=o.projections, resamples=o.resamples, seed=evidence.seed
        )
