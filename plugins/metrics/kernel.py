"""Maximum mean discrepancy by unbiased U-statistics, and the kernel inception distance made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.evaluation.report import POPULATION
from genzoo.core.math.intervals import Estimate, normal
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare

_CELLS = 4_000_000  # of a Gram matrix at a time: 32 MB
_ENOUGH = 2000  # observations that a variance is estimated from


class Kernel(Protocol):
    """A kernel that needs inner products and squared norms only, so that many share one Gram matrix."""

    def __call__(self, dot: Tensor, rows: Tensor, columns: Tensor, dimensions: int) -> Tensor:
        """Values ``(R, C)`` from x·y ``(R, C)``, ‖x‖² ``(R, 1)`` and ‖y‖² ``(1, C)``."""


@dataclass(frozen=True)
class Polynomial:
    """(γ x·y + c)^p; the defaults, with γ = 1/D, are those of KID (arXiv:1801.01401)."""

    degree: int = 3
    gamma: float | None = None
    offset: float = 1.0

    def __call__(self, dot: Tensor, rows: Tensor, columns: Tensor, dimensions: int) -> Tensor:
        gamma = 1 / dimensions if self.gamma is None else self.gamma
        return (dot * gamma + self.offset) ** self.degree


@dataclass(frozen=True)
class RBF:
    """Mean over bandwidths σ of exp(-‖x - y‖² / 2σ²); without any, σ² = D, right for standardized features."""

    bandwidths: tuple[float, ...] = ()

    def __call__(self, dot: Tensor, rows: Tensor, columns: Tensor, dimensions: int) -> Tensor:
        squares = (rows + columns - 2 * dot).clamp_(min=0)
        sigmas = self.bandwidths or (math.sqrt(dimensions),)
        total = torch.zeros_like(squares)
        for sigma in sigmas:
            total += torch.exp(squares * (-0.5 / sigma**2))
        return total / len(sigmas)


@dataclass(frozen=True)
class InverseMultiquadric:
    """c / (c + ‖x - y‖²) with c = 2Dσ², twice the expected squared distance over two at scale σ."""

    scale: float = 1.0

    def __call__(self, dot: Tensor, rows: Tensor, columns: Tensor, dimensions: int) -> Tensor:
        c = 2 * dimensions * self.scale**2
        return c / (c + (rows + columns - 2 * dot).clamp_(min=0))


def mmd(x: Tensor, y: Tensor, kernels: Sequence[Kernel]) -> list[Estimate]:
    """Squared maximum mean discrepancy under several kernels, from one Gram matrix of all pairs.

    Unbiased (A. Gretton et al., JMLR 2012, lemma 6): its expectation is 0 for equal distributions, so that
    a value can be negative. The interval's variance is the jackknife's less the second-order part that it counts
    twice (B. Efron and C. Stein, Ann. Statist. 1981): without bias, also where the distributions are equal.

    Args:
        x: samples or their features, ``(N, D)`` with N ≥ 3.
        y: data likewise, ``(M, D)``.
        kernels: as many as are wanted.

    Raises:
        UsageError: if there are too few observations, or their sizes differ.
    """
    x, y = checks.pair(x, y, least=3, dtype=torch.float64)
    if all(isinstance(k, (RBF, InverseMultiquadric)) for k in kernels):
        centre = y.mean(0)  # moves no distance, and saves the digits that a far origin would cost
        x, y = x - centre, y - centre
    return [_u_statistic(*sums) for sums in _sums(x, y, kernels)]


def _sums(x: Tensor, y: Tensor, kernels: Sequence[Kernel]) -> list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """For each kernel what `_u_statistic` takes."""
    n, m = len(x), len(y)
    xx, yy = (torch.zeros(len(kernels), k, dtype=x.dtype, device=x.device) for k in (n, m))
    xy, yx = torch.zeros_like(xx), torch.zeros_like(yy)
    squares = torch.zeros(len(kernels), 3, dtype=x.dtype, device=x.device)  # of kernels within x, y, and between
    both = torch.cat([x, y])
    for part in _chunks(n, n + m):
        for k, values in enumerate(_values(kernels, x[part], both)):
            xx[k, part] = values[:, :n].sum(1) - values.diagonal(part.start)
            xy[k, part] = values[:, n:].sum(1)
            yx[k] += values[:, n:].sum(0)
            squares[k, 0] += values[:, :n].square().sum() - values.diagonal(part.start).square().sum()
            squares[k, 2] += values[:, n:].square().sum()
    for part in _chunks(m, m):
        for k, values in enumerate(_values(kernels, y[part], y)):
            yy[k, part] = values.sum(1) - values.diagonal(part.start)
            squares[k, 1] += values.square().sum() - values.diagonal(part.start).square().sum()
    return list(zip(xx, yy, xy, yx, squares, strict=True))


@dataclass(frozen=True)
class KID:
    """A kernel distance averaged over subsets; "KID" only if the features are those of FID's Inception.

    Attributes:
        distance: mean over the subsets. The interval is of the U-statistic that it tends to.
        spread: standard deviation over subsets: what others print after ±, and no interval of the mean.
        size: observations in each subset.
        subsets: how many.
    """

    distance: Estimate
    spread: float
    size: int
    subsets: int


def kid(
    x: Tensor, y: Tensor, *, size: int | None = None, subsets: int = 100, seed: int = 0, kernel: Kernel | None = None
) -> KID:
    """Kernel inception distance (M. Bińkowski et al., arXiv:1801.01401): unbiased at every sample count.

    Both sets are shuffled and cut into disjoint subsets, again and again until there are enough. The interval's
    variance is that of the U-statistic of the whole sets, which the mean over shuffles tends to, and of that mean
    around it; of one shuffle it is Student's over the disjoint subsets.

    Args:
        x: features of samples, ``(N, D)``.
        y: features of data, ``(M, D)``.
        size: observations in a subset; None takes 1,000, or a tenth of the smaller set if that is less.
        subsets: how many; fewer than fit into one shuffle is fine.
        seed: of the shuffles.
        kernel: None is KID's own, (x·y/D + 1)³.

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
    kernel = kernel if kernel is not None else Polynomial()
    blocks = most // size
    values: list[Tensor] = []
    while len(values) < subsets:
        shuffle = len(values) // blocks
        orders = [torch.randperm(len(s), generator=generator(seed, shuffle, i)) for i, s in enumerate((x, y))]
        for b in range(min(blocks, subsets - len(values))):
            i, j = (o[b * size : (b + 1) * size].to(x.device) for o in orders)
            values.append(_unbiased(x[i], y[j], kernel))
    found = torch.stack(values).cpu()
    value, samples = found.mean().item(), (len(x), len(y))
    spread = found.std().item() if subsets > 1 else math.nan
    whole = found[: len(found) // blocks * blocks].view(-1, blocks).mean(1)
    if len(whole) > 1 and most > 3:
        # The mean over all ways to cut is the U-statistic of the whole sets; over some it scatters around that one.
        error = math.sqrt(_variance(x, y, kernel) + whole.var().item() / len(whole))
        return KID(normal(value, error, samples, "variance of a U-statistic"), spread, size, subsets)
    independent = min(blocks, subsets)
    if independent < 2:
        return KID(Estimate(value, samples=samples), spread, size, subsets)
    error = found[:independent].std().item() / math.sqrt(independent)
    return KID(
        normal(value, error, samples, f"t over {independent} disjoint subsets", independent - 1), spread, size, subsets
    )


def _variance(x: Tensor, y: Tensor, kernel: Kernel) -> float:
    """Variance of the U-statistic of x and y, estimated from `_ENOUGH` observations of each."""
    found = _u_statistic(*_sums(x[:_ENOUGH], y[:_ENOUGH], [kernel])[0], counts=(len(x), len(y)))
    return ((found.high - found.value) / normal(0, 1, (), "").high) ** 2


def _chunks(rows: int, columns: int) -> list[slice]:
    step = max(_CELLS // columns, 1)
    return [slice(i, min(i + step, rows)) for i in range(0, rows, step)]


def _values(kernels: Sequence[Kernel], a: Tensor, b: Tensor) -> list[Tensor]:
    dot = a @ b.T
    rows, columns = a.square().sum(1)[:, None], b.square().sum(1)[None]
    return [kernel(dot, rows, columns, a.shape[1]) for kernel in kernels]


def _unbiased(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """The U-statistic of one pair of subsets, which fit into memory."""
    n, m = len(x), len(y)
    xx, yy, xy = (_values([kernel], a, b)[0] for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * xy.mean()


def _u_statistic(
    xx: Tensor, yy: Tensor, xy: Tensor, yx: Tensor, squares: Tensor, counts: tuple[int, int] | None = None
) -> Estimate:
    """Value, and interval of it or of that of other counts.

    Args:
        xx: sums of each x's kernel values with the other x, ``(N,)``.
        yy: likewise of y, ``(M,)``.
        xy: of each x with all y, ``(N,)``.
        yx: of each y with all x, ``(M,)``.
        squares: sums of squares of the kernel values within x, within y, and between them, ``(3,)``.
        counts: of the sets whose error is wanted; None is N and M.
    """
    n, m = len(xx), len(yy)
    sxx, syy, sxy = xx.sum(), yy.sum(), xy.sum()
    value = sxx / (n * (n - 1)) + syy / (m * (m - 1)) - 2 * sxy / (n * m)

    def doubly_centred(rows: Tensor, square: Tensor) -> Tensor:  # mean square (G. Székely and M. Rizzo, 2014)
        k = len(rows)
        centred = square - 2 / (k - 2) * rows.square().sum() + rows.sum() ** 2 / ((k - 1) * (k - 2))
        return centred / (k * max(k - 3, 1))

    between = squares[2] - xy.square().sum() / m - yx.square().sum() / n + sxy**2 / (n * m)
    between = 4 * (between / ((n - 1) * (m - 1))).clamp(min=0) / (n * m)
    a, b = (n, m) if counts is None else counts
    first, second = torch.zeros_like(value), between * (n * m) / (a * b)
    for own, other, k, j, rest, square, many in (
        (xx, xy, n, m, sxx, squares[0], a),
        (yy, yx, m, n, syy, squares[1], b),
    ):
        without = (rest - 2 * own) / ((k - 1) * (k - 2)) - 2 * (sxy - other) / ((k - 1) * j)
        jackknife = (without - without.mean()).square().sum() * (k - 1) / k
        within = 2 * doubly_centred(own, square).clamp(min=0) / (k * (k - 1))
        first += (jackknife - 2 * within - between) * k / many
        second += within * (k / many) ** 2
    return normal(value.item(), (first.clamp(min=0) + second).sqrt().item(), (n, m), "variance of a U-statistic")


@declare.metric(
    "kid",
    summary="kernel distance: polynomial MMD² of features over subsets, unbiased at any count",
    direction="lower",
    needs=("samples", "data", "features"),
    paper="arXiv:1801.01401",
    tags=("default", "distribution"),
    rank=2,
)
class KernelDistance(Metric):
    """Unbiased squared MMD under (x·y/D + 1)³, averaged over disjoint subsets: 0 in expectation for equal sets.

    Right for small samples, where a Fréchet distance is mostly bias. Its name is KID only with Inception's
    own features.
    """

    covers = POPULATION

    @dataclass(frozen=True)
    class Options(Metric.Options):
        size: int = option(0, "observations in a subset; 0 takes 1,000, or a tenth of the smaller set", low=0)
        subsets: int = option(100, "how many", low=1)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        x, y = evidence.fake_features.features, evidence.real_features.features
        found = kid(x, y, size=self.options.size or None, subsets=self.options.subsets, seed=evidence.seed)
        details = {"standard deviation over subsets": found.spread, "size": found.size, "subsets": found.subsets}
        return Measured(found.distance, details, why="fewer than two subsets fit into the sets")

    def title(self, evidence: Evidence) -> str:
        return "KID" if evidence.extractor is not None and evidence.extractor.inception else "kernel distance"


@declare.metric(
    "mmd",
    summary="maximum mean discrepancy², Gaussian kernels around the data's median distance",
    direction="lower",
    needs=("samples", "data", "features"),
    paper="Gretton et al., JMLR 2012",
    tags=("distribution",),
)
class MMD(Metric):
    """Unbiased squared MMD of features; kernels of half, once and twice the median distance between data.

    A Gaussian kernel is characteristic: with enough samples it sees every difference between distributions.
    """

    covers = POPULATION

    @dataclass(frozen=True)
    class Options(Metric.Options):
        limit: int = option(2000, "observations of either set, since the cost is quadratic", low=3)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        limit = self.options.limit
        x, y = (f.features[:limit].double() for f in (evidence.fake_features, evidence.real_features))
        apart = torch.pdist(y[:1000])
        median = apart.median().item() or 1.0
        (found,) = mmd(x, y, [RBF((median / 2, median, 2 * median))])
        return Measured(found, {"median distance of the data": median}, n_real=len(y), n_fake=len(x))
