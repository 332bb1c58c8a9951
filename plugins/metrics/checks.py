"""What every metric asks of the sets that it is given, said in one place."""

from __future__ import annotations

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence


def both(evidence: Evidence) -> tuple[Tensor, Tensor]:
    """Features of the samples ``(N, D)`` and of the data ``(M, D)``."""
    return evidence.fake_features.features, evidence.real_features.features


def features(x: Tensor, what: str, least: int = 2, dtype: torch.dtype | None = None) -> Tensor:
    """Observations ``(N, ...)`` as numbers ``(N, D)`` of ``dtype``; without one floats stay and 8-bit become float32.

    Raises:
        UsageError: if there are fewer than ``least``, or one holds NaN or infinity; names ``what`` they are.
    """
    if x.dim() < 1 or len(x) < least or x.numel() == 0:
        raise UsageError(f"{what} need at least {least} observations (N, D), not an array of shape {tuple(x.shape)}")
    flat = x.detach().reshape(len(x), -1)
    flat = flat.to(dtype or (flat.dtype if flat.is_floating_point() else torch.float32))
    # One NaN or infinity shows in the sum, which takes a tenth of the time of looking at each number.
    if not torch.isfinite(flat.sum(dtype=torch.float64)):
        bad = ~torch.isfinite(flat).all(1)
        first = int(bad.int().argmax())
        raise UsageError(f"{int(bad.sum())} of {len(x)} {what} hold NaN or infinity, the first is number {first}")
    return flat


def pair(
    x: Tensor, y: Tensor, least: int = 2, dtype: torch.dtype | None = None, names: tuple[str, str] = ("samples", "data")
) -> tuple[Tensor, Tensor]:
    """Two sets of observations of the same size each, as `features`, on the first one's device."""
    a, b = features(x, names[0], least, dtype), features(y, names[1], least, dtype)
    if a.shape[1] != b.shape[1]:
        raise UsageError(
            f"{names[0]} have {a.shape[1]} numbers each and {names[1]} have {b.shape[1]}: "
            "both must come from the same extractor"
        )
    return a, b.to(a.device, a.dtype)


def labels(y: Tensor, n: int, what: str) -> Tensor:
    """Whole numbers from 0, one per observation, ``(N,)`` int64."""
    if y.shape != (n,) or y.is_floating_point() or y.dtype == torch.bool or (n and int(y.min()) < 0):
        raise UsageError(f"{what} must be {n} whole numbers from 0, not {y.dtype} of shape {tuple(y.shape)}")
    return y.long()
