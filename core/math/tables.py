"""Distributions of symbols, said a few at a time, so that whoever draws and whoever codes goes by the same numbers."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import cache

import torch
from torch import Tensor

# Yields flat places (d,) and probabilities (B, d, symbols) of what is there, and is sent the symbols, int64 (B, d).
Steps = Generator[tuple[Tensor, Tensor], Tensor, None]

GRID = 2**11  # steps of 1/2048: a sixteenth of a level of 8 bits in model space
ONE = 2**24  # what a coded probability of 1 is
LEAST = 2**4  # a coded probability is 2^-20 at least
_CACHED = 2**16  # numbers of a table that a processor keeps near


def snapped(x: Tensor) -> Tensor:
    """Round float64 to multiples of 1/`GRID`, on which two machines agree; other numbers stay as they are."""
    return torch.round(x * GRID) / GRID if x.dtype == torch.float64 else x


def wide(x: Tensor) -> Tensor:
    """Numbers in float32; those of float64 stay so."""
    return x if x.dtype == torch.float64 else x.float()


def shares(logits: Tensor) -> Tensor:
    """Softmax over the last dimension, in float32 or, of `snapped` logits, in float64."""
    return torch.softmax(snapped(wide(logits)), -1)


def logistic_table(mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Probabilities ``(…, levels)`` of a discretized logistic distribution in model space, float64."""
    edges = (torch.arange(levels - 1, dtype=torch.float64, device=mean.device) + 0.5) / (levels - 1) * 2 - 1
    mean, inverse = mean.double()[..., None], torch.exp(-log_scale.double())[..., None]
    below = torch.addcmul(-mean * inverse, edges, inverse).sigmoid_()
    table = mean.new_empty(*mean.shape[:-1], levels)
    table[..., 0], table[..., -1] = below[..., 0], 1 - below[..., -1]
    torch.sub(below[..., 1:], below[..., :-1], out=table[..., 1:-1])
    return table


_REACH, _FINE = 20, 2**12  # of arguments of the tabulated logistic function, and its steps in 1


@cache
def _sigmoid_counts(levels: int) -> Tensor:
    at = torch.arange(-_REACH * _FINE, _REACH * _FINE + 1, dtype=torch.float64) / _FINE
    return (torch.sigmoid(at) * (ONE - levels * LEAST)).floor_().int()


class Logistic:
    """Discretized logistic distributions in model space as whole numbers, ``ONE`` in all and `LEAST` for each symbol.

    What is below a symbol comes from a table of σ, on whose places two machines agree.
    """

    def __init__(self, mean: Tensor, log_scale: Tensor, levels: int) -> None:
        self.levels, self.shape = levels, mean.shape
        inverse = torch.exp(-log_scale.double()).expand_as(mean) * _FINE
        self.step = (inverse * (2 / (levels - 1))).flatten()
        # Where in the table the edge below level 0 would be.
        self.start = ((-1 - 1 / (levels - 1) - mean.double()) * inverse + _REACH * _FINE).flatten()

    def below(self, symbols: Tensor, of: Tensor | None = None) -> Tensor:
        """Counts below symbols ``(n,)``, int64, of all places or some: 0 below the first, and `ONE` below the end."""
        table = _sigmoid_counts(self.levels)
        start, step = (self.start, self.step) if of is None else (self.start[of], self.step[of])
        at = torch.addcmul(start, step, symbols.double()).round_().clamp_(0, len(table) - 1).long()
        inner = table.take(at).long().add_(symbols, alpha=LEAST)
        return inner.masked_fill_(symbols <= 0, 0).masked_fill_(symbols >= self.levels, ONE)

    def find(self, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Symbols that have these counts ``(n,)``, and where each begins and ends."""
        inner, found = ONE - self.levels * LEAST, torch.zeros_like(counts)
        for _ in range(2):  # by the inverse of σ; what `LEAST` adds below is known only then
            u = ((counts - found * LEAST).double() + 0.5).div_(inner).clamp_(1e-9, 1 - 1e-9)
            at = torch.logit(u).mul_(_FINE).add_(_REACH * _FINE).sub_(self.start).div_(self.step)
            found = at.clamp_(0, self.levels - 1).long()
        first, end = self.below(found), self.below(found + 1)
        for turn in range(4):  # most are right now, or next to it
            wrong = ((first > counts) | (end <= counts)).nonzero()[:, 0]
            if not len(wrong):
                break
            if turn < 3:
                found[wrong] += (end[wrong] <= counts[wrong]).long() * 2 - 1
            else:
                found[wrong] = self._bisected(counts[wrong], wrong)
            first[wrong], end[wrong] = self.below(found[wrong], wrong), self.below(found[wrong] + 1, wrong)
        return found, first, end

    def _bisected(self, counts: Tensor, of: Tensor) -> Tensor:
        low, high = torch.zeros_like(counts), torch.full_like(counts, self.levels)
        for _ in range((self.levels - 1).bit_length()):
            middle = (low + high) >> 1
            under = self.below(middle, of) <= counts
            low, high = torch.where(under, middle, low), torch.where(under, high, middle)
        return low


def pieces(places: int) -> list[slice]:
    """Places a few at a time: so few that a stack that holds as many observations has the bits to push by counts."""
    step = -(-places // 16)
    return [slice(a, min(a + step, places)) for a in range(0, places, step)]


def portions(places: int, rows: int, levels: int) -> Iterator[Tensor]:
    """Places ``(d,)`` a few at a time, so that tables ``(rows, d, levels)`` of theirs stay in a processor's cache."""
    return iter(torch.split(torch.arange(places), max(_CACHED // (rows * levels), 1)))


def inverted(steps: Steps, uniform: Tensor) -> Tensor:
    """Draw symbols, int64 ``(B, places)``, by inverting distribution functions at uniform numbers of that shape."""
    found = torch.zeros(uniform.shape, dtype=torch.long, device=uniform.device)
    try:
        where, p = next(steps)
        while True:
            below = p.cumsum(-1)
            drawn = (below[..., :-1] <= uniform[:, where, None] * below[..., -1:]).sum(-1)
            found[:, where] = drawn
            where, p = steps.send(drawn)
    except StopIteration:
        return found


def nucleus(logits: Tensor, share: float) -> Tensor:
    """The likeliest symbols that together have at least that share of the probability; the rest is impossible."""
    order = logits.argsort(-1, descending=True)
    p = torch.softmax(logits, -1).gather(-1, order)
    late = p.cumsum(-1) - p >= share  # the likeliest is always there
    return logits.masked_fill(late.gather(-1, order.argsort(-1)), -torch.inf)


def to_levels(x: Tensor, levels: int) -> Tensor:
    """The levels, int64, that numbers of model space are; one outside, as after noise, is the nearest."""
    return torch.round((x + 1) / 2 * (levels - 1)).long().clamp(0, levels - 1)


def from_levels(symbols: Tensor, levels: int) -> Tensor:
    """The numbers of model space, float32, that levels are."""
    return symbols / (levels - 1) * 2 - 1
