"""Priors over tokens: the uniform one, which a quantizer trains with, and a transformer for afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.math.tables import Steps, shares
from genzoo.core.model import Model
from genzoo.core.options import option
from genzoo.core.prior import Prior, TokenPrior
from genzoo.registry import declare


@declare.prior("uniform-codes", paper="arXiv:1711.00937", tags=("vae", "quantizer"))
class UniformCodes(TokenPrior):
    """Uniform prior over tokens: each of K codes equally likely at every place."""

    family = "uniform-codes"

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """- places · log K."""
        return z.new_full(z.shape[: -len(self.latent.shape)], -self.head.places * math.log(self.head.codes))

    def log_prob_of(self, tokens: Tensor, y: Tensor | None = None) -> Tensor:
        return torch.full(tokens.shape[:-1], -self.head.places * math.log(self.head.codes), device=tokens.device)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        self.untruncated(truncation)
        return self.head.embed((uniform.double() * self.head.codes).long().clamp(max=self.head.codes - 1))

    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        places, codes = self.head.places, self.head.codes
        yield torch.arange(places), torch.full((n, places, codes), 1 / codes)


class Block(nn.Module):
    """Causal attention and a perceptron, each added to what it reads (norms first: arXiv:2002.04745)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.before, self.between = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h: Tensor, past: list[Tensor] | None = None) -> Tensor:
        """Map ``(B, n, width)``; with a cache of what came before, only the new places."""
        q, k, v = torch.unflatten(self.qkv(self.before(h)), -1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if past is not None:
            if past:
                k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
            past[:] = [k, v]
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        h = h + self.out(mixed.transpose(1, 2).flatten(2))
        added: Tensor = self.perceptron(self.between(h))
        return h + added


@declare.prior("transformer", paper="arXiv:2012.09841", tags=("vae", "quantizer", "autoregressive"))
class Transformer(TokenPrior):
    """Transformer prior: log p(z|y) = Σ log p(token_i | tokens before it, y), row by row over a grid of tokens."""

    @dataclass(frozen=True)
    class Options(Prior.Options):
        width: int = option(128, "numbers of a token", low=1, high=16384)
        depth: int = option(4, "blocks", low=1, high=256)
        heads: int = option(4, "heads of attention, which divide the width", low=1, high=256)

    options: Options

    def attach(self, model: Model) -> None:
        super().attach(model)
        o = self.options
        if o.width % o.heads:
            raise UsageError(f"prior.heads must divide prior.width: {o.width} numbers do not make {o.heads} heads")
        if model.conditions:
            raise UsageError(
                "the transformer prior is told classes, not numbers as conditions: use another, such as --prior normal"
            )
        # A sequence begins with a token of its own, or one for each class.
        self.first = self.head.codes
        self.tokens = nn.Embedding(self.head.codes + max(model.classes, 1), o.width)
        self.place = nn.Parameter(0.02 * torch.randn(self.head.places, o.width))
        nn.init.normal_(self.tokens.weight, 0.0, 0.02)
        self.blocks = nn.ModuleList(Block(o.width, o.heads) for _ in range(o.depth))
        self.last = nn.Sequential(nn.LayerNorm(o.width), nn.Linear(o.width, self.head.codes))

    def _begin(self, n: int, y: Tensor | None) -> Tensor:
        return torch.full((n,), self.first, device=self.place.device) if y is None else self.first + y

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.log_prob_of(self.head.tokens_of(z), y)

    def log_prob_of(self, tokens: Tensor, y: Tensor | None = None) -> Tensor:
        """In one pass over all tokens, each of which sees those before it."""
        lead, tokens = tokens.shape[:-1], tokens.flatten(0, -2)
        begin = self._begin(len(tokens), None if y is None else y.expand(lead).flatten())
        h = self.tokens(torch.cat([begin[:, None], tokens[:, :-1]], 1)) + self.place
        for block in self.blocks:
            h = block(h)
        logits = self.last(h).float().transpose(1, 2)
        return -F.cross_entropy(logits, tokens, reduction="none").sum(1).view(lead)

    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        """Token by token, with a cache."""
        token, caches = self._begin(n, y), [list[Tensor]() for _ in self.blocks]
        for i in range(self.head.places):
            h = (self.tokens(token) + self.place[i])[:, None]
            for block, past in zip(self.blocks, caches, strict=True):
                h = block(h, past)
            token = (yield torch.tensor([i]), shares(self.last(h)))[:, 0]
