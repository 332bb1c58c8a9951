"""Hamiltonian steps on a curved space of codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genzoo.core.posterior import LOG_2PI, DiagonalNormal
from genzoo.plugins.posteriors.normal import Hamiltonian

if TYPE_CHECKING:
    from genzoo.plugins.posteriors.riemannian import RiemannianHead

TURNS = 3  # of the fixed points in a step


class Riemannian(Hamiltonian):
    """Generalized leapfrog steps from a normal under H = - log p(x, z) - log N(ρ; 0, G(z)), momenta drawn by G.

    G⁻¹(z) = Σ_i L_i L_iᵀ exp(- ‖c_i - z‖² / T²) + λ I over the centroids of the head and the observation's own mean.
    Steps keep volume up to what their fixed points, of three turns each, are off: weights average to p(x) for small
    steps only.
    """

    def __init__(self, mean: Tensor, log_var: Tensor, factor: Tensor, head: RiemannianHead) -> None:
        DiagonalNormal.__init__(self, mean, log_var)
        self.own, self.curved = factor @ factor.mT, head

    def inverse(self, z: Tensor) -> Tensor:
        """G⁻¹ at codes ``(..., B, d)``: ``(..., B, d, d)``."""
        apart = (z - self.mean).square().sum(-1) / self.curved.options.temperature**2
        return self.curved.inverse(z) + torch.exp(-apart)[..., None, None] * self.own

    def momenta(self, z: Tensor, rho: Tensor) -> Tensor:
        """Log N(ρ; 0, G(z)), ``(..., B)``."""
        root = torch.linalg.cholesky_ex(self.inverse(z)).L
        white = (root.mT @ rho.unsqueeze(-1)).squeeze(-1)
        log_p: Tensor = root.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * (white.square() + LOG_2PI).sum(-1)
        return log_p

    def _slope(self, z: Tensor, rho: Tensor) -> Tensor:
        """Of `momenta` with respect to z."""
        if torch.compiler.is_compiling():
            found: Tensor = torch.func.grad(lambda z: self.momenta(z, rho).sum())(z)
            return found
        graph = torch.is_grad_enabled()
        with torch.enable_grad():
            # A name of its own: the momentum may depend on z too, and that is no part of this slope.
            z = z.view_as(z) if z.requires_grad else z.detach().requires_grad_()
            return torch.autograd.grad(self.momenta(z, rho).sum(), z, create_graph=graph)[0]

    def sample_with_log_prob(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Log q₀(z₀) + log N(γ; 0, G(z₀)) - log N(ρ_K; 0, G(z_K))."""
        first, white = eps.chunk(2, -1)
        z, o = self.start.sample(first), self.curved.options
        root = torch.linalg.cholesky_ex(self.inverse(z)).L
        gamma = torch.linalg.solve_triangular(root.mT, white.unsqueeze(-1), upper=True).squeeze(-1)
        log_q = self.log_prob(z) + self.momenta(z, gamma)
        half, heat = 0.5 * self.curved.log_step.exp(), o.beta**0.5
        rho, before, force = gamma / heat, heat, self._force(z)
        for k in range(1, o.steps + 1):
            moved = rho
            for _ in range(TURNS):
                moved = rho + half * (force + self._slope(z, moved))
            here = (self.inverse(z) @ moved.unsqueeze(-1)).squeeze(-1)
            to = z
            for _ in range(TURNS):
                to = z + half * (here + (self.inverse(to) @ moved.unsqueeze(-1)).squeeze(-1))
            z, force = to, self._force(to)
            rho = moved + half * (force + self._slope(z, moved))
            now = 1 / ((1 - 1 / heat) * (k / o.steps) ** 2 + 1 / heat)  # √β_k, from √β₀ to 1
            rho, before = rho * before / now, now
        return z, log_q - self.momenta(z, rho if o.steps else gamma)

    @property
    def sums(self) -> dict[str, Tensor]:
        """For each centroid how many means fall to it, and the sums of these and of their L Lᵀ."""
        head, mean = self.curved, self.mean.detach()
        to = torch.cdist(mean, head.centers).argmin(1)
        n, d = head.centers.shape
        return {
            "count": mean.new_zeros(n).index_add_(0, to, torch.ones_like(mean[:, 0])),
            "means": mean.new_zeros(n, d).index_add_(0, to, mean),
            "metrics": mean.new_zeros(n, d, d).index_add_(0, to, self.own.detach()),
        }
