"""The wrapped normal prior of the Poincaré ball."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.math.hyperbolic import added, from_tangent, log_stretch, to_tangent
from genzoo.core.options import option
from genzoo.core.posterior import normal_log_prob
from genzoo.core.prior import Prior, normal_quantiles
from genzoo.core.spec import Latent
from genzoo.registry import declare


@declare.prior("poincare", paper="arXiv:1901.06033", tags=("vae", "hyperbolic"))
class Poincare(Prior):
    """Wrapped normal prior around the middle of the Poincaré ball, with a learned scale.

    The ball's curvature is -1: one of -c with scale 1 is this one with scale √c, and a small scale is a flat space.
    """

    space = "points of a hyperbolic ball"
    partner = "wrapped-normal"

    @dataclass(frozen=True)
    class Options(Prior.Options):
        scale: float = option(1.0, "standard deviation of the distance from the middle at the start", low=1e-3, high=3)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.grid:
            raise UsageError("the poincare prior is of flat codes: --set latent.grid=0")
        self.log_var = nn.Parameter(torch.tensor(2 * math.log(self.options.scale)))

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """By hyperbolic volume."""
        v = to_tangent(z)
        return normal_log_prob(v, 0.0, self.log_var).sum(-1) - log_stretch(v)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        return from_tangent(torch.exp(0.5 * self.log_var) * normal_quantiles(uniform, truncation).to(self.log_var))

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Geodesics: a ⊕ t (-a ⊕ b)."""
        way = to_tangent(added(-a, b))
        return added(a[:, None], from_tangent(t.view(1, -1, 1) * way[:, None]))
