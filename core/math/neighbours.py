"""Nearest neighbours of many points among many, a slab of the distance matrix at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_CELLS = 4_000_000  # distances held at a time: 16 MB in float32


def centred(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both sets with y's mean as the origin: distances stay, and lose fewer digits in `slabs`."""
    centre = y.mean(0)
    return x - centre, y - centre


def slabs(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows of x ``(N, D)`` and their squared distances to all of y ``(M, D)``, less ‖x‖²; the buffer is reused.

    A product of (x, 1) and (-2y, ‖y‖²) gives ‖y‖² - 2 x·y at once. What is left out is the same in a whole
    row, so neighbours and comparisons need not pay for another pass over the matrix.
    """
    left = torch.cat([x, x.new_ones(len(x), 1)], 1)
    right = torch.cat([-2 * y, y.square().sum(1, keepdim=True)], 1).T
    step = max(_CELLS // len(y), 1)
    buffer = x.new_empty(min(step, len(x)), len(y))
    for start in range(0, len(x), step):
        rows = slice(start, min(start + step, len(x)))
        yield rows, torch.mm(left[rows], right, out=buffer[: rows.stop - start])


def nearest(x: Tensor, y: Tensor, k: int = 1, *, itself: bool = False) -> tuple[Tensor, Tensor]:
    """The k nearest of y ``(M, D)``, M ≥ k, for each of x, nearest first: distances ``(N, k)`` and indices ``(N, k)``.

    With ``itself``, y is x, and no point is its own neighbour.
    """
    a, b = centred(x, y)
    indices = []
    for rows, slab in slabs(a, b):
        if itself:
            slab.diagonal(rows.start).fill_(torch.inf)
        # Two more than asked for, since differences of large squares may confuse near ties.
        indices.append(slab.topk(min(k + 2, len(y) - itself), dim=1, largest=False).indices)
    index = torch.cat(indices)
    step = max(_CELLS // (index.shape[1] * x.shape[1]), 1)
    parts = zip(torch.split(x, step), torch.split(index, step), strict=True)
    exact = torch.cat([(y[i] - part[:, None]).square().sum(2).sqrt() for part, i in parts])
    distance, order = exact.sort(dim=1, stable=True)
    return distance[:, :k], index.gather(1, order)[:, :k]
