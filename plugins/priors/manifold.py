"""The prior of codes with a learned metric: it follows the metric's volume, and is drawn from by Hamiltonian steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.core.posterior import normal_log_prob
from genzoo.core.prior import Prior, normal_quantiles
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.riemannian import RiemannianHead
from genzoo.registry import declare

if TYPE_CHECKING:
    from genzoo.core.model import Model

POINTS = 1024  # by which the normalizer is estimated


@declare.prior("manifold", paper="arXiv:2105.00026", tags=("vae",))
class Manifold(Prior):
    """Manifold prior: p(z) ∝ √det G⁻¹(z) N(z; m, s²), G the metric of a `riemannian` posterior, m and s learned.

    √det G⁻¹ alone is the paper's target, which has no integral: far from all centroids it is a constant. The normal
    around the codes gives it one, Z = E[√det G⁻¹(m + s ε)], estimated by 1,024 points that stay the same. Codes are
    drawn by Hamiltonian Monte Carlo from that normal, with as many moves for each.

    When: samples of a `riemannian-vae`, fitted afterwards: ``genzoo prior fit RUN --prior manifold``.

    Cost: ``moves`` times ``leaps`` slopes of the metric for a sample.
    """

    partner = "riemannian"
    points: Tensor

    @dataclass(frozen=True)
    class Options(Prior.Options):
        moves: int = option(20, "Metropolis steps for a sample", low=1, high=10_000)
        leaps: int = option(10, "leapfrog steps in each", low=1, high=1000)
        size: float = option(0.2, "of a leapfrog step, in units of s", low=1e-6)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        d = latent.numbers
        self.mean, self.log_std = nn.Parameter(torch.zeros(d)), nn.Parameter(torch.zeros(d))
        self.register_buffer("points", torch.randn(POINTS, d, generator=generator(0x3A)), persistent=False)

    def attach(self, model: Model) -> None:
        super().attach(model)
        if not isinstance(model.head, RiemannianHead):
            raise UsageError("the manifold prior is of codes with a metric: use --posterior riemannian")
        self._head = (model.head,)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        d = self.latent.numbers  # a start, and a momentum and a decision for every move
        return (d + self.options.moves * (d + 1),)

    def _outward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.mean, self.log_std.exp(), x)

    def _log_volume(self, z: Tensor) -> Tensor:
        """Log √det G⁻¹, ``(...)``."""
        root = torch.linalg.cholesky_ex(self._head[0].inverse(z)).L
        volume: Tensor = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return volume

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        normalizer = torch.logsumexp(self._log_volume(self._outward(self.points)), 0) - math.log(POINTS)
        normal = normal_log_prob((z - self.mean) * torch.exp(-self.log_std)) - self.log_std
        return normal.sum(-1) + self._log_volume(z) - normalizer

    def _energy(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """-log p of standardized codes ``(B, d)`` but for a constant, and its slope."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = 0.5 * x.square().sum(-1) - self._log_volume(self._outward(x))
            return energy.detach(), torch.autograd.grad(energy.sum(), x)[0]

    @torch.no_grad()
    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """The end of a chain from the normal; what its moves have of it is no normal number, so none is cut off."""
        self.untruncated(truncation)
        d, step = self.latent.numbers, self.options.size
        uniform = uniform.to(self.mean)
        x = normal_quantiles(uniform[:, :d])
        energy, slope = self._energy(x)
        for move in torch.unflatten(uniform[:, d:], 1, (-1, d + 1)).unbind(1):
            rho = first = normal_quantiles(move[:, :d])
            to, force = x, slope
            for _ in range(self.options.leaps):
                half = rho - 0.5 * step * force
                to = to + step * half
                after, force = self._energy(to)
                rho = half - 0.5 * step * force
            gain = energy - after + 0.5 * (first.square() - rho.square()).sum(-1)
            taken = (move[:, d].log() < gain).unsqueeze(1)
            x, slope = torch.where(taken, to, x), torch.where(taken, force, slope)
            energy = torch.where(taken[:, 0], after, energy)
        return self._outward(x)
