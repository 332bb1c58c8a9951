"""The normal posterior, and one that is moved from there by the gradient of log p(x, z)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.options import option
from genzoo.core.posterior import DiagonalNormal, NormalHead, Posterior, normal_log_prob
from genzoo.core.spec import Latent
from genzoo.registry import declare

declare.recipe(
    "hamiltonian-vae",
    summary="VAE whose posterior follows the gradient of log p(x, z) for a few leapfrog steps",
    paper="arXiv:1805.11328",
    tags=("vae",),
    like="vae",
    posterior="hamiltonian",
)


@declare.posterior("normal", paper="arXiv:1312.6114", tags=("vae",))
class Normal(NormalHead):
    """Diagonal normal posterior: a mean and a variance for every number of the code."""


class Hamiltonian(DiagonalNormal):
    """Tempered leapfrog steps from a normal: q is a density of (z, momentum), whose weights average to p(x)."""

    closed = ""

    def __init__(self, mean: Tensor, log_var: Tensor, head: HamiltonianHead) -> None:
        super().__init__(mean, log_var)
        self.head = head

    def refined(self, log_joint: Callable[[Tensor], Tensor]) -> Posterior:
        self.log_joint = log_joint
        return self

    @property
    def start(self) -> Posterior:
        return DiagonalNormal(self.mean, self.log_var)

    def _force(self, z: Tensor) -> Tensor:
        def joint(z: Tensor) -> Tensor:
            return self.log_joint(z.reshape(-1, *self.mean.shape[1:])).sum()

        if torch.compiler.is_compiling():  # autograd.grad with a double backward does not compile
            force: Tensor = torch.func.grad(joint)(z)
            return force
        graph = torch.is_grad_enabled()
        with torch.enable_grad():
            z = z if z.requires_grad else z.detach().requires_grad_()
            return torch.autograd.grad(joint(z), z, create_graph=graph)[0]

    def sample(self, eps: Tensor) -> Tensor:
        return self.sample_with_log_prob(eps)[0]

    def sample_with_log_prob(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Log q₀(z₀) + log N(γ) - log N(ρ_K): leapfrog keeps volume, and so do all temperings together."""
        start, gamma = (e.view(*e.shape[:-1], *self.mean.shape[1:]) for e in eps.chunk(2, -1))
        z, o, dims = super().sample(start), self.head.options, tuple(range(1 - self.mean.dim(), 0))
        log_q = self.log_prob(z) + normal_log_prob(gamma).sum(dims)
        step, root = self.head.log_step.exp(), o.beta**0.5
        rho, before, force = gamma / root, root, self._force(z)
        for k in range(1, o.steps + 1):
            rho = rho + 0.5 * step * force
            z = z + step * rho
            force = self._force(z)
            rho = rho + 0.5 * step * force
            now = 1 / ((1 - 1 / root) * (k / o.steps) ** 2 + 1 / root)  # √β_k, from √β₀ to 1
            rho, before = rho * before / now, now
        if not o.steps:
            rho = gamma
        return z, log_q - normal_log_prob(rho).sum(dims)


@declare.posterior("hamiltonian", paper="arXiv:1805.11328", tags=("vae",))
class HamiltonianHead(NormalHead):
    """Hamiltonian posterior: a normal one, improved by tempered leapfrog steps under log p(x, z)."""

    @dataclass(frozen=True)
    class Options(NormalHead.Options):
        steps: int = option(3, "leapfrog steps", low=0, high=100)
        size: float = option(0.01, "of a step at the start; training moves that of each number", low=1e-6)
        beta: float = option(0.3, "inverse temperature at the start, which rises to 1", low=1e-3, high=1)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        self.log_step = nn.Parameter(torch.full(latent.shape, self.options.size).log())

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (2 * self.latent.numbers,)

    def forward(self, numbers: Tensor) -> Posterior:
        """Split into mean and log variance."""
        mean, log_var = numbers.float().chunk(2, dim=1)
        return Hamiltonian(mean, log_var, self)
