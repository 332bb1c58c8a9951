"""Between the forms of an observation: as stored, in model space, and in data units."""

from __future__ import annotations

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec


def to_model(spec: DataSpec, x: Tensor) -> Tensor:
    """Bring observations to model space, as their modality does: see `genzoo.core.modality.Modality.to_model`."""
    return of(spec).to_model(spec, x)


def to_units(spec: DataSpec, x: Tensor) -> Tensor:
    """Bring model space ``(B, *spec.shape)`` to data units: [0, 1] for images, their own for vectors."""
    return of(spec).to_units(spec, x)


def to_pixels(spec: DataSpec, x: Tensor) -> Tensor:
    """Round data units of images, clipped to [0, 1], to 8-bit pixels 0 … 255, uint8 of the same shape."""
    if not of(spec).pixels:
        raise UsageError(f"only images have pixels, and this is {spec.modality} data")
    whole = x.to(torch.float32).clamp(0, 1).mul_(255).round_()
    return whole.to(torch.int32).to(torch.uint8)  # straight to 8 bits is several times as slow on a CPU
