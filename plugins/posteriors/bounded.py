"""Normal posteriors that cannot become the prior: of bounded variance, or with means that must vary over the data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genzoo.core.errors import UsageError
from genzoo.core.math.tables import wide
from genzoo.core.options import option
from genzoo.core.posterior import DiagonalNormal, NormalHead, Posterior
from genzoo.core.spec import Latent
from genzoo.registry import declare


def largest_variance(nats: float) -> float:
    """The root v < 1 of ½ (v - 1 - log v) = nats, the least KL to N(0, 1) of a normal whose variance is at most v."""
    low, high = 0.0, 1.0
    for _ in range(200):
        v = (low + high) / 2
        low, high = (low, v) if v > 0 and 0.5 * (v - 1 - math.log(v)) < nats else (v, high)
    return (low + high) / 2


@declare.posterior("bounded-normal", paper="arXiv:1901.03416", tags=("vae",))
class BoundedNormal(NormalHead):
    """Normal posterior whose KL to N(0, I) is δ nats or more, since variances are at most v: ½ (v - 1 - log v) = δ/d.

    The independent case of δ-VAEs: every number of the code has its share of δ. The sequential one is ``--prior ar1``.
    """

    @dataclass(frozen=True)
    class Options(NormalHead.Options):
        least: float = option(1.0, "δ, least KL of the whole code to a standard normal prior, in nats", low=1e-3)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        v = largest_variance(self.options.least / latent.numbers)
        if v <= 0:
            raise UsageError("posterior.least asks for a variance of 0: fewer nats, or more numbers in a code")
        self.most = math.log(v)  # of the log variances

    def forward(self, numbers: Tensor) -> Posterior:
        mean, log_var = numbers.float().chunk(2, dim=1)
        return DiagonalNormal(mean, self.most - softplus(-log_var))


@declare.posterior("batch-normal", paper="arXiv:2004.12585", tags=("vae",))
class BatchNormal(NormalHead):
    """Normal posterior whose means are batch-normalized to a standard deviation of γ: E[KL] to N(0, I) ≥ d γ²/2.

    A number's mean is γ (μ - E[μ]) / σ(μ) + β with a learned β; running statistics in evaluation.
    """

    @dataclass(frozen=True)
    class Options(NormalHead.Options):
        spread: float = option(0.6, "γ, standard deviation over the data of each number's mean", low=1e-3)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        norm = nn.BatchNorm2d if latent.grid else nn.BatchNorm1d
        self.norm, self.shift = norm(latent.size, affine=False), nn.Parameter(torch.zeros(latent.size))

    def forward(self, numbers: Tensor) -> Posterior:
        mean, log_var = wide(numbers).chunk(2, dim=1)
        shift = self.shift.view(-1, *[1] * (mean.dim() - 2))
        return DiagonalNormal(self.options.spread * self.norm(mean) + shift, log_var)
