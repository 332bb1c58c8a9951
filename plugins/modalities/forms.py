"""How the numbers that people bring are stored: found by looking at all of them once, some at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from genzoo.core.data.intake import raw_parts
from genzoo.core.data.rows import ArrayLike
from genzoo.core.errors import UsageError

Array = NDArray[Any]
Layout = Literal["rows", "grey", "first", "last"]


@dataclass(frozen=True)
class Form:
    """Turns raw rows ``(B, …)`` into stored ones, each by itself.

    Attributes:
        layout: ``rows`` are vectors; images are ``grey`` or have their channels ``first`` or ``last``.
        shape: of one stored observation.
        levels: how many values a number can take: 256, 2, or None for float32.
        scaled: raw floats are multiples of 1/255, to be stored as whole numbers.
        clip: some floats lie outside [0, 1] by rounding.
        rgba: the fourth channel is opacity, to be composited on white.
    """

    layout: Layout
    shape: tuple[int, ...]
    levels: int | None
    scaled: bool = False
    clip: bool = False
    rgba: bool = False

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


class Look:
    """Decides on a form by the raw rows that it is shown, in their order.

    Args:
        shape: of all raw rows.
        dtype: of their numbers.
        vectors: whether they are vectors; otherwise images.
        layout: where images have their channels, ``first`` or ``last``; None goes by the shape.
        what: what the data are called, for messages.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], *, vectors: bool, layout: str | None, what: str
    ) -> None:
        self.vectors, self.what, self.dtype = vectors, what, dtype
        self.shape, self.layout = shape, layout
        self._seen, self._bad = 0, 0
        self._first: tuple[int, ...] = ()
        self._low, self._high = math.inf, -math.inf
        self._multiples, self._binary = True, True

    @property
    def needed(self) -> bool:
        """Whether the form depends on the values at all."""
        return self.vectors or self.dtype.kind in "if" or (self.dtype.kind == "u" and self.dtype.itemsize > 1)

    def add(self, raw: Array) -> None:
        """Look at the next rows."""
        if self.vectors or self.dtype.kind == "f":
            with np.errstate(over="ignore"):
                wrong = ~np.isfinite(raw.astype(np.float32, copy=False))
            if wrong.any():
                index = np.unravel_index(int(wrong.argmax()), wrong.shape)
                self._first = self._first or (self._seen + int(index[0]), *map(int, index[1:]))
                self._bad += int(wrong.sum())
        self._seen += len(raw)
        if self.vectors or self._bad:
            return
        self._low, self._high = min(self._low, raw.min()), max(self._high, raw.max())
        if self.dtype.kind == "f" and self._multiples and self._in_range:
            scaled = _unit(raw) * np.float32(255)
            whole = np.rint(scaled)
            self._multiples = bool(np.abs(scaled - whole).max() <= 1e-3)
            self._binary = self._binary and not ((whole > 0) & (whole < 255)).any()

    @property
    def _in_range(self) -> bool:
        return bool(self._low >= -1e-6 and self._high <= 1 + 1e-6)

    def form(self) -> Form:
        """Decide.

        Raises:
            UsageError: for numbers that are not accepted; says what was found and what to do.
        """
        if self._bad:
            raise UsageError(
                f"{self.what} has {self._bad} values that are NaN or infinite as float32, "
                f"the first at index {self._first}"
            )
        if self.vectors:
            return Form("rows", self.shape[1:], None)
        scaled, clip, levels = False, False, self._levels_of_whole()
        if self.dtype.kind == "f":
            self._check_range()
            clip, scaled = bool(self._low < 0 or self._high > 1), self._multiples
            if scaled:
                levels = 2 if self._binary and self._low <= 0 and self._high >= 1 else 256
        layout = _layout(self.shape, self.layout, self.what)
        row = self.shape[1:]
        row = {"grey": (1, *row), "first": row, "last": (*row[-1:], *row[:-1])}[layout]
        rgba = row[0] == 4
        return Form(layout, (3, *row[1:]) if rgba else row, levels, scaled, clip, rgba)

    def _levels_of_whole(self) -> int | None:
        if self.dtype.kind == "f":
            return None
        if self._low < 0 or 255 < self._high < math.inf:
            found = f"whole numbers from {self._low} to {self._high}"
            raise UsageError(f"{self.what} has {found}: 8-bit pixels are 0 to 255")
        return 2 if self.dtype.kind == "b" else 256

    def _check_range(self) -> None:
        low, high = self._low, self._high
        if not self._in_range:
            how = "scale or clip them"
            if low >= 0 and 2 < high <= 255:
                how = "divide by 255"
            elif -1 <= low < 0 and high <= 1:
                how = "use (x + 1) / 2"
            found = f"floats from {low:.4g} to {high:.4g}"
            raise UsageError(f"{self.what} has {found}: images are floats in [0, 1], so {how} first")


def look_at(raw: ArrayLike, *, vectors: bool, layout: str | None, what: str) -> Form:
    """The form of raw rows, of which all are looked at where their values decide; see `Look`."""
    look = Look(tuple(map(int, raw.shape)), raw.dtype, vectors=vectors, layout=layout, what=what)
    if look.needed:
        for part in raw_parts(raw):
            look.add(part)
    return look.form()


def _unit(raw: Array) -> Array:
    """Floats as float32, with what lies outside [0, 1] by rounding brought inside."""
    return np.clip(raw.astype(np.float32, copy=False), 0, 1)


def _layout(shape: tuple[int, ...], layout: str | None, what: str) -> Layout:
    """Where images of a shape have their channels."""
    if len(shape) == 3:
        return "grey"
    if layout == "first":
        return "first"
    if layout == "last":
        return "last"
    if layout is not None:
        raise UsageError(f"layout is 'first' or 'last', not {layout!r}")
    first, last = shape[1] in (1, 3, 4), shape[3] in (1, 3, 4)
    if first == last:
        which = "could be either" if first else "is neither with 1, 3 or 4 channels"
        raise UsageError(
            f"{what} has shape {shape}, which {which} of (N, C, H, W) and (N, H, W, C): say data.layout=first or last"
        )
    return "last" if last else "first"
