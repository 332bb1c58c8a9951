"""Rounded codes: whole numbers that a prior with slopes says the length of, for lossy compression."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead, TokenHead
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.quantizer import uniform_of
from genzoo.registry import declare


class Rounded(Posterior):
    """The nearest whole numbers; in training numbers that uniform noise of width 1 is added to, a box of density 1."""

    def __init__(self, numbers: Tensor, head: RoundedHead) -> None:
        self.numbers, self.head = numbers, head
        self.whole = numbers.round().clamp(-head.reach, head.reach)
        self.tokens = head.tokens_of(self.whole)

    @property
    def mean(self) -> Tensor:
        return self.whole

    def sample(self, eps: Tensor) -> Tensor:
        if self.head.training:
            return self.numbers + uniform_of(eps) - 0.5
        return self.whole.expand(*eps.shape[: eps.dim() - self.whole.dim()], *self.whole.shape)

    def log_prob(self, z: Tensor) -> Tensor:
        """0: the density of a box of width 1, or the probability of what is certain."""
        return z.new_zeros(z.shape[: -len(self.head.latent.shape)])


@declare.posterior("rounded", paper="arXiv:1611.01704", tags=("vae", "quantizer", "compression"))
class RoundedHead(TokenHead):
    """Codes are rounded, and in training noise U(-1/2, 1/2) stands for it, so that the rate has slopes (Ballé et al.).

    A prior over such codes gives the density of a number plus the noise, which at whole numbers is their probability:
    ``scale-hyperprior``.
    """

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        reach: int = option(127, "largest whole number in a code", low=1, high=2047)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        self.reach: int = self.options.reach
        self.codes, self.places = 2 * self.reach + 1, latent.numbers
        if not latent.numbers:
            raise UsageError("rounded codes need a code: --set latent.size=16")

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.latent.shape

    def forward(self, numbers: Tensor) -> Posterior:
        return Rounded(numbers.float(), self)

    def embed(self, tokens: Tensor) -> Tensor:
        return (tokens - self.reach).float().view(-1, *self.latent.shape)

    def tokens_of(self, z: Tensor) -> Tensor:
        whole = z.round().clamp(-self.reach, self.reach) + self.reach
        return whole.long().flatten(z.dim() - len(self.latent.shape))
