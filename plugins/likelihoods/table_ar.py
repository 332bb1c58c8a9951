"""Rows of a table, column after column."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Likelihood
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.columns import learnt
from genzoo.registry import declare

declare.recipe(
    "table-ar",
    summary="Rows of a table, column after column: an exact likelihood, without a code",
    paper="arXiv:1605.02226",
    tags=("autoregressive", "exact"),
    modalities=("table",),
    objective="maximum-likelihood",
    generator="constant",
    likelihood="table-ar",
    options={
        "latent.size": 0,
        "train.validation": 0.1,
        "train.batch_size": 256,
        "train.lr": 2e-3,
    },
)


@declare.likelihood("table-ar", paper="arXiv:1605.02226", modalities=("table",), tags=("autoregressive",))
class TableAutoregressive(Likelihood):
    """log p(row|h) = Σ_s log p(k_s | k_<s, h), a categorical distribution over the levels and bins of each column.

    After NADE (Uria et al., 2016): a_1 = h, a_{s+1} = a_s + E_s[k_s], and the logits of column s are
    W_s B(a_s + p_s) + b_s + log f_s with a residual block B that columns share and the frequencies f_s of the
    training rows, so that step 0 is near independent columns. A number within its bin is uniform, so its log density
    is log P(bin) − log(width), in the data's own units.

    When: rows with mixed columns. Cost: training is one pass of B for each column; sampling the same in all.
    """

    sampled = True

    @dataclass(frozen=True)
    class Options(Likelihood.Options):
        hidden: int = option(192, "numbers that a row's beginning is summed up in", low=1, high=8192)
        blocks: int = option(1, "residual blocks that columns share", low=0, high=32)
        dropout: float = option(0.1, "share of hidden numbers that training leaves out", low=0, high=0.9)

    options: Options
    prior: Tensor
    volume: Tensor
    binned: Tensor

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        o, found = self.options, learnt(spec)
        self.sizes = [c.size for c in found]
        self.discrete = not any(c.edges for c in found)
        self.starts = [sum(self.sizes[:s]) for s in range(len(found))]
        total, h = sum(self.sizes), o.hidden
        self.embed = nn.Parameter(torch.randn(total, h) * len(found) ** -0.5)
        self.place = nn.Parameter(torch.randn(len(found), h))
        self.weight = nn.Parameter(torch.randn(total, h) * 0.01 * h**-0.5)
        self.bias = nn.Parameter(torch.zeros(total))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(h), nn.Linear(h, h), nn.SiLU(), nn.Dropout(o.dropout), nn.Linear(h, h))
            for _ in range(o.blocks)
        )
        self.last = nn.LayerNorm(h)
        self.register_buffer("prior", torch.tensor([math.log(p) for c in found for p in c.shares]), persistent=False)
        widths = [
            [0.0] * c.first_bin + [math.log(b - a) for a, b in zip(c.edges, c.edges[1:], strict=False)] for c in found
        ]
        inside = [[i >= c.first_bin for i in range(c.size)] for c in found]
        self.register_buffer("binned", torch.tensor([b for c in inside for b in c]), persistent=False)
        self.register_buffer("volume", torch.tensor([w for c in widths for w in c]), persistent=False)

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if "dtype" not in spec.facts:
            raise UsageError("the table-ar likelihood is for tables: use --likelihood gaussian")

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.options.hidden,)

    def index(self, x: Tensor) -> Tensor:
        """Levels and bins of rows, counted through all columns, ``(B, S)``."""
        sizes, starts = (torch.tensor(v, device=x.device) for v in (self.sizes, self.starts))
        return torch.minimum(x.floor().long().clamp(min=0), sizes - 1) + starts

    def logits(self, a: Tensor, s: int) -> Tensor:
        """Logits ``(B, K_s)`` of column s given the sum of what stands before it."""
        h = a + self.place[s]
        for block in self.blocks:
            h = h + block(h)
        part = slice(self.starts[s], self.starts[s] + self.sizes[s])
        return F.linear(F.silu(self.last(h)), self.weight[part], self.bias[part] + self.prior[part]).float()

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        k, a = self.index(x), params.float()
        total = -self.volume[k].sum(1)
        for s, start in enumerate(self.starts):
            total = total - F.cross_entropy(self.logits(a, s), k[:, s] - start, reduction="none")
            a = a + self.embed[k[:, s]]
        return total

    def mean(self, params: Tensor) -> Tensor:
        """The likeliest level or bin of each column, one column after another, and the middle of the bin."""
        return self._made(params, None)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw column by column, inverting the distribution function; a number's place in its bin is uniform."""
        shape = (len(params), 2, len(self.sizes))
        return self._made(params, torch.rand(shape, generator=generator, device=params.device))

    def _made(self, params: Tensor, uniform: Tensor | None) -> Tensor:
        a, made = params.float(), []
        for s, start in enumerate(self.starts):
            logits = self.logits(a, s)
            if uniform is None:
                k, place = logits.argmax(1), torch.full_like(a[:, 0], 0.5)
            else:
                cumulative = torch.softmax(logits, -1).cumsum(-1)
                k = (uniform[:, 0, s, None] >= cumulative[:, :-1]).sum(-1)
                place = torch.where(self.binned[start + k], uniform[:, 1, s] * (1 - 2**-13), 0.5)
            made.append(k + place)
            a = a + self.embed[start + k]
        return torch.stack(made, 1)
