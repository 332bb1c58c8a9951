"""Posteriors on a sphere: von Mises-Fisher and power spherical, by the angle to a mean direction."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from genzoo.core.errors import UsageError
from genzoo.core.math.angles import Angles
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.registry import declare

declare.recipe(
    "svae",
    summary="Hyperspherical VAE: codes are directions, with a von Mises-Fisher posterior and a uniform prior",
    paper="arXiv:1804.00891",
    tags=("vae", "sphere"),
    like="vae",
    posterior="vmf",
    prior="sphere",
    options={"latent.size": 11},
    presets={"vector": {"latent.size": 3}},
)


class Directional(Posterior):
    """z = cos t μ + sin t v: an angle t of one number, and a direction v across μ of the others.

    Densities are by the area of the sphere.
    """

    closed = "sphere"

    def __init__(self, direction: Tensor, angles: Angles) -> None:
        self.direction, self.angles = direction, angles

    @property
    def mean(self) -> Tensor:
        """The mean direction."""
        return self.direction

    def sample(self, eps: Tensor) -> Tensor:
        t = self.angles.quantile(0.5 * torch.erfc(-eps[..., 0] / math.sqrt(2))).unsqueeze(-1)
        v = eps[..., 1:]
        across = normalize(v - (v * self.direction).sum(-1, keepdim=True) * self.direction, dim=-1)
        return t.cos() * self.direction + t.sin() * across

    def log_prob(self, z: Tensor) -> Tensor:
        return self.angles.log_density((z * self.direction).sum(-1))

    def kl(self) -> Tensor:
        """Of a direction, which has no parts: each number is given its share."""
        d = self.direction.shape[1]
        return (self.angles.divergence() / d).unsqueeze(1).expand(-1, d)


@declare.posterior("vmf", paper="arXiv:1804.00891", tags=("vae", "sphere"))
class VonMisesFisher(PosteriorHead):
    """Von Mises-Fisher posterior on the sphere: q(z) ∝ exp(κ μᵀz), κ ≥ 1."""

    space = "points on a sphere"
    partner = "sphere"
    power = False

    def __init__(self, latent: Latent, options: PosteriorHead.Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.grid or latent.size < 2:
            raise UsageError(
                "posteriors on a sphere are of flat codes of at least 2 numbers: "
                f"--set latent.size={max(latent.size, 2)} --set latent.grid=0"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """A direction, and its concentration κ."""
        return (self.latent.size + 1,)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.latent.size + 1,)

    def forward(self, numbers: Tensor) -> Posterior:
        d, numbers = self.latent.size, numbers.float()
        kappa = softplus(numbers[:, d]) + 1
        return Directional(normalize(numbers[:, :d], dim=-1), Angles(kappa, d, self.power))


@declare.posterior("power-spherical", paper="arXiv:2006.04437", tags=("vae", "sphere"))
class PowerSpherical(VonMisesFisher):
    """Power spherical posterior on the sphere: q(z) ∝ (1 + μᵀz)^κ, κ ≥ 1, with heavier tails than `vmf`."""

    power = True
