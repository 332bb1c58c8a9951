"""How the numbers that people bring are stored: found by looking at all of them once, some at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from genzoo.core.data.arrays import raw_parts
from genzoo.core.data.rows import ArrayLike
from genzoo.core.errors import UsageError, said

Array = NDArray[Any]
Layout = Literal["rows", "grey", "first", "last"]
DIM = 48  # what the brightest of 8-bit pixels is at most, where a person would want to know of it


@dataclass(frozen=True)
class Scale:
    """Which raw numbers are black and white."""

    black: float
    white: float
    words: str = ""  # what was found and taken for it

    def unit(self, raw: Array) -> Array:
        """Raw numbers as float32 in [0, 1]."""
        if (self.black, self.white) == (0, 1):
            return np.clip(raw.astype(np.float32, copy=False), 0, 1)
        wide = raw.astype(np.float64)  # 16 bits and what is divided by 65535 are the same numbers then
        return np.clip((wide - self.black) / (self.white - self.black), 0, 1).astype(np.float32)


@dataclass(frozen=True)
class Form:
    """Turns raw rows ``(B, …)`` into stored ones, each by itself."""

    layout: Layout  # ``rows`` are vectors; images are ``grey`` or have their channels ``first`` or ``last``
    shape: tuple[int, ...]  # of one stored observation
    levels: int | None  # how many values a number can take: 256, 2, or None for float32
    scale: Scale | None = None  # raw numbers are brought to [0, 1], and stored as whole ones where there are levels
    rgba: bool = False  # the fourth channel is opacity, to be composited on white
    notes: tuple[str, ...] = ()  # what a person would want to know of how numbers and axes were taken

    @property
    def dtype(self) -> torch.dtype:
        """Of stored numbers."""
        return torch.float32 if self.levels is None else torch.uint8

    def same(self, raw: Array) -> bool:
        """Whether raw rows need no change, and torch may hold (and change) their memory."""
        dtype = np.dtype(np.float32 if self.levels is None else np.uint8)
        plain = raw.dtype == dtype and raw.flags.c_contiguous and raw.flags.writeable
        changed = self.scale is not None or self.rgba or self.layout == "last"
        return plain and not changed and not isinstance(raw, np.memmap)

    def __call__(self, raw: Array) -> Array:
        """Bring raw rows to storage form."""
        if self.scale is not None:
            x = self.scale.unit(raw)
            if self.levels is not None:
                x = np.rint(x * np.float32(self.levels - 1)).astype(np.uint8)
        elif self.levels is None:
            x = raw.astype(np.float32, copy=False)
        else:
            x = raw.astype(np.uint8, copy=False)
        if self.layout == "last":
            x = np.moveaxis(x, -1, 1)
        if self.rgba:
            top = 1 if self.levels is None else self.levels - 1
            rgba = x.astype(np.float32)
            alpha = rgba[:, 3:] / top
            mixed = rgba[:, :3] * alpha + top * (1 - alpha)
            x = mixed if self.levels is None else np.rint(mixed).astype(np.uint8)
        return x.reshape(len(x), *self.shape)


@dataclass
class Found:
    """What the numbers of an array are, looked at some at a time."""

    low: float = math.inf
    high: float = -math.inf

    def look(self, part: Array) -> None:
        """Look at some more of them."""
        self.low, self.high = min(self.low, float(part.min())), max(self.high, float(part.max()))


def scale_of(kind: str, found: Found, black: float | None, white: float | None, what: str) -> Scale:
    """Which numbers are black and white: what was said, else what the range of all of them says plainly.

    ``kind`` is that of a NumPy type. Raises `UsageError` where the range says nothing plainly: 12 bits in 16, say.
    """
    low, high, floats = found.low, found.high, kind == "f"
    span = f"{'floats' if floats else 'whole numbers'} from {low:.5g} to {high:.5g}"
    if black is not None or white is not None:
        scale = Scale(black or 0.0, white if white is not None else _guess(floats, high), f"{span}")
        if not scale.black < scale.white:
            raise UsageError(f"black is {scale.black:g} and white {scale.white:g}: white is the greater one")
        slack = 1e-5 * (scale.white - scale.black)
        if low < scale.black - slack or high > scale.white + slack:
            raise UsageError(
                f"{what} has {span}, beyond black ({scale.black:g}) or white ({scale.white:g}): "
                f"{said(black=math.floor(low) if low < 0 else None, white=_guess(floats, high))}"
            )
        return replace(scale, words=f"{span}, {scale.black:g} is black and {scale.white:g} white")
    if floats and low >= -1e-6 and high <= 1 + 1e-6:
        return Scale(0, 1, span)
    for top in (255, 65535):
        least = -1 if top == 255 and not floats else top / 2
        if low >= 0 and least < high <= top:
            return Scale(0, top, f"{span}, {top} is white")
    most = _guess(floats, high)
    advice = said(black=-most if low < 0 and -low <= most <= 1 else low if low < 0 else None, white=most)
    plain = "8-bit pixels are 0 to 255, 16-bit ones go to 65535, floats are in [0, 1]"
    raise UsageError(f"{what} has {span}, which do not say what is white ({plain}): {advice}")


def _guess(floats: bool, high: float) -> float:
    """What white may be: the greatest number of so many bits, of floats 1 or the greatest one."""
    if floats and high <= 1:
        return 1.0
    if high > 1 and high == int(high):
        return float(2 ** math.ceil(math.log2(high + 1)) - 1)
    return float(f"{high * 1.00001:.5g}") if high > 0 else 1.0


def look_at(
    raw: ArrayLike,
    *,
    vectors: bool,
    layout: str | None,
    what: str,
    black: float | None = None,
    white: float | None = None,
    alpha: bool = False,
) -> Form:
    """The form of raw rows, of which all are looked at where their values decide.

    ``layout`` says where images have their channels, ``first`` or ``last``; None goes by the shape. ``black`` and
    ``white`` are the numbers of these, None if their range says so; ``alpha`` keeps a fourth channel. Raises
    `UsageError` for numbers that are not accepted; says what was found and what to do.
    """
    shape, kind = tuple(map(int, raw.shape)), raw.dtype.kind
    given, eight = black is not None or white is not None, kind == "u" and raw.dtype.itemsize == 1
    _require_finite(raw, vectors, what)
    if vectors:
        return Form("rows", shape[1:], None)
    notes: list[str] = []
    levels: int | None = 2 if kind == "b" else 256
    scale: Scale | None = None
    found = Found()
    for part in () if kind == "b" else raw_parts(raw):
        found.look(part)
        if eight and not given and found.high > DIM:  # which is plain, and the rest need not be read
            break
    if eight and not given:
        if found.low == 0 and found.high == 1:
            levels, notes = 2, ["8-bit numbers that are 0 and 1 only: binary images, 1 is white"]
        elif 1 < found.high <= DIM:
            bright = f"the brightest of all pixels is {found.high:g} of 255"
            notes = [f"{bright}; if that is white: {said(white=int(found.high))}"]
    elif kind != "b":
        scale = scale_of(kind, found, black, white, what)
        notes = [scale.words] if given or scale.white != (1 if kind == "f" else 255) else []
        levels = _levels(raw, scale, kind, found)
        within = levels is None and found.low >= 0 and found.high <= 1
        if not scale.black and scale.white == (1 if within else 0 if kind == "f" else 255):
            scale = None  # they are as they are stored
    place = _layout(shape, layout, what)
    row = {"grey": (1, *shape[1:]), "first": shape[1:], "last": (*shape[3:], *shape[1:3])}[place]
    rgba = row[0] == 4 and not alpha
    if rgba:
        notes.append("four channels are taken for colour and opacity, composited on white: " + said(alpha="keep"))
    return Form(place, (3, *row[1:]) if rgba else row, levels, scale, rgba, tuple(notes))


def _levels(raw: ArrayLike, scale: Scale, kind: str, found: Found) -> int | None:
    """How many values scaled numbers take: 2, 256, or None if they are floats between those."""
    if kind != "f":
        return 256
    binary = True
    for part in raw_parts(raw):
        scaled = scale.unit(part) * np.float32(255)
        whole = np.rint(scaled)
        if np.abs(scaled - whole).max() > 1e-3 and not (scale.white == 1 and _rounded(part, whole / np.float32(255))):
            return None
        binary = binary and not ((whole > 0) & (whole < 255)).any()
    return 2 if binary and found.low <= scale.black and found.high >= scale.white else 256


def _rounded(part: Array, exact: Array) -> bool:
    """Whether numbers are others as half floats, or bfloat16 that came as float32, keep them."""
    if part.dtype.itemsize == 2:
        return bool((exact.astype(np.float16) == part).all())
    single = np.ascontiguousarray(part, dtype=np.float32)
    if part.dtype.itemsize != 4 or (single.view(np.uint32) & 0xFFFF).any():
        return False
    return bool((torch.from_numpy(exact).bfloat16().float().numpy() == single).all())


def _require_finite(raw: ArrayLike, vectors: bool, what: str) -> None:
    """Refuse numbers that are NaN or infinite as float32; says where the first one is."""
    if not vectors and raw.dtype.kind != "f":
        return
    seen, bad, first = 0, 0, tuple[int, ...]()
    for part in raw_parts(raw):
        with np.errstate(over="ignore"):
            wrong = ~np.isfinite(part.astype(np.float32, copy=False))
        if wrong.any():
            at, *others = map(int, np.unravel_index(int(wrong.argmax()), wrong.shape))
            first, bad = first or (seen + at, *others), bad + int(wrong.sum())
        seen += len(part)
    if bad:
        raise UsageError(f"{what} has {bad} values that are NaN or infinite as float32, the first at index {first}")


def _layout(shape: tuple[int, ...], layout: str | None, what: str) -> Layout:
    """Where images of a shape have their channels."""
    if layout is not None and layout not in ("first", "last", "grey"):
        raise UsageError(f"layout is 'first', 'last' or 'grey', not {layout!r}")
    if len(shape) == 3:
        if layout is None and shape[2] in (3, 4) and min(shape[:2]) > 4:
            raise UsageError(
                f"{what} has shape {shape}, which is one colour picture, or {shape[0]} grey ones of "
                f"{shape[1]}x{shape[2]}: give several pictures, (N, H, W, C), or {said(layout='grey')}"
            )
        return "grey"
    if layout == "grey":
        raise UsageError(f"{what} has shape {shape}: grey pictures are (N, H, W)")
    if layout is not None:
        return layout  # type: ignore[return-value]
    first, last = shape[1] in (1, 3, 4), shape[3] in (1, 3, 4)
    if first == last:
        which = "could be either" if first else "is neither with 1, 3 or 4 channels"
        raise UsageError(
            f"{what} has shape {shape}, which {which} of (N, C, H, W) and (N, H, W, C): "
            f"say {said(layout='first')} or {said(layout='last')}"
        )
    return "last" if last else "first"
