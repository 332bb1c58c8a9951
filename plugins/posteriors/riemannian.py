"""A posterior moved by Hamiltonian steps on a curved space of codes, whose metric is learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.posterior import LOG_2PI, DiagonalNormal, Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.full_normal import lower
from genzoo.plugins.posteriors.normal import Hamiltonian
from genzoo.registry import declare

declare.recipe(
    "riemannian-vae",
    summary="VAE whose posterior takes Hamiltonian steps in a learned metric of the codes",
    paper="arXiv:2010.11518",
    tags=("vae",),
    like="vae",
    posterior="riemannian",
    options={"latent.size": 8},
    presets={"vector": {"latent.size": 2}},
)

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


@declare.posterior("riemannian", paper="arXiv:2010.11518", tags=("vae",))
class RiemannianHead(PosteriorHead):
    """Riemannian Hamiltonian posterior: the encoder gives a normal and a factor of the metric there.

    Its metric remembers a fixed number of centroids, which follow the means that fall to them.
    """

    centers: Tensor
    metrics: Tensor

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        steps: int = option(3, "generalized leapfrog steps", low=0, high=100)
        size: float = option(0.01, "of a step at the start; training moves it", low=1e-6)
        beta: float = option(0.3, "inverse temperature at the start, which rises to 1", low=1e-3, high=1)
        temperature: float = option(1.5, "T, how far a centroid's metric reaches", low=1e-3)
        floor: float = option(0.01, "λ, of the inverse metric far from all centroids", low=1e-6)
        centroids: int = option(32, "how many the metric remembers", low=1, high=4096)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.grid or latent.size > 64:
            raise UsageError(
                "the riemannian posterior is of flat codes of at most 64 numbers: --set latent.grid=0 "
                f"--set latent.size={min(latent.size, 64)}"
            )
        n, d = self.options.centroids, latent.size
        self.log_step = nn.Parameter(torch.tensor(self.options.size).log())
        self.register_buffer("centers", torch.randn(n, d))
        self.register_buffer("metrics", torch.zeros(n, d, d))

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (2 * self.latent.size,)

    @property
    def input_shape(self) -> tuple[int, ...]:
        d = self.latent.size
        return (3 * d + d * (d - 1) // 2,)

    def forward(self, numbers: Tensor) -> Posterior:
        d = self.latent.size
        mean, log_var, diagonal, below = torch.split(numbers.float(), [d, d, d, d * (d - 1) // 2], 1)
        return Riemannian(mean, log_var, lower(softplus(diagonal), below), self)

    def inverse(self, z: Tensor) -> Tensor:
        """G⁻¹ at codes ``(..., d)`` by the centroids alone: ``(..., d, d)``."""
        d = self.latent.size
        apart = (z.unsqueeze(-2) - self.centers).square().sum(-1) / self.options.temperature**2
        stored = torch.exp(-apart) @ self.metrics.flatten(1)
        return torch.unflatten(stored, -1, (d, d)) + self.options.floor * torch.eye(d, device=z.device)

    @torch.no_grad()
    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        """Move each centroid a twentieth of the way to the batch's means that fell to it."""
        n, rate = seen["count"].clamp(min=1)[:, None], 0.05 * (seen["count"] > 0).float()[:, None]
        self.centers.lerp_(seen["means"] / n, rate)
        self.metrics.lerp_(seen["metrics"] / n[..., None], rate[..., None])
