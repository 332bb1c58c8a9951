"""Masked autoencoder of rows: every pixel given those before it, by matrices that all rows of a picture share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Autoregressive
from genzoo.core.modality import of
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

REACH = 3.0  # pixels over which the initial weights of what is seen fall to 1/e
MOST = 100_000_000  # weights of a matrix, which is in memory some six times while it learns


@declare.likelihood("row-made", paper="arXiv:1502.03509", modalities=("image",), tags=("autoregressive",))
class RowMADE(Autoregressive):
    """log p(x|h) = Σ log p(x_i | x_<i, h), pixels in raster order, a categorical distribution over levels each.

    A masked autoencoder for each row: hidden units of a pixel see what is left of it and some rows above, and its
    logits go by its hidden units and those left of it. All rows share the weights, so that a step is two products of
    matrices, a fraction of what convolutions on every pixel take. The generator puts out features h, one vector for
    each pixel; hidden units and logits of a row are told those of the row. Few rows ``above`` leave what is far apart
    to the code, which a strong decoder would ignore (PixelVAE, arXiv:1611.05013).
    """

    @dataclass(frozen=True)
    class Options(Autoregressive.Options):
        above: int = option(4, "rows above its own that a pixel goes by", low=0, high=255)
        hidden: int = option(8, "hidden units of each pixel, for each channel of the image", low=1, high=4096)
        features: int = option(1, "numbers that the generator gives for each pixel", low=1, high=1024)

    options: Options
    seen: Tensor
    used: Tensor

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        o, (c, _, w) = self.options, spec.shape
        n = c * w  # numbers of a row: of each pixel, from the left, its channels
        if (size := n * o.hidden * n * self.levels) > MOST:
            raise UsageError(
                f"the row-made likelihood would have {size / 1e6:,.0f} million weights for rows of {w} pixels of {c} "
                f"channels and {self.levels} levels, and {MOST // 10**6} million are allowed: give smaller images "
                "(--set data.size=32), a smaller likelihood.hidden, or --likelihood pixelcnn"
            )
        places = torch.arange(n)
        unit = places.repeat_interleave(o.hidden)  # whose hidden units they are
        seen = torch.ones(len(unit), o.above + 1, n)
        seen[:, -1] = (places < unit[:, None]).float()
        self.register_buffer("seen", seen.flatten(1), persistent=False)
        used = (unit <= places[:, None]).float().repeat_interleave(self.levels, 0)
        self.register_buffer("used", used, persistent=False)
        self.first, self.last = nn.Linear((o.above + 1) * n, len(unit)), nn.Linear(len(unit), n * self.levels)
        self.told = nn.Linear(o.features * w, len(unit), bias=False)
        self.beside = nn.Linear(o.features * w, n * self.levels, bias=False)
        near = torch.exp(-(places // c - unit[:, None] // c).abs() / REACH).repeat(1, o.above + 1)
        with torch.no_grad():
            self.first.weight.normal_().mul_(near / math.sqrt(REACH * (o.above + 1)))
            self.last.weight.zero_()

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if not of(spec).pixels or not spec.levels or spec.levels > 256:
            raise UsageError(
                "the row-made likelihood is for images of 2 to 256 levels, and this is not: use --likelihood gaussian"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.options.features, *self.spec.shape[1:])

    def _told(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to hidden units and logits of every row, ``(B, H, …)`` each."""
        rows = params.to(self.told.weight.dtype).transpose(1, 2).flatten(2)
        return self.told(rows), self.beside(rows)

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """``(B, C, H, W, levels)`` for features ``(B, features, H, W)`` and images ``(B, C, H, W)``."""
        (b, c, height, width), above = x.shape, self.options.above
        rows = F.pad(x.permute(0, 2, 3, 1).flatten(2), (0, 0, above, 0))
        windows = torch.cat([rows[:, i : i + height] for i in range(above + 1)], 2)
        hidden, beside = self._told(params)
        hidden = F.silu(hidden + F.linear(windows, self.first.weight * self.seen, self.first.bias))
        logits = beside + F.linear(hidden, self.last.weight * self.used, self.last.bias)
        found: Tensor = logits.view(b, height, width, c, self.levels)
        return found.permute(0, 3, 1, 2, 4)

    def places(self) -> list[tuple[int, ...]]:
        c, h, w = self.spec.shape
        return [(k, i, j) for i in range(h) for j in range(w) for k in range(c)]

    def next_logits(self, params: Tensor, x: Tensor, place: tuple[int, ...], state: dict[str, Any]) -> Tensor:
        """``(B, levels)`` at a place, by its hidden units and those of the row that are there already."""
        (k, i, j), (c, _, width) = place, self.spec.shape
        above, units, at = self.options.above, self.options.hidden, j * c + k
        if not state:
            state["first"], state["last"] = self.first.weight * self.seen, self.last.weight * self.used
            state["told"] = self._told(params)
        if at == 0:
            state["hidden"] = x.new_zeros(len(x), len(self.seen))
            past = x[:, :, max(i - above, 0) : i].permute(0, 2, 3, 1).flatten(1)
            state["above"] = F.pad(past, (above * width * c - past.shape[1], 0))
        hidden, beside = (t[:, i] for t in state["told"])
        mine, out = slice(at * units, (at + 1) * units), slice(at * self.levels, (at + 1) * self.levels)
        window = torch.cat([state["above"], x[:, :, i].transpose(1, 2).flatten(1)], 1)
        found = F.linear(window, state["first"][mine], self.first.bias[mine])
        state["hidden"][:, mine] = F.silu(hidden[:, mine] + found)
        logits: Tensor = beside[:, out] + F.linear(state["hidden"], state["last"][out], self.last.bias[out])
        return logits
