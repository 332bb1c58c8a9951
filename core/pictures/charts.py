"""Curves of training as drawings: lines over steps, on a scale that people can read. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from genzoo.core.errors import GenzooError
from genzoo.core.pictures.drawing import DASHES, SERIES, Drawing, Line, Point, Words

MOST = 400  # points of a line: more cannot be seen


def curves(
    series: Mapping[str, Sequence[Point]],
    *,
    title: str = "",
    width: float = 640,
    height: float = 280,
    x_label: str = "step",
) -> Drawing:
    """Draw lines, name to points (step, value), over a common axis, each with its colour and dashes and a legend.

    The axis shows all but the one percent of values at either end, so that a few wild steps at the start do not
    flatten the rest; what lies beyond is drawn at the edge. Values that are not finite are left out. A legend of
    several rows adds to ``height``; ``x_label`` is what the horizontal axis counts.

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
    top = _legend(drawing, list(finite), top)
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
    for i, line in enumerate(finite.values()):
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


def _legend(drawing: Drawing, names: Sequence[str], top: float) -> float:
    """Names beside a piece of their line, in as many rows as they need; where the next thing begins."""
    x, y = 10.0, top + 12
    for i, name in enumerate(names):
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
