"""Sliced Wasserstein distance: how far sorted projections must be moved."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Metric
from genzoo.core.evaluation.report import AT_COUNTS
from genzoo.core.math.intervals import Estimate, jackknife
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
        projections: random directions; the interval tells of their choice too.
        power: p.
        resamples: parts of the jackknife for the interval; 0 for none.
        seed: of directions and parts.

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

    def ordered(a: Tensor) -> Tensor:
        return a.T.contiguous().sort(dim=-1).values

    def costs(a: Tensor, b: Tensor) -> Tensor:
        parts = zip(torch.split(a, _PART), torch.split(b, _PART), strict=True)
        return torch.cat([_moved(p.double(), q.double(), power) for p, q in parts])

    def statistic(a: Tensor, b: Tensor) -> float:
        return float(costs(a, b).mean().item() ** (1 / power))

    # Other directions would give another number: the variance of a mean, by the delta method for its root.
    each = costs(ordered(px), ordered(py))
    mean = each.mean().item()
    slope = mean ** (1 / power - 1) / power if mean > 0 else 0.0
    more = slope**2 * each.var().item() / projections if projections > 1 else 0.0
    return jackknife(statistic, px, py, parts=resamples, prepare=ordered, more=more, seed=seed, low=0.0)


def wasserstein_power(x: Tensor, y: Tensor, power: float = 1.0) -> Tensor:
    """W_p^p between numbers ``(..., N)`` and ``(..., M)`` along the last axis, exact for any N and M."""
    return _moved(x.sort(dim=-1).values.double(), y.sort(dim=-1).values.double(), power)


def _moved(x: Tensor, y: Tensor, power: float) -> Tensor:
    """The same of ascending numbers."""
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

    covers = AT_COUNTS

    @dataclass(frozen=True)
    class Options(Metric.Options):
        projections: int = option(256, "random directions", low=1)
        resamples: int = option(25, "parts of the jackknife; 0 for no interval", low=0)

    options: Options

    def measure(self, evidence: Evidence) -> Estimate:
        x, y = evidence.fake_features.features, evidence.real_features.features
        o = self.options
        return sliced_wasserstein(x, y, projections=o.projections, resamples=o.resamples, seed=evidence.seed)
