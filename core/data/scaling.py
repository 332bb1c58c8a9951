"""Numbers between stored form, model space and data units by a spec's scale and shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genzoo.core.errors import UsageError

if TYPE_CHECKING:
    from genzoo.core.spec import DataSpec


def _per_axis(spec: DataSpec, values: Sequence[float], device: torch.device) -> float | Tensor:
    """One number, or a tensor that broadcasts along the first axis of an observation."""
    if len(values) == 1:
        return float(values[0])
    shape = (len(values),) + (1,) * (len(spec.shape) - 1)
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(shape)


def affine(spec: DataSpec, device: torch.device, levels: int | None) -> tuple[float | Tensor, float | Tensor]:
    """The (a, b) of model = (x - a) * b, for x stored as 0 … levels − 1, or in data units if None."""
    top = 1 if levels is None else levels - 1
    middle = _per_axis(spec, [s * top for s in spec.shift], device)
    return middle, _per_axis(spec, [1 / (s * top) for s in spec.scale], device)


_affine = lru_cache(maxsize=64)(affine)  # not a new tensor, and a wait for its copy, in every batch


def rows_to_model(spec: DataSpec, rows: Tensor) -> Tensor:
    """Stored numbers ``(B, *spec.shape)``, which may be changed, to model space; the trainer's hot path."""
    middle, factor = _affine(spec, rows.device, spec.levels)
    return rows.to(torch.float32).sub_(middle).mul_(factor)


def numbers_to_model(spec: DataSpec, x: Tensor) -> Tensor:
    """Bring numbers ``(B, *spec.shape)`` to model space by the spec's scale and shift, float32.

    They are uint8 as stored (0 … levels − 1; 8-bit pixels where levels is None), or floats in data units. Raises
    `UsageError` for another shape, or stored values beyond ``levels``.
    """
    if tuple(x.shape[1:]) != spec.shape:
        raise UsageError(f"observations of shape {tuple(x.shape[1:])} given where the model takes {spec.shape}")
    levels = None
    if x.dtype in (torch.uint8, torch.bool):
        levels = 2 if x.dtype == torch.bool else spec.levels or 256
        if levels < 256 and x.numel() and int(x.max()) >= levels:
            raise UsageError(f"8-bit values must be 0 to {levels - 1} here, not {int(x.max())}: give floats in [0, 1]")
    middle, factor = affine(spec, x.device, levels)
    return x.to(torch.float32).sub(middle).mul_(factor)


def numbers_to_units(spec: DataSpec, x: Tensor, bounds: tuple[float, float] | None = None) -> Tensor:
    """Bring model space to data units by the spec's scale and shift, clipped to ``bounds``."""
    scale, shift = (_per_axis(spec, v, x.device) for v in (spec.scale, spec.shift))
    x = x.to(torch.float32).mul(scale).add_(shift)
    return x if bounds is None else x.clamp_(*bounds)  # a Gaussian's mean may lie outside


def require_finite(x: Tensor, who: str) -> tuple[float, float]:
    """Least and greatest of the numbers given to a model; raises `UsageError` if one is NaN or infinite."""
    if x.dtype == torch.bool:
        return 0.0, 1.0
    low, high = (float(v) for v in torch.aminmax(x))
    if not math.isfinite(low + high):  # NaN is both
        raise UsageError(f"the data for {who} has values that are NaN or infinite")
    return low, high
