"""The uniform prior on a sphere."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import normalize

from genzoo.core.errors import UsageError
from genzoo.core.math.angles import log_area
from genzoo.core.math.estimates import spherical
from genzoo.core.prior import Prior, normal_quantiles
from genzoo.core.spec import Latent
from genzoo.registry import declare


@declare.prior("sphere", paper="arXiv:1804.00891", tags=("vae", "sphere"))
class Sphere(Prior):
    """Uniform prior on the unit sphere: a density of one over its area."""

    space = "points on a sphere"
    partner = "vmf"
    family = "sphere"

    def __init__(self, latent: Latent, options: Prior.Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.grid or latent.size < 2:
            raise UsageError(
                "the sphere prior is of flat codes of at least 2 numbers: "
                f"--set latent.size={max(latent.size, 2)} --set latent.grid=0"
            )

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return z.new_full(z.shape[:-1], -log_area(self.latent.size))

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Directions of normal numbers; a truncation would change nothing that can be seen, and is refused."""
        self.untruncated(truncation)
        return normalize(normal_quantiles(uniform), dim=-1)

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Great circles."""
        return normalize(spherical(a, b, t), dim=-1)
