"""Finite scalar quantization: every number is rounded to one of a few levels, and no book is learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.quantizer import Quantized, Quantizer, per_vector, through
from genzoo.registry import declare

declare.recipe(
    "fsq-vae",
    summary="VAE whose code is a grid of a few numbers of a few levels each",
    paper="arXiv:2309.15505",
    tags=("vae", "quantizer"),
    like="vq-vae",
    posterior="fsq",
    options={"latent.size": 4},
    presets={"vector": {"latent.size": 4}},
)


@declare.posterior("fsq", paper="arXiv:2309.15505", tags=("vae", "quantizer"))
class FSQ(Quantizer):
    """Finite scalar quantization: round(tanh(z + s) (L - 1) (1 + ε) / 2 - o) / ⌊L/2⌋ for each number of a vector.

    ``posterior.levels`` says L for each; the product of them is the number of codes. There is nothing to learn but the
    encoder, no cost, and hardly a code is unused.
    """

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        levels: tuple[int, ...] = option((8, 5, 5, 5), "of each number of a vector", low=2, high=4096)

    options: Options
    many: Tensor
    basis: Tensor

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        levels = (options or self.Options()).levels
        super().__init__(latent, options, dim=len(levels))
        self.codes = per_vector(latent, "posterior.levels", len(levels), math.prod(levels))
        self.register_buffer("many", torch.tensor(levels), persistent=False)
        basis = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("basis", torch.tensor(basis), persistent=False)

    def bounded(self, raw: Tensor) -> Tensor:
        """Numbers between the outermost levels, which are whole: an even count of levels is shifted by half a one."""
        half = (self.many - 1) * (1 + 1e-3) / 2
        offset = torch.where(self.many % 2 == 0, 0.5, 0.0)
        return torch.tanh(raw + torch.atanh(offset / half)) * half - offset

    def quantized(self, raw: Tensor) -> Posterior:
        bounded = self.bounded(raw)
        level = bounded.round()
        value = through(level, bounded) / (self.many // 2)
        return Quantized(self._index(level).flatten(1), self.shaped(value))

    def _index(self, level: Tensor) -> Tensor:
        """Tokens ``(..., 1)`` of whole numbers ``(..., dim)``; the first number's level counts ones."""
        return ((level.long() + self.many // 2) * self.basis).sum(-1, keepdim=True)

    def nearest(self, raw: Tensor) -> Tensor:
        lowest = -(self.many // 2)
        level = (raw * (self.many // 2)).round()
        return self._index(torch.minimum(torch.maximum(level, lowest), lowest + self.many - 1))

    def look_up(self, tokens: Tensor) -> Tensor:
        half = self.many // 2
        return (tokens // self.basis % self.many - half) / half
