"""Reports side by side: which number belongs to whom, and who wins where that can be told. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.report import ARROWS, Report, Result
from genzoo.core.storage.strict import one_line


@dataclass(frozen=True)
class Row:
    """One metric of everyone.

    Attributes:
        metric: its name in the zoo.
        results: of each, None where it could not be measured.
        reasons: of each, why it could not; "" where it could.
        best: index of the one whose interval lies on the better side of all others', None if there is none such.
    """

    metric: str
    results: tuple[Result | None, ...]
    reasons: tuple[str, ...]
    best: int | None

    @property
    def some(self) -> Result:
        """A result of it: title, unit and direction are the same in all."""
        return next(r for r in self.results if r is not None)

    @property
    def title(self) -> str:
        """What to call it in a table, with the arrow towards the better."""
        some = self.some
        return f"{some.title or some.metric} {ARROWS[some.direction]}".rstrip()


@dataclass(frozen=True)
class Comparison:
    """Several reports side by side.

    Attributes:
        names: of those compared, no two alike.
        reports: theirs.
        rows: a metric each, of all that at least one of them has; in the order of the reports.
    """

    names: tuple[str, ...]
    reports: tuple[Report, ...]
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, reports: Sequence[Report], names: Sequence[str] = ()) -> Comparison:
        """Bring reports together.

        Raises:
            UsageError: if numbers of one metric were measured by different protocols; says in what they differ.
        """
        if not reports:
            raise UsageError("there is nothing to compare: give models, files of samples, or reports")
        metrics = dict.fromkeys(r.metric for report in reports for r in report)
        rows = [_row(metric, reports) for metric in metrics]
        called = names or distinct([one_line(r.subject) for r in reports])
        return cls(tuple(called), tuple(reports), tuple(rows))

    def absences(self) -> dict[str, list[str]]:
        """Metrics that none of them has, by reason."""
        measured, found = {r.metric for r in self.rows}, dict[str, list[str]]()
        for missing in (a for report in self.reports for a in report.absent):
            if missing.metric not in measured:
                listed = found.setdefault(missing.reason, [])
                listed += [missing.metric] if missing.metric not in listed else []
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the reports, and by metric who is best."""
        best = {r.metric: None if r.best is None else self.names[r.best] for r in self.rows}
        return {"names": list(self.names), "best": best, "reports": [r.to_dict() for r in self.reports]}


def distinct(sources: Sequence[str]) -> list[str]:
    """Short names for paths, no two alike: their last part, more of them where those are the same, then numbers."""
    whole = [str(s).rstrip("/") or str(s) for s in sources]
    parts = [PurePath(s).parts if s.startswith(("/", ".", "~")) else (s,) for s in whole]
    depth = max(map(len, parts))
    names = whole
    for n in range(1, depth + 1):
        names = ["/".join(p[-n:]) for p in parts]
        if len(set(names)) == len(set(whole)):
            break
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            number = seen[name]
            while f"{name} ({number})" in names:
                number += 1
            names[i] = f"{name} ({number})"
    return names


def protocol_words(comparison: Comparison) -> tuple[dict[str, str], dict[str, str]]:
    """What all protocols share (data, counts), and each metric's own words."""
    own = {row.metric: dict(w.partition("=")[::2] for w in row.some.protocol.split()) for row in comparison.rows}
    shared: dict[str, str] = {}
    if own:
        first = next(iter(own.values()))
        shared = {k: v for k, v in first.items() if all(words.get(k) == v for words in own.values())}
    return shared, {m: " ".join(f"{k}={v}" for k, v in w.items() if k not in shared) for m, w in own.items()}


def differing(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys, in order, whose values are not the same in all tables; a key that one lacks differs."""
    keys = dict.fromkeys(k for t in tables for k in t)
    lacking = object()
    return [k for k in keys if any(t.get(k, lacking) != tables[0].get(k, lacking) for t in tables[1:])]


def _row(metric: str, reports: Sequence[Report]) -> Row:
    results = tuple(next((r for r in report if r.metric == metric), None) for report in reports)
    reasons = tuple("" if r is not None else _why(metric, report) for r, report in zip(results, reports, strict=True))
    there = [(i, r) for i, r in enumerate(results) if r is not None]
    best = None
    for i, result in there:
        verdicts = [result.compare(other) for j, other in there if j != i]
        if verdicts and all(v == "better" for v in verdicts):
            best = i
    return Row(metric, results, reasons, best)


def _why(metric: str, report: Report) -> str:
    return next((a.reason for a in report.absent if a.metric == metric and a.reason), "it was not measured")
