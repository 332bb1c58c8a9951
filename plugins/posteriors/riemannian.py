"""A posterior moved by Hamiltonian steps on a curved space of codes, whose metric is learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.curved import Riemannian
from genzoo.plugins.posteriors.full_normal import lower
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
