"""What likelihoods of texts share: tokens, masks from the text itself, the end, and draws with a temperature."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Autoregressive
from genzoo.core.math.tables import to_levels, wide
from genzoo.core.mixed_precision import in_bfloat16
from genzoo.core.options import Configured, option
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.alphabet import END, PAD, UNKNOWN, filled


class SequenceLikelihood(Autoregressive):
    """p(text|h) = Π p(token_t | tokens before it, h), up to the end.

    After the end there is padding for certain, and at the last place nothing but the end (or padding) is possible: so
    the probabilities of all texts sum to one. A subclass gives `embedded` and `run`.
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
        self.dropped = nn.Dropout(self.options.word_dropout)  # a module, which tells the trainer to seed it each turn

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if "alphabet" not in spec.facts:
            raise UsageError("this likelihood is for texts, and this is none: use --likelihood gaussian")

    @property
    def heavy(self) -> int:  # type: ignore[override]
        return 1 + self.spec.shape[0] * (self.levels + self.options.hidden) // 2**12

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.options.features,)

    def places(self) -> list[tuple[int, ...]]:
        return [(i,) for i in range(self.spec.shape[0])]

    @abstractmethod
    def embedded(self, tokens: Tensor) -> Tensor:
        """Vectors ``(…, width)`` of tokens; see `look_up`."""

    @abstractmethod
    def run(self, params: Tensor, h: Tensor, state: dict[str, Any]) -> Tensor:
        """Logits ``(B, n, levels)`` of n places, from vectors ``(B, n, width)`` of the token before each.

        What the places after them need goes to ``state``, which is empty at the start of a text: all places at once
        give what one after another gives.
        """

    @staticmethod
    def look_up(embedding: nn.Embedding, tokens: Tensor) -> Tensor:
        """Vectors of tokens, int64 ``(…)``, or of mixtures of them ``(…, levels)``, which have slopes."""
        found: Tensor = tokens @ embedding.weight if tokens.is_floating_point() else embedding(tokens)
        return found

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
            kept = self.dropped(torch.ones_like(read, dtype=torch.float32)) > 0
            heard = torch.where(kept | (read == PAD), read, UNKNOWN)
        found = self._run(params, heard, {})
        return self.allowed(found, read, torch.arange(tokens.shape[1], device=x.device))

    @in_bfloat16
    def _run(self, params: Tensor, read: Tensor, state: dict[str, Any]) -> Tensor:
        return self.run(params, self.embedded(read), state)

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
        tokens = self.tokens(x)
        there = filled(tokens)
        logits = self.logits(params, x[:, :there])
        found = torch.log_softmax(logits, -1).gather(-1, tokens[:, :there, None])[..., 0]
        return F.pad(found, (0, tokens.shape[1] - there))

    def next_logits(self, params: Tensor, x: Tensor, place: tuple[int, ...], state: dict[str, Any]) -> Tensor:
        at = place[0]
        read = self.tokens(x[:, at - 1]) if at else torch.full((len(x),), PAD, device=x.device)
        found = self._run(params, read[:, None], state)[:, 0]
        return self.allowed(found, read, torch.tensor(at, device=x.device))

    def relaxed(self, params: Tensor, uniform: Tensor, tau: float | Tensor, *, hard: bool = True) -> Tensor:
        """Texts as nearly one-hot vectors ``(B, L, levels)`` that have slopes, by uniform numbers of that shape.

        Gumbel-softmax (arXiv:1611.01144): softmax((logits + g) / τ), and of that the largest as 1 if ``hard``, with the
        slopes of the soft one. The next place reads it. Hard ones are exact draws.
        """
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 2**-24)))
        number = torch.full((len(params),), PAD, device=params.device)
        read, state, out = F.one_hot(number, self.levels).to(params.dtype), dict[str, Any](), []
        for at in range(self.spec.shape[0]):
            found = self._run(params, read[:, None], state)[:, 0]
            logits = self.allowed(found, number, torch.tensor(at, device=params.device))
            soft = torch.softmax((logits + gumbel[:, at]) / tau, -1)
            number = soft.argmax(-1)
            read = F.one_hot(number, self.levels) + soft - soft.detach() if hard else soft
            out.append(read)
        return torch.stack(out, 1)

    def over(self, index: Tensor) -> bool:
        return index.device.type == "cpu" and bool((index <= END).all())  # a device is not waited for
