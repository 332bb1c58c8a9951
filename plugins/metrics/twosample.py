"""What tells samples from data: kernels (MMD, KID), sorted projections, and a classifier."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.evaluation.report import AT_COUNTS, POPULATION
from genzoo.core.math import logistic
from genzoo.core.math.intervals import Estimate, at_least, jackknife, normal, share
from genzoo.core.math.neighbours import nearest
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare

_CELLS = 4_000_000  # of a Gram matrix at a time: 32 MB
_ENOUGH = 2000  # observations that a variance is estimated from
_PART = 32  # projections at a time
_VOTERS = 5  # nearest neighbours: odd, so that there are no ties

Kernel = Callable[[Tensor, Tensor], Tensor]  # values (R, C) between x (R, D) and y (C, D)


def cubic(x: Tensor, y: Tensor) -> Tensor:
    """KID's own kernel, (x·y/D + 1)³ (arXiv:1801.01401)."""
    return (x @ y.T * (1 / x.shape[1]) + 1.0) ** 3


@dataclass(frozen=True)
class RBF:
    """Mean over bandwidths σ of exp(-‖x - y‖² / 2σ²)."""

    bandwidths: tuple[float, ...]

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        squares = (x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * (x @ y.T)).clamp_(min=0)
        total = torch.zeros_like(squares)
        for sigma in self.bandwidths:
            total += torch.exp(squares * (-0.5 / sigma**2))
        return total / len(self.bandwidths)


@dataclass(frozen=True)
class _Sums:
    """Sums of kernel values that a U-statistic is made of."""

    xx: Tensor  # of each x with the other x, (N,)
    yy: Tensor  # of each y with the other y, (M,)
    xy: Tensor  # of each x with all y, (N,)
    yx: Tensor  # of each y with all x, (M,)
    squares: Tensor  # of the squares of the values within x, within y, and between them, (3,)


def mmd(x: Tensor, y: Tensor, kernel: Kernel) -> Estimate:
    """Squared maximum mean discrepancy between samples or their features ``(N, D)`` and data ``(M, D)``.

    Unbiased (A. Gretton et al., JMLR 2012, lemma 6): its expectation is 0 for equal distributions, so that
    a value can be negative. The interval's variance is the jackknife's less the second-order part that it counts
    twice (B. Efron and C. Stein, Ann. Statist. 1981): without bias, also where the distributions are equal.

    Raises:
        UsageError: if a set has fewer than three observations, or their sizes differ.
    """
    x, y = checks.pair(x, y, least=3, dtype=torch.float64)
    if isinstance(kernel, RBF):
        centre = y.mean(0)  # moves no distance, and saves the digits that a far origin would cost
        x, y = x - centre, y - centre
    if same_set(x, y):
        return _nothing(len(x))
    return _u_statistic(_sums(x, y, kernel))


def same_set(x: Tensor, y: Tensor) -> bool:
    """Whether two sets ``(N, D)`` hold the same observations, in any order.

    An unbiased estimate is one of independent sets: of a set and itself it is below 0, by what each observation has in
    common with itself.
    """
    return x.shape == y.shape and torch.equal(x.sort(0).values, y.sort(0).values)


def _nothing(n: int) -> Estimate:
    return Estimate(0.0, 0.0, 0.0, (n, n), "both sets are the same")


def _sums(x: Tensor, y: Tensor, kernel: Kernel) -> _Sums:
    n, m = len(x), len(y)
    xx, yy = (torch.zeros(k, dtype=x.dtype, device=x.device) for k in (n, m))
    xy, yx = torch.zeros_like(xx), torch.zeros_like(yy)
    squares = torch.zeros(3, dtype=x.dtype, device=x.device)
    both = torch.cat([x, y])
    for part in _chunks(n, n + m):
        values = kernel(x[part], both)
        xx[part] = values[:, :n].sum(1) - values.diagonal(part.start)
        xy[part] = values[:, n:].sum(1)
        yx += values[:, n:].sum(0)
        squares[0] += values[:, :n].square().sum() - values.diagonal(part.start).square().sum()
        squares[2] += values[:, n:].square().sum()
    for part in _chunks(m, m):
        values = kernel(y[part], y)
        yy[part] = values.sum(1) - values.diagonal(part.start)
        squares[1] += values.square().sum() - values.diagonal(part.start).square().sum()
    return _Sums(xx, yy, xy, yx, squares)


def _chunks(rows: int, columns: int) -> list[slice]:
    step = max(_CELLS // columns, 1)
    return [slice(i, min(i + step, rows)) for i in range(0, rows, step)]


def _u_statistic(sums: _Sums, counts: tuple[int, int] | None = None) -> Estimate:
    """Value, and its interval; or that of sets of other counts ``(N, M)``."""
    n, m = len(sums.xx), len(sums.yy)
    sxx, syy, sxy = sums.xx.sum(), sums.yy.sum(), sums.xy.sum()
    value = sxx / (n * (n - 1)) + syy / (m * (m - 1)) - 2 * sxy / (n * m)

    def doubly_centred(rows: Tensor, square: Tensor) -> Tensor:  # mean square (G. Székely and M. Rizzo, 2014)
        k = len(rows)
        centred = square - 2 / (k - 2) * rows.square().sum() + rows.sum() ** 2 / ((k - 1) * (k - 2))
        return centred / (k * max(k - 3, 1))

    between = sums.squares[2] - sums.xy.square().sum() / m - sums.yx.square().sum() / n + sxy**2 / (n * m)
    between = 4 * (between / ((n - 1) * (m - 1))).clamp(min=0) / (n * m)
    a, b = (n, m) if counts is None else counts
    first, second = torch.zeros_like(value), between * (n * m) / (a * b)
    for own, other, k, j, rest, square, many in (
        (sums.xx, sums.xy, n, m, sxx, sums.squares[0], a),
        (sums.yy, sums.yx, m, n, syy, sums.squares[1], b),
    ):
        without = (rest - 2 * own) / ((k - 1) * (k - 2)) - 2 * (sxy - other) / ((k - 1) * j)
        jackknife = (without - without.mean()).square().sum() * (k - 1) / k
        within = 2 * doubly_centred(own, square).clamp(min=0) / (k * (k - 1))
        first += (jackknife - 2 * within - between) * k / many
        second += within * (k / many) ** 2
    return normal(value.item(), (first.clamp(min=0) + second).sqrt().item(), (n, m), "variance of a U-statistic")


def kid(x: Tensor, y: Tensor, *, size: int | None = None, subsets: int = 100, seed: int = 0) -> Measured:
    """Kernel inception distance (M. Bińkowski et al., arXiv:1801.01401): unbiased at every sample count.

    Both sets ``(N, D)`` and ``(M, D)`` are shuffled and cut into disjoint subsets of ``size`` (1,000, or a tenth of the
    smaller set if that is less), again and again until there are enough. The interval's variance is that of the
    U-statistic of the whole sets, which the mean over shuffles tends to, and of that mean around it; of one shuffle it
    is Student's over the disjoint subsets. The standard deviation over subsets, which others print after ±, is in the
    details: it is no interval of the mean.

    Raises:
        UsageError: if a subset does not fit into both sets or has fewer than two observations.
    """
    x, y = checks.pair(x, y, dtype=torch.float64)
    most = min(len(x), len(y))
    size = min(1000, max(most // 10, 2)) if size is None else size
    if not 2 <= size <= most or subsets < 1:
        raise UsageError(
            f"KID's subsets have from 2 to {most} observations here, and there is at least one, not {size}"
        )
    if same_set(x, y):
        return Measured(_nothing(most), {"standard deviation over subsets": 0.0, "size": size, "subsets": subsets})
    blocks = most // size
    values: list[Tensor] = []
    while len(values) < subsets:
        shuffle = len(values) // blocks
        orders = [torch.randperm(len(s), generator=generator(seed, shuffle, i)) for i, s in enumerate((x, y))]
        for b in range(min(blocks, subsets - len(values))):
            i, j = (o[b * size : (b + 1) * size].to(x.device) for o in orders)
            values.append(_unbiased(x[i], y[j]))
    found = torch.stack(values).cpu()
    value, samples, independent = found.mean().item(), (len(x), len(y)), min(blocks, subsets)
    whole = found[: len(found) // blocks * blocks].view(-1, blocks).mean(1)
    if len(whole) > 1 and most > 3:
        # The mean over all ways to cut is the U-statistic of the whole sets; over some it scatters around that one.
        estimate = _u_statistic(_sums(x[:_ENOUGH], y[:_ENOUGH], cubic), samples)
        variance = ((estimate.high - estimate.value) / normal(0, 1, (), "").high) ** 2
        error = math.sqrt(variance + whole.var().item() / len(whole))
        distance = normal(value, error, samples, estimate.interval)
    elif independent > 1:
        error = found[:independent].std().item() / math.sqrt(independent)
        distance = normal(value, error, samples, f"t over {independent} disjoint subsets", independent - 1)
    else:
        distance = Estimate(value, samples=samples)
    spread = found.std().item() if subsets > 1 else math.nan
    details = {"standard deviation over subsets": spread, "size": size, "subsets": subsets}
    return Measured(distance, details, why="fewer than two subsets fit into the sets")


def _unbiased(x: Tensor, y: Tensor) -> Tensor:
    """The U-statistic of one pair of subsets, which fit into memory."""
    n, m = len(x), len(y)
    xx, yy, xy = (cubic(a, b) for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * xy.mean()


@declare.metric(
    "kid",
    direction="lower",
    needs=("samples", "data", "features"),
    paper="arXiv:1801.01401",
    tags=("default", "distribution"),
    rank=2,
)
class KernelDistance(Metric):
    """Kernel distance: polynomial MMD² of features over subsets, unbiased at any count.

    Squared MMD under (x·y/D + 1)³, averaged over disjoint subsets: 0 in expectation for equal sets. Right for small
    samples, where a Fréchet distance is mostly bias. Its name is KID only with Inception's own features.
    """

    covers = POPULATION

    @dataclass(frozen=True)
    class Options(Metric.Options):
        size: int = option(0, "observations in a subset; 0 takes 1,000, or a tenth of the smaller set", low=0)
        subsets: int = option(100, "how many", low=1)

    def measure(self, evidence: Evidence) -> Measured:
        o = self.options
        return kid(*checks.both(evidence), size=o.size or None, subsets=o.subsets, seed=evidence.seed)

    def title(self, evidence: Evidence) -> str:
        return "KID" if evidence.inception else "kernel distance"


@declare.metric(
    "mmd",
    direction="lower",
    needs=("samples", "data", "features"),
    paper="Gretton et al., JMLR 2012",
    tags=("distribution",),
)
class MMD(Metric):
    """Maximum mean discrepancy², Gaussian kernels around the data's median distance.

    Unbiased, of features; kernels of half, once and twice the median distance between data. A Gaussian kernel is
    characteristic: with enough samples it sees every difference between distributions.
    """

    covers = POPULATION

    @dataclass(frozen=True)
    class Options(Metric.Options):
        limit: int = option(2000, "observations of either set, since the cost is quadratic", low=3)

    def measure(self, evidence: Evidence) -> Measured:
        x, y = (features[: self.options.limit].double() for features in checks.both(evidence))
        median = torch.pdist(y[:1000]).median().item() or 1.0
        found = mmd(x, y, RBF((median / 2, median, 2 * median)))
        return Measured(found, {"median distance of the data": median}, n_real=len(y), n_fake=len(x))


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


def two_sample(
    samples: Tensor, data: Tensor, *, judge: Literal["logistic", "neighbours"] = "logistic", seed: int = 0
) -> Measured:
    """Accuracy of a classifier trained on one half, on the other (D. Lopez-Paz and M. Oquab, arXiv:1610.06545).

    It is .5 if nothing tells the sets apart, 1 if everything does; the p-value is the probability of that accuracy or a
    higher one if the distributions were equal.
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
    details = {
        "p-value": at_least(int(right.sum()), 2 * n, 0.5),
        "data taken for data": right[n:].double().mean().item(),
        "samples taken for samples": right[:n].double().mean().item(),
    }
    return Measured(share(right), details)


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
        return two_sample(*checks.both(evidence), judge=self.options.judge, seed=evidence.seed)
