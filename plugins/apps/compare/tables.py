"""The tables of a comparison's page: metrics with intervals, how each was made, shares of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from genzoo.core.evaluation.report import Result
from genzoo.core.options import typed
from genzoo.plugins.apps.compare.candidates import Candidate, FullComparison
from genzoo.plugins.apps.compare.comparison import Row, differing
from genzoo.plugins.apps.compare.figures import Shares
from genzoo.plugins.apps.compare.html import Html, escape, join, tag

MOST_CLASSES = 40
WIDTH, MIDDLE = 120, 7  # of a range, in its own units


def scrolling(label: str, table: Html) -> Html:
    """A table that scrolls inside of itself where it is wider than the page, also by keyboard."""
    return tag("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")


def table(caption: str, header: Sequence[object], rows: Sequence[Sequence[Html]]) -> Html:
    """A table whose rows begin with their own header."""
    head = tag("thead", tag("tr", *(tag("th", h, scope="col") for h in header)))
    body = tag("tbody", *(tag("tr", *row) for row in rows))
    return scrolling(caption, tag("table", tag("caption", caption), head, body))


def metrics(compared: FullComparison) -> Html:
    """Metrics down, models across; the winner only where intervals part; reasons for what is absent below."""
    notes: dict[str, int] = {}
    rows = []
    for row in compared.rows:
        name = tag("th", row.title, tag("span", row.some.unit, class_="unit") if row.some.unit else None, scope="row")
        cells = []
        for i, result in enumerate(row.results):
            if result is None:
                number = notes.setdefault(row.reasons[i], len(notes) + 1)
                link = tag("a", f"note {number}", href=f"#note-{number}")
                cells.append(tag("td", tag("span", "absent, ", link, class_="note")))
                continue
            best = tag("span", "best", class_="badge") if row.best == i else None
            value = tag("span", _value(result), class_="value")
            ends = tag("span", _ends(result), class_="ends")
            cells.append(tag("td", value, best, ends, _range(row, result), class_="best" if best else None))
        rows.append([name, *cells])
    found = table("Metrics with intervals of 95 %", ["Metric", *compared.names], rows)
    listed = [tag("li", reason, id=f"note-{number}") for reason, number in notes.items()]
    below = [tag("ol", *listed, class_="notes")] if listed else []
    for reason, names in compared.absences().items():
        below.append(tag("p", f"Absent of all: {', '.join(names)} ({reason}).", class_="note"))
    return join(found, *below)


def making(sides: Sequence[Candidate]) -> Html:
    """How each was made: what is always of interest, then every option in which they differ."""
    facts = [_facts(side) for side in sides]
    keys = list(dict.fromkeys(k for f in facts for k in f))
    rows = [[tag("th", k, scope="row"), *(tag("td", f.get(k, "not known")) for f in facts)] for k in keys]
    found = [table("Recipe, data, time and size", ["Fact", *(s.name for s in sides)], rows)]
    options = [side.history.options() for side in sides]
    known = [o for o in options if o]
    if len(known) > 1:
        chosen = differing(known)
        common = [k for k in chosen if all(k in o for o in known)]
        names = [s.name for s in sides]
        if common:
            found.append(_options("Options that differ", common, names, options))
        special = [k for k in chosen if k not in common]
        if special:
            inner = _options("Options that only some of them have", special, names, options)
            found.append(tag("details", tag("summary", f"{len(special)} options that only some of them have"), inner))
        if not chosen:
            found.append(tag("p", "All options of all of them are the same.", class_="note"))
        alike = [k for k in known[0] if k not in chosen]
        if alike:
            same = ", ".join(f"{k}={typed(known[0][k])}" for k in alike)
            found.append(
                tag("details", tag("summary", f"{len(alike)} options are the same"), tag("p", tag("code", same)))
            )
    return join(*found)


def classes(names: Sequence[str], shares: Sequence[Shares | str]) -> Html:
    """Shares of classes among samples as bars, beside those of the data."""
    known = [s for s in shares if isinstance(s, Shares) and s.samples]
    parts = [
        tag(
            "p",
            tag("strong", name),
            f": absent, {s if isinstance(s, str) else 'its report does not hold them'}.",
            class_="absent",
        )
        for name, s in zip(names, shares, strict=True)
        if isinstance(s, str) or not s.samples
    ]
    if not known:
        return join(*parts)
    every = list(known[0].data)
    if len(every) > MOST_CLASSES:
        counted = [tag("li", f"{n}: {sum(v > 0 for v in s.samples.values())} of {len(every)} classes")
                   for n, s in zip(names, shares, strict=True) if isinstance(s, Shares)]  # fmt: skip
        return join(tag("ul", *counted), *parts)
    largest = max((v for s in known for v in [*s.samples.values(), *s.data.values()]), default=1) or 1
    there = [(n, s) for n, s in zip(names, shares, strict=True) if isinstance(s, Shares) and s.samples]
    rows = [
        [
            tag("th", name, scope="row"),
            tag("td", _bar(known[0].data.get(name, 0.0), largest, data=True)),
            *(tag("td", _bar(s.samples.get(name, 0.0), largest, expected=s.data.get(name, 0.0))) for _, s in there),
        ]
        for name in every
    ]
    judge = f", as {known[0].classifier} sees them" if known[0].classifier else ""
    found = table(f"Shares of classes among samples{judge}", ["Class", "Data", *(n for n, _ in there)], rows)
    return join(found, *parts)


def _facts(side: Candidate) -> dict[str, str]:
    """What is known of how one was made."""
    history, model = side.history, side.model
    record: Mapping[str, Any] = history.record
    facts: dict[str, str] = {"Source": side.source}
    if history.config is not None:
        facts["Recipe"] = history.config.recipe
        facts["Made of"] = ", ".join(f"{kind} {part.name}" for kind, part in history.config.components())
    if model is not None:
        facts["Parameters"] = f"{sum(p.numel() for p in model.parameters()):,}"
    data = record.get("data")
    if isinstance(data, Mapping):
        facts["Trained on"] = f"{data.get('name') or 'unnamed data'}, {_count(data.get('observations'))} observations"
    if "steps" in record:
        of = record.get("of", record["steps"])
        facts["Steps"] = _count(record["steps"]) + (f" of {_count(of)}: not finished" if of != record["steps"] else "")
    if isinstance(record.get("seconds"), (int, float)):
        facts["Time"] = _duration(float(record["seconds"]))
    hardware = record.get("hardware")
    if isinstance(hardware, Mapping):
        words = [
            hardware.get("name") or hardware.get("device"),
            f"{hardware['threads']} threads" if "threads" in hardware else "",
        ]
        facts["On"] = ", ".join(str(w) for w in words if w)
    if "seed" in record:
        facts["Seed of training"] = str(record["seed"])
    return facts


def _count(number: object) -> str:
    """A number of things; whatever else a stranger's record holds is shown as it is."""
    return f"{number:,}" if isinstance(number, int) else "unknown" if number is None else str(number)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _options(caption: str, keys: Sequence[str], names: Sequence[str], options: Sequence[Mapping[str, Any]]) -> Html:
    rows = [[tag("th", tag("code", k), scope="row"), *(tag("td", _option(o, k)) for o in options)] for k in keys]
    return table(caption, ["Option", *names], rows)


def _option(options: Mapping[str, Any], key: str) -> Html:
    if not options:
        return tag("span", "not known", class_="note")
    return tag("code", typed(options[key])) if key in options else tag("span", "has none", class_="note")


def _value(result: Result) -> str:
    return result.text().partition(" [")[0]


def _ends(result: Result) -> str:
    if not result.interval.known:
        return f"no interval: {result.interval.how}"
    return "[" + result.text().partition(" [")[2]


def _range(row: Row, result: Result) -> Html | None:
    """Where the number and its interval lie among everyone's, as a picture beside the numbers that say the same."""
    numbers = [x for r in row.results if r is not None for x in (r.value, r.interval.low, r.interval.high)]
    finite = [x for x in numbers if x is not None and math.isfinite(x)]
    if not finite or not math.isfinite(result.value) or max(finite) == min(finite):
        return None
    low, high = min(finite), max(finite)

    def x(value: float) -> float:
        return 4 + (min(max(value, low), high) - low) / (high - low) * (WIDTH - 8)

    a, b = result.interval.low, result.interval.high

    def stroke(path: str, colour: str, width: float) -> str:
        how = f'stroke-width="{width:g}" vector-effect="non-scaling-stroke"'
        return f'<path d="{path}" style="stroke:var(--{colour})" {how}/>'

    marks = stroke(f"M2 {MIDDLE}H{WIDTH - 2}", "rule", 2)
    if a is not None and b is not None:
        marks += stroke(f"M{x(a):.1f} {MIDDLE}H{x(b):.1f}", "c1", 3)
    marks += stroke(f"M{x(result.value):.1f} 2V12", "ink", 2.5)
    size = f'viewBox="0 0 {WIDTH} 14" preserveAspectRatio="none"'
    return Html(f'<svg class="range" {size} aria-hidden="true">{marks}</svg>')


def _bar(share: float, largest: float, *, data: bool = False, expected: float = 0.0) -> Html:
    text = escape(f"{share:.1%}")
    if not data and share == 0 and expected > 0:
        text = join(text, " ", tag("span", "missing", class_="missing"))
    kind = "bar data" if data else "bar"
    return tag("span", text, class_=kind, style=f"--share:{min(max(share / largest, 0), 1):.4f}")
