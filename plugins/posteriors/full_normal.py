"""A normal posterior with every covariance: the exact one of a linear model."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.errors import UsageError
from genzoo.core.posterior import LOG_2PI, Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.registry import declare


def lower(diagonal: Tensor, below: Tensor) -> Tensor:
    """Lower triangular matrices ``(B, d, d)`` of their diagonals and, row by row, what is below them."""
    d = diagonal.shape[1]
    rows, columns = torch.tril_indices(d, d, -1, device=diagonal.device)
    at = torch.arange(len(diagonal), device=diagonal.device)[:, None], rows, columns
    return torch.diag_embed(diagonal).index_put(at, below)


class FullNormal(Posterior):
    """z = μ + L ε with a lower triangular L: N(μ, LLᵀ)."""

    closed = "normal"

    def __init__(self, mean: Tensor, factor: Tensor) -> None:
        self._mean, self.factor = mean, factor
        self.log_diagonal = factor.diagonal(dim1=1, dim2=2).log()

    @property
    def mean(self) -> Tensor:
        return self._mean

    def sample(self, eps: Tensor) -> Tensor:
        return self._mean + (self.factor @ eps.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        off = torch.linalg.solve_triangular(self.factor, (z - self._mean).unsqueeze(-1), upper=False).squeeze(-1)
        log_q: Tensor = -0.5 * (off.square() + LOG_2PI).sum(-1) - self.log_diagonal.sum(-1)
        return log_q

    def kl(self) -> Tensor:
        """½ (μ_i² + Σ_j L_ij² - 2 log L_ii - 1): of number i given those before it, but for its mean."""
        return 0.5 * (self._mean.square() + self.factor.square().sum(-1) - 1) - self.log_diagonal


@declare.posterior("normal-full", paper="arXiv:1906.02691", tags=("vae",))
class FullNormalHead(PosteriorHead):
    """Normal posterior with a full covariance, by its Cholesky factor: d (d + 1) / 2 numbers beside the mean."""

    def __init__(self, latent: Latent, options: PosteriorHead.Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.grid or latent.size > 512:
            raise UsageError(
                "the normal-full posterior is of flat codes of at most 512 numbers: --set latent.grid=0, "
                f"--set latent.size={min(latent.size, 512)}"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        d = self.latent.size
        return (2 * d + d * (d - 1) // 2,)

    def forward(self, numbers: Tensor) -> Posterior:
        d = self.latent.size
        mean, diagonal, below = torch.split(numbers.float(), [d, d, d * (d - 1) // 2], 1)
        # Off the diagonal, numbers of the size of an encoder's would make a factor that is wide for large codes.
        factor = lower(softplus(diagonal) + 1e-6, below / math.sqrt(d))
        return FullNormal(mean, factor)
