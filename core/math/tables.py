"""Distributions of symbols, said a few at a time, so that whoever draws and whoever codes goes by the same numbers."""

from __future__ import annotations

from collections.abc import Generator, Iterator

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
