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
_PLACES = 2 * _REACH * _FINE + 1


@cache
def _sigmoid_counts(levels: int) -> tuple[Tensor, Tensor]:
    """Whole numbers up to what `LEAST` leaves of ``ONE``, and the edges of levels, the outer ones far out."""
    at = torch.arange(_PLACES, dtype=torch.float64) / _FINE - _REACH
    inner = ONE - levels * LEAST
    table, edges = (torch.sigmoid(at) * inner).floor_(), torch.arange(levels + 1, dtype=torch.float64)
    table[-1], edges[0], edges[-1] = inner, -1e12, 1e12
    return table, edges


class Logistic:
    """Discretized logistic distributions in model space as whole numbers, ``ONE`` in all and `LEAST` for each symbol.

    The first `LEAST` counts of all symbols stand before the others, so that what is below a symbol comes from a table
    of σ alone, on whose places two machines agree, and σ is inverted once. Numbers are whole ones in float64.
    """

    def __init__(self, mean: Tensor, log_scale: Tensor, levels: int) -> None:
        self.levels, self.shape, self.spare = levels, mean.shape, levels * LEAST
        inverse = torch.exp(-log_scale.double()).expand_as(mean) * _FINE
        self.step = (inverse * (2 / (levels - 1))).flatten()
        # Where in the table the edge below level 0 would be.
        self.start = ((-1 - 1 / (levels - 1) - mean.double()) * inverse + _REACH * _FINE).flatten()

    def below(self, symbols: Tensor, of: Tensor | None = None) -> Tensor:
        """Counts of σ below symbols ``(n,)``, of all places or some: 0 below the first, and all below the end."""
        table, edges = _sigmoid_counts(self.levels)
        start, step = (self.start, self.step) if of is None else (self.start[of], self.step[of])
        at = torch.addcmul(start, step, edges.take(symbols))
        return table.take(at.round_().clamp_(0, _PLACES - 1).long())

    def counts(self, symbols: Tensor, first: Tensor, within: Tensor) -> Tensor:
        """The counts that are in these places of their symbols, by what is `below` them."""
        return torch.where(within < LEAST, symbols * LEAST, first + (self.spare - LEAST)).add_(within)

    def find(self, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Symbols that have these counts ``(n,)``, in which of their places, and how many each has."""
        shared, t = counts < self.spare, counts - self.spare
        # The last place of the table that holds no more than t, and the last edge that is no further.
        at = (t + 1).clamp_(min=0.5).div_(ONE - self.spare).logit_().mul_(_FINE).add_(_REACH * _FINE)
        at = at.ceil_().clamp_(1, _PLACES - 1).sub_(0.5).sub_(self.start).div_(self.step)
        found = torch.where(shared, counts.mul(1 / LEAST), at.clamp_(0, self.levels - 1)).long()
        first, end = self.below(found), self.below(found + 1)
        while len(wrong := (((first > t) | (end <= t)) & ~shared).nonzero()[:, 0]):  # by a last bit
            found[wrong] += (end[wrong] <= t[wrong]).long() * 2 - 1
            first[wrong], end[wrong] = self.below(found[wrong], wrong), self.below(found[wrong] + 1, wrong)
        within = torch.where(shared, counts - found * LEAST, t - first + LEAST)
        return found, within, end - first + LEAST


def pieces(places: int, parts: int) -> list[slice]:
    """Places a few at a time: so few that a stack has the bits to push them by counts."""
    step = -(-places // parts)
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
