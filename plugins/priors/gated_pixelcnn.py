"""A gated PixelCNN over a grid of tokens: a stack for the rows above a place, and one for the places to its left."""

from __future__ import annotations

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


class Gated(nn.Module):
    """tanh(a) σ(b) of what a masked convolution sees, in both stacks; without ``own`` a place does not see itself."""

    def __init__(self, width: int, kernel: int, own: bool, classes: int) -> None:
        super().__init__()
        self.reach, self.own, self.width = kernel // 2, own, width
        self.down = nn.Conv2d(width, 2 * width, (self.reach + own, kernel))  # rows above, and with ``own`` this one
        self.right = nn.Conv2d(width, 2 * width, (1, self.reach + own))
        self.link, self.out = nn.Conv2d(2 * width, 2 * width, 1), nn.Conv2d(width, width, 1)
        self.told = nn.Embedding(max(classes, 1), 4 * width)
        nn.init.zeros_(self.told.weight)

    @staticmethod
    def gate(x: Tensor) -> Tensor:
        """Half of the channels gate the other half."""
        a, b = x.chunk(2, 1)
        return torch.tanh(a) * torch.sigmoid(b)

    def above(self, v: Tensor) -> Tensor:
        """What the vertical stack makes of rows of which ``reach`` precede the first: ``(B, 2 width, rows, W)``."""
        p = self.reach
        found: Tensor = self.down(F.pad(v, (p, p, 0, 0)))
        return found

    def forward(self, v: Tensor, h: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Both stacks over a whole grid ``(B, width, H, W)``; the vertical one must start a row late."""
        p, (low, high) = self.reach, self.told(y)[:, :, None, None].chunk(2, 1)
        above = self.above(F.pad(v, (0, 0, p, 0)))[:, :, : v.shape[2]]
        left = self.right(F.pad(h, (p, 0, 0, 0)))[..., : h.shape[3]]
        mixed = self.out(self.gate(left + self.link(above) + high))
        return self.gate(above + low), (h + mixed if self.own else mixed)


@declare.prior("pixelcnn", paper="arXiv:1606.05328", tags=("vae", "quantizer", "autoregressive"))
class GatedPixelCNN(TokenPrior):
    """Gated PixelCNN prior: log p(z|y) = Σ log p(token_i | tokens above and to the left, y), by masked convolutions."""

    @dataclass(frozen=True)
    class Options(Prior.Options):
        width: int = option(64, "features of each place", low=1, high=4096)
        depth: int = option(10, "layers after the first", low=0, high=256)
        kernel: int = option(5, "places a side that a layer sees, odd", low=3, high=31)

    options: Options

    def attach(self, model: Model) -> None:
        super().attach(model)
        o, grid = self.options, self.latent.grid
        if o.kernel % 2 == 0:
            raise UsageError(f"prior.kernel must be odd, so that it has a middle, not {o.kernel}")
        if model.conditions:
            raise UsageError("the pixelcnn prior is told classes, not numbers as conditions: use --prior uniform-codes")
        self.rows = grid if grid and self.head.places % grid == 0 else 1
        self.columns, self.classes = self.head.places // self.rows, model.classes
        self.tokens = nn.Embedding(self.head.codes, o.width)
        self.layers = nn.ModuleList(Gated(o.width, o.kernel, i > 0, model.classes) for i in range(o.depth + 1))
        self.last = nn.Sequential(
            nn.ReLU(), nn.Conv2d(o.width, o.width, 1), nn.ReLU(), nn.Conv2d(o.width, self.head.codes, 1)
        )

    def _labels(self, n: int, y: Tensor | None) -> Tensor:
        return torch.zeros(n, dtype=torch.long, device=self.tokens.weight.device) if y is None else y

    def logits(self, tokens: Tensor, y: Tensor | None = None) -> Tensor:
        """``(B, K, places)`` for tokens ``(B, places)``: each place's by those before it only."""
        v = h = self.tokens(tokens).transpose(1, 2).unflatten(2, (self.rows, self.columns))
        for layer in self.layers:
            v, h = layer(v, h, self._labels(len(tokens), y))
        found: Tensor = self.last(h).flatten(2)
        return found.float()

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.log_prob_of(self.head.tokens_of(z), y)

    def log_prob_of(self, tokens: Tensor, y: Tensor | None = None) -> Tensor:
        lead, tokens = tokens.shape[:-1], tokens.flatten(0, -2)
        y = None if y is None else y.expand(lead).flatten()
        return -F.cross_entropy(self.logits(tokens, y), tokens, reduction="none").sum(1).view(lead)

    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        """Place by place; what earlier places made of themselves is kept."""
        u, o = self.tokens.weight, self.options
        layers = [layer for layer in self.layers if isinstance(layer, Gated)]
        p, told = o.kernel // 2, [layer.told(self._labels(n, y)).chunk(2, 1) for layer in layers]
        kept = [
            u.new_zeros(n, o.width, self.rows + p, self.columns) for _ in self.layers
        ]  # inputs of the vertical stack
        for i in range(self.rows):
            links = []
            for k, layer in enumerate(layers):  # row i of the vertical stack, of rows up to i, or i - 1 at first
                above = layer.above(kept[k][:, :, i : i + p + layer.own])
                links.append(layer.link(above))
                if k + 1 < len(layers):
                    kept[k + 1][:, :, p + i] = layer.gate(above + told[k][0][:, :, None, None])[:, :, 0]
            row = [u.new_zeros(n, o.width, 1, self.columns + p) for _ in layers]  # of the horizontal stack
            for j in range(self.columns):
                h: Tensor | None = None
                for k, layer in enumerate(layers):
                    if h is not None:
                        row[k][..., p + j : p + j + 1] = h
                    left = layer.right(row[k][..., j : j + p + layer.own])
                    mixed = layer.out(layer.gate(left + links[k][..., j : j + 1] + told[k][1][:, :, None, None]))
                    h = mixed if h is None else h + mixed
                assert h is not None
                at = i * self.columns + j
                token = (yield torch.tensor([at]), shares(self.last(h)[:, :, 0, 0])[:, None])[:, 0]
                row[0][..., 0, p + j] = kept[0][:, :, p + i, j] = self.tokens(token)
