"""Residual quantization: a vector is a sum of codes, each nearest to what those before it left."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.options import option
from genzoo.core.posterior import Posterior
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.book import Book, BookOptions, nearest_sum
from genzoo.plugins.posteriors.quantizer import Quantizer
from genzoo.plugins.posteriors.vq import VQ, LookedUp
from genzoo.registry import declare

declare.recipe(
    "residual-vq-vae",
    summary="VQ-VAE whose vectors are sums: each book's code is of what the ones before left",
    paper="arXiv:2107.03312",
    tags=("vae", "quantizer"),
    like="vq-vae",
    posterior="residual-vq",
)


@declare.posterior("residual-vq", paper="arXiv:2107.03312", tags=("vae", "quantizer"))
class ResidualVQ(VQ):
    """Residual quantizer: every book's code is nearest to what the books before it left, and their sum is the vector.

    Its first levels are codes of their own, coarser ones, where some of the observations are trained on fewer levels
    (``dropout``).
    """

    @dataclass(frozen=True)
    class Options(BookOptions):
        dim: int = option(0, "numbers in a vector of a flat code, 0 for all; on a grid it is latent.size", low=0)
        codes: int = option(256, "K, vectors in a book", low=2, high=1_048_576)
        depth: int = option(4, "books, each of what is left", low=1, high=64)
        dropout: float = option(0.0, "share of observations that train on fewer levels", low=0, high=1)

    options: Options  # type: ignore[assignment]

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        o = options or self.Options()
        Quantizer.__init__(self, latent, o, dim=o.dim, levels=o.depth)
        self.codes, self.books = o.codes, nn.ModuleList(Book(self.dim, o) for _ in range(o.depth))

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (3,)

    def ask(self, raw: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        asked, answers, left = [], [], raw
        for book in self.each:
            answers.append(book.nearest(left.detach()))
            asked.append(left)
            left = left - book(answers[-1])
        return asked, answers

    def joined(self, codes: list[Tensor]) -> Tensor:
        return torch.stack(codes).sum(0)

    def quantized(self, raw: Tensor) -> Posterior:
        return LookedUp(raw, self)

    def nearest(self, raw: Tensor) -> Tensor:
        return nearest_sum(raw, [book.codebook for book in self.each])
