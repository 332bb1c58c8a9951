"""Codes of two kinds side by side: normal numbers, and categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.posterior import NormalHead, Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.categorical import CategoricalHead
from genzoo.registry import declare


class Product(Posterior):
    """q(z) = Π q_i(z_i) of named posteriors of flat codes, which follow one another."""

    closed = "product"

    def __init__(self, parts: Mapping[str, Posterior]) -> None:
        self.parts = dict(parts)
        self.sizes = [q.mean.shape[1] for q in self.parts.values()]

    @property
    def kls(self) -> dict[str, Tensor]:
        """KL of each part in nats, by name, ``(B,)``."""
        return {name: q.kl().sum(1) for name, q in self.parts.items()}

    @property
    def mean(self) -> Tensor:
        return torch.cat([q.mean for q in self.parts.values()], 1)

    def sample(self, eps: Tensor) -> Tensor:
        each = zip(self.parts.values(), torch.split(eps, self.sizes, -1), strict=True)
        return torch.cat([q.sample(e) for q, e in each], -1)

    def log_prob(self, z: Tensor) -> Tensor:
        each = zip(self.parts.values(), torch.split(z, self.sizes, -1), strict=True)
        return torch.stack([q.log_prob(part) for q, part in each]).sum(0)

    def kl(self) -> Tensor:
        return torch.cat([q.kl() for q in self.parts.values()], 1)


@declare.posterior("product", paper="arXiv:1804.00104", tags=("vae", "discrete"))
class ProductHead(PosteriorHead):
    """Product posterior: the first numbers of a code are normal, the others one-hot categories (`categorical`).

    With `vae` it is under the plain bound; `joint-vae` holds the KL of either kind to a capacity of its own.
    """

    space = "normal numbers, then categories"
    partner, relaxed = "product", True

    @dataclass(frozen=True)
    class Options(CategoricalHead.Options):
        normal: int = option(10, "numbers of the code that are normal; the others are categories of K each", low=1)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        o, rest = self.options, latent.size - self.options.normal
        if latent.grid or rest < o.codes or rest % o.codes:
            raise UsageError(
                f"the product posterior is of flat codes of {o.normal} normal numbers and {o.codes} for each category: "
                f"--set latent.grid=0 --set latent.size={o.normal + max(rest // o.codes, 1) * o.codes}"
            )
        discrete = CategoricalHead.Options(o.codes, o.temperature, o.cooling)
        self.categorical = CategoricalHead(Latent(rest), discrete)
        self.parts = nn.ModuleDict({"normal": NormalHead(Latent(o.normal)), "categorical": self.categorical})

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.latent.size + self.options.normal,)

    def forward(self, numbers: Tensor) -> Posterior:
        n = 2 * self.options.normal
        return Product(
            {"normal": self.parts["normal"](numbers[:, :n]), "categorical": self.categorical(numbers[:, n:])}
        )

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        self.categorical.after_step(seen)
