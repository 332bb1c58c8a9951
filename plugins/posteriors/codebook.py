"""What posteriors that look codes up in books share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from genzoo.core.posterior import TokenHead
from genzoo.plugins.posteriors.book import Book
from genzoo.plugins.posteriors.quantizer import GOLDEN, Quantized, rotated, through, uniform_of


class FromBooks(Quantized):
    """Codes from a few books: what each was asked ``(B, n, D)``, the numbers of its answers ``(B, n)``, and these."""

    kept: Tensor | None = None  # (B, books) ones and zeros: which an observation is trained on, None for all

    def __init__(self, head: BookHead, asked: list[Tensor], answers: list[Tensor]) -> None:
        self.books, self.options, self.asked, self.answers = head.each, head.options, asked, answers
        self.codes = [book(answer) for book, answer in zip(self.books, answers, strict=True)]

    def finish(self, tokens: Tensor, value: Tensor) -> None:
        """Say what came of it: tokens ``(B, places)`` and the code."""
        super().__init__(tokens, value)

    def passed(self, value: Tensor, by: Tensor) -> Tensor:
        """A value whose gradient goes to ``by``, the way that the options say."""
        return through(value, rotated(by, value) if self.options.gradient == "rotation" else by)

    def sample(self, eps: Tensor) -> Tensor:
        """The code itself; the noise picks what unused codes may be put on, that of the first of several samples."""
        self.eps = eps.flatten(0, -2)[: len(self.asked[0])]
        return super().sample(eps)

    @property
    def cost(self) -> dict[str, Tensor]:
        """Commitment: β Σ ‖z - e‖² over places and books, which moves the encoder only."""
        gaps = [(z - e).square().flatten(1).sum(1) for z, e in zip(self.asked, self.codes, strict=True)]
        gap = torch.stack(gaps, 1) if self.kept is None else torch.stack(gaps, 1) * self.kept
        return {"commitment": self.options.commitment * gap.sum(1)}

    @property
    def sums(self) -> dict[str, Tensor]:
        """Those of every book, under names with its number."""
        found, u = dict[str, Tensor](), uniform_of(self.eps)
        for i, (book, asked, answer) in enumerate(zip(self.books, self.asked, self.answers, strict=True)):
            kept = None if self.kept is None else self.kept[:, i]
            some = book.sums(asked, answer, (u[:, :2] + i * GOLDEN) % 1, kept)
            found |= {f"{name} {i}": x for name, x in some.items()}
        return found


class BookHead(TokenHead):
    """Base of quantizers with ``books``, a module list, and `BookOptions`."""

    books: nn.ModuleList

    @property
    def each(self) -> list[Book]:
        """The books."""
        return cast(list[Book], list(self.books))

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (2,)

    @torch.no_grad()
    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        """Move the books."""
        for i, book in enumerate(self.each):
            book.follow({name.rpartition(" ")[0]: x for name, x in seen.items() if name.endswith(f" {i}")})
