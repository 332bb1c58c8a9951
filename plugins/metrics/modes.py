"""Mode coverage on mixtures whose modes are known: collapse measured, not eyeballed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

LEAST = 20  # high-quality samples that a mode needs to count as captured


@dataclass(frozen=True)
class ModeCoverage:
    """How samples spread over the modes of a mixture.

    Attributes:
        modes: modes that have at least 20 high-quality samples.
        of: modes that there are.
        high_quality: share of samples within three standard deviations of the nearest centre.
        kl: KL(histogram of the high-quality samples over modes ‖ uniform) in nats; infinite without any.
        floor: what `kl` is in expectation for that many samples of a uniform histogram, (K - 1) / 2N.
        samples: how many were judged.
    """

    modes: int
    of: int
    high_quality: float
    kl: float
    floor: float
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with None for what is infinite."""
        return {k: v if math.isfinite(v) else None for k, v in asdict(self).items()}


def mode_coverage(x: Tensor, centres: Sequence[Sequence[float]], sigma: float) -> ModeCoverage:
    """Judge samples by the protocol of VEEGAN (arXiv:1705.07761), with at least 20 samples for a mode.

    A single sample would not do: 2,500 uniformly random points come close to 21 of 25 modes.

    Args:
        x: samples ``(N, D)``.
        centres: means of the modes, ``(K, D)``.
        sigma: standard deviation of every mode along each axis.
    """
    means = torch.tensor(centres, dtype=torch.float64)
    points = torch.nan_to_num(x.double().cpu(), nan=math.inf)
    distance, nearest = torch.cdist(points, means, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
    good = distance <= 3 * sigma
    counts = torch.bincount(nearest[good], minlength=len(means)).double()
    n = int(counts.sum())
    p = counts / max(n, 1)
    kl = float(torch.special.xlogy(p, p * len(means)).sum()) if n else math.inf
    floor = (len(means) - 1) / (2 * n) if n else math.inf
    return ModeCoverage(int((counts >= LEAST).sum()), len(means), float(good.double().mean()), kl, floor, len(x))
