"""What is estimated of a model, and how codes lie in their space."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LogLikelihood:
    """Importance-weighted estimates of log p(x), a lower bound in expectation (arXiv:1509.00519)."""

    values: Tensor  # log (1/K) Σ w_k in nats per observation, (N,); density in data units if continuous
    standard_error: Tensor  # of each value, from the spread of its own weights, (N,)
    effective_samples: Tensor  # (Σw)² / Σw² of each observation, between 1 and K, (N,)
    samples: int  # K
    dimensions: int  # numbers per observation
    levels: int | None  # values a number can take, None for a density
    units: Tensor | None = None  # characters of each text, its end counted, (N,); None where all have all dimensions

    @classmethod
    def of(cls, weights: Iterable[Tensor], dimensions: int, levels: int | None = None) -> LogLikelihood:
        """The bound log (1/K) Σ_k w_k from weights log p(x, z_k) - log q(z_k|x) ``(K, B)``, a few x at a time."""
        values, errors, effective, k = [], [], [], 1
        for w in weights:
            k, total = len(w), torch.logsumexp(w, 0)
            ess = torch.exp(2 * total - torch.logsumexp(2 * w, 0))
            values.append(total - math.log(k))
            # Delta method: Var[log mean w] ≈ Var[w] / (K mean(w)²) = (K / ESS - 1) / (K - 1); unknown of one sample
            errors.append(
                torch.sqrt(((k / ess - 1) / (k - 1)).clamp(min=0)) if k > 1 else torch.full_like(ess, math.nan)
            )
            effective.append(ess)
        return cls(torch.cat(values), torch.cat(errors), torch.cat(effective), k, dimensions, levels)

    @property
    def mean(self) -> float:
        """Mean over the observations, in nats."""
        return self.values.double().mean().item()

    @property
    def mean_standard_error(self) -> float:
        """Standard error of `mean` over the observations, in nats."""
        n = len(self.values)
        return self.values.double().std().item() / math.sqrt(n) if n > 1 else math.nan

    @property
    def nats_per_unit(self) -> float:
        """Negative sum over all dimensions, or of texts over all characters: padding is none, nor is a token."""
        n = self.dimensions * len(self.values) if self.units is None else int(self.units.sum())
        return -self.values.double().sum().item() / n

    @property
    def bits_per_dimension(self) -> float:
        """The same in bits (of the density, where the likelihood is continuous); of texts, bits per character."""
        return self.nats_per_unit / math.log(2)


def active_units(codes: Tensor, threshold: float = 0.01) -> int:
    """Dimensions of posterior means ``(N, D)`` that vary over the data by more than ``threshold``."""
    return int((codes.var(dim=0) > threshold).sum())


def running_mean(mean: Tensor, decay: float, turns: Tensor) -> Tensor:
    """A running mean that started at 0, corrected for that; 0 before its first turn."""
    return mean / (1 - torch.pow(decay, turns)).clamp(min=1e-8)


def spherical(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Great-circle interpolation ``(N, S, D)`` between codes ``(N, D)`` at ``t (S,)`` in [0, 1].

    The norm goes straight from ‖a‖ to ‖b‖; where the codes are (anti)parallel it is the straight line.
    """
    ra, rb = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    tiny = torch.finfo(a.dtype).tiny
    ua, ub = a / ra.clamp(min=tiny), b / rb.clamp(min=tiny)
    # W. Kahan's angle between unit vectors, exact also where they are almost parallel or opposite.
    angle = 2 * torch.atan2((ua - ub).norm(dim=1), (ua + ub).norm(dim=1))[:, None, None]  # (N, 1, 1)
    s = t[None, :, None]
    sine = torch.sin(angle)
    straight = sine.abs() < 1e-4
    safe = torch.where(straight, torch.ones_like(sine), sine)
    turned = (torch.sin((1 - s) * angle) * ua[:, None] + torch.sin(s * angle) * ub[:, None]) / safe
    length = torch.lerp(ra[:, None], rb[:, None], s)
    return torch.where(straight, torch.lerp(a[:, None], b[:, None], s), turned * length)
