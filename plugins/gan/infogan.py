"""InfoGAN: the critic reads categories and numbers of the code back from samples, so that they mean something."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from genzoo.core.errors import UsageError
from genzoo.core.math.estimates import spherical
from genzoo.core.objective import Plan
from genzoo.core.options import option
from genzoo.core.posterior import normal_log_prob
from genzoo.core.prior import Prior, normal_quantiles, straight
from genzoo.core.regularizer import Judged, Made, Regularizer
from genzoo.core.spec import DataSpec, Latent
from genzoo.plugins.gan.gan import GAN
from genzoo.registry import declare


def parted(z: Tensor, o: InfoGAN.Options) -> tuple[Tensor, Tensor, Tensor]:
    """One-hot categories ``(..., codes, K)``, uniform numbers and normal ones of codes ``(..., size)``."""
    n = o.codes * o.categories
    hot = torch.unflatten(z[..., :n], -1, (o.codes, o.categories))
    return hot, z[..., n : n + o.uniform], z[..., n + o.uniform :]


class Factors(Prior):
    """Categories as one-hot numbers, numbers uniform in [-1, 1], and the rest standard normal ones."""

    def __init__(self, latent: Latent, factors: InfoGAN.Options) -> None:
        super().__init__(latent)
        self.factors, least = factors, factors.codes * factors.categories + factors.uniform
        self.normal = latent.size - least
        if latent.grid:
            raise UsageError("categories are numbers of a flat code: leave out latent.grid")
        if self.normal < 0:
            raise UsageError(
                f"{factors.codes} times {factors.categories} categories and {factors.uniform} uniform numbers do not "
                f"fit into a code of {latent.size}: --set latent.size={least} or more, or --set objective.categories=2"
            )

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.factors.codes + self.factors.uniform + self.normal,)

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Probability of the categories times the density of the numbers."""
        hot, uniform, normal = parted(z, self.factors)
        of = ((hot == 0) | (hot == 1)).all(-1).all(-1) & (hot.sum(-1) == 1).all(-1) & (uniform.abs() <= 1).all(-1)
        inside: Tensor = normal_log_prob(normal).sum(-1) + self.log_shares(hot, y) - uniform.shape[-1] * math.log(2)
        return inside.masked_fill(~of, -math.inf)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        if not self.normal:
            self.untruncated(truncation)
        o = self.factors
        which, numbers = self.categories(uniform[:, : o.codes], y), uniform[:, o.codes : o.codes + o.uniform]
        hot = one_hot(which, o.categories).to(uniform).flatten(1)
        return torch.cat([hot, 2 * numbers - 1, normal_quantiles(uniform[:, o.codes + o.uniform :], truncation)], 1)

    def log_shares(self, hot: Tensor, y: Tensor | None) -> Tensor | float:
        """Log probability ``(...)`` of one-hot categories ``(..., codes, K)``, given labels: all are alike."""
        return -hot.shape[-2] * math.log(hot.shape[-1])

    def categories(self, uniform: Tensor, y: Tensor | None) -> Tensor:
        """Numbers ``(B, codes)`` of categories, by uniform ones, given labels."""
        return (uniform.double() * self.factors.categories).long().clamp(max=self.factors.categories - 1)

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        way = straight(a, b, t)
        if self.normal:
            way[..., -self.normal :] = spherical(a[:, -self.normal :], b[:, -self.normal :], t)
        return way


class Told(Regularizer):
    """A term of both players: the codes' categories and uniform numbers, read from what the critic says of samples."""

    plays = ("critic", "generator")

    def __init__(self, options: InfoGAN.Options) -> None:
        super().__init__(Regularizer.Options(weight=options.weight))
        self.factors = options

    def told(self, outputs: Tensor, z: Tensor) -> Tensor:
        """Nats that are missing, ``(B,)``, of outputs ``(B, 1 + codes * K + uniform)`` and codes ``(B, size)``."""
        hot, uniform, _ = parted(z, self.factors)
        logits, mean, _ = parted(outputs[:, 1:], self.factors)
        which: Tensor = -(logits.log_softmax(-1) * hot).sum((1, 2))
        return which - self.factors.numbers * normal_log_prob(uniform, mean).sum(1)

    def term(self, judged: Judged) -> Tensor:
        return self.told(judged.fake_outputs, judged.z)

    def generator_term(self, made: Made) -> Tensor:
        return self.told(made.outputs, made.z)


@declare.objective(
    "infogan",
    paper="arXiv:1606.03657",
    tags=("gan", "disentanglement"),
    recipe={"like": "gan", "presets": {"vector": {"latent.size": 14}}},
)
class InfoGAN(GAN):
    """InfoGAN: the original GAN whose code has categories and uniform numbers, which samples must show.

    Both players add λ times what the critic misses of them in samples: the cross-entropy of each category, and μ times
    the negative log density of the uniform numbers under normals of variance 1 about what the critic says. It bounds
    their mutual information with samples from below: H(c) less the term.

    When: codes that mean something are wanted without labels, or beside them: categories often come to be classes,
    numbers slant or width. `genzoo.Model.decode` takes such codes.

    Cost: that of `gan`.
    """

    @dataclass(frozen=True)
    class Options(GAN.Options):
        categories: int = option(10, "K of each categorical code", low=2)
        codes: int = option(1, "how many categorical codes there are", low=0)
        uniform: int = option(2, "how many uniform numbers", low=0)
        weight: float = option(1.0, "weight λ of what the critic misses", low=0)
        numbers: float = option(0.1, "weight μ of uniform numbers in it", low=0)

    options: Options

    def __init__(self, options: GAN.Options | None = None) -> None:
        super().__init__(options)
        self.regularizers["told"] = Told(self.options)

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        o = self.options
        critic = self.critic_plan(spec, outputs=1 + o.codes * o.categories + o.uniform)
        return Plan(critics=(critic,), prior=partial(Factors, factors=o))

    def critic_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().critic_loss(real[:, 0], fake[:, 0])

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        return super().generator_loss(fake[:, 0], real)
