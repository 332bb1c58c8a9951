"""A mixture of normals as prior: what a trained model's codes are best drawn from, if they are not normal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.options import option
from genzoo.core.posterior import normal_log_prob
from genzoo.core.prior import Prior, normal_quantiles
from genzoo.core.spec import Latent
from genzoo.registry import declare


@declare.prior("mixture", paper="arXiv:1903.12436", tags=("vae",))
class Mixture(Prior):
    """Mixture prior: Σ_k π_k N(z; μ_k, σ_k²) with learned shares, means and diagonal variances."""

    @dataclass(frozen=True)
    class Options(Prior.Options):
        components: int = option(10, "K, normals in the mixture", low=1)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        k = self.options.components
        self.logits, self.mean = nn.Parameter(torch.zeros(k)), nn.Parameter(torch.randn(k, *latent.shape))
        self.log_var = nn.Parameter(torch.zeros(k, *latent.shape))

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        dims = tuple(range(-len(self.latent.shape), 0))
        each = normal_log_prob(z.unsqueeze(dims[0] - 1), self.mean, self.log_var).sum(dims)  # (..., B, K)
        return torch.logsumexp(each + self.logits.log_softmax(0), -1)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (1 + self.latent.numbers,)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Pick a component, and draw from it normal numbers that are cut off at the truncation."""
        normal = normal_quantiles(uniform[:, 1:], truncation).view(-1, *self.latent.shape).to(self.mean)
        share = self.logits.softmax(0).cumsum(0)
        k = torch.searchsorted(share, uniform[:, 0].to(share).contiguous(), right=True).clamp(max=len(share) - 1)
        return self.mean[k] + torch.exp(0.5 * self.log_var[k]) * normal
