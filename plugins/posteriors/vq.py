"""Vector quantization: codes from a book that follows what the encoder puts out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead, TokenHead
from genzoo.core.spec import Latent
from genzoo.registry import declare

declare.recipe(
    "vq-vae",
    summary="VAE whose code is a grid of vectors from a learned book",
    paper="arXiv:1711.00937",
    tags=("vae", "quantizer"),
    like="vae",
    posterior="vq",
    prior="uniform-codes",
    options={"latent.size": 32, "latent.grid": 7},
    presets={"vector": {"latent.size": 4, "latent.grid": 0}},
)

OFFERS = 1024  # least number of codes that observations are offered to, so that few get more than one


class Quantized(Posterior):
    """A point mass on the nearest codes; gradients go straight through to the encoder (arXiv:1308.3432)."""

    def __init__(self, z: Tensor, head: VQ) -> None:
        self.head, self.shape = head, z.shape[1:]
        self.raw = head.vectors(z)  # (B, places, D)
        self.tokens = tokens = head.nearest(self.raw.detach())
        self.chosen = F.embedding(tokens, head.codebook)

    @property
    def mean(self) -> Tensor:
        return self.head.shaped(self.raw + (self.chosen - self.raw).detach())

    def sample(self, eps: Tensor) -> Tensor:
        """The code itself; the noise picks what unused codes may be put on."""
        self.eps = eps
        return self.mean.expand(*eps.shape[:-1], *self.shape)

    def log_prob(self, z: Tensor) -> Tensor:
        """Of a certain choice: 0 for the code itself, which is the only one asked for."""
        return z.new_zeros(z.shape[: -len(self.shape)])

    @property
    def cost(self) -> dict[str, Tensor]:
        """Commitment: β ‖z - e‖², which moves the encoder only."""
        gap = (self.raw - self.chosen).square().flatten(1).sum(1)
        return {"commitment": self.head.options.commitment * gap}

    @property
    def sums(self) -> dict[str, Tensor]:
        """For each code how many vectors fell to it and their sum; and those offered to it, one of each observation."""
        codes, raw = self.head.codes, self.raw.detach()
        b, n, d = raw.shape
        assert self.tokens is not None
        used = self.tokens.flatten()
        count = raw.new_zeros(codes).index_add_(0, used, raw.new_ones(b * n))
        total = raw.new_zeros(codes, d).index_add_(0, used, raw.flatten(0, 1))
        u = torch.special.ndtr(self.eps.detach())  # uniform
        place = (u[:, 1] * n).long().clamp(max=n - 1)
        to = (u[:, 0] * max(codes, OFFERS)).long()
        offered = (to < codes).to(raw.dtype)
        to, one = to.clamp(max=codes - 1), raw[torch.arange(b, device=raw.device), place]
        return {
            "count": count,
            "total": total,
            "offers": raw.new_zeros(codes).index_add_(0, to, offered),
            "offered": raw.new_zeros(codes, d).index_add_(0, to, one * offered[:, None]),
        }


@declare.posterior("vq", paper="arXiv:1711.00937", tags=("vae", "quantizer"))
class VQ(TokenHead):
    """Vector-quantized posterior: the nearest of K code vectors at every place; the book follows moving averages.

    Count and sum of the vectors that fall to each code are averaged over steps, and the code is their ratio. A code
    that hardly any vector falls to is put on a vector of the batch, with fresh averages.
    """

    averaged = ("codebook",)
    codebook: Tensor
    count: Tensor
    total: Tensor

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        codes: int = option(512, "K, vectors in the book", low=2, high=1_048_576)
        dim: int = option(0, "numbers in a vector of a flat code, 0 for all; on a grid it is latent.size", low=0)
        commitment: float = option(0.25, "weight of the squared distance from encoder to code", low=0)
        decay: float = option(0.99, "of the moving averages, per step", low=0, high=1)
        dead: float = option(0.1, "a code with fewer vectors on average is put elsewhere", low=0)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        dim = latent.size if latent.grid else self.options.dim or latent.size
        if latent.numbers % dim:
            raise UsageError(f"posterior.dim must divide latent.size: {latent.size} numbers are no vectors of {dim}")
        self.codes, self.places = self.options.codes, latent.numbers // dim
        self.register_buffer("codebook", torch.randn(self.codes, dim))
        self.register_buffer("count", torch.ones(self.codes))
        self.register_buffer("total", self.codebook.clone())

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.latent.shape

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (2,)

    def vectors(self, z: Tensor) -> Tensor:
        """``(B, *latent.shape)`` as vectors ``(B, places, D)``."""
        return z.flatten(2).transpose(1, 2) if self.latent.grid else z.view(z.shape[0], self.places, -1)

    def shaped(self, vectors: Tensor) -> Tensor:
        """Back from `vectors`."""
        return (vectors.transpose(1, 2) if self.latent.grid else vectors).reshape(-1, *self.latent.shape)

    def nearest(self, vectors: Tensor) -> Tensor:
        """Tokens ``(B, places)`` of vectors."""
        return (self.codebook.square().sum(1) - 2 * vectors @ self.codebook.T).argmin(-1)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.shaped(F.embedding(tokens.to(self.codebook.device), self.codebook))

    def tokens_of(self, z: Tensor) -> Tensor:
        found = self.nearest(self.vectors(z.reshape(-1, *self.latent.shape)))
        return found.view(*z.shape[: -len(self.latent.shape)], self.places)

    def forward(self, numbers: Tensor) -> Posterior:
        with torch.autocast(numbers.device.type, enabled=False):
            return Quantized(numbers.float(), self)

    @torch.no_grad()
    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        """Move the book; a code that is put elsewhere gets its averages anew, or it would be dead again at once."""
        self.count.lerp_(seen["count"], 1 - self.options.decay)
        self.total.lerp_(seen["total"], 1 - self.options.decay)
        moved = (self.count < self.options.dead) & (seen["offers"] > 0)
        self.count.copy_(torch.where(moved, 1.0, self.count))
        spare = seen["offered"] / seen["offers"].clamp(min=1)[:, None]
        self.total.copy_(torch.where(moved[:, None], spare, self.total))
        n = self.count.sum()
        smooth = (self.count + 1e-5) / (n + self.codes * 1e-5) * n  # never 0, and never stored
        self.codebook.copy_(self.total / smooth[:, None])
