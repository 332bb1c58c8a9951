"""Fréchet distance between two sets of features, seen as Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.plugins.metrics import checks
from genzoo.plugins.metrics.estimate import Estimate, bootstrap


@dataclass(frozen=True)
class Frechet:
    """A Fréchet distance; "FID" only if the features are those of FID's own Inception.

    Attributes:
        distance: squared, as it is always reported: ‖μx - μy‖² + tr(Σx + Σy - 2 (Σx Σy)^½). It grows as
            the sets get smaller, so only values from equal counts compare.
        mean: its first term, what the means part by.
        covariance: the rest, what the covariances part by.
        dimensions: numbers in a feature.
    """

    distance: Estimate
    mean: float
    covariance: float
    dimensions: int


@dataclass(frozen=True)
class Statistics:
    """All that the distance needs of a set: worth keeping where one reference judges many models.

    Attributes:
        mean: ``(D,)`` float64.
        factor: F with F Fᵀ = covariance (of divisor N - 1), in as few columns as will do, ``(D, R)``.
        trace: the covariance's.
        samples: how many observations there were.
    """

    mean: Tensor
    factor: Tensor
    trace: float
    samples: int


def frechet(x: Tensor, y: Tensor | Statistics, *, resamples: int = 0, seed: int = 0) -> Frechet:
    """Fréchet distance between feature sets (M. Heusel et al., arXiv:1706.08500), in float64 throughout.

    Args:
        x: features of samples, ``(N, D)``.
        y: features of data, ``(M, D)``, or their `statistics`; then the interval tells of the samples only.
        resamples: of the bootstrap for the interval, each as dear as the distance itself; 0 for none.
        seed: of the bootstrap.

    Raises:
        UsageError: if a set has fewer than two observations, or the features differ in size.
    """
    fitted = y if isinstance(y, Statistics) else statistics(y)
    own = statistics(x)
    mean, covariance = distance(own, fitted)
    samples = (own.samples, fitted.samples)
    estimate = Estimate(mean + covariance, samples=samples)
    if resamples:
        if isinstance(y, Statistics):
            spread = bootstrap(
                lambda p: sum(distance(statistics(p), fitted)), x, resamples=resamples, seed=seed, low=0.0
            )
        else:
            spread = bootstrap(
                lambda p, q: sum(distance(statistics(p), statistics(q))), x, y, resamples=resamples, seed=seed, low=0.0
            )
        estimate = replace(spread, samples=samples)
    return Frechet(estimate, mean, covariance, len(own.mean))


def statistics(x: Tensor) -> Statistics:
    """Mean and covariance of features ``(N, D)``.

    Raises:
        UsageError: if there are fewer than two, or one is not finite.
    """
    given = x
    x = checks.features(x, "features", dtype=torch.float64)
    n, d = x.shape
    mean = x.mean(0)
    own = x.untyped_storage().data_ptr() != given.untyped_storage().data_ptr()
    centred = x.sub_(mean) if own else x - mean
    if n <= d:  # then the features themselves are a factor
        centred /= math.sqrt(n - 1)
        return Statistics(mean, centred.T, centred.square().sum().item(), n)
    covariance = _gram(centred).div_(n - 1)
    return Statistics(mean, _root(covariance), covariance.trace().item(), n)


def distance(a: Statistics, b: Statistics) -> tuple[float, float]:
    """The two terms of the squared distance: of the means, and of the covariances.

    tr (Σa Σb)^½ is the nuclear norm of Faᵀ Fb whatever the factors, so each set brings the one that suits it:
    the centred features while there are fewer of them than dimensions, else a root of its covariance. The
    second term can come out negative by rounding, in the order of 1e-12 of the traces.
    """
    if a.mean.shape != b.mean.shape:
        raise UsageError(
            f"features have {len(a.mean)} numbers each and {len(b.mean)}: both must come from the same extractor"
        )
    other = b.factor.to(a.factor.device)
    shift = (a.mean - b.mean.to(a.mean.device)).square().sum().item()
    return shift, a.trace + b.trace - 2 * _nuclear(a.factor, other)


def between(mean_x: Tensor, cov_x: Tensor, mean_y: Tensor, cov_y: Tensor) -> float:
    """Squared distance between two Gaussians of known means ``(D,)`` and covariances ``(D, D)``.

    Raises:
        UsageError: if the sizes do not agree.
    """
    mx, my, cx, cy = (t.detach().double() for t in (mean_x, mean_y, cov_x, cov_y))
    if mx.shape != my.shape or cx.shape != cy.shape or cx.shape != (len(mx), len(mx)):
        raise UsageError("a Fréchet distance needs two means of one size D and two covariances D × D")
    a, b = (Statistics(m, _root(c), c.trace().item(), 0) for m, c in ((mx, cx), (my, cy)))
    return sum(distance(a, b))


def _root(covariance: Tensor) -> Tensor:
    """Cholesky's factor, or that of the eigenvectors where the matrix is singular."""
    root: Tensor
    root, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed) == 0:
        return root
    values: Tensor
    vectors: Tensor
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values[-1].clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    return vectors[:, kept] * values[kept].sqrt()


def _gram(x: Tensor) -> Tensor:
    """``xᵀ x`` ``(D, D)``; on the CPU by the symmetric product, which numpy takes for itself: half the work."""
    if x.device.type != "cpu":
        return x.T @ x
    a = x.numpy()
    return torch.from_numpy(a.T @ a)


def _nuclear(a: Tensor, b: Tensor) -> float:
    """Nuclear norm of aᵀ b: from the eigenvalues of its square where they are exact enough, else by SVD."""
    if not a.shape[1] or not b.shape[1]:
        return 0.0
    product = a.T @ b if a.shape[1] <= b.shape[1] else b.T @ a
    if len(product) < 256:
        return float(torch.linalg.svdvals(product).sum())
    squares = torch.linalg.eigvalsh(_gram(product.T))
    # An eigenvalue is off by about ε times the largest, and its root by that over twice the root.
    off = 4 * torch.finfo(squares.dtype).eps * squares[-1].clamp(min=torch.finfo(squares.dtype).tiny)
    roots = squares.clamp(min=0).sqrt()
    if (off / (2 * roots.clamp(min=off.sqrt()))).sum() > 1e-10 * roots.sum():
        return float(torch.linalg.svdvals(product).sum())
    return float(roots.sum())
