"""The second stage of two-stage VAEs: a VAE of the codes of the first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.math.permutation import mixed
from genzoo.core.model import Model
from genzoo.core.options import option
from genzoo.core.posterior import normal_kl, normal_log_prob
from genzoo.core.prior import normal_quantiles
from genzoo.core.spec import Latent
from genzoo.plugins.nets.blocks import as_numbers
from genzoo.plugins.priors.standardized import Standardized
from genzoo.registry import declare

_DRAWS = 16  # for the bound that stands in for the density


def normals_of(z: Tensor, n: int) -> Tensor:
    """Standard normal numbers ``(n, *z.shape)`` that belong to codes ``z (..., d)``: equal codes have equal ones."""
    state = torch.full(z.shape[:-1], 0x2E, dtype=torch.int64, device=z.device)
    for bits in z.detach().float().contiguous().view(torch.int32).long().unbind(-1):
        state = mixed(state + bits)
    turn = torch.arange(n * z.shape[-1], device=z.device).view(n, *[1] * (z.dim() - 1), -1)
    uniform = (mixed(state[..., None] + (turn + 1) * (0x9E3779B97F4A7C15 - 2**64)) >> 40 & (1 << 24) - 1) * 2.0**-24
    return normal_quantiles(uniform.float())


@declare.prior("second-vae", paper="arXiv:1903.05789", tags=("vae", "second stage"))
class SecondVAE(Standardized):
    """Second-stage VAE prior: p(z) = ∫ N(z; G(u), γ²) N(u; 0, 1) du with learned G and γ, fitted to a trained model.

    Its log_prob is importance-weighted with 16 draws. Every code has draws of its own, a function of its bits alone,
    so a mean over codes is near its expectation: a lower bound on the mean of log p(z).

    When: a first stage whose likelihood has a learned variance (``gaussian`` by default) and more numbers in its codes
    than the data need.
    """

    joint = False

    @dataclass(frozen=True)
    class Options(Standardized.Options):
        width: int = option(512, "units in each hidden layer of encoder and decoder", low=1, high=16384)
        depth: int = option(3, "hidden layers", low=1, high=64)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.grid:
            raise UsageError("the second-vae prior is of flat codes: --set latent.grid=0")
        self.log_gamma = nn.Parameter(torch.zeros(()))

    def attach(self, model: Model) -> None:
        super().attach(model)
        self.told, d = (model.classes, model.conditions), self.latent.size
        self.encoder, self.decoder = self._net(2 * d), self._net(d)

    def _net(self, outputs: int) -> nn.Sequential:
        o, sizes = self.options, [self.latent.size + sum(self.told)]
        sizes += [o.width] * o.depth
        hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.SiLU())]
        return nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs))

    @property
    def bound_noise(self) -> tuple[int, ...]:
        return self.latent.shape

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (2 * self.latent.size,)

    @property
    def stages(self) -> tuple[int, ...]:
        return (self.latent.size, self.latent.size)

    def _beside(self, x: Tensor, y: Tensor | None) -> Tensor:
        """What the networks read, ``(..., B, size + told)``."""
        if not any(self.told):
            return x
        told = as_numbers(y, *self.told, x)
        return torch.cat([x, told.expand(*x.shape[:-1], -1)], -1)

    def _scored(self, z: Tensor, u: Tensor, y: Tensor | None) -> Tensor:
        """Log p(z|u), ``(..., B)``."""
        mean = self.decoder(self._beside(u, y)).float()
        return normal_log_prob(self.inward(z), mean, 2 * self.log_gamma).sum(-1) - self.log_volume

    def bound(self, z: Tensor, y: Tensor | None, noise: Tensor) -> Tensor:
        """The evidence lower bound on log p(z)."""
        mean, log_var = self.encoder(self._beside(self.inward(z), y)).float().chunk(2, -1)
        u = torch.addcmul(mean, torch.exp(0.5 * log_var), noise)
        return self._scored(z, u, y) - normal_kl(mean, log_var).sum(-1)

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        mean, log_var = self.encoder(self._beside(self.inward(z), y)).float().chunk(2, -1)
        u = mean + torch.exp(0.5 * log_var) * normals_of(z, _DRAWS)
        log_w = self._scored(z, u, y) + (normal_log_prob(u) - normal_log_prob(u, mean, log_var)).sum(-1)
        return torch.logsumexp(log_w, 0) - math.log(_DRAWS)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        u, eps = normal_quantiles(uniform, truncation).to(self.center).chunk(2, -1)
        mean = self.decoder(self._beside(u, y)).float()
        return self.outward(mean + self.log_gamma.exp() * eps)
