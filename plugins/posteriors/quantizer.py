"""What quantizers share: vectors at the places of a code, and a point mass on those that were chosen for them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.posterior import Posterior, TokenHead
from genzoo.core.spec import Latent

MOST_CODES = 2**24  # more cannot be told apart by one uniform number in float32
GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it, without their whole part, spread evenly


def on_grid(z: Tensor) -> Tensor:
    """Vectors ``(B, n, D)`` of the places of a grid ``(B, D, H, W)``, row by row."""
    return z.flatten(2).transpose(1, 2)


def through(value: Tensor, by: Tensor) -> Tensor:
    """The value to the last bit, with the gradient of ``by`` (straight through: arXiv:1308.3432)."""
    return value.detach() + (by - by.detach())


def rotated(z: Tensor, e: Tensor) -> Tensor:
    """``z`` turned and stretched to ``e``, both ``(..., D)``: what turns and stretches it is a constant to gradients.

    λ R z with R = I - 2 r rᵀ + 2 ê ẑᵀ, r the unit vector of ẑ + ê and λ = ‖e‖/‖z‖ (arXiv:2410.06424): a gradient at
    e reaches z at the angle to z that it had to e.
    """
    with torch.no_grad():
        unit, to = F.normalize(z, dim=-1, eps=1e-6), F.normalize(e, dim=-1, eps=1e-6)
        middle = F.normalize(unit + to, dim=-1, eps=1e-6)
        stretch = e.norm(dim=-1, keepdim=True) / z.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    along, across = (z * unit).sum(-1, keepdim=True), (z * middle).sum(-1, keepdim=True)
    turned: Tensor = stretch * (z - 2 * across * middle + 2 * along * to)
    return turned


class Quantized(Posterior):
    """A point mass on the chosen codes: ``value (B, *latent.shape)`` of ``tokens (B, places)``, with some costs."""

    def __init__(
        self, tokens: Tensor, value: Tensor, cost: Mapping[str, Tensor] | None = None, coupled: tuple[str, ...] = ()
    ) -> None:
        self.tokens, self.value, self._cost, self.coupled = tokens, value, dict(cost or {}), coupled

    @property
    def mean(self) -> Tensor:
        return self.value

    def sample(self, eps: Tensor) -> Tensor:
        """The code itself, whatever the noise ``(..., B, N)``."""
        assert self.tokens is not None
        self.drawn = self.tokens.expand(*eps.shape[:-2], *self.tokens.shape)
        return self.value.expand(*eps.shape[:-2], *self.value.shape)

    def log_prob(self, z: Tensor) -> Tensor:
        """Of a certain choice: 0 for the code itself, which is the only one asked for."""
        return z.new_zeros(z.shape[: z.dim() - self.value.dim() + 1])

    @property
    def cost(self) -> dict[str, Tensor]:
        return self._cost


class Quantizer(TokenHead):
    """Base of quantizers: a code is vectors of ``dim`` numbers, one for each place of its grid, or parts of a flat one.

    Tokens stand place by place, those of a place's levels beside each other.
    """

    def __init__(self, latent: Latent, options: Any = None, *, dim: int = 0, levels: int = 1) -> None:
        super().__init__(latent, options)
        self.dim = latent.size if latent.grid else dim or latent.size
        if latent.numbers % self.dim:
            raise UsageError(
                f"a flat code is made of vectors of one size, and {latent.size} numbers are no vectors of {self.dim}: "
                f"--set latent.size={self.dim * max(latent.size // self.dim, 1)}"
            )
        self.levels, self.vectors_of = levels, latent.numbers // self.dim
        self.places = self.vectors_of * levels

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.latent.shape

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (0,)

    def vectors(self, z: Tensor) -> Tensor:
        """``(B, *latent.shape)`` as vectors ``(B, n, dim)``."""
        return z.flatten(2).transpose(1, 2) if self.latent.grid else z.reshape(z.shape[0], -1, self.dim)

    def shaped(self, vectors: Tensor) -> Tensor:
        """Back from `vectors`."""
        if not self.latent.grid:
            return vectors.flatten(1)  # perhaps of longer sound than the model was built for
        return vectors.transpose(1, 2).reshape(-1, *self.latent.shape)

    @abstractmethod
    def quantized(self, raw: Tensor) -> Posterior:
        """Quantize vectors ``(B, n, dim)`` in float32."""

    @abstractmethod
    def nearest(self, raw: Tensor) -> Tensor:
        """Tokens ``(B, n, levels)`` of vectors ``(B, n, dim)``."""

    @abstractmethod
    def look_up(self, tokens: Tensor) -> Tensor:
        """Vectors ``(B, n, dim)`` of tokens ``(B, n, levels)``."""

    def embed(self, tokens: Tensor) -> Tensor:
        tokens = tokens.to(next(chain(self.parameters(), self.buffers()), tokens).device)
        return self.shaped(self.look_up(tokens.view(len(tokens), -1, self.levels)))

    def tokens_of(self, z: Tensor) -> Tensor:
        found = self.nearest(self.vectors(z.reshape(-1, *self.latent.shape)))
        return found.reshape(*z.shape[: -len(self.latent.shape)], self.places)

    def forward(self, numbers: Tensor) -> Posterior:
        with torch.autocast(numbers.device.type, enabled=False):
            return self.quantized(self.vectors(numbers.float()))


def per_vector(latent: Latent, name: str, numbers: int, codes: int) -> int:
    """The number of codes that vectors of so many numbers have, by an option of that name; raises UsageError."""
    if latent.grid and latent.size != numbers:
        raise UsageError(f"{name} are of {numbers} numbers, and each place of the grid has {latent.size}: "
                         f"--set latent.size={numbers}")  # fmt: skip
    if codes > MOST_CODES:
        raise UsageError(f"{name} make {codes} codes, and more than {MOST_CODES} are too many to count tokens by")
    return codes


def distances(vectors: Tensor, book: Tensor) -> Tensor:
    """Squared distance ``(..., K)`` of a book's codes to vectors ``(..., D)``, less the vectors' own squared length."""
    return book.square().sum(1) - 2 * vectors @ book.T


def uniform_of(eps: Tensor) -> Tensor:
    """Uniform numbers in (0, 1) of normal ones."""
    u: Tensor = torch.special.ndtr(eps.detach())
    return u.clamp(1e-7, 1 - 1e-7)


def levels_kept(u: Tensor, share: float, levels: int) -> Tensor:
    """Which levels count, ones and zeros ``(B, levels)``: that share of observations is left with its first few.

    By uniform numbers ``(B,)``: arXiv:2107.03312, "quantizer dropout".
    """
    u = u / share
    most = torch.where(u < 1, (u * levels).floor() + 1, float(levels))
    return (torch.arange(levels, device=u.device) < most[:, None]).to(u.dtype)
