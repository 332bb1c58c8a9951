"""Critics of texts, given as one vector for each token: one-hot, or nearly so."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.networks import Critic, Network, Ports
from genzoo.core.options import option
from genzoo.plugins.modalities.alphabet import PAD
from genzoo.plugins.nets.blocks import SLOPE, Projection, shaped
from genzoo.registry import declare


class TextCritic(Critic):
    """Tokens ``(B, L, levels)`` are embedded linearly, so that slopes reach them; of numbers ``(B, L)`` each is one."""

    def __init__(self, ports: Ports, options: Network.Options | None = None, *, embed: int, features: int) -> None:
        super().__init__(ports, options)
        self.length, self.width = ports.inputs[0], ports.input_size // ports.inputs[0]
        self.embedding = nn.Linear(self.width, embed, bias=False)
        self.beside = nn.Linear(ports.beside, features, bias=False) if ports.beside else None
        self.told = Projection(ports, features) if ports.classes else None

    def embedded(self, x: Tensor) -> Tensor:
        found: Tensor = self.embedding(x.reshape(len(x), self.length, self.width))
        return found

    def scored(self, h: Tensor, last: nn.Module, y: Tensor | None, beside: Tensor | None) -> Tensor:
        h = h if self.beside is None or beside is None else h + self.beside(beside)
        scores: Tensor = last(h)
        return shaped(scores if self.told is None else scores + self.told(h, y), self.ports.outputs)


@declare.critic("text-conv", paper="arXiv:1408.5882", modalities=("text",), tags=("text",))
class ConvolutionalCritic(TextCritic):
    """What runs of 2 to 5 tokens look like anywhere in a text: convolutions of each width, and the largest of each."""

    @dataclass(frozen=True)
    class Options(Network.Options):
        hidden: int = option(96, "features of runs of each length", low=1, high=8192)
        embed: int = option(48, "numbers of each token's embedding", low=1, high=8192)

    options: Options

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        o = options or self.Options()
        super().__init__(ports, o, embed=o.embed, features=64)
        self.runs = nn.ModuleList(nn.Conv1d(o.embed, o.hidden, k, padding=k // 2) for k in (2, 3, 4, 5))
        self.hidden, self.last = nn.Linear(4 * o.hidden, 64), nn.Linear(64, ports.output_size)

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        h = self.embedded(x).transpose(1, 2)
        seen = torch.cat([F.leaky_relu(run(h), SLOPE).amax(2) for run in self.runs], 1)
        return F.leaky_relu(self.hidden(seen), SLOPE)

    def forward(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        return self.scored(self.features(x, y), self.last, y, beside)


@declare.critic("text-gru", paper="arXiv:1905.09922", modalities=("text",), tags=("text",))
class RecurrentCritic(TextCritic):
    """Gated recurrent units from left to right: a score for each token, given those before it, or one of their mean.

    There is one for each token where the objective asks for as many, as `reinforce-gan` does.
    """

    @dataclass(frozen=True)
    class Options(Network.Options):
        hidden: int = option(128, "units", low=1, high=8192)
        embed: int = option(48, "numbers of each token's embedding", low=1, high=8192)

    options: Options

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        o = options or self.Options()
        super().__init__(ports, o, embed=o.embed, features=o.hidden)
        self.units = nn.GRU(o.embed, o.hidden, batch_first=True)
        self.each = ports.outputs == (self.length,)
        self.last = nn.Linear(o.hidden, 1 if self.each else ports.output_size)

    def features(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        """The mean over the places of a text, padding left out."""
        h: Tensor = self.units(self.embedded(x))[0]
        if x.dim() < 3:
            return h.mean(1)
        there = 1 - x[..., PAD : PAD + 1]
        return (h * there).sum(1) / there.sum(1).clamp(min=1e-3)

    def forward(self, x: Tensor, y: Tensor | None = None, beside: Tensor | None = None) -> Tensor:
        if not self.each:
            return self.scored(self.features(x, y), self.last, y, beside)
        h: Tensor = self.units(self.embedded(x))[0]
        scores: Tensor = self.last(h)[..., 0]
        return scores if self.told is None else scores + self.told(h.mean(1), y)[:, : self.length]
