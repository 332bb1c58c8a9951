"""The uniform prior over tokens, which a quantizer trains with."""

from __future__ import annotations

import math

from torch import Tensor

from genzoo.core.prior import TokenPrior
from genzoo.registry import declare


@declare.prior("uniform-codes", paper="arXiv:1711.00937", tags=("vae", "quantizer"))
class UniformCodes(TokenPrior):
    """Uniform prior over tokens: each of K codes equally likely at every place."""

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """- places · log K."""
        return z.new_full(z.shape[: -len(self.latent.shape)], -self.head.places * math.log(self.head.codes))

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        self.untruncated(truncation)
        return self.head.embed((uniform.double() * self.head.codes).long().clamp(max=self.head.codes - 1))
