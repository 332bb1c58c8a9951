"""Likelihood of texts by causal attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.likelihoods.sequence import SequenceLikelihood
from genzoo.plugins.priors.tokens import Block
from genzoo.registry import declare


@declare.likelihood("ar-transformer", paper="arXiv:1706.03762", modalities=("text",), tags=("text", "autoregressive"))
class TransformerLikelihood(SequenceLikelihood):
    """Blocks of causal attention read the tokens before a place; what the generator gives is added to each of them.

    h_t = E[token_{t-1}] + place_t + W params, then blocks with the norm first (arXiv:2002.04745). Drawing keeps keys
    and values of what is read already.

    When: texts on a GPU, where all places are computed at once. On a CPU `ar-gru` learns more in the same time.

    Cost: about 12 · hidden² · depth + 2 · hidden · levels multiply-adds for each token,
    and 2 · length · hidden · depth of attention.
    """

    @dataclass(frozen=True)
    class Options(SequenceLikelihood.Options):
        hidden: int = option(128, "numbers of a token", low=1, high=8192)
        depth: int = option(4, "blocks", low=1, high=256)
        heads: int = option(4, "heads of attention, which divide the hidden numbers", low=1, high=256)

    options: Options

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        o = self.options
        if o.hidden % o.heads:
            raise UsageError(
                f"likelihood.heads must divide likelihood.hidden: {o.hidden} numbers do not make {o.heads} heads"
            )
        self.embedding = nn.Embedding(self.levels, o.hidden)
        nn.init.normal_(self.embedding.weight, 0.0, 0.02)
        self.place = nn.Parameter(0.02 * torch.randn(spec.shape[0], o.hidden))
        self.told = nn.Linear(o.features, o.hidden, bias=False)
        self.blocks = nn.ModuleList(Block(o.hidden, o.heads) for _ in range(o.depth))
        self.last = nn.Sequential(nn.LayerNorm(o.hidden), nn.Linear(o.hidden, self.levels))

    def embedded(self, tokens: Tensor) -> Tensor:
        return self.look_up(self.embedding, tokens)

    def run(self, params: Tensor, h: Tensor, state: dict[str, Any]) -> Tensor:
        at = state.setdefault("at", 0)
        caches = state.setdefault("caches", [list[Tensor]() for _ in self.blocks])
        state["at"] = at + h.shape[1]
        h = h + self.place[at : at + h.shape[1]] + self.told(params)[:, None]
        for block, past in zip(self.blocks, caches, strict=True):
            h = block(h, past if h.shape[1] == 1 else None)
        found: Tensor = self.last(h)
        return found
