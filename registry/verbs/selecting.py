"""Samples that meet a condition, for a file: those that there are, or a sentence that says how many."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

from torch import Tensor

from genzoo.core.joint import BLOCK
from genzoo.core.model import Model
from genzoo.core.selection import Found, Parts, Selection, TooFewError, gathered, selected


def search(
    model: Model,
    n: int,
    wanted: Selection,
    max_draws: int | None,
    allow_fewer: bool,
    batch_size: int,
    share: tuple[int, int],
    how: Mapping[str, Any],
) -> tuple[int, Parts, Found]:
    """How many there will be, every k-th batch of them from number r on, of a share ``(r, k)``, and how it went.

    With ``allow_fewer`` they are found before the first is given, and there are as many as there are, but one.
    """
    found, size = Found(n), max(batch_size // BLOCK, 1) * BLOCK
    how = {**how, "noise": how["noise"] or model.likelihood.sampled}
    parts = selected(model, n, wanted, **how, max_draws=max_draws, found=found)
    if allow_fewer:
        parts = _there(parts)
        n = found.kept
    return n, gathered(parts, size, share), found


def _there(parts: Parts) -> Parts:
    """All parts before the search ended, whether it found what it was to find or not; at least one."""
    first, held = next(parts), list[tuple[Tensor, Tensor | None]]()
    with suppress(TooFewError):
        held.extend(parts)
    return chain([first], held)
