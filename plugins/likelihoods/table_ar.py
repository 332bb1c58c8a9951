"""Rows of a table, column after column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.likelihood import Likelihood
from genzoo.core.math.tables import Steps, shares, wide
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.likelihoods.table_rows import RowLikelihood, drawn
from genzoo.registry import declare

MOST_BEGINNINGS = 1024  # of rows that meet a condition, which are tried at once

declare.recipe(
    "table-ar",
    summary="Rows of a table, column after column: an exact likelihood, without a code",
    paper="arXiv:1605.02226",
    tags=("autoregressive", "exact", "table"),
    modalities=("table",),
    objective="maximum-likelihood",
    generator="constant",
    likelihood="table-ar",
    options={
        "latent.size": 0,
        "train.validation": 0.1,
        "train.epochs": 8,
        "train.patience": 3,
        "train.batch_size": 128,
        "train.optimizer": "adamw",
        "train.weight_decay": 0.01,
        "train.lr": 1e-3,
        "train.betas": (0.9, 0.99),
        "train.schedule": "cosine",
        "train.warmup": 100,
        "train.clip": 5.0,
        "train.average": 200_000,
    },
)


@declare.likelihood("table-ar", paper="arXiv:1605.02226", modalities=("table",), tags=("autoregressive", "table"))
class TableAutoregressive(RowLikelihood):
    """log p(row|h) = Σ_s log p(k_s | k_<s, h), a categorical distribution over the levels and bins of each column.

    After NADE (Uria et al., 2016): a_1 = h, a_{s+1} = a_s + E_s[k_s], and the logits of column s are
    W_s B(a_s + p_s) + b_s + log f_s with residual blocks B that columns share and the frequencies f_s of the
    training rows, so that step 0 is near independent columns. A number within its bin is uniform, so its log density
    is log P(bin) - log(width), in the data's own units.

    With ``any_order`` each observation of a batch is read in an order of its own, so that any columns can be given and
    the rest drawn; the likelihood that is told is that of the columns' own order, from left to right.

    When: rows with mixed columns.

    Cost: training is one pass of B for each column; sampling the same in all.
    """

    @dataclass(frozen=True)
    class Options(Likelihood.Options):
        hidden: int = option(192, "numbers that a row's beginning is summed up in", low=1, high=8192)
        blocks: int = option(1, "residual blocks that columns share", low=0, high=32)
        dropout: float = option(0.1, "share of hidden numbers that training leaves out", low=0, high=0.9)
        any_order: bool = option(False, "learn to draw columns in any order, given any others")

    options: Options

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        o, total = self.options, self.layout.total
        h, slots = o.hidden, len(self.layout.sizes)
        self.embed = nn.Parameter(torch.randn(total, h) * 0.3)
        self.place = nn.Parameter(torch.randn(slots, h) * 0.3)
        self.weight = nn.Parameter(torch.randn(total, h) * 0.3 * h**-0.5)
        self.bias = nn.Parameter(torch.zeros(total))
        self.blocks = nn.ModuleList(_block(h, o.dropout) for _ in range(o.blocks))
        self.norm = nn.LayerNorm(h)
        self.noise_size = slots if o.any_order else 0

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.options.hidden,)

    def hidden(self, a: Tensor) -> Tensor:
        """What logits are linear in, of sums of what is known ``(..., H)`` with the column's own numbers added."""
        for block in self.blocks:
            a = a + block(a)
        normed: Tensor = self.norm(a)
        return normed

    def logits(self, a: Tensor, t: int, before: Tensor | None = None) -> Tensor:
        """Logits ``(B, n)`` of slot t given the sum of what is known, and the value ``(B,)`` of the slot before."""
        return self._read(self.hidden(a + self.place[t]), t, before)

    def _read(self, h: Tensor, t: int, before: Tensor | None) -> Tensor:
        part = slice(self.layout.starts[t], self.layout.starts[t] + self.layout.sizes[t])
        found = wide(F.linear(h, self.weight[part], self.bias[part] + self.log_shares[part]))
        return found if before is None else self.possible(found, t, before)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Exact log-probability ``(B,)``, in the columns' own order."""
        return self.told(params, x, None)

    def log_prob_by(self, params: Tensor, x: Tensor, uniform: Tensor) -> Tensor:
        """The same in the order of each row's uniform numbers ``(B, T)``."""
        return self.told(params, x, uniform)

    def told(self, params: Tensor, x: Tensor, uniform: Tensor | None) -> Tensor:
        """Log-probability ``(B,)``, of columns from left to right, or in the order of ``uniform`` numbers."""
        k = self.layout.chosen(x)
        e = F.embedding(k + self.layout.held(x.device)["starts"], self.embed)
        slots = len(self.layout.sizes)
        place = torch.arange(slots, device=x.device)[None] if uniform is None else uniform
        known = (place[:, None, :] < place[:, :, None]).to(e.dtype) @ e  # slot t knows those of smaller numbers
        h = self.hidden(params.float()[:, None] + known + self.place)
        total = -self.log_volume_of(k)
        for t in range(slots):
            before = k[:, t - 1] if uniform is None and t else None
            total = total - F.cross_entropy(self._read(h[:, t], t, before), k[:, t], reduction="none")
        return total

    def mean(self, params: Tensor) -> Tensor:
        """The likeliest level or bin of each column, one column after another, and the middle of the bin."""
        return self._made(params, None)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw column by column, inverting the distribution function; a number's place in its bin is uniform."""
        shape = (len(params), len(self.layout.sizes) + len(self.layout.binned))
        return self._made(params, torch.rand(shape, generator=generator, device=params.device))

    def within(
        self, params: Tensor, allowed: Sequence[Tensor | None], generator: torch.Generator
    ) -> tuple[Tensor, Tensor, float] | None:
        """Go on with a row at a column by the chance of what is allowed there, and then draw within that.

        Where rows begin alike, all their beginnings that are allowed are tried first, as long as they are few: a
        condition on the first columns then costs no draw.
        """
        sizes, chance = self.layout.sizes, 1.0
        noise = 2 * len(sizes) + len(self.layout.binned)
        uniform = torch.rand((len(params), noise + 1), generator=generator, device=params.device)
        index, a = torch.arange(len(params), device=params.device), params.float()
        digits = index.new_zeros(len(params), len(sizes))
        bound = [t for t, s in enumerate(self.layout.column) if allowed[s] is not None]
        order = [*bound, *(t for t in range(len(sizes)) if t not in bound)] if self.noise_size else range(len(sizes))
        tried = 0
        if bound and bool((params == params[:1]).all()):
            tried, first, weights, known = self.beginnings(a[:1], order, bound, allowed)
            whole = weights.cumsum(0)
            chance = float(whole[-1])
            some = torch.searchsorted(whole, uniform[:, noise].double() * chance, right=True).clamp(max=len(whole) - 1)
            a, digits = known[some], first[some]
        for t in order[tried:]:
            p = torch.softmax(self.logits(a, t, digits[:, t - 1] if t else None), -1)
            if t in bound:
                p = p * self.may(t, allowed, digits)
                kept = (uniform[:, len(sizes) + t] < p.sum(1)).nonzero().flatten()
                p, a, digits, uniform, index = p[kept], a[kept], digits[kept], uniform[kept], index[kept]
            cumulative = p.cumsum(-1)
            k = (uniform[:, t, None] * cumulative[:, -1:] >= cumulative[:, :-1]).sum(-1)
            digits[:, t], a = k, a + self.embed[self.layout.starts[t] + k]
        return self.rows(digits, uniform[:, 2 * len(sizes) : noise]), index, chance

    def beginnings(
        self, a: Tensor, order: Sequence[int], bound: Sequence[int], allowed: Sequence[Tensor | None]
    ) -> tuple[int, Tensor, Tensor, Tensor]:
        """All beginnings of rows that are allowed: of how many slots, their values, probabilities, and sums."""
        digits = torch.zeros(1, len(self.layout.sizes), dtype=torch.int64, device=a.device)
        weights, tried = torch.ones(1, dtype=torch.float64, device=a.device), 0
        for number, t in enumerate(order):
            p = torch.softmax(self.logits(a, t, digits[:, t - 1] if t else None), -1)
            p = p * self.may(t, allowed, digits) if t in bound else p
            rows, k = (p > 0).nonzero().unbind(1)
            if not len(rows) or len(rows) > MOST_BEGINNINGS or not set(bound) & set(order[number:]):
                break
            weights, digits, tried = weights[rows] * p[rows, k], digits[rows], number + 1
            digits[:, t], a = k, a[rows] + self.embed[self.layout.starts[t] + k]
        return tried, digits, weights, a

    @property
    def fill_noise(self) -> int:  # type: ignore[override]
        return len(self.layout.sizes) + len(self.layout.binned) + 1

    def filled(self, params: Tensor, x: Tensor, given: Tensor, uniform: Tensor) -> Tensor:
        """Draw the columns that are not given, but no missing cell.

        With ``any_order`` the given columns are read first. Otherwise columns that are given to the right weigh K
        draws of a row, of which one is chosen: importance resampling, right as K grows. It is exact where the columns
        to fill are categories of at most K combinations, of which all are tried.
        """
        (n, draws), layout, t_all = uniform.shape[:2], self.layout, len(self.layout.sizes)
        empty = [t for t, s in enumerate(layout.column) if not given[s]]
        tried = None if self.noise_size else self.combinations(empty, draws)
        draws = 1 if self.noise_size else draws if tried is None else len(tried)
        digits = layout.chosen(x)[:, None].repeat(1, draws, 1)
        if tried is not None:
            digits[:, :, empty] = tried.to(x.device)
        order = [*(t for t in range(t_all) if t not in empty), *empty] if self.noise_size else range(t_all)
        a = params.float()[:, None].expand(n, draws, -1)
        weights = torch.zeros(n, draws, dtype=torch.float64, device=x.device)
        for t in order:
            if t < (empty[0] if empty else t_all) or (self.noise_size and t not in empty):
                a = a + self.embed[layout.starts[t] + digits[..., t]]
                continue
            before = digits[..., t - 1].flatten() if t else None
            log_p = torch.log_softmax(self.logits(a.flatten(0, 1), t, before), -1).view(n, draws, -1)
            if t in empty and tried is None:
                log_p = self.there(log_p, t, digits)
                mass = log_p.logsumexp(-1)
                k = drawn((log_p - mass[..., None]).flatten(0, 1), uniform[:, :draws, t].flatten())
                digits[..., t], weights = k.view(n, draws), weights + mass
            else:
                weights = weights + log_p.gather(-1, digits[..., t, None])[..., 0]
            a = a + self.embed[layout.starts[t] + digits[..., t]]
        chosen = (weights - weights.max(1, keepdim=True).values).exp().cumsum(1)
        pick = (uniform[:, 0, -1:] * chosen[:, -1:] >= chosen[:, :-1]).sum(1)
        places = uniform[:, 0, t_all:-1]
        return self.rows(digits[torch.arange(n, device=x.device), pick], places)

    def there(self, log_p: Tensor, t: int, digits: Tensor) -> Tensor:
        """Log-probabilities ``(B, K, n)`` of slot t without what means a missing cell."""
        s = self.layout.column[t]
        column = self.layout.columns[s]
        if not column.missing or (column.base and t not in self.last):
            return log_p
        none = torch.zeros_like(log_p, dtype=torch.bool)
        none[..., 0] = digits[..., t - 1] == 0 if column.base else True
        return log_p.masked_fill(none, -math.inf)

    def combinations(self, slots: Sequence[int], most: int) -> Tensor | None:
        """All values ``(C, T)`` of slots that are whole columns, but missing ones; None of more than ``most``."""
        columns = [self.layout.columns[self.layout.column[t]] for t in slots]
        if any(c.base for c in columns) or math.prod(c.size - int(c.missing) for c in columns) > most:
            return None
        found = [torch.arange(int(c.missing), c.size) for c in columns]
        return torch.cartesian_prod(*found).view(-1, len(slots)) if found else None

    def may(self, t: int, allowed: Sequence[Tensor | None], digits: Tensor) -> Tensor:
        """Which values of slot t belong to a level that is allowed, given the digit before it, ``(B or 1, n)``."""
        s = self.layout.column[t]
        levels, column = allowed[s], self.layout.columns[s]
        assert levels is not None
        if not column.base:
            return levels[None]
        whole = F.pad(levels, (0, column.slots[0] * column.base - len(levels))).view(column.slots)
        return whole[digits[:, t - 1]] if t in self.last else whole.any(1)[None]

    def steps(self, params: Tensor) -> Steps:
        a, before = wide(params), None
        for t, start in enumerate(self.layout.starts):
            symbols = yield torch.tensor([t]), shares(self.logits(a, t, before))[:, None]
            before = symbols[:, 0]
            a = a + self.embed[start + before]

    def _made(self, params: Tensor, uniform: Tensor | None) -> Tensor:
        """Rows in model space, by uniform numbers ``(B, T + P)``: those of slots, then those of places."""
        a, digits = params.float(), list[Tensor]()
        for t, start in enumerate(self.layout.starts):
            logits = self.logits(a, t, digits[-1] if digits else None)
            digits.append(drawn(logits, None if uniform is None else uniform[:, t]))
            a = a + self.embed[start + digits[-1]]
        return self.rows(torch.stack(digits, 1), None if uniform is None else uniform[:, len(digits) :])


def _block(h: int, dropout: float) -> nn.Sequential:
    """A residual block that begins as nothing."""
    block = nn.Sequential(nn.LayerNorm(h), nn.Linear(h, h), nn.SiLU(), nn.Dropout(dropout), nn.Linear(h, h))
    nn.init.zeros_(block[-1].weight)  # type: ignore[arg-type]
    return block
