"""What priors that are fitted to codes of any scale share: they see them with mean 0 and variance 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genzoo.core.prior import Prior
from genzoo.core.spec import Latent


class Standardized(Prior):
    """Base of priors that standardize codes by the mean and spread of the first batch that they are fitted to.

    Trained beside a model, whose codes follow the prior, they leave codes as they are.
    """

    center: Tensor
    spread: Tensor
    steps: Tensor

    def __init__(self, latent: Latent, options: Any = None) -> None:
        super().__init__(latent, options)
        self.register_buffer("center", torch.zeros(latent.shape))
        self.register_buffer("spread", torch.ones(latent.shape))
        self.register_buffer("steps", torch.zeros(()))

    def inward(self, z: Tensor) -> Tensor:
        """Codes as numbers of mean 0 and variance 1."""
        return (z - self.center) / self.spread

    def outward(self, x: Tensor) -> Tensor:
        """Back from `inward`."""
        return torch.addcmul(self.center, x, self.spread)

    @property
    def log_volume(self) -> Tensor:
        """Log |d codes / d standardized codes|, 0-d."""
        return self.spread.log().sum()

    def sums(self, z: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        z = z.detach()
        return {"codes": z.new_tensor(float(len(z))), "sum": z.sum(0), "squares": z.square().sum(0)}

    @torch.no_grad()
    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        mean, first = seen["sum"] / seen["codes"], self.steps == 0
        spread = (seen["squares"] / seen["codes"] - mean.square()).clamp(min=1e-8).sqrt()
        self.center.copy_(torch.where(first, mean, self.center))
        self.spread.copy_(torch.where(first, spread, self.spread))
        self.steps.add_(1)
