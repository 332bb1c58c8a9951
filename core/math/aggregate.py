"""The aggregate posterior q(z) = 1/N Σ q(z|x_n) of normal posteriors, and what it says of codes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genzoo.core.posterior import LOG_2PI


class Aggregate(NamedTuple):
    """Log densities of codes under the aggregate posterior in nats."""

    joint: Tensor  # log q(z), (B,)
    each: Tensor  # log q(z_j) of each number alone, (B, D)


def aggregate(z: Tensor, mean: Tensor, log_var: Tensor, log_weights: Tensor) -> Aggregate:
    """Density of codes ``(B, D)`` under Σ_n w_n q(z|x_n), ``mean`` and ``log_var (M, D)``, weights ``(B, M)``."""
    # By posterior first, (M, B, D): sums over the population then add up slices of memory.
    height = -0.5 * (log_var + LOG_2PI).unsqueeze(1)
    off = (z - mean.unsqueeze(1)).square()
    terms = torch.addcmul(height, off, torch.exp(-log_var).unsqueeze(1), value=-0.5)
    weights = log_weights.T
    return Aggregate(torch.logsumexp(terms.sum(2) + weights, 0), torch.logsumexp(terms + weights.unsqueeze(2), 0))


def stratified_weights(batch: int, population: Tensor, like: Tensor) -> Tensor:
    """Logs of the weights ``(B, B)`` by which a batch stands for a population of N (arXiv:1802.04942, appendix C).

    With M = B - 1, code i weighs its own posterior by 1/N, one other by (N - M)/(N M) and the rest by 1/M: rows sum to
    1. A batch of a population that is not larger is all of it.
    """
    if batch == 1:
        return like.new_zeros(1, 1)
    n, m = population.clamp(min=1), batch - 1
    at = torch.arange(batch, device=like.device)
    own = at[:, None] == at
    other = (at[:, None] + 1) % batch == at
    weights = torch.where(other, (n - m) / (n * m), torch.full((), 1 / m, device=like.device))
    weights = torch.where(own, 1 / n, weights)
    weights = torch.where(population > batch, weights, torch.full((), 1 / batch, device=like.device))
    return weights.to(like.dtype).log()
