"""Kernels between points, and the discrepancy of two sets of points that they make, differentiable."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of inverse multiquadrics (Tolstikhin et al., arXiv:1711.01558)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i - y_j‖² of points ``(N, D)`` and ``(M, D)``: ``(N, M)``."""
    return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)


def inverse_multiquadric(squares: Tensor, dim: int) -> Tensor:
    """Σ_s C/(C + r²), C = 2 D s, of squared distances: for points that are about N(0, 1) in each of D numbers."""
    return torch.stack([2 * dim * s / (2 * dim * s + squares) for s in SCALES]).sum(0)


def gaussian(squares: Tensor, dim: int) -> Tensor:
    """exp(-r²/2D) of squared distances."""
    return torch.exp(-squares / (2 * dim))


KERNELS: dict[str, Callable[[Tensor, int], Tensor]] = {"imq": inverse_multiquadric, "rbf": gaussian}


def unbiased_mmd(x: Tensor, y: Tensor, kernel: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Squared maximum mean discrepancy of two sets of points ``(N, D)`` and ``(M, D)``, 0-d; 0 on average if alike.

    Means within a set leave out a point with itself; the mean between the sets leaves out nothing.
    """
    d, between = x.shape[1], kernel(squared_distances(x, y), x.shape[1]).mean()
    within = x.new_zeros(())
    for a in (x, y):
        values = kernel(squared_distances(a, a), d)
        within = within + (values.sum() - values.diagonal().sum()) / max(len(a) * (len(a) - 1), 1)
    return within - 2 * between
