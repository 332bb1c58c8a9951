"""Gamma codes: positive numbers, many of them small."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.math.gamma import gamma_quantile
from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.core.prior import Prior, normal_quantiles
from genzoo.registry import declare

declare.recipe(
    "gamma-vae",
    summary="VAE whose codes are positive numbers, with gamma posterior and prior",
    paper="arXiv:1610.05683",
    tags=("vae",),
    like="vae",
    posterior="gamma",
    prior="gamma",
)

POSITIVE = "positive numbers"


def gamma_log_prob(z: Tensor, shape: Tensor, rate: Tensor) -> Tensor:
    """Log density of Γ(shape, rate), elementwise."""
    return shape * rate.log() + (shape - 1) * z.log() - rate * z - torch.lgamma(shape)


class Gammas(Posterior):
    """z = F⁻¹(Φ(ε); α) / β, number by number: independent Γ(α, β), with gradients through the distribution function."""

    closed = "gamma"

    def __init__(self, shape: Tensor, rate: Tensor, prior: tuple[Tensor, Tensor]) -> None:
        self.shape, self.rate, self.prior = shape, rate, prior

    @property
    def mean(self) -> Tensor:
        return self.shape / self.rate

    def sample(self, eps: Tensor) -> Tensor:
        return gamma_quantile(eps, self.shape) / self.rate

    def log_prob(self, z: Tensor) -> Tensor:
        return gamma_log_prob(z, self.shape, self.rate).flatten(1 - self.shape.dim()).sum(-1)

    def kl(self) -> Tensor:
        """(α - a) ψ(α) - log Γ(α) + log Γ(a) + a log(β / b) + α (b / β - 1), of Γ(α, β) to the prior Γ(a, b)."""
        (a, b), alpha, beta = self.prior, self.shape, self.rate
        gap = (alpha - a) * torch.digamma(alpha) - torch.lgamma(alpha) + torch.lgamma(a)
        return (gap + a * (beta / b).log() + alpha * (b / beta - 1)).flatten(1)


@declare.posterior("gamma", paper="arXiv:1610.05683", tags=("vae",))
class GammaHead(PosteriorHead):
    """Gamma posterior: a shape and a rate for every number of the code."""

    space = POSITIVE
    partner = "gamma"

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (2 * self.latent.size, *self.latent.shape[1:])

    def forward(self, numbers: Tensor) -> Posterior:
        """The shape is at least .2: of smaller ones float32 cannot hold the smallest numbers."""
        shape, rate = (softplus(n) + low for n, low in zip(numbers.float().chunk(2, dim=1), (0.2, 1e-3), strict=True))
        o = getattr(self.of[0].prior, "options", None) if self.of else None
        a, b = (o.shape, o.rate) if isinstance(o, GammaPrior.Options) else (1.0, 1.0)
        return Gammas(shape, rate, (torch.full_like(shape[:1], a), torch.full_like(rate[:1], b)))


@declare.prior("gamma", paper="arXiv:1610.05683", tags=("vae",))
class GammaPrior(Prior):
    """Gamma prior: every number of the code Γ(shape, rate), independent of the others."""

    space = POSITIVE
    partner = "gamma"
    family = "gamma"

    @dataclass(frozen=True)
    class Options(Prior.Options):
        shape: float = option(2.0, "of the distribution; its mean is shape / rate", low=0.2, high=1e4)
        rate: float = option(1.0, "of the distribution", low=1e-3, high=1e4)

    options: Options

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        shape, rate = (torch.full_like(z[..., :1], v) for v in (self.options.shape, self.options.rate))
        return gamma_log_prob(z, shape, rate).flatten(-len(self.latent.shape)).sum(-1)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Quantiles at those of normal numbers, which a truncation cuts off."""
        eps = normal_quantiles(uniform, truncation)
        return gamma_quantile(eps, torch.full_like(eps[:1], self.options.shape)) / self.options.rate
