"""Pairs of times for the scripts beside this file, by the rules of ``genzoo bench train``."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from genzoo_bench.pairs import interleaved, interval

__all__ = ["interval", "line", "ratios"]


def ratios(ours: Callable[[], None], theirs: Callable[[], None], pairs: int) -> list[float]:
    """Speed of ours as a factor of theirs, for each pair: above 1 is faster."""
    ours(), theirs()  # warm up
    mine, other = interleaved([ours, theirs], pairs, torch.device("cpu"), lambda: None)
    return [b / a for a, b in zip(mine, other, strict=True)]


def line(name: str, found: list[float]) -> str:
    low, high = interval(found)
    return f"{name:<16} {statistics.median(found):.3f}  [{low:.3f}, {high:.3f}]  {len(found)} pairs"
