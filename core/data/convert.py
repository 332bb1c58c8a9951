"""Between the forms of an observation: as stored, in model space, and in people's units."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec


def _per_axis(spec: DataSpec, values: Sequence[float], device: torch.device) -> float | Tensor:
    """One number, or a tensor that broadcasts along the first axis of an observation."""
    if len(values) == 1:
        return float(values[0])
    shape = (len(values),) + (1,) * (len(spec.shape) - 1)
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(shape)


def affine(spec: DataSpec, device: torch.device, levels: int | None) -> tuple[float | Tensor, float | Tensor]:
    """The (a, b) of model = (x - a) * b, for x stored as 0 … levels − 1, or in people's units if None."""
    top = 1 if levels is None else levels - 1
    middle = _per_axis(spec, [s * top for s in spec.shift], device)
    return middle, _per_axis(spec, [1 / (s * top) for s in spec.scale], device)


def to_model(spec: DataSpec, x: Tensor) -> Tensor:
    """Bring observations to model space.

    Args:
        spec: what they are.
        x: ``(B, *spec.shape)``; uint8 as stored (0 … levels − 1; 8-bit pixels where levels is None), or
            people's floats ([0, 1] for images, own units for vectors).

    Returns:
        float32 ``(B, *spec.shape)``.

    Raises:
        UsageError: for another shape, or stored values beyond ``levels``.
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


def to_people(spec: DataSpec, x: Tensor) -> Tensor:
    """Bring model space ``(B, *spec.shape)`` to people's floats: [0, 1] for images, own units for vectors."""
    scale, shift = (_per_axis(spec, v, x.device) for v in (spec.scale, spec.shift))
    x = x.to(torch.float32).mul(scale).add_(shift)
    return x.clamp_(0, 1) if spec.modality == "image" else x  # a Gaussian's mean may lie outside


def to_pixels(spec: DataSpec, x: Tensor) -> Tensor:
    """Round people's floats of images, clipped to [0, 1], to 8-bit pixels 0 … 255, uint8 of the same shape."""
    if spec.modality != "image":
        raise UsageError(f"only images have pixels, and this is {spec.modality} data")
    whole = x.to(torch.float32).clamp(0, 1).mul_(255).round_()
    return whole.to(torch.int32).to(torch.uint8)  # straight to 8 bits is several times as slow on a CPU
