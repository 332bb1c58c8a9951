"""Recurrent encoder of texts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.math.tables import to_levels
from genzoo.core.networks import Encoder, Network, Ports
from genzoo.core.options import option
from genzoo.plugins.modalities.alphabet import PAD, filled
from genzoo.plugins.nets.blocks import shaped, with_label
from genzoo.registry import declare


@declare.encoder("text-gru", paper="arXiv:1511.06349", modalities=("text",), tags=("text",))
class TextEncoder(Encoder):
    """Gated recurrent units in both directions, and the mean of what they say over the places of the text.

    The last state alone would tell more of the end than of the rest.
    """

    tokens = True

    @dataclass(frozen=True)
    class Options(Network.Options):
        hidden: int = option(128, "units in each direction", low=1, high=8192)
        embed: int = option(64, "numbers of each token's embedding", low=1, high=8192)

    options: Options

    def __init__(self, ports: Ports, options: Options | None = None) -> None:
        super().__init__(ports, options)
        o = self.options
        if len(ports.inputs) != 1 or ports.levels is None:
            raise UsageError("encoder text-gru reads texts: use another one, such as --encoder conv")
        self.levels = ports.levels
        self.embedding = nn.Embedding(self.levels, o.embed)
        self.forth = nn.GRU(o.embed, o.hidden, batch_first=True)
        self.back = nn.GRU(o.embed, o.hidden, batch_first=True)
        self.last = nn.Linear(2 * o.hidden + ports.classes, ports.output_size)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Padding changes nothing: the way back starts at the end of each text."""
        tokens = to_levels(x, self.levels)
        tokens = tokens[:, : filled(tokens)]
        there = (tokens != PAD).float()
        embedded, place = self.embedding(tokens), torch.arange(tokens.shape[1], device=x.device)
        turned = (there.sum(1, keepdim=True).long() - 1 - place).clamp(min=0)
        back, _ = self.back(embedded.gather(1, turned[..., None].expand_as(embedded)))
        both = torch.cat([self.forth(embedded)[0], back], -1)
        mean = (both * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1)
        return shaped(self.last(with_label(mean, y, self.ports.classes)), self.ports.outputs)
