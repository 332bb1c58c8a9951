"""Distributions over codes: the prior, and the posterior that an encoder's numbers make."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from genzoo.core.noise import Draws
from genzoo.core.spec import Latent

LOG_2PI = math.log(2 * math.pi)


def normal_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) ‖ N(0, 1)) in nats, elementwise: ½ (μ² + σ² - log σ² - 1)."""
    return 0.5 * (mean.square() + log_var.exp() - log_var - 1)


def normal_log_prob(x: Tensor, mean: Tensor | float = 0.0, log_var: Tensor | float = 0.0) -> Tensor:
    """Log density of a normal distribution in nats, elementwise."""
    variance = log_var.exp() if isinstance(log_var, Tensor) else math.exp(log_var)
    return -0.5 * ((x - mean) ** 2 / variance + log_var + LOG_2PI)


class Posterior(ABC):
    """q(z|x) for a batch of observations."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The mean code, ``(B, *latent.shape)``."""

    @abstractmethod
    def sample(self, eps: Tensor) -> Tensor:
        """Turn standard normal noise ``(..., B, *latent.shape)`` into codes, differentiably."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of codes ``(..., B, *latent.shape)`` in nats, ``(..., B)``."""

    @abstractmethod
    def kl(self) -> Tensor:
        """KL(q(z|x) ‖ p(z)) in nats per latent dimension, ``(B, latent.size)``."""


class DiagonalNormal(Posterior):
    """A normal posterior with a diagonal covariance (Kingma & Welling, arXiv:1312.6114)."""

    def __init__(self, mean: Tensor, log_var: Tensor) -> None:
        self._mean, self.log_var = mean, log_var

    @property
    def mean(self) -> Tensor:
        """The mean code."""
        return self._mean

    def sample(self, eps: Tensor) -> Tensor:
        """Z = μ + σ ε."""
        return torch.addcmul(self._mean, torch.exp(0.5 * self.log_var), eps)

    def log_prob(self, z: Tensor) -> Tensor:
        """Σ log N(z; μ, σ²)."""
        return normal_log_prob(z, self._mean, self.log_var).sum(-1)

    def kl(self) -> Tensor:
        """Closed form against the standard normal prior."""
        return normal_kl(self._mean, self.log_var)


class PosteriorHead(nn.Module, ABC):
    """Turns an encoder's numbers into a `Posterior`; part of the model, so it may hold parameters."""

    def __init__(self, latent: Latent) -> None:
        super().__init__()
        self.latent = latent

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """What the encoder must put out for one observation."""

    @abstractmethod
    def forward(self, numbers: Tensor) -> Posterior:
        """Make the posterior of a batch."""


class NormalHead(PosteriorHead):
    """Mean and log variance of a `DiagonalNormal`, computed in float32."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Two numbers per latent dimension."""
        return (2 * self.latent.size,)

    def forward(self, numbers: Tensor) -> Posterior:
        """Split into mean and log variance."""
        mean, log_var = numbers.float().chunk(2, dim=1)
        return DiagonalNormal(mean, log_var)


class Prior(nn.Module):
    """p(z): the standard normal."""

    def __init__(self, latent: Latent) -> None:
        super().__init__()
        self.latent = latent

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of codes ``(..., B, size)`` in nats, ``(..., B)``."""
        return normal_log_prob(z).sum(-1)

    def draw(self, draws: Draws) -> Tensor:
        """Codes for a training batch, ``(B, size)``."""
        return draws.normal(*self.latent.shape)

    def sample(self, uniform: Tensor, truncation: float | None = None) -> Tensor:
        """Turn uniform numbers in [0, 1) into codes.

        Args:
            uniform: ``(B, size)``.
            truncation: keep every coordinate within ± this many standard deviations (Brock et al.,
                arXiv:1809.11096): fidelity for diversity. None keeps the whole prior.
        """
        # Float32 numbers in [0, 1) are multiples of 2^-24: the middle of each step is never 0 or 1.
        u = uniform.double() + 2**-25
        if truncation is not None:
            low = 0.5 * math.erfc(truncation / math.sqrt(2))
            u = low + u * (1 - 2 * low)
        # The quantile function, as ndtri, with the same bits once it is rounded, and quicker.
        z: Tensor = torch.erfinv(u.mul_(2).sub_(1)).mul_(math.sqrt(2))
        return z.to(uniform.dtype)
