"""A normal wrapped onto the Poincaré ball, where there is room for trees."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genzoo.core.errors import UsageError
from genzoo.core.math.hyperbolic import added, from_tangent, log_stretch, to_tangent
from genzoo.core.posterior import LOG_2PI, Posterior, PosteriorHead, normal_log_prob
from genzoo.core.spec import Latent
from genzoo.registry import declare

declare.recipe(
    "poincare-vae",
    summary="Poincaré VAE: codes in a hyperbolic ball, whose room grows as that of a tree does",
    paper="arXiv:1901.06033",
    tags=("vae", "hyperbolic"),
    like="vae",
    generator="gyroplane",
    posterior="wrapped-normal",
    prior="poincare",
    options={"latent.size": 10},
    presets={
        "image": {"generator": "gyroplane", "encoder": "conv"},
        "vector": {"generator": "gyroplane", "latent.size": 2},
    },
)


class WrappedNormal(Posterior):
    """z = μ ⊕ exp(σ ε): normal in the tangent space, moved to μ by parallel transport.

    Densities are by hyperbolic volume: log N(v; 0, σ²) - (d - 1) log(sinh ‖v‖ / ‖v‖), v = σ ε.
    """

    def __init__(self, mean: Tensor, log_var: Tensor) -> None:
        self._mean, self.log_var = mean, log_var

    @property
    def mean(self) -> Tensor:
        return self._mean

    def sample(self, eps: Tensor) -> Tensor:
        return self.sample_with_log_prob(eps)[0]

    def sample_with_log_prob(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        v = torch.exp(0.5 * self.log_var) * eps
        log_p = -0.5 * (eps.square() + self.log_var + LOG_2PI).sum(-1)  # of v; v² over a σ² that rounds to zero is nan
        return added(self._mean, from_tangent(v)), log_p - log_stretch(v)

    def log_prob(self, z: Tensor) -> Tensor:
        return self._density(to_tangent(added(-self._mean, z)))

    def _density(self, v: Tensor) -> Tensor:
        return normal_log_prob(v, 0.0, self.log_var).sum(-1) - log_stretch(v)


@declare.posterior("wrapped-normal", paper="arXiv:1901.06033", tags=("vae", "hyperbolic"))
class WrappedNormalHead(PosteriorHead):
    """Wrapped normal posterior on the Poincaré ball of curvature -1: a mean, and a variance for every direction."""

    space = "points of a hyperbolic ball"
    partner = "poincare"

    def __init__(self, latent: Latent, options: PosteriorHead.Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.grid:
            raise UsageError("the wrapped-normal posterior is of flat codes: --set latent.grid=0")

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (2 * self.latent.size,)

    def forward(self, numbers: Tensor) -> Posterior:
        """The variance stays under e³: at distances of 12 a ball of float32 numbers ends."""
        mean, log_var = numbers.float().chunk(2, dim=1)
        return WrappedNormal(from_tangent(mean), 3 - softplus(3 - log_var))
