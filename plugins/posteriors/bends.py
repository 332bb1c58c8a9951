"""Maps that bend a normal along a direction or around a point, with their volumes, and the ways back."""

from __future__ import annotations

import torch
from torch import Tensor

Layer = tuple[Tensor, Tensor, Tensor]


def planar(z: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """z + û tanh(wᵀz + b) and its log volume, for a layer û, w, b."""
    u, w, b = layer
    t = torch.tanh((z * w).sum(-1) + b)
    return z + u * t.unsqueeze(-1), torch.log1p((u * w).sum(-1) * (1 - t.square()))


def planar_back(z: Tensor, layer: Layer) -> Tensor:
    """Solve s + c tanh(s + b) = wᵀz for s = wᵀx, c = wᵀû > -1: halving, then a Newton step, which has the gradient."""
    u, w, b = layer
    c, a = (u * w).sum(-1), (z * w).sum(-1)
    with torch.no_grad():
        low, high = a - c.abs(), a + c.abs()
        for _ in range(26):
            s = (low + high) / 2
            over = s + c * torch.tanh(s + b) > a
            low, high = torch.where(over, low, s), torch.where(over, s, high)
        s = (low + high) / 2
    t = torch.tanh(s + b)
    s = s - (s + c * t - a) / (1 + c * (1 - t.square())).clamp(min=1e-6)
    return z - u * torch.tanh(s + b).unsqueeze(-1)


def radial(z: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """z + β̂ (z - c) / (α + ‖z - c‖) and its log volume, for a layer c, α, β̂."""
    center, alpha, beta = layer
    r = (z - center).square().sum(-1).clamp(min=1e-12).sqrt()
    h = 1 / (alpha + r)
    volume = (z.shape[-1] - 1) * torch.log1p(beta * h) + torch.log1p(beta * h - beta * h.square() * r)
    return z + (beta * h).unsqueeze(-1) * (z - center), volume


def radial_back(z: Tensor, layer: Layer) -> Tensor:
    """r + β̂ r / (α + r) = ‖z - c‖ is a quadratic equation."""
    center, alpha, beta = layer
    after = (z - center).square().sum(-1).clamp(min=1e-12).sqrt()
    p = alpha + beta - after
    r = 0.5 * ((p.square() + 4 * alpha * after).sqrt() - p)
    return center + (z - center) * (r / after).unsqueeze(-1)
