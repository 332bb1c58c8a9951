"""Interleaved timing: A, B, A, B, … in one process, and the ratio pair by pair."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from math import comb


def interval(values: list[float], confidence: float = 0.95) -> tuple[float, float]:
    """Distribution-free confidence interval of the median: order statistics by the binomial distribution."""
    ordered, n = sorted(values), len(values)
    tail, k = 0.0, 0
    while k < n // 2 and tail + comb(n, k) / 2**n <= (1 - confidence) / 2:
        tail += comb(n, k) / 2**n
        k += 1
    k = max(k - 1, 0)
    return ordered[k], ordered[n - 1 - k]


def ratios(ours: Callable[[], None], theirs: Callable[[], None], pairs: int) -> list[float]:
    """Speed of ours as a factor of theirs, for each pair: above 1 is faster."""
    ours(), theirs()  # warm up
    found = []
    for pair in range(pairs):
        times = {}
        # Who goes first changes, so that neither always runs on the warmer cache.
        for who in (ours, theirs) if pair % 2 else (theirs, ours):
            start = time.perf_counter()
            who()
            times[who] = time.perf_counter() - start
        found.append(times[theirs] / times[ours])
    return found


def line(name: str, found: list[float]) -> str:
    low, high = interval(found)
    return f"{name:<16} {statistics.median(found):.3f}  [{low:.3f}, {high:.3f}]  {len(found)} pairs"
