"""The quantizer of two grids: the coarse one first, the fine one given it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.networks import Generator
from genzoo.core.options import option
from genzoo.core.posterior import Posterior
from genzoo.plugins.nets.pyramid import Size, enlarged
from genzoo.plugins.nets.two_grids import TwoGrids
from genzoo.plugins.posteriors.book import Book, BookOptions
from genzoo.plugins.posteriors.codebook import BookHead, FromBooks
from genzoo.plugins.posteriors.quantizer import on_grid
from genzoo.registry import declare

declare.recipe(
    "vq-vae-2",
    summary="VQ-VAE of two grids: the fine one is told the coarse one",
    paper="arXiv:1906.00446",
    tags=("vae", "quantizer", "hierarchy"),
    modalities=("image",),
    like="vae",
    generator="two-grids",
    posterior="two-grids-vq",
    prior="uniform-codes",
)


class TwoGridsQuantized(FromBooks):
    """The nearest codes on the coarse grid, then on the fine one."""

    def __init__(self, features: Tensor, head: TwoGridsVQ) -> None:
        self.options, sizes = head.options, head.generator.sizes
        coarse = on_grid(head.coarse(F.adaptive_avg_pool2d(features, sizes[0])))
        first = _nearest(head.each[0], coarse)
        told = head.down(_grid(self.passed(head.each[0](first), coarse), sizes[0]))
        fine = on_grid(head.fine(torch.cat([features, enlarged(told, sizes[1])], 1)))
        super().__init__(head, [coarse, fine], [first, _nearest(head.each[1], fine)])
        values = [self.passed(e, z).transpose(1, 2).flatten(1) for z, e in zip(self.asked, self.codes, strict=True)]
        self.finish(torch.cat(self.answers, 1), torch.cat(values, 1))


def _nearest(book: Book, vectors: Tensor) -> Tensor:
    with torch.no_grad():
        return book.nearest(vectors)


def _grid(vectors: Tensor, size: Size) -> Tensor:
    return torch.unflatten(vectors.transpose(1, 2), 2, size)


@declare.posterior("two-grids-vq", paper="arXiv:1906.00446", tags=("vae", "quantizer", "hierarchy"))
class TwoGridsVQ(BookHead):
    """VQ-VAE-2's quantizer: the coarse grid's codes first; the fine grid's go by the data and by them. A book for each.

    Tokens of the coarse grid come first, row by row, so that a prior over tokens has the fine ones go by them too.
    """

    @dataclass(frozen=True)
    class Options(BookOptions):
        features: int = option(64, "numbers that the encoder gives for each place of the fine grid", low=1, high=4096)

    options: Options

    @property
    def generator(self) -> TwoGrids:
        """The generator, which knows the grids."""
        return self._generator[0]

    def prepare(self, generator: Generator) -> None:
        if not isinstance(generator, TwoGrids):
            raise UsageError("this posterior is of a generator of two grids: use --generator two-grids")
        self._generator, f, dim = (generator,), self.options.features, generator.options.dim
        self.codes, self.cut = self.options.codes, [math.prod(size) for size in generator.sizes]
        self.places, self.stages = sum(self.cut), tuple(self.cut)
        self.coarse = nn.Sequential(nn.Conv2d(f, f, 3, padding=1), nn.SiLU(), nn.Conv2d(f, dim, 1))
        self.down = nn.Sequential(nn.Conv2d(dim, f, 3, padding=1), nn.SiLU())
        self.fine = nn.Sequential(nn.Conv2d(2 * f, f, 3, padding=1), nn.SiLU(), nn.Conv2d(f, dim, 1))
        self.books = nn.ModuleList(Book(dim, self.options) for _ in range(2))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.options.features, *self.generator.sizes[1])

    def forward(self, numbers: Tensor) -> Posterior:
        with torch.autocast(numbers.device.type, enabled=False):
            return TwoGridsQuantized(numbers.float(), self)

    def embed(self, tokens: Tensor) -> Tensor:
        parts = torch.split(tokens.to(self.each[0].count.device), self.cut, 1)
        return torch.cat([book(t).transpose(1, 2).flatten(1) for book, t in zip(self.each, parts, strict=True)], 1)

    def tokens_of(self, z: Tensor) -> Tensor:
        grids = self.generator.split(z.reshape(-1, *self.latent.shape))
        found = [book.nearest(on_grid(grid)) for book, grid in zip(self.each, grids, strict=True)]
        return torch.cat(found, 1).view(*z.shape[:-1], self.places)
