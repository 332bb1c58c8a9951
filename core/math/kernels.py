"""Kernels between points, and the discrepancy of two sets of points that they make, differentiable."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of inverse multiquadrics (Tolstikhin et al., arXiv:1711.01558)
ALPHAS = (0.2, 0.5, 1.0, 2.0, 5.0)  # of rational quadratics


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """‖x_i - y_j‖² of points ``(N, D)`` and ``(M, D)``: ``(N, M)``."""
    return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)


def inverse_multiquadric(squares: Tensor, dim: int) -> Tensor:
    """Σ_s C/(C + r²), C = 2 D s, of squared distances: for points that are about N(0, 1) in each of D numbers."""
    return torch.stack([2 * dim * s / (2 * dim * s + squares) for s in SCALES]).sum(0)


def gaussian(squares: Tensor, dim: int) -> Tensor:
    """exp(-r²/2D) of squared distances."""
    return torch.exp(-squares / (2 * dim))


def rational_quadratic(squares: Tensor) -> Tensor:
    """Σ_α (1 + r²/2α)^-α of squared distances (Bińkowski et al., arXiv:1801.01401)."""
    total = torch.zeros_like(squares)
    for alpha in ALPHAS:
        total = total + (1 + squares / (2 * alpha)) ** -alpha
    return total


KERNELS: dict[str, Callable[[Tensor, int], Tensor]] = {"imq": inverse_multiquadric, "rbf": gaussian}


def unbiased_mmd(x: Tensor, y: Tensor, kernel: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Squared maximum mean discrepancy of two sets of points ``(N, D)`` and ``(M, D)``, by a kernel of distances."""
    return mmd_of_pairs(x, y, lambda a, b: kernel(squared_distances(a, b), a.shape[1]))


def mmd_of_pairs(x: Tensor, y: Tensor, kernel: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The same by a kernel of points, which gives ``(N, M)``; 0-d, and 0 on average if the sets are alike.

    Means within a set leave out a point with itself; the mean between the sets leaves out nothing.
    """
    between, within = kernel(x, y).mean(), x.new_zeros(())
    for a in (x, y):
        values = kernel(a, a)
        within = within + (values.sum() - values.diagonal().sum()) / max(len(a) * (len(a) - 1), 1)
    return within - 2 * between
