"""A quantizer whose codes are drawn, by chances that the encoder gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.book import nearest_sum
from genzoo.plugins.posteriors.drawn import Drawn
from genzoo.plugins.posteriors.quantizer import Quantizer, on_grid
from genzoo.registry import declare

declare.recipe(
    "gumbel-vq-vae",
    summary="VAE whose code is a grid of vectors that are drawn from a learned book, not rounded to it",
    paper="arXiv:1611.01144",
    tags=("vae", "quantizer"),
    like="vq-vae",
    posterior="gumbel-vq",
)


@declare.posterior("gumbel-vq", paper="arXiv:1611.01144", tags=("vae", "quantizer"))
class GumbelVQ(Quantizer):
    """Gumbel quantizer: the encoder gives the chance of each of K codes; one is drawn, by argmax(logits + Gumbel).

    Gradients are those of softmax((logits + Gumbel) / τ), which the temperature sharpens as training goes on. Unlike a
    rounded code's, its KL is a posterior's: it may be unsure.
    """

    certain, relaxed = False, True

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        codes: int = option(256, "K, vectors in the book", low=2, high=65_536)
        dim: int = option(0, "numbers in a vector of a flat code, 0 for all; on a grid it is latent.size", low=0)
        temperature: tuple[float, ...] = option((1.0, 0.0625), "τ at first, and at last", low=1e-4)
        anneal: float = option(1000.0, "steps in which τ falls to 1/e of itself", low=1)

    options: Options
    steps: Tensor

    def __init__(self, latent: Latent, options: Options | None = None, levels: int = 1, decay: float = 1.0) -> None:
        o = options or self.Options()
        super().__init__(latent, o, dim=o.dim, levels=levels)
        self.codes = o.codes
        self.books = nn.ParameterList(nn.Parameter(decay**i * torch.randn(o.codes, self.dim)) for i in range(levels))
        self.register_buffer("steps", torch.zeros(()))

    @property
    def input_shape(self) -> tuple[int, ...]:
        grid = self.latent.shape[1:]
        return (self.codes, *grid) if grid else (self.codes * self.vectors_of,)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (1 + self.places * self.codes,)

    @property
    def temperatures(self) -> list[Tensor]:
        """τ of every level, which a deeper one keeps longer."""
        first, last = self.options.temperature[0], self.options.temperature[-1]
        falls = [(-self.steps / (self.options.anneal * 1.5**i)).exp() for i in range(self.levels)]
        return [(first * fall).clamp(min=last) for fall in falls]

    def vectors(self, z: Tensor) -> Tensor:
        """Numbers of each place ``(B, n, ·)``: a code's, or the encoder's logits."""
        return on_grid(z) if self.latent.grid else z.reshape(len(z), self.vectors_of, -1)

    def logits(self, book: Tensor, left: Tensor) -> Tensor:
        """Logits ``(B, n, K)`` of a book, by what the encoder gave less what was drawn before."""
        return left

    def kept(self, u: Tensor) -> Tensor | None:
        """Which levels count, ones and zeros ``(B, levels)``, by uniform numbers ``(B,)``; None for all."""
        return None

    def costs(self) -> dict[str, Tensor]:
        """Costs of the books, 0-d."""
        return {}

    def quantized(self, raw: Tensor) -> Posterior:
        return Drawn(raw, self)

    def nearest(self, raw: Tensor) -> Tensor:
        return nearest_sum(raw, list(self.books))

    def look_up(self, tokens: Tensor) -> Tensor:
        parts = [F.embedding(t, book) for book, t in zip(self.books, tokens.unbind(-1), strict=True)]
        return torch.stack(parts).sum(0)

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        self.steps.add_(1)
