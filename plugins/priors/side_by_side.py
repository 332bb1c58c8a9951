"""The prior of codes of two kinds side by side."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.model import Model
from genzoo.core.posterior import normal_log_prob
from genzoo.core.prior import Prior, normal_quantiles
from genzoo.plugins.posteriors.product import ProductHead
from genzoo.registry import declare


@declare.prior("product", paper="arXiv:1804.00104", tags=("vae", "discrete"))
class ProductPrior(Prior):
    """Product prior: N(0, 1) for the normal numbers of a product posterior, and 1/K for every category."""

    space = "normal numbers, then categories"
    partner = "product"
    family = "product"

    def attach(self, model: Model) -> None:
        super().attach(model)
        if not isinstance(model.head, ProductHead):
            raise UsageError("the product prior is that of codes of two kinds: use --posterior product")
        self.normal, self.codes, self.places = (
            model.head.options.normal, model.head.categorical.codes, model.head.categorical.places,
        )  # fmt: skip
        self._embed = (model.head.categorical.embed,)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.normal + self.places,)

    @property
    def stages(self) -> tuple[int, ...]:
        return (self.normal, self.places)

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return normal_log_prob(z[..., : self.normal]).sum(-1) - self.places * math.log(self.codes)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        tokens = (uniform[:, self.normal :].double() * self.codes).long().clamp(max=self.codes - 1)
        discrete = self._embed[0](tokens)
        return torch.cat([normal_quantiles(uniform[:, : self.normal], truncation).to(discrete), discrete], 1)
