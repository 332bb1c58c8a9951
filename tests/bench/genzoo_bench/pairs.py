"""Interleaved timing: A, B, A, B, … in one process, and what their ratio is, pair by pair."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import comb
from typing import Any

import torch

Work = Callable[[], object]
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Ratio:
    """How fast one side is as a factor of the other: above 1 is faster.

    Attributes:
        median: of the pairs' ratios.
        low: lower end of the median's interval (at least 95 %, distribution-free).
        high: its upper end.
        ours: median seconds of one side.
        theirs: median seconds of the other.
        pairs: how many.
    """

    median: float
    low: float
    high: float
    ours: float
    theirs: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Distribution-free confidence interval of the median: order statistics by the binomial distribution.

    Fewer than six values are too few for 95 %: then it is their range.
    """
    ordered, n = sorted(values), len(values)
    tail, k = 0.0, 0
    while k < n // 2 and tail + comb(n, k) / 2**n <= (1 - confidence) / 2:
        tail += comb(n, k) / 2**n
        k += 1
    k = max(k - 1, 0)
    return ordered[k], ordered[n - 1 - k]


def ratio_of(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Judge paired times in seconds."""
    found = [b / a for a, b in zip(ours, theirs, strict=True)]
    low, high = interval(found)
    middle = statistics.median
    return Ratio(middle(found), low, high, middle(ours), middle(theirs), len(found))


def seconds(work: Work, device: torch.device, clock: Callable[[], float] = time.perf_counter) -> float:
    """Time one piece of work, until the device has done it."""
    _settle(device)
    start = clock()
    work()
    _settle(device)
    return clock() - start


def interleaved(
    sides: Sequence[Work],
    pairs: int,
    device: torch.device,
    tick: Callable[[], Any],
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Time several sides in turn.

    Args:
        sides: each a piece of work, warmed up already.
        pairs: rounds; in every other one the order is reversed, so that no side always runs on the warmer cache.
        device: waited for before and after each piece.
        tick: called after each round.
        clock: `time.process_time` counts what other processes take from this one as no time, on a single thread.

    Returns:
        Seconds by side and round.
    """
    times: list[list[float]] = [[] for _ in sides]
    for number in range(pairs):
        order = range(len(sides)) if number % 2 else reversed(range(len(sides)))
        for side in order:
            times[side].append(seconds(sides[side], device, clock))
        tick()
    return times


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def threads_set(threads: int | None) -> Iterator[None]:
    """Set torch's CPU threads for a while; None leaves them."""
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
