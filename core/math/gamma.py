"""Gamma distributions as functions of normal noise."""

from __future__ import annotations

import torch
from torch import Tensor


def gamma_quantile(eps: Tensor, shape: Tensor) -> Tensor:
    """The number below which Γ(shape, 1) has a share of Φ(ε), differentiable in the shape.

    Newton's method for log z on the logarithm of the smaller tail, which is concave; then dz/dα = - ∂F/∂α / p (Figurnov
    et al., arXiv:1805.08498).
    """
    with torch.no_grad():
        e, a = eps + 0 * shape, shape + 0 * eps
        if e.device.type != "mps":  # which has no float64
            e, a = e.double(), a.double()
        lower, target, norm = e <= 0, torch.special.log_ndtr(-e.abs()), torch.lgamma(a)
        cubed = 1 - 1 / (9 * a) + e / (3 * a.sqrt())
        left = (torch.special.log_ndtr(e) + norm + a.log()) / a  # of the smallest numbers
        t = torch.where(cubed > 0.3, a.log() + 3 * cubed.clamp(min=0.3).log(), left)
        for _ in range(5):
            z = t.exp()
            tail = torch.where(lower, torch.special.gammainc(a, z), torch.special.gammaincc(a, z)).clamp(min=1e-300)
            slope = (a * t - z - norm).exp() / tail
            step = (tail.log() - target) / slope.clamp(min=1e-8)
            t = t - torch.where(lower, step, -step).clamp(-2, 2)
        z = t.exp().to(eps.dtype).clamp(min=1e-37)
        slope = torch._standard_gamma_grad(shape.expand_as(z).contiguous(), z)
    return z + slope * (shape - shape.detach())
