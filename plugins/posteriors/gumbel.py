"""Codes that are drawn: a categorical distribution at every place, and at every level of residuals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.options import option
from genzoo.core.posterior import Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.plugins.posteriors.book import nearest_sum
from genzoo.plugins.posteriors.quantizer import Quantizer, on_grid, through, uniform_of
from genzoo.registry import declare

declare.recipe(
    "gumbel-vq-vae",
    summary="VAE whose code is a grid of vectors that are drawn from a learned book, not rounded to it",
    paper="arXiv:1611.01144",
    tags=("vae", "quantizer"),
    like="vq-vae",
    posterior="gumbel-vq",
)


class Drawn(Posterior):
    """q(k|x) = Π q(k_l|k above, x) at every place, Gumbel's noise and straight-through gradients of a softmax.

    In training log q is its own mean given the levels above, so that the KL to a uniform prior has no noise.
    """

    def __init__(self, numbers: Tensor, head: GumbelVQ) -> None:
        self.head, self.numbers = head, numbers  # (B, n, ·)
        self._mean, self.tokens, _ = self._draw(None)

    @property
    def mean(self) -> Tensor:
        """The likeliest code of each level."""
        return self._mean

    def _draw(self, eps: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Codes, tokens ``(B, places)`` and log q ``(B,)``, by noise ``(B, *head.noise_shape)`` if there is some."""
        head, left = self.head, self.numbers
        k = 1 if eps is None else len(eps) // len(left)
        left = left.repeat(k, 1, 1)
        noise = None if eps is None else -(-uniform_of(eps[:, 1:]).log()).log().view(*left.shape[:2], head.levels, -1)
        kept = None if eps is None else head.kept(uniform_of(eps[:, 0]))
        values, tokens, log_q = [], [], left.new_zeros(len(left))
        for i, (book, temperature) in enumerate(zip(head.books, head.temperatures, strict=True)):
            logits = head.logits(book, left)
            noisy = logits if noise is None else logits + noise[:, :, i]
            token, log_p = noisy.argmax(-1), logits.log_softmax(-1)
            value, own = F.embedding(token, book), log_p.gather(-1, token[..., None]).squeeze(-1)
            if head.training and noise is not None:
                value = through(value, (noisy / temperature).softmax(-1) @ book)
                own = (log_p.exp() * log_p).sum(-1)
            own = own.sum(1)
            if kept is not None:  # of a level that is left out nothing is known, and nothing is paid
                value = value * kept[:, i, None, None]
                own = torch.where(kept[:, i] > 0, own, -math.log(head.codes) * logits.shape[1])
            left, log_q = left - value if head.levels > 1 else left, log_q + own
            values.append(value)
            tokens.append(token)
        return head.shaped(torch.stack(values).sum(0)), torch.stack(tokens, -1).flatten(1), log_q

    def sample(self, eps: Tensor) -> Tensor:
        return self.sample_with_log_prob(eps)[0]

    def sample_with_log_prob(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        z, tokens, log_q = self._draw(eps.flatten(0, -2))
        lead = eps.shape[:-1]
        self.drawn = tokens.view(*lead, -1)
        return z.view(*lead, *z.shape[1:]), log_q.view(lead)

    def log_prob(self, z: Tensor) -> Tensor:
        """Of the tokens of codes, level by level."""
        shape, head = z.shape[: -len(self.head.latent.shape)], self.head
        tokens = head.tokens_of(z).view(-1, self.numbers.shape[1], head.levels)
        left = self.numbers.repeat(len(tokens) // len(self.numbers), 1, 1)
        log_q = left.new_zeros(len(left))
        for book, token in zip(head.books, tokens.unbind(-1), strict=True):
            log_p = head.logits(book, left).log_softmax(-1).gather(-1, token[..., None])
            left, log_q = left - F.embedding(token, book) if head.levels > 1 else left, log_q + log_p.flatten(1).sum(1)
        return log_q.view(shape)

    @property
    def cost(self) -> dict[str, Tensor]:
        return {name: x.expand(len(self.numbers)) for name, x in self.head.costs().items()}


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
