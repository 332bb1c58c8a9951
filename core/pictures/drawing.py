"""Drawings of lines, dots and words, written as SVG or drawn as pixels, and curves of training. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from genzoo.core.errors import GenzooError
from genzoo.core.text import html, one_line

if TYPE_CHECKING:
    from PIL import Image

Point = tuple[float, float]
MOST = 400  # points of a line: more cannot be seen

# By name, so that a page can give them other values in the dark. All have a contrast of 4.5 on their paper.
LIGHT: Mapping[str, str] = {
    "paper": "#ffffff", "ink": "#1c2430", "quiet": "#5b6472", "rule": "#dde1e7", "c1": "#1f63c4", "c2": "#b04a00",
    "c3": "#14753f", "c4": "#7b35a5", "c5": "#b8243a", "c6": "#0b6e80", "c7": "#6b5b00", "c8": "#54606e",
}  # fmt: skip
SERIES = tuple(f"c{i}" for i in range(1, 9))
DASHES: tuple[tuple[float, ...], ...] = ((), (7, 3), (2, 3), (9, 3, 2, 3), (4, 4), (12, 4), (1, 3), (6, 2, 1, 2))


@dataclass(frozen=True)
class Line:
    """A path through points; its colour is a name of `LIGHT`."""

    points: Sequence[Point]
    colour: str = "ink"
    width: float = 1.5
    dash: tuple[float, ...] = ()


@dataclass(frozen=True)
class Dots:
    """Round dots."""

    points: Sequence[Point]
    colour: str = "c1"
    size: float = 3.0


@dataclass(frozen=True)
class Words:
    """One line of text; ``anchor`` says which end of it is at the point: start, middle or end."""

    at: Point
    text: str
    colour: str = "quiet"
    anchor: str = "start"
    size: float = 12.0
    bold: bool = False


@dataclass
class Drawing:
    """Marks on a paper of ``width`` × ``height`` pixels, y downwards, in the order in which they are drawn."""

    width: float
    height: float
    marks: list[Line | Dots | Words] = field(default_factory=list)

    def svg(self, *, title: str = "", themed: bool = False) -> str:
        """Write it as SVG.

        Args:
            title: what it shows, for those who cannot see it.
            themed: take colours from the page around it (``var(--c1)``) and leave the paper to it; otherwise the
                colours are for light paper, and the file stands alone.
        """

        def colour(name: str) -> str:
            return f"var(--{name})" if themed else LIGHT[name]

        size = f'viewBox="0 0 {self.width:g} {self.height:g}"'
        size += "" if themed else f' width="{self.width:g}" height="{self.height:g}"'
        named = f' role="img" aria-label="{_text(title)}"' if title else ' aria-hidden="true"'
        lines = [f'<svg xmlns="http://www.w3.org/2000/svg" {size}{named} font-family="system-ui, sans-serif">']
        if not themed:
            lines += [f"<title>{_text(title)}</title>"] * bool(title)
            lines.append(f'<rect width="100%" height="100%" fill="{LIGHT["paper"]}"/>')
        for mark in self.marks:
            tint = colour(mark.colour)
            if isinstance(mark, Words):
                bold = ' font-weight="600"' if mark.bold else ""
                lines.append(
                    f'<text x="{mark.at[0]:.1f}" y="{mark.at[1]:.1f}" font-size="{mark.size:g}"{bold} '
                    f'text-anchor="{mark.anchor}" style="fill:{tint}">{_text(mark.text)}</text>'
                )
                continue
            if isinstance(mark, Dots):  # one path of lines without length, whose round ends are the dots
                path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in mark.points)
                stroke = f'stroke-width="{mark.size:g}" stroke-linecap="round"'
            else:
                path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in mark.points)
                dash = f' stroke-dasharray="{" ".join(f"{d:g}" for d in mark.dash)}"' if mark.dash else ""
                stroke = f'stroke-width="{mark.width:g}" stroke-linejoin="round"{dash}'
            if mark.points:
                lines.append(f'<path d="{path}" fill="none" {stroke} style="stroke:{tint}"/>')
        return "\n".join([*lines, "</svg>"]) + "\n"

    def image(self, scale: int = 2, under: Image.Image | None = None) -> Image.Image:
        """Draw it on light paper, or on a picture, ``scale`` pixels for each of its own."""
        from PIL import Image, ImageDraw

        fine = 2 * scale  # drawn larger and reduced, for smooth lines; words are written at their size
        canvas = Image.new("RGB", (round(self.width * fine), round(self.height * fine)), LIGHT["paper"])
        if under is not None:
            canvas.paste(under.resize(canvas.size, Image.Resampling.BICUBIC))
        pen = ImageDraw.Draw(canvas)
        for mark in self.marks:
            if isinstance(mark, Line):
                for part in _dashed(mark.points, mark.dash):
                    ends = [(x * fine, y * fine) for x, y in part]
                    pen.line(ends, fill=LIGHT[mark.colour], width=max(round(mark.width * fine), 1), joint="curve")
            elif isinstance(mark, Dots):
                r, tint = mark.size * fine / 2, LIGHT.get(mark.colour, mark.colour)
                for x, y in mark.points:
                    pen.ellipse((x * fine - r, y * fine - r, x * fine + r, y * fine + r), fill=tint)
        canvas = canvas.resize((round(self.width * scale), round(self.height * scale)), Image.Resampling.LANCZOS)
        pen = ImageDraw.Draw(canvas)
        anchors = {"start": "ls", "middle": "ms", "end": "rs"}
        for mark in self.marks:
            if isinstance(mark, Words):  # Pillow's own font has no minus sign
                place = (mark.at[0] * scale, mark.at[1] * scale)
                tint, anchor = LIGHT[mark.colour], anchors[mark.anchor]
                pen.text(place, mark.text.replace("−", "-"), fill=tint, anchor=anchor, font_size=mark.size * scale)
        return canvas


def _text(text: str) -> str:
    """A stranger's text as it may stand in XML: no control characters, nothing that turns the reading direction."""
    return html(one_line(text))


def _dashed(points: Sequence[Point], dash: Sequence[float]) -> list[list[Point]]:
    """A path's parts that are drawn."""
    if not dash:
        return [list(points)] if len(points) > 1 else []
    pattern = list(dash) * (1 + len(dash) % 2)
    parts, current, at, left, on = list[list[Point]](), list(points[:1]), 0, pattern[0], True
    for (x0, y0), (x1, y1) in pairwise(points):
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        done = 0.0
        while length - done > left:
            done += left
            corner = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length)
            if on:
                parts.append([*current, corner])
            at, on, current = (at + 1) % len(pattern), not on, [corner]
            left = pattern[at]
        left -= length - done
        current.append((x1, y1))
    return [*parts, current] if on and len(current) > 1 else parts


# --- curves over steps, on a scale that people can read -----------------------------------------------------------


def curves(
    series: Mapping[str, Sequence[Point]],
    *,
    title: str = "",
    width: float = 640,
    height: float = 280,
    x_label: str = "step",
    names: Sequence[str] = (),
) -> Drawing:
    """Draw lines, name to points (step, value), over a common axis, each with its colour and dashes and a legend.

    The axis shows all but the one percent of values at either end, so that a few wild steps at the start do not
    flatten the rest; what lies beyond is drawn at the edge. Values that are not finite are left out. A legend of
    several rows adds to ``height``; ``x_label`` is what the horizontal axis counts. Where there are several drawings
    of the same things, ``names`` are all of them, so that each has one colour in all drawings.

    Raises:
        GenzooError: if there is nothing to draw.
    """
    finite = {k: thin([p for p in v if all(map(math.isfinite, p))]) for k, v in series.items()}
    finite = {k: v for k, v in finite.items() if v}
    if not finite:
        raise GenzooError("there are no curves to draw: nothing was logged")
    drawing = Drawing(width, height)
    top = 10.0
    if title:
        drawing.marks.append(Words((8, top + 12), title, "ink", size=14, bold=True))
        top += 24
    known = list(names or finite)
    place_of = {name: known.index(name) for name in finite}
    top = _legend(drawing, place_of, top)
    drawing.height = height + max(top - 60, 0)
    xs = [x for line in finite.values() for x, _ in line]
    low, high = _middle([y for line in finite.values() for _, y in line])
    ticks = nice(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    labels = _labels(ticks)
    left, right = 18 + 7.0 * max(map(len, labels)), width - 14
    bottom = drawing.height - 34
    start, end = min(0.0, *xs), max(xs)
    end = end if end > start else start + 1

    def place(x: float, y: float) -> Point:
        up = (min(max(y, low), high) - low) / (high - low)
        return left + (x - start) / (end - start) * (right - left), bottom - up * (bottom - top)

    for tick, label in zip(ticks, labels, strict=True):
        y = place(start, tick)[1]
        drawing.marks.append(Line([(left, y), (right, y)], "rule", 1))
        drawing.marks.append(Words((left - 6, y + 4), label, anchor="end"))
    whole = [t for t in nice(start, end, 6) if start <= t <= end]
    for tick, label in zip(whole, _labels(whole), strict=True):
        x = place(tick, low)[0]
        anchor = "end" if x > right - 12 else "middle"
        drawing.marks.append(Words((x, bottom + 16), label, anchor=anchor))
    drawing.marks.append(Words(((left + right) / 2, bottom + 30), x_label, anchor="middle"))
    for name, line in finite.items():
        i = place_of[name]
        drawing.marks.append(Line([place(*p) for p in line], _colour(i), 1.8, _dash(i)))
    return drawing


def stacked(drawings: Sequence[Drawing], gap: float = 12) -> Drawing:
    """Put drawings of lines and words below each other."""
    whole, top = Drawing(max(d.width for d in drawings), 0), 0.0
    for d in drawings:
        for mark in d.marks:
            if isinstance(mark, Words):
                whole.marks.append(replace(mark, at=(mark.at[0], mark.at[1] + top)))
            else:
                whole.marks.append(replace(mark, points=[(x, y + top) for x, y in mark.points]))
        top += d.height + gap
    whole.height = top - gap
    return whole


def losses(history: Sequence[Mapping[str, float]], terms: Sequence[str] = ()) -> dict[str, list[Point]]:
    """What to draw of a log: each player's loss and the held-out one, or the terms asked for; GenzooError if absent."""
    known = dict.fromkeys(k for record in history for k in record if k not in ("step", "seconds"))
    for term in terms:
        if term not in known:
            raise GenzooError(f"{term!r} was not logged: there are {', '.join(known) or 'no terms'}")
    chosen = list(terms) or [k for k in known if k == "held-out loss" or k.rpartition("/")[2] == "loss"]
    return {
        k: [(float(r["step"]), float(r[k])) for r in history if isinstance(r.get(k), (int, float)) and "step" in r]
        for k in chosen or list(known)
    }


def thin(points: Sequence[Point], most: int = MOST) -> list[Point]:
    """Leave points out evenly; both ends stay."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]


def nice(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers, about ``count``, from the last below ``low`` to the first above ``high``."""
    if not high > low:
        low, high = low - abs(low or 1) / 2, high + abs(high or 1) / 2
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def _middle(values: Sequence[float]) -> tuple[float, float]:
    """Range of all but one percent at either end."""
    ordered = sorted(values)
    cut = len(ordered) // 100
    return ordered[cut], ordered[-1 - cut]


def _labels(ticks: Sequence[float]) -> list[str]:
    """Ticks as text, all with as many digits as they need to differ."""
    largest = max(map(abs, ticks), default=0)
    if largest >= 1e7 or 0 < largest < 1e-3:
        return [f"{t:.3g}" for t in ticks]
    for digits in range(8):
        texts = [f"{t:,.{digits}f}" for t in ticks]
        if all(abs(float(x.replace(",", "")) - t) <= 1e-9 * largest for x, t in zip(texts, ticks, strict=True)):
            return ["0" if float(x.replace(",", "")) == 0 else x.replace("-", "−") for x in texts]
    return [f"{t:.3g}" for t in ticks]


def _legend(drawing: Drawing, names: Mapping[str, int], top: float) -> float:
    """Names beside a piece of their line, in as many rows as they need; where the next thing begins."""
    x, y = 10.0, top + 12
    for name, i in names.items():
        wide = 40 + 6.8 * len(name)
        if x > 10 and x + wide > drawing.width:
            x, y = 10.0, y + 18
        drawing.marks.append(Line([(x, y - 4), (x + 24, y - 4)], _colour(i), 2, _dash(i)))
        drawing.marks.append(Words((x + 29, y), name, "ink"))
        x += wide
    return y + 14


def _colour(i: int) -> str:
    return SERIES[i % len(SERIES)]


def _dash(i: int) -> tuple[float, ...]:
    return DASHES[i % len(DASHES)]
