"""Pseudo-random permutations that are computed where they are asked for: no memory, whatever their length."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 8  # even, so that the halves have their widths back
_STEP = 0x9E3779B97F4A7C15 - 2**64  # of SplitMix64, as int64


def mixed(h: Tensor) -> Tensor:
    """The finalizer of SplitMix64, on int64 numbers that wrap around."""
    for shift, by in ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64)):
        h = (h ^ (h >> shift & (1 << 64 - shift) - 1)) * by
    return h ^ (h >> 31 & (1 << 33) - 1)


def permuted(index: Tensor, n: int, seed: int) -> Tensor:
    """Where a permutation of ``range(n)``, one of a seed, puts indices, int64 ``(B,)``.

    A Feistel network on numbers of as many bits as n - 1 has is one of the next power of two; numbers outside of the
    range go through it again until they are inside (Black and Rogaway, CT-RSA 2002), which halves at least each time.
    """
    width = max((n - 1).bit_length(), 2)
    keys = mixed(torch.arange(1, _ROUNDS + 1) * _STEP + mixed(torch.tensor(seed)))
    found = _turned(index, keys, width)
    while len(outside := (found >= n).nonzero().flatten()):
        found[outside] = _turned(found[outside], keys, width)
    return found


def _turned(x: Tensor, keys: Tensor, width: int) -> Tensor:
    """A permutation of the numbers of ``width`` bits: the halves change places, one of them changed by the other."""
    low, high = width // 2, width - width // 2
    for key in keys:
        left, right = x >> low, x & (1 << low) - 1
        left = left ^ (mixed(right + key) & (1 << high) - 1)
        x, low, high = right << high | left, high, low
    return x
