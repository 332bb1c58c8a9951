"""A book of codes that follows what falls to each of them, by moving averages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.options import option
from genzoo.core.posterior import PosteriorHead
from genzoo.plugins.posteriors.quantizer import GOLDEN, distances

OFFERS = 1024  # least number of codes that vectors are offered to, so that few get more than one
EACH = 8  # vectors of an observation that are offered
BEAM = 8  # partial sums that are kept in search of the tokens of a sum


@dataclass(frozen=True)
class BookOptions(PosteriorHead.Options):
    """What every quantizer with such a book is told."""

    codes: int = option(512, "K, vectors in a book", low=2, high=1_048_576)
    commitment: float = option(0.25, "weight of the squared distance from encoder to code", low=0)
    decay: float = option(0.99, "of the moving averages, per step", low=0, high=1)
    dead: float = option(0.1, "a code with fewer vectors on average is put elsewhere", low=0)
    start: Literal["k-means", "normal"] = option(
        "k-means", "codes start on vectors of the first batch, then k-means over the first steps; or as they are drawn"
    )
    gradient: Literal["straight-through", "rotation"] = option(
        "straight-through", "how gradients pass from code to encoder: as they are, or turned (arXiv:2410.06424)"
    )


class Book(nn.Module):
    """K vectors of D numbers. Count and sum of what falls to each are averaged over steps; their ratio is the code.

    A code that hardly any vector falls to is put on a vector of the batch, with averages anew, or it would be dead
    again at once. A k-means start weighs the first steps alike, as online k-means does (MacQueen, 1967), until their
    share is that of the decay. Codes of unit length (``sphere``) are compared by angle.
    """

    averaged = ("codebook",)
    codebook: Tensor
    count: Tensor
    total: Tensor
    steps: Tensor

    def __init__(self, dim: int, options: BookOptions, *, sphere: bool = False) -> None:
        super().__init__()
        self.options, self.sphere = options, sphere
        codebook = torch.randn(options.codes, dim)
        self.register_buffer("codebook", F.normalize(codebook, dim=-1) if sphere else codebook)
        self.register_buffer("count", torch.ones(options.codes))
        self.register_buffer("total", self.codebook.clone())
        self.register_buffer("steps", torch.zeros(()))

    def nearest(self, vectors: Tensor) -> Tensor:
        """Numbers ``(...)`` of the codes nearest to vectors ``(..., D)``."""
        return self.distances(vectors).argmin(-1)

    def distances(self, vectors: Tensor) -> Tensor:
        """Squared distance of every code to vectors ``(..., D)``, less the vectors' own squared length."""
        return distances(vectors, self.codebook)

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors ``(..., D)`` of tokens."""
        return F.embedding(tokens, self.codebook)

    def sums(self, raw: Tensor, tokens: Tensor, u: Tensor, kept: Tensor | None = None) -> dict[str, Tensor]:
        """How many of the vectors ``(B, n, D)`` fell to each code, their sum, and what is offered to dead codes.

        Two uniform numbers for each observation ``u (B, 2)`` say which of its vectors are offered to which codes.
        Observations that ``kept (B,)`` leaves out do not count.
        """
        codes, (b, n, d), raw = self.options.codes, raw.shape, raw.detach()
        weight = raw.new_ones(b) if kept is None else kept.to(raw.dtype)
        used, weights = tokens.flatten(), weight.repeat_interleave(n)
        turn = torch.arange(min(n, EACH), device=raw.device)
        place = (((u[:, :1] + turn / len(turn)) % 1) * n).long().clamp(max=n - 1)
        to = (((u[:, 1:] + turn * GOLDEN) % 1) * max(codes, OFFERS)).long()
        offered = (to < codes).to(raw.dtype) * weight[:, None]
        to, some = to.clamp(max=codes - 1).flatten(), raw.gather(1, place[..., None].expand(-1, -1, d))
        return {
            "count": raw.new_zeros(codes).index_add_(0, used, weights),
            "total": raw.new_zeros(codes, d).index_add_(0, used, raw.flatten(0, 1) * weights[:, None]),
            "offers": raw.new_zeros(codes).index_add_(0, to, offered.flatten()),
            "offered": raw.new_zeros(codes, d).index_add_(0, to, (some * offered[..., None]).flatten(0, 1)),
        }

    @torch.no_grad()
    def follow(self, seen: Mapping[str, Tensor]) -> None:
        """Move, by the step's `sums` over all data."""
        share = torch.full_like(self.steps, 1 - self.options.decay)
        fresh = torch.zeros_like(self.steps, dtype=torch.bool)
        if self.options.start == "k-means":
            share, fresh = torch.maximum(share, 1 / (self.steps + 1)), self.steps == 0
        self.count.lerp_(seen["count"], share)
        self.total.lerp_(seen["total"], share)
        moved = (fresh | (self.count < self.options.dead)) & (seen["offers"] > 0)
        self.count.copy_(torch.where(moved, 1.0, self.count))
        spare = seen["offered"] / seen["offers"].clamp(min=1)[:, None]
        self.total.copy_(torch.where(moved[:, None], spare, self.total))
        n = self.count.sum()
        smooth = (self.count + 1e-5) / (n + len(self.count) * 1e-5) * n  # never 0, and never stored
        codes = self.total / smooth[:, None]
        self.codebook.copy_(F.normalize(codes, dim=-1) if self.sphere else codes)
        self.steps.add_(1)


@torch.no_grad()
def nearest_sum(raw: Tensor, books: list[Tensor]) -> Tensor:
    """Tokens ``(..., levels)`` of one code ``(K, D)`` of each book whose sum is near to vectors ``(..., D)``.

    By a search that keeps the best few sums of each level: the nearest code may be none of the nearest sum.
    """
    left, found = raw[..., None, :], raw.new_zeros(*raw.shape[:-1], 1, 0, dtype=torch.long)
    for book in books:
        far = left.square().sum(-1, keepdim=True) - 2 * left @ book.T + book.square().sum(1)
        best = far.flatten(-2).topk(min(BEAM, far.shape[-2] * len(book)), largest=False).indices
        parent, token = best // len(book), best % len(book)
        found = torch.cat([_of(found, parent), token[..., None]], -1)
        left = _of(left, parent) - F.embedding(token, book)
    nearest = left.square().sum(-1).argmin(-1, keepdim=True)
    return _of(found, nearest).squeeze(-2)


def _of(x: Tensor, index: Tensor) -> Tensor:
    """Rows ``(..., M, N)`` of ``x (..., L, N)`` by number ``(..., M)``."""
    return x.gather(-2, index[..., None].expand(*index.shape, x.shape[-1]))
