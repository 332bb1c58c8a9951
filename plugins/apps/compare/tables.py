"""The tables of a comparison's page: metrics with intervals, how each was made, shares of classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from genzoo.core.evaluation.report import Result
from genzoo.core.options import typed
from genzoo.core.units import duration_text
from genzoo.plugins.apps.compare.candidates import Candidate, FullComparison
from genzoo.plugins.apps.compare.comparison import Row, differing
from genzoo.plugins.apps.compare.figures import Shares

MOST_CLASSES = 40
WIDTH, MIDDLE = 120, 7  # of a range, in its own units


def notes(compared: FullComparison) -> dict[str, int]:
    """Why single numbers are absent, by reason, each with the number of its note."""
    reasons = dict.fromkeys(
        why for row in compared.rows for why, r in zip(row.reasons, row.results, strict=True) if r is None
    )
    return {reason: number for number, reason in enumerate(reasons, 1)}


def making(sides: Sequence[Candidate]) -> dict[str, Any]:
    """How each was made: what is always of interest, then every option in which they differ."""
    facts = [_facts(side) for side in sides]
    keys = dict.fromkeys(k for f in facts for k in f)
    found: dict[str, Any] = {"facts": [(k, [f.get(k, "not known") for f in facts]) for k in keys]}
    options = [side.history.options() for side in sides]
    known = [o for o in options if o]
    chosen = differing(known) if len(known) > 1 else []
    common = [k for k in chosen if all(k in o for o in known)]
    rows = [(k, [_option(o, k) for o in options]) for k in chosen]
    found["common"] = [row for row in rows if row[0] in common]
    found["special"] = [row for row in rows if row[0] not in common]
    found["same"] = len(known) > 1
    found["alike"] = [f"{k}={typed(v)}" for k, v in known[0].items() if k not in chosen] if len(known) > 1 else []
    return found


def classes(names: Sequence[str], shares: Sequence[Shares | str]) -> dict[str, Any]:
    """Shares of classes among samples, beside those of the data."""
    there = [(n, s) for n, s in zip(names, shares, strict=True) if isinstance(s, Shares) and s.samples]
    known = [s for _, s in there]
    found: dict[str, Any] = {"names": [n for n, _ in there], "rows": [], "counted": [], "judge": "", "largest": 1}
    found["absent"] = [
        (n, s if isinstance(s, str) else "its report does not hold them")
        for n, s in zip(names, shares, strict=True)
        if isinstance(s, str) or not s.samples
    ]
    if not known:
        return found
    every = known[0].data
    if len(every) > MOST_CLASSES:
        found["counted"] = [f"{n}: {sum(v > 0 for v in s.samples.values())} of {len(every)} classes"
                            for n, s in zip(names, shares, strict=True) if isinstance(s, Shares)]  # fmt: skip
        return found
    found["largest"] = max((v for s in known for v in [*s.samples.values(), *s.data.values()]), default=1) or 1
    found["judge"] = f", as {known[0].classifier} sees them" if known[0].classifier else ""
    found["rows"] = [
        (name, share, [(s.samples.get(name, 0.0), s.data.get(name, 0.0)) for s in known])
        for name, share in every.items()
    ]
    return found


def _facts(side: Candidate) -> dict[str, str]:
    """What is known of how one was made."""
    history, model = side.history, side.model
    record = history.record
    facts: dict[str, str] = {"Source": side.source}
    if history.config is not None:
        facts["Recipe"] = history.config.recipe
        facts["Made of"] = ", ".join(f"{kind} {part.name}" for kind, part in history.config.components())
    if model is not None:
        facts["Parameters"] = f"{sum(p.numel() for p in model.parameters()):,}"
    if record is None:
        return facts
    facts["Trained on"] = f"{record.data.name or 'unnamed data'}, {record.data.observations:,} observations"
    facts["Steps"] = f"{record.steps:,}" + (f" of {record.of:,}: not finished" if record.of != record.steps else "")
    if record.seconds is not None:
        facts["Time"] = duration_text(float(record.seconds))
    machine = record.hardware
    words = [
        machine.get("name") or machine.get("device"),
        f"{machine['threads']} threads" if "threads" in machine else "",
    ]
    facts |= {"On": ", ".join(str(w) for w in words if w)} if any(words) else {}
    facts["Seed of training"] = str(record.seed)
    return facts


def _option(options: Mapping[str, Any], key: str) -> tuple[str, bool]:
    """An option as text, and whether that is its value."""
    if key in options:
        return typed(options[key]), True
    return ("has none" if options else "not known"), False


def span(row: Row, result: Result) -> list[tuple[str, str, str]]:
    """Where the number and its interval lie among everyone's, as path, colour and width of lines."""
    numbers = [x for r in row.results if r is not None for x in (r.value, r.interval.low, r.interval.high)]
    finite = [x for x in numbers if x is not None and math.isfinite(x)]
    if not finite or not math.isfinite(result.value) or max(finite) == min(finite):
        return []
    low, high = min(finite), max(finite)

    def x(value: float) -> float:
        return 4 + (min(max(value, low), high) - low) / (high - low) * (WIDTH - 8)

    a, b = result.interval.low, result.interval.high
    lines = [(f"M2 {MIDDLE}H{WIDTH - 2}", "rule", "2")]
    if a is not None and b is not None:
        lines.append((f"M{x(a):.1f} {MIDDLE}H{x(b):.1f}", "c1", "3"))
    return [*lines, (f"M{x(result.value):.1f} 2V12", "ink", "2.5")]
