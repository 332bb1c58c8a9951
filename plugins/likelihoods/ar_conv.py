"""Likelihood of texts by dilated causal convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.likelihoods.sequence import SequenceLikelihood
from genzoo.registry import declare


@declare.likelihood("ar-conv", paper="arXiv:1702.08139", modalities=("text",), tags=("text", "autoregressive"))
class ConvolutionalLikelihood(SequenceLikelihood):
    """Layers of causal convolutions, each reaching twice as far back; what the generator gives is told to every layer.

    h ← h + W (tanh(a) σ(b)), with a, b = conv(h) + V params, as in WaveNet (arXiv:1609.03499). Fewer layers see fewer
    tokens back, so that a code must tell the rest: with them Yang et al. keep posteriors from collapsing.

    When: a text's code is to hold more than its beginning; or many places at once, on a GPU.

    Cost: about (2 · kernel + 1) · hidden² · depth + hidden · levels multiply-adds for each token.
    """

    @dataclass(frozen=True)
    class Options(SequenceLikelihood.Options):
        hidden: int = option(128, "features of each place", low=1, high=8192)
        depth: int = option(6, "layers; they see 1 + (kernel - 1)(2^depth - 1) tokens back", low=1, high=32)
        kernel: int = option(3, "tokens that a layer sees", low=2, high=31)

    options: Options

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        o, n = self.options, self.options.hidden
        self.embedding = nn.Embedding(self.levels, n)
        self.seen = nn.ModuleList(nn.Conv1d(n, 2 * n, o.kernel, dilation=2**i) for i in range(o.depth))
        self.told = nn.ModuleList(nn.Linear(o.features, 2 * n, bias=False) for _ in range(o.depth))
        self.out = nn.ModuleList(nn.Conv1d(n, n, 1) for _ in range(o.depth))
        self.last = nn.Sequential(nn.SiLU(), nn.Linear(n, n), nn.SiLU(), nn.Linear(n, self.levels))

    def embedded(self, tokens: Tensor) -> Tensor:
        return self.look_up(self.embedding, tokens)

    def run(self, params: Tensor, h: Tensor, state: dict[str, Any]) -> Tensor:
        h = h.transpose(1, 2)
        for i, (seen, told, out) in enumerate(zip(self.seen, self.told, self.out, strict=True)):
            reach = (self.options.kernel - 1) * 2**i
            whole = torch.cat([state[f"{i}"], h], 2) if f"{i}" in state else F.pad(h, (reach, 0))
            state[f"{i}"] = whole[:, :, -reach:]
            a, b = (seen(whole) + told(params)[..., None]).chunk(2, 1)
            h = h + out(torch.tanh(a) * torch.sigmoid(b))
        found: Tensor = self.last(h.transpose(1, 2))
        return found
