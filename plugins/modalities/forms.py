"""How the numbers that people bring are stored: found by looking at all of them once, some at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from genzoo.core.data.arrays import raw_parts
from genzoo.core.data.rows import ArrayLike
from genzoo.core.errors import UsageError

Array = NDArray[Any]
Layout = Literal["rows", "grey", "first", "last"]


@dataclass(frozen=True)
class Form:
    """Turns raw rows ``(B, …)`` into stored ones, each by itself."""

    layout: Layout  # ``rows`` are vectors; images are ``grey`` or have their channels ``first`` or ``last``
    shape: tuple[int, ...]  # of one stored observation
    levels: int | None  # how many values a number can take: 256, 2, or None for float32
    scaled: bool = False  # raw floats are multiples of 1/255, to be stored as whole numbers
    clip: bool = False  # some floats lie outside [0, 1] by rounding
    rgba: bool = False  # the fourth channel is opacity, to be composited on white

    @property
    def dtype(self) -> torch.dtype:
        """Of stored numbers."""
        return torch.float32 if self.levels is None else torch.uint8

    def same(self, raw: Array) -> bool:
        """Whether raw rows need no change, and torch may hold (and change) their memory."""
        dtype = np.dtype(np.float32 if self.levels is None else np.uint8)
        plain = raw.dtype == dtype and raw.flags.c_contiguous and raw.flags.writeable
        changed = self.scaled or self.clip or self.rgba or self.layout == "last"
        return plain and not changed and not isinstance(raw, np.memmap)

    def __call__(self, raw: Array) -> Array:
        """Bring raw rows to storage form."""
        if self.scaled:
            x: Array = np.rint(_unit(raw) * np.float32(255)).astype(np.uint8)
            x = x // 255 if self.levels == 2 else x
        elif self.levels is None:
            x = _unit(raw) if self.clip else raw.astype(np.float32, copy=False)
        else:
            x = raw.astype(np.uint8, copy=False)
        if self.layout == "last":
            x = np.moveaxis(x, -1, 1)
        if self.rgba:
            top = 255 if self.levels == 256 else 1
            rgba = x.astype(np.float32)
            alpha = rgba[:, 3:] / top
            mixed = rgba[:, :3] * alpha + top * (1 - alpha)
            x = mixed if self.levels is None else np.rint(mixed).astype(np.uint8)
        return x.reshape(len(x), *self.shape)


def look_at(raw: ArrayLike, *, vectors: bool, layout: str | None, what: str) -> Form:
    """The form of raw rows, of which all are looked at where their values decide.

    ``layout`` says where images have their channels, ``first`` or ``last``; None goes by the shape. Raises
    `UsageError` for numbers that are not accepted; says what was found and what to do.
    """
    shape, kind = tuple(map(int, raw.shape)), raw.dtype.kind
    low, high, multiples, binary = math.inf, -math.inf, True, True
    seen, bad, first = 0, 0, tuple[int, ...]()
    plain = not vectors and (kind == "b" or (kind == "u" and raw.dtype.itemsize == 1))
    for part in () if plain else raw_parts(raw):
        if vectors or kind == "f":
            with np.errstate(over="ignore"):
                wrong = ~np.isfinite(part.astype(np.float32, copy=False))
            if wrong.any():
                at, *others = map(int, np.unravel_index(int(wrong.argmax()), wrong.shape))
                first, bad = first or (seen + at, *others), bad + int(wrong.sum())
        seen += len(part)
        if vectors or bad:
            continue
        low, high = min(low, part.min()), max(high, part.max())
        if kind == "f" and multiples and _in_range(low, high):
            scaled = _unit(part) * np.float32(255)
            whole = np.rint(scaled)
            multiples = bool(np.abs(scaled - whole).max() <= 1e-3)
            binary = binary and not ((whole > 0) & (whole < 255)).any()
    if bad:
        raise UsageError(f"{what} has {bad} values that are NaN or infinite as float32, the first at index {first}")
    if vectors:
        return Form("rows", shape[1:], None)
    if kind != "f" and not plain and (low < 0 or high > 255):
        raise UsageError(f"{what} has whole numbers from {low} to {high}: 8-bit pixels are 0 to 255")
    if kind == "f" and not _in_range(low, high):
        how = "scale or clip them"
        if low >= 0 and 2 < high <= 255:
            how = "divide by 255"
        elif -1 <= low < 0 and high <= 1:
            how = "use (x + 1) / 2"
        found = f"floats from {low:.4g} to {high:.4g}"
        raise UsageError(f"{what} has {found}: images are floats in [0, 1], so {how} first")
    place = _layout(shape, layout, what)
    row = {"grey": (1, *shape[1:]), "first": shape[1:], "last": (*shape[3:], *shape[1:3])}[place]
    rgba = row[0] == 4
    stored = (3, *row[1:]) if rgba else row
    if kind != "f":
        return Form(place, stored, 2 if kind == "b" else 256, rgba=rgba)
    levels = (2 if binary and low <= 0 and high >= 1 else 256) if multiples else None
    return Form(place, stored, levels, multiples, bool(low < 0 or high > 1), rgba)


def _in_range(low: float, high: float) -> bool:
    return bool(low >= -1e-6 and high <= 1 + 1e-6)


def _unit(raw: Array) -> Array:
    """Floats as float32, with what lies outside [0, 1] by rounding brought inside."""
    return np.clip(raw.astype(np.float32, copy=False), 0, 1)


def _layout(shape: tuple[int, ...], layout: str | None, what: str) -> Layout:
    """Where images of a shape have their channels."""
    if len(shape) == 3:
        return "grey"
    if layout is not None and layout not in ("first", "last"):
        raise UsageError(f"layout is 'first' or 'last', not {layout!r}")
    if layout is not None:
        return layout  # type: ignore[return-value]
    first, last = shape[1] in (1, 3, 4), shape[3] in (1, 3, 4)
    if first == last:
        which = "could be either" if first else "is neither with 1, 3 or 4 channels"
        raise UsageError(
            f"{what} has shape {shape}, which {which} of (N, C, H, W) and (N, H, W, C): say data.layout=first or last"
        )
    return "last" if last else "first"
