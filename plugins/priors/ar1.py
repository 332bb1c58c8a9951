"""A prior of codes in order: each goes by the one before it, which no independent posterior can match."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.math.estimates import spherical
from genzoo.core.options import option
from genzoo.core.posterior import normal_log_prob
from genzoo.core.prior import Prior, normal_quantiles
from genzoo.core.spec import Latent
from genzoo.registry import declare


@declare.prior("ar1", paper="arXiv:1901.03416", tags=("vae",))
class AR1(Prior):
    """First-order autoregressive prior: z_1 ~ N(0, 1), z_t | z_t-1 ~ N(α z_t-1, 1 - α²), each marginally N(0, 1).

    The sequential case of δ-VAEs: a posterior whose numbers are independent has a KL of at least
    ½ ((n - 2) log(1 + α²) - log(1 - α²)) nats for n numbers in a row, so that a decoder cannot leave codes unused.
    On a grid the places are in order, row by row, and each has `latent.size` rows of its own.

    When: codes collapse under a strong decoder, and neighbours in the code should be alike.
    """

    @dataclass(frozen=True)
    class Options(Prior.Options):
        alpha: float = option(0.95, "α, correlation of a number with the one before it", low=0, high=0.9999)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.numbers // (latent.size if latent.grid else 1) < 2:
            raise UsageError("the ar1 prior is of codes of at least 2 numbers in order: --set latent.size=2")
        self.spread = math.sqrt(1 - self.options.alpha**2)

    @property
    def least(self) -> float:
        """The least KL of a posterior whose numbers are independent, in nats."""
        alpha, rows = self.options.alpha, self.latent.size if self.latent.grid else 1
        n = self.latent.numbers // rows
        return rows * 0.5 * ((n - 2) * math.log1p(alpha**2) - math.log1p(-(alpha**2)))

    def base(self, z: Tensor) -> Tensor:
        """From codes ``(..., *latent.shape)`` to independent normal numbers ``(..., rows, n)``."""
        x = z.flatten(-2) if self.latent.grid else z.unsqueeze(-2)
        return torch.cat([x[..., :1], (x[..., 1:] - self.options.alpha * x[..., :-1]) / self.spread], -1)

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        base = self.base(z)
        volume = base.shape[-2] * (base.shape[-1] - 1) * math.log(self.spread)
        return normal_log_prob(base).flatten(-2).sum(-1) - volume

    def forward(self, base: Tensor) -> Tensor:
        """Back from `base`."""
        alpha, steps = self.options.alpha, [base[..., 0]]
        for new in base.unbind(-1)[1:]:
            steps.append(alpha * steps[-1] + self.spread * new)
        return torch.stack(steps, -1).view(*base.shape[:-2], *self.latent.shape)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Quantiles of a normal, each added to what is left of the number before."""
        normal = normal_quantiles(uniform, truncation)
        z: Tensor = self(normal.flatten(2) if self.latent.grid else normal.unsqueeze(1))
        return z

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        u, v = self.base(a), self.base(b)
        on = spherical(u.flatten(1), v.flatten(1), t)
        z: Tensor = self(on.view(len(a), len(t), *u.shape[1:]))
        return z
