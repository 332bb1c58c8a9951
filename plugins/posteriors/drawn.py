"""Codes that are drawn, at every place and at every level of residuals, with the gradients of a softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.posterior import Posterior
from genzoo.plugins.posteriors.quantizer import through, uniform_of

if TYPE_CHECKING:
    from genzoo.plugins.posteriors.gumbel import GumbelVQ


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
                # The logits' slopes are a softmax's; a code's are of the places that drew it.
                chosen = F.one_hot(token, logits.shape[-1]).to(logits)
                value = through(chosen, (noisy / temperature).softmax(-1)) @ book
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
