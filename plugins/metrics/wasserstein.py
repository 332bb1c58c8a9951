"""Sliced Wasserstein distance: how far sorted projections must be moved."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Metric
from genzoo.core.math.intervals import Estimate, bootstrap
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare

_PART = 32  # projections at a time


def sliced_wasserstein(
    x: Tensor, y: Tensor, *, projections: int = 256, power: float = 2.0, resamples: int = 0, seed: int = 0
) -> Estimate:
    """(E over directions θ of W_p(θ·x, θ·y)^p)^(1/p), in the units of x (J. Rabin et al., SSVM 2011).

    Between N(m, σ²I) and N(0, τ²I) in D dimensions, its square for p = 2 is ‖m‖²/D + (σ - τ)². A finite
    set is some way off even from its own distribution, so only values from equal counts compare.

    Args:
        x: samples or their features, ``(N, D)``.
        y: data likewise, ``(M, D)``; M may differ from N.
        projections: random directions, the same for every resample.
        power: p.
        resamples: of the bootstrap for the interval; 0 for none.
        seed: of directions and bootstrap.

    Raises:
        UsageError: if the sets' sizes differ, or p is below 1.
    """
    if power < 1 or projections < 1:
        raise UsageError("a sliced Wasserstein distance needs a power of at least 1 and at least one projection")
    x, y = checks.pair(x, y, least=1)
    directions = torch.randn(projections, x.shape[1], generator=generator(seed, 0), dtype=torch.float64)
    directions = (directions / directions.norm(dim=1, keepdim=True)).to(x.device, x.dtype)
    centre = y.mean(0)
    px, py = ((s - centre) @ directions.T for s in (x, y))

    def statistic(a: Tensor, b: Tensor) -> float:
        parts = zip(torch.split(a, _PART, 1), torch.split(b, _PART, 1), strict=True)
        total = sum(wasserstein_power(p.T, q.T, power).sum().item() for p, q in parts)
        return float(max(total / projections, 0.0) ** (1 / power))

    return bootstrap(statistic, px, py, resamples=resamples, seed=seed, low=0.0)


def wasserstein_power(x: Tensor, y: Tensor, power: float = 1.0) -> Tensor:
    """W_p^p between numbers ``(..., N)`` and ``(..., M)`` along the last axis, exact for any N and M."""
    x, y = x.sort(dim=-1).values.double(), y.sort(dim=-1).values.double()
    n, m = x.shape[-1], y.shape[-1]
    if n == m:
        return (x - y).abs().pow(power).mean(-1)
    # Both quantile functions are constant between the levels i/n and j/m, counted here in units of 1/nm.
    ends = torch.unique(torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n])).to(x.device)
    widths = ends.diff(prepend=ends.new_zeros(1)).double() / (n * m)
    moved: Tensor = (x[..., (ends - 1) // m] - y[..., (ends - 1) // n]).abs().pow(power)
    cost: Tensor = (moved * widths).sum(-1)
    return cost


@declare.metric(
    "sliced-wasserstein",
    summary="sliced Wasserstein-2 distance between features, in their units",
    direction="lower",
    needs=("samples", "data", "features"),
    paper="Rabin et al., SSVM 2011",
    tags=("distribution",),
)
class SlicedWasserstein(Metric):
    """Root mean square over random directions of how far sorted projections of features must be moved."""

    @dataclass(frozen=True)
    class Options(Metric.Options):
        """Directions, and the interval."""

        projections: int = option(256, "random directions", low=1)
        resamples: int = option(20, "of the bootstrap for the interval; 0 for none", low=0)

    options: Options

    def measure(self, evidence: Evidence) -> Estimate:
        """See `sliced_wasserstein`."""
        x, y = evidence.fake_features.features, evidence.real_features.features
        o = self.options
        return sliced_wasserstein(x, y, projections=o.projections, resamples=o.resamples, seed=evidence.seed)
