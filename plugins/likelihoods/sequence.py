"""What likelihoods of texts share: tokens, masks from the text itself, the end, and draws with a temperature."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Autoregressive
from genzoo.core.math.tables import to_levels, wide
from genzoo.core.mixed_precision import in_bfloat16
from genzoo.core.options import Configured, option
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.alphabet import END, PAD, UNKNOWN


class SequenceLikelihood(Autoregressive):
    """p(text|h) = Π p(token_t | tokens before it, h), up to the end.

    After the end there is padding for certain, and at the last place nothing but the end (or padding) is possible: so
    the probabilities of all texts sum to one. A subclass gives `raw`, and `raw_next` where it can save work.
    """

    @dataclass(frozen=True)
    class Options(Configured.Options):
        hidden: int = option(256, "units of each layer", low=1, high=8192)
        embed: int = option(64, "numbers of each token's embedding", low=1, high=8192)
        features: int = option(64, "numbers that the generator gives for a text", low=1, high=8192)
        word_dropout: float = option(0.0, "share of the tokens read in training that are unknown", low=0, high=1)

    options: Options

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        self.temperature, self.top_p = 1.0, 1.0  # of draws

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if "alphabet" not in spec.facts:
            raise UsageError("this likelihood is for texts, and this is none: use --likelihood gaussian")

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.options.features,)

    def places(self) -> list[tuple[int, ...]]:
        return [(i,) for i in range(self.spec.shape[0])]

    @abstractmethod
    def raw(self, params: Tensor, read: Tensor) -> Tensor:
        """Logits ``(B, L, levels)`` of every place from what it reads: the token before it, int64 ``(B, L)``."""

    @abstractmethod
    def raw_next(self, params: Tensor, read: Tensor, state: dict[str, Any]) -> Tensor:
        """The same at the next place ``(B, levels)``, from the token before it ``(B,)`` and what it keeps."""

    def tokens(self, x: Tensor) -> Tensor:
        """Numbers of tokens, int64, of model space."""
        return to_levels(x, self.levels)

    def read(self, tokens: Tensor) -> Tensor:
        """What places read, ``(B, L)``: the token before; the start is told by padding, which no place reads else."""
        return F.pad(tokens[:, :-1], (1, 0), value=PAD)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        tokens = self.tokens(x)
        read = self.read(tokens)
        heard = read
        if self.training and self.options.word_dropout:
            kept = F.dropout(torch.ones_like(read, dtype=torch.float32), self.options.word_dropout) > 0
            heard = torch.where(kept | (read == PAD), read, UNKNOWN)
        found = self._call(params, heard)
        return self.allowed(found, read, torch.arange(tokens.shape[1], device=x.device))

    @in_bfloat16
    def _call(self, params: Tensor, read: Tensor) -> Tensor:
        return self.raw(params, read)

    def allowed(self, logits: Tensor, read: Tensor, place: Tensor) -> Tensor:
        """Logits ``(B, …, levels)`` of what can be: no padding before the end, only that after it."""
        number = torch.arange(self.levels, device=logits.device)
        over = (((read == END) | (read == PAD)) & (place > 0))[..., None]
        last = ((place == self.spec.shape[0] - 1).expand(read.shape))[..., None]
        impossible = torch.where(over, number != PAD, (number == PAD) | (last & (number != END)))
        return wide(logits).masked_fill(impossible, -math.inf)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return self.token_log_prob(params, x).sum(1)

    def token_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-probability of each token in nats, ``(B, L)``: 0 after the end."""
        logits = self.logits(params, x)
        return torch.log_softmax(logits, -1).gather(-1, self.tokens(x)[..., None])[..., 0]

    def next_logits(self, params: Tensor, x: Tensor, place: tuple[int, ...], state: dict[str, Any]) -> Tensor:
        at = place[0]
        read = self.tokens(x[:, at - 1]) if at else torch.full((len(x),), PAD, device=x.device)
        found = self.allowed(self.raw_next(params, read, state), read, torch.tensor(at, device=x.device))
        if self.temperature != 1:
            found = found / self.temperature
        return nucleus(found, self.top_p) if self.top_p < 1 else found


def nucleus(logits: Tensor, share: float) -> Tensor:
    """The likeliest tokens that together have at least that share of the probability; the rest is impossible."""
    order = logits.argsort(-1, descending=True)
    p = torch.softmax(logits, -1).gather(-1, order)
    late = p.cumsum(-1) - p >= share  # the likeliest is always there
    return logits.masked_fill(late.gather(-1, order.argsort(-1)), -math.inf)
