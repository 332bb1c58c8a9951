"""A normal prior that goes by what a conditional model is told."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.math.estimates import spherical
from genzoo.core.model import Model
from genzoo.core.options import option
from genzoo.core.posterior import normal_log_prob
from genzoo.core.prior import Prior, normal_quantiles
from genzoo.plugins.nets.blocks import as_numbers
from genzoo.registry import declare


@declare.prior("conditional", paper="Sohn et al., NeurIPS 2015", tags=("vae", "conditional"))
class Conditional(Prior):
    """Conditional normal prior: p(z|y) = N(μ(y), σ²(y)) by the class and the conditions of a conditional model.

    Decoder and encoder are told y anyway; with a prior that is not, their codes must not depend on it.
    """

    @dataclass(frozen=True)
    class Options(Prior.Options):
        width: int = option(0, "units of a hidden layer between y and the mean and variance; 0 for none", low=0)

    options: Options

    def attach(self, model: Model) -> None:
        super().attach(model)
        self.told, width = (model.classes, model.conditions), self.options.width
        if not any(self.told):
            raise UsageError("the conditional prior goes by labels or conditions: train with --conditional")
        last = nn.Linear(width or sum(self.told), 2 * self.latent.numbers)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # it starts as the standard normal
        first = [nn.Linear(sum(self.told), width), nn.ReLU()] if width else []
        self.net = nn.Sequential(*first, last)

    def _moments(self, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log variance, ``(B, *latent.shape)``."""
        numbers = self.net(as_numbers(y, *self.told, next(self.parameters()))).float()
        mean, log_var = numbers.unflatten(1, (2, *self.latent.shape)).unbind(1)
        return mean, log_var

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return normal_log_prob(z, *self._moments(y)).flatten(-len(self.latent.shape)).sum(-1)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        mean, log_var = self._moments(y)
        return torch.addcmul(mean, torch.exp(0.5 * log_var), normal_quantiles(uniform, truncation).to(mean))

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Great circles: a way has no class."""
        return spherical(a.flatten(1), b.flatten(1), t).view(len(a), len(t), *self.latent.shape)
