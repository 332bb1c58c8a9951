"""The Poincaré ball of curvature -1: the unit ball with distances that grow without bound towards its edge."""

from __future__ import annotations

import torch
from torch import Tensor

EDGE = 1 - 1e-5  # float32 numbers nearer to 1 than that have lost their distance to it


def _norm(x: Tensor) -> Tensor:
    return x.square().sum(-1, keepdim=True).clamp(min=1e-15).sqrt()


def inside(x: Tensor) -> Tensor:
    """Pull points ``(..., d)`` that lie on the edge or beyond back into the ball."""
    return x * (EDGE / _norm(x)).clamp(max=1)


def added(x: Tensor, y: Tensor) -> Tensor:
    """Möbius addition x ⊕ y, which moves y as the translation does that takes 0 to x."""
    xy, xx, yy = (x * y).sum(-1, keepdim=True), x.square().sum(-1, keepdim=True), y.square().sum(-1, keepdim=True)
    least = (1 - EDGE * EDGE) ** 2  # what the denominator is between opposite points of the edge; rounding says zero
    return inside(((1 + 2 * xy + yy) * x + (1 - xx) * y) / (1 + 2 * xy + xx * yy).clamp(min=least))


def from_tangent(v: Tensor) -> Tensor:
    """The point at distance ‖v‖ from 0 in the direction of v."""
    r = _norm(v)
    return inside(torch.tanh(r / 2) * v / r)


def to_tangent(x: Tensor) -> Tensor:
    """Back from `from_tangent`."""
    r = _norm(x)
    return 2 * torch.atanh(r.clamp(max=EDGE)) * x / r


def log_stretch(v: Tensor) -> Tensor:
    """Log of how `from_tangent` stretches volumes at v ``(..., d)``: (d - 1) log(sinh r / r), r = ‖v‖."""
    r = _norm(v).squeeze(-1)
    small = r < 1e-2
    safe = torch.where(small, 1.0, r)
    log_sinh = safe + torch.log(-torch.expm1(-2 * safe)) - 0.6931471805599453
    return (v.shape[-1] - 1) * torch.where(small, r.square() / 6, log_sinh - safe.log())
