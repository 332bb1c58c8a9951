"""What likelihoods of rows share, and rows whose columns are independent given the code."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Likelihood
from genzoo.core.math.tables import Steps, shares, wide
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.one_hot import layout
from genzoo.registry import declare


class RowLikelihood(Likelihood):
    """p(row|h) as a categorical distribution of each slot: of levels and bins, or of the digits of a level.

    A number within its bin is uniform, so its log density is log P(bin) - log(width), in the data's own units. Logits
    start at the log frequencies of the training rows.
    """

    sampled = True
    volume: Tensor  # log width of each bin, 0 for levels
    log_shares: Tensor

    def __init__(self, spec: DataSpec, options: Likelihood.Options | None = None) -> None:
        super().__init__(spec, options)
        self.layout = layout(spec)
        self.discrete = not self.layout.binned
        widths = [
            w
            for c in self.layout.columns
            for w in [0.0] * (sum(c.slots) - max(len(c.edges) - 1, 0))
            + [math.log(b - a) for a, b in zip(c.edges, c.edges[1:], strict=False)]
        ]
        self.register_buffer("volume", torch.tensor(widths), persistent=False)
        self.register_buffer("log_shares", torch.tensor(self.layout.log_shares), persistent=False)
        # The second digit of a category's last levels goes only so far: slot to (greatest first digit, values then).
        self.last = {
            t: (c.slots[0] - 1, c.size - (c.slots[0] - 1) * c.base)
            for t, c in ((t, self.layout.columns[s]) for t, s in enumerate(self.layout.column))
            if c.base and t and self.layout.column[t - 1] == self.layout.column[t]
        }

    @property
    def coded(self) -> bool:
        """Levels and bins are; the place within a bin is the modality's."""
        return True

    def symbols(self, x: Tensor) -> Tensor:
        return self.layout.chosen(x)

    def observed(self, symbols: Tensor) -> Tensor:
        return self.layout.blocks(
            symbols, symbols.new_zeros(len(symbols), len(self.layout.binned), dtype=torch.float32)
        )

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if "dtype" not in spec.facts:
            raise UsageError("this likelihood is for rows of tables: use --likelihood gaussian")

    def possible(self, logits: Tensor, slot: int, before: Tensor) -> Tensor:
        """Logits ``(B, n)`` of a slot in which only levels that there are have a chance, given the slot's before."""
        if slot not in self.last:
            return logits
        first, n = self.last[slot]
        beyond = torch.arange(logits.shape[1], device=logits.device) >= n
        return logits.masked_fill((before == first)[:, None] & beyond, -math.inf)

    def log_volume_of(self, digits: Tensor) -> Tensor:
        """Log width of the bins of rows ``(B,)``: what their densities lose."""
        return self.volume[digits + self.layout.held(digits.device)["starts"]].sum(1)

    def rows(self, digits: Tensor, uniform: Tensor | None) -> Tensor:
        """Model space of values of slots ``(B, T)``, with places by uniform numbers ``(B, P)``, or in the middle."""
        n = len(self.layout.binned)
        places = digits.new_zeros(len(digits), n, dtype=torch.float32) if uniform is None else uniform * 2 - 1
        return self.layout.blocks(digits, places)


def drawn(logits: Tensor, uniform: Tensor | None) -> Tensor:
    """Values ``(B,)`` of a slot by uniform numbers ``(B,)``, inverting the distribution function, or the likeliest."""
    if uniform is None:
        return logits.argmax(1)
    cumulative = torch.softmax(logits.float(), -1).cumsum(-1)
    return (uniform[:, None] * cumulative[:, -1:] >= cumulative[:, :-1]).sum(-1)


@declare.likelihood("table", modalities=("table",), tags=("table",))
class TableLikelihood(RowLikelihood):
    """log p(row|h) = Σ_s log p(k_s|h): columns are independent given the generator's numbers, a logit for each value.

    A category of many levels is two digits, and the second one's logits move by the first: those of (a, b) get u_a v_b
    of ``rank`` learned numbers.

    When: rows with a code, as in a VAE; `table-ar` needs none.

    Cost: a softmax of each column.
    """

    @dataclass(frozen=True)
    class Options(Likelihood.Options):
        rank: int = option(16, "learned numbers that tie the digits of a category of many levels", low=1, high=1024)

    options: Options

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        sizes, r = self.layout.sizes, self.options.rank
        self.ties = nn.ParameterDict({
            str(t): nn.Parameter(0.1 * torch.randn(sizes[t - 1] + sizes[t], r)) for t in self.last
        })  # fmt: skip

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.layout.total,)

    def logits(self, params: Tensor, t: int, before: Tensor | None) -> Tensor:
        """Logits ``(B, n)`` of slot t, given the value ``(B,)`` of the slot before it."""
        a, n = self.layout.starts[t], self.layout.sizes[t]
        found = wide(params[:, a : a + n] + self.log_shares[a : a + n])
        if t in self.last and before is not None:
            tie = self.ties[str(t)]
            split = self.layout.sizes[t - 1]
            found = self.possible(found + tie[:split][before] @ tie[split:].T, t, before)
        return found

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        k = self.layout.chosen(x)
        total = -self.log_volume_of(k)
        for t in range(len(self.layout.sizes)):
            logits = self.logits(params, t, k[:, t - 1] if t else None)
            total = total - F.cross_entropy(logits, k[:, t], reduction="none")
        return total

    def steps(self, params: Tensor) -> Steps:
        before = None
        for t in range(len(self.layout.sizes)):
            before = (yield torch.tensor([t]), shares(self.logits(params, t, before))[:, None])[:, 0]

    def mean(self, params: Tensor) -> Tensor:
        """The likeliest value of each column and the middle of its bin, with the slopes of a softmax."""
        places = params.new_zeros(len(params), len(self.layout.binned))
        return self.layout.hardened(torch.cat([params.float(), places.float()], 1))

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        n, slots = len(params), len(self.layout.sizes)
        u = torch.rand(n, slots + len(self.layout.binned), generator=generator, device=params.device)
        digits: list[Tensor] = []
        for t in range(slots):
            digits.append(drawn(self.logits(params, t, digits[-1] if digits else None), u[:, t]))
        return self.rows(torch.stack(digits, 1), u[:, slots:])
