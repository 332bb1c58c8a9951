"""Rows as networks see them: a one-hot block for each slot, then a number in [-1, 1] for each column with bins.

A column is one slot; a category of many levels is two, the digits of its level.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.columns import learnt

SOFTNESS = 0.5  # temperature of the softmax whose slopes a hardened block has


class Layout:
    """Where the blocks and places of a spec's columns are.

    Attributes:
        columns: the learnt ones.
        sizes: values of each slot.
        starts: first number of each slot's block.
        column: of each slot.
        total: numbers in all blocks; places come after them.
        binned: columns that have a place.
        log_shares: log of the training rows' share of each value ``(total,)``.
    """

    def __init__(self, spec: DataSpec) -> None:
        self.columns = found = learnt(spec)
        self.column = [s for s, c in enumerate(found) for _ in c.slots]
        self.sizes = [n for c in found for n in c.slots]
        self.starts = [sum(self.sizes[:t]) for t in range(len(self.sizes))]
        self.total = sum(self.sizes)
        self.binned = [s for s, c in enumerate(found) if c.edges]
        self.log_shares = [math.log(p) for c in found for p in c.shares]
        self._worth = [worth for c in found for worth in ((c.base, 1) if c.base else (1,))]
        self._most = [c.size for c in found]
        self._first_bin = [found[s].first_bin for s in self.binned]
        self._held: dict[torch.device, dict[str, Tensor]] = {}

    def held(self, device: torch.device) -> dict[str, Tensor]:
        """The lists as tensors on a device, copied there once."""
        if device not in self._held:
            names = ("column", "sizes", "starts", "binned", "_worth", "_most", "_first_bin")
            made = {k.lstrip("_"): torch.tensor(getattr(self, k), dtype=torch.int64, device=device) for k in names}
            self._held[device] = made | {"log_shares": torch.tensor(self.log_shares, device=device)}
        return self._held[device]

    def levels(self, codes: Tensor) -> Tensor:
        """Levels and bins ``(B, S)`` of codes, int64."""
        return torch.minimum(codes.floor().long().clamp(min=0), self.held(codes.device)["most"] - 1)

    def digits(self, levels: Tensor) -> Tensor:
        """Values of slots ``(B, T)`` of levels ``(B, S)``."""
        h = self.held(levels.device)
        return (levels.index_select(1, h["column"]) // h["worth"]) % h["sizes"]

    def joined(self, digits: Tensor) -> Tensor:
        """Levels ``(B, S)`` of values of slots ``(B, T)``; digits beyond the last level mean that one."""
        h = self.held(digits.device)
        levels = torch.zeros(len(digits), len(self.columns), dtype=torch.int64, device=digits.device)
        return torch.minimum(levels.index_add(1, h["column"], digits * h["worth"]), h["most"] - 1)

    def blocks(self, digits: Tensor, places: Tensor) -> Tensor:
        """Model space ``(B, E)`` of values of slots ``(B, T)`` and places ``(B, P)`` in [-1, 1]."""
        x = torch.zeros(len(digits), self.total, device=digits.device)
        return torch.cat([x.scatter_(1, digits + self.held(digits.device)["starts"], 1.0), places.to(x.dtype)], 1)

    def opened(self, codes: Tensor) -> Tensor:
        """Codes ``(B, S)`` as model space ``(B, E)``."""
        levels, h = self.levels(codes), self.held(codes.device)
        within = levels.index_select(1, h["binned"])
        place = (codes.index_select(1, h["binned"]) - within).clamp(0, 1) * 2 - 1
        return self.blocks(self.digits(levels), torch.where(within >= h["first_bin"], place, 0.0))

    def chosen(self, x: Tensor) -> Tensor:
        """Values of slots ``(B, T)``: the greatest number of each block of model space."""
        parts = [x[:, a : a + n].argmax(1) for a, n in zip(self.starts, self.sizes, strict=True)]
        return torch.stack(parts, 1)

    def closed(self, x: Tensor) -> Tensor:
        """Model space ``(B, E)`` as codes ``(B, S)``."""
        levels, h = self.joined(self.chosen(x)), self.held(x.device)
        codes = levels + torch.full_like(levels, 0.5, dtype=torch.float32)
        inside = ((x[:, self.total :] + 1) / 2).clamp(0, 1 - 2**-13)
        within = levels.index_select(1, h["binned"])
        inside = torch.where(within >= h["first_bin"], inside, 0.5)
        return codes.index_copy(1, h["binned"], within + inside)

    def hardened(self, x: Tensor) -> Tensor:
        """Free numbers ``(B, E)`` as rows: the likeliest value of each block with the slopes of a softmax, tanh places.

        Numbers are log-odds beside those of the training rows, so that zeros are their commonest values.
        """
        logits = x[:, : self.total] + self.held(x.device)["log_shares"]
        parts = []
        for a, n in zip(self.starts, self.sizes, strict=True):
            soft = torch.softmax(logits[:, a : a + n] / SOFTNESS, 1)
            hard = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
            parts.append(hard + (soft - soft.detach()))
        return torch.cat([*parts, x[:, self.total :].tanh()], 1)


@lru_cache(maxsize=32)
def layout(spec: DataSpec) -> Layout:
    """The layout of a spec, made once."""
    return Layout(spec)
