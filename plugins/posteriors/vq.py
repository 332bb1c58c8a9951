"""Vector quantization: codes from a book, or one for each group of numbers, that follow what the encoder puts out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.posterior import Posterior
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.book import Book, BookOptions
from genzoo.plugins.posteriors.codebook import BookHead, FromBooks
from genzoo.plugins.posteriors.quantizer import Quantizer, levels_kept, uniform_of
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


class LookedUp(FromBooks):
    """Vectors whose parts, or residuals, are looked up in books."""

    def __init__(self, raw: Tensor, head: VQ) -> None:
        self.head, self.raw = head, raw
        asked, answers = head.ask(raw)
        super().__init__(head, asked, answers)
        self.finish(torch.stack(answers, -1).flatten(1), self._value(self.codes))

    def _value(self, codes: list[Tensor]) -> Tensor:
        return self.head.shaped(self.passed(self.head.joined(codes), self.raw))

    def sample(self, eps: Tensor) -> Tensor:
        """The code itself; the noise also picks which levels are left out."""
        share = getattr(self.head.options, "dropout", 0.0)
        if share and self.head.training:
            self.kept = levels_kept(uniform_of(eps.flatten(0, -2)[: len(self.raw), 2]), share, len(self.codes))
            self.value = self._value([c * k[:, None, None] for c, k in zip(self.codes, self.kept.T, strict=True)])
        return super().sample(eps)


@declare.posterior("vq", paper="arXiv:1711.00937", tags=("vae", "quantizer"))
class VQ(BookHead, Quantizer):
    """Vector-quantized posterior: the nearest of K code vectors at every place; the book follows moving averages.

    Count and sum of the vectors that fall to each code are averaged over steps, and the code is their ratio. A code
    that hardly any vector falls to is put on a vector of the batch, with fresh averages. With several groups each
    vector is cut into as many parts, with a book each; with ``distance=cosine`` vectors and codes are of unit length
    (arXiv:2110.04627).
    """

    @dataclass(frozen=True)
    class Options(BookOptions):
        dim: int = option(0, "numbers in a vector of a flat code, 0 for all; on a grid it is latent.size", low=0)
        groups: int = option(1, "parts of a vector, with a book each", low=1, high=1024)
        distance: Literal["euclidean", "cosine"] = option("euclidean", "by which codes are nearest")

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        o = options or self.Options()
        super().__init__(latent, o, dim=o.dim, levels=o.groups)
        if self.dim % o.groups:
            raise UsageError(f"posterior.groups must divide a vector: {self.dim} numbers make no {o.groups} parts")
        self.codes, sphere = o.codes, o.distance == "cosine"
        self.books = nn.ModuleList(Book(self.dim // o.groups, o, sphere=sphere) for _ in range(o.groups))

    def parts(self, raw: Tensor) -> list[Tensor]:
        """Vectors ``(B, n, dim)`` as one part for each group, of unit length where only angles count."""
        parts = raw.chunk(self.options.groups, -1)
        return [F.normalize(p, dim=-1) if self.options.distance == "cosine" else p for p in parts]

    def ask(self, raw: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """What each book is asked ``(B, n, part)``, and the number of its answer ``(B, n)``."""
        asked = self.parts(raw)
        with torch.no_grad():
            return asked, [book.nearest(part) for book, part in zip(self.each, asked, strict=True)]

    def joined(self, codes: list[Tensor]) -> Tensor:
        """The vector ``(B, n, dim)`` that codes make, one of each book."""
        return torch.cat(codes, -1)

    def quantized(self, raw: Tensor) -> Posterior:
        return LookedUp(torch.cat(self.parts(raw), -1) if self.options.distance == "cosine" else raw, self)

    def nearest(self, raw: Tensor) -> Tensor:
        return torch.stack(self.ask(raw)[1], -1)

    def look_up(self, tokens: Tensor) -> Tensor:
        return self.joined([book(t) for book, t in zip(self.books, tokens.unbind(-1), strict=True)])
