"""Drawings of lines, dots and words, written as SVG or drawn as pixels. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from genzoo.core.text import html, one_line

if TYPE_CHECKING:
    from PIL import Image

Point = tuple[float, float]

# By name, so that a page can give them other values in the dark. All have a contrast of 4.5 on their paper.
LIGHT: Mapping[str, str] = {
    "paper": "#ffffff", "ink": "#1c2430", "quiet": "#5b6472", "rule": "#dde1e7", "c1": "#1f63c4", "c2": "#b04a00",
    "c3": "#14753f", "c4": "#7b35a5", "c5": "#b8243a", "c6": "#0b6e80", "c7": "#6b5b00", "c8": "#54606e",
}  # fmt: skip
DARK: Mapping[str, str] = {
    "paper": "#14181f", "ink": "#e8ebf0", "quiet": "#a2abb8", "rule": "#323a46", "c1": "#7db4ff", "c2": "#ffab66",
    "c3": "#69d69a", "c4": "#d3a1f5", "c5": "#ff8f9c", "c6": "#65d0e2", "c7": "#e0cc5c", "c8": "#b4bfcc",
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

    def image(self, scale: int = 2) -> Image.Image:
        """Draw it on light paper, ``scale`` pixels for each of its own."""
        from PIL import Image, ImageDraw

        fine = 2 * scale  # drawn larger and reduced, for smooth lines; words are written at their size
        canvas = Image.new("RGB", (round(self.width * fine), round(self.height * fine)), LIGHT["paper"])
        pen = ImageDraw.Draw(canvas)
        for mark in self.marks:
            if isinstance(mark, Line):
                for part in _dashed(mark.points, mark.dash):
                    ends = [(x * fine, y * fine) for x, y in part]
                    pen.line(ends, fill=LIGHT[mark.colour], width=max(round(mark.width * fine), 1), joint="curve")
            elif isinstance(mark, Dots):
                r = mark.size * fine / 2
                for x, y in mark.points:
                    pen.ellipse((x * fine - r, y * fine - r, x * fine + r, y * fine + r), fill=LIGHT[mark.colour])
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
