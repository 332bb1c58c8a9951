"""A metric of time series."""

from __future__ import annotations

from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import Estimate
from genzoo.registry import declare


@declare.metric("series-autocorrelation", direction="lower", modalities=("series",), tags=("default", "distribution"))
class Autocorrelation(Metric):
    """Mean difference of the autocorrelations at lags of one to four steps, between samples and data."""

    def measure(self, evidence: Evidence) -> Measured:
        """See `Metric.measure`."""
        fake, real = (autocorrelation(x) for x in (evidence.samples, evidence.real))
        value = (fake - real).abs().mean().item()
        return Measured(Estimate(value), {"of the data": real.tolist()}, why="it has none")


def autocorrelation(x: Tensor, lags: int = 4) -> Tensor:
    """Autocorrelations ``(lags,)`` of series ``(N, channels, steps)``, pooled over series and channels."""
    lags = min(lags, x.shape[2] - 1)
    x = x.double() - x.double().mean((0, 2), keepdim=True)
    spread = x.square().mean().clamp(min=1e-12)
    return x.new_tensor([float((x[..., k:] * x[..., : x.shape[2] - k]).mean() / spread) for k in range(1, lags + 1)])
