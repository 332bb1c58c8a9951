"""Reports side by side: which number belongs to whom, and who wins where that can be told. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Self

from genzoo.core import notebook
from genzoo.core.errors import UsageError
from genzoo.core.evaluation.report import ARROWS, Report, Result
from genzoo.core.storage.strict import one_line
from genzoo.registry import the_registry
from genzoo.registry.weights.history import History

if TYPE_CHECKING:
    from genzoo.core.data import Data
    from genzoo.core.model import Model


@dataclass(frozen=True)
class Row:
    """One metric of everyone: of each its result, or None and the reason why there is none.

    ``best`` is the index of the one whose interval lies on the better side of all others', None if there is none such.
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
        return f"{self.some.title or self.metric} {ARROWS[self.some.direction]}".rstrip()


@dataclass(frozen=True)
class Candidate:
    """One of those compared, what was given, and how it was made, as far as that is known.

    A ``model``; or in its place ``samples``, whose labels are what they were asked to be; or neither, of a report.
    """

    name: str
    source: str
    model: Model | None = None
    samples: Data | None = None
    history: History = field(default_factory=History)


@dataclass(frozen=True)
class Comparison:
    """Several reports side by side, with the models and the data that a page shows.

    Attributes:
        names: of those compared, no two alike; ``reports`` and ``sides`` are theirs.
        rows: a metric each, of all that at least one of them has; in the order of the reports.
        data: what all were measured against, None between reports; ``training`` gives what models were trained on.
        seed: of all samples; with the ``extractor`` as it was given.
    """

    names: tuple[str, ...]
    reports: tuple[Report, ...]
    rows: tuple[Row, ...]
    sides: tuple[Candidate, ...] = ()
    data: Data | None = None
    training: Callable[[], Data | None] = lambda: None
    seed: int = 0
    extractor: Any = None

    @classmethod
    def of(cls, reports: Sequence[Report], names: Sequence[str] = (), *, uneven: bool = False, **shown: Any) -> Self:
        """Bring reports together, with what else there is to show; `UsageError` if their protocols differ.

        ``uneven`` lets numbers of samples differ: then only numbers that do not depend on them have a winner.
        """
        if not reports:
            raise UsageError("there is nothing to compare: give models, files of samples, or reports")
        rows = [
            _row(metric, reports, uneven) for metric in dict.fromkeys(r.metric for report in reports for r in report)
        ]
        called = names or distinct([one_line(r.subject) for r in reports])
        return cls(tuple(called), tuple(reports), tuple(rows), **shown)

    def _repr_html_(self) -> str:
        rows = []
        for row in self.rows:
            cells = ["absent" if r is None else r.text() for r in row.results]
            if row.best is not None:
                cells[row.best] += " *"
            rows.append([row.title, *cells, row.some.unit])
        best = "* better than every other: its interval has no point in common with theirs"
        lines = [best] if any(row.best is not None for row in self.rows) else []
        lines += [f"absent of all: {', '.join(names)} ({why})" for why, names in self.absences().items()]
        return notebook.table(rows, ("metric", *self.names, "unit")) + notebook.paragraphs(lines)

    @property
    def beside(self) -> dict[str, str]:
        """What models are to be read beside, by their names; see `Objective.compare_with`."""
        found, registry = dict[str, str](), the_registry()
        for name, side in zip(self.names, self.sides, strict=False):
            config = None if side.model is None else side.model.config
            if config is not None:
                objective = registry.load(registry.get("objective", config.parts["objective"].name))
                found[name] = getattr(objective, "compare_with", "")
        return {name: said for name, said in found.items() if said}

    def absences(self) -> dict[str, list[str]]:
        """Metrics that none of them has, by reason."""
        measured, found = {r.metric for r in self.rows}, dict[str, dict[str, None]]()
        for missing in (a for report in self.reports for a in report.absent):
            if missing.metric not in measured:
                found.setdefault(missing.reason, {})[missing.metric] = None
        return {reason: list(metrics) for reason, metrics in found.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the reports, and by metric who is best."""
        best = {r.metric: None if r.best is None else self.names[r.best] for r in self.rows}
        return {"names": list(self.names), "best": best, "reports": [r.to_dict() for r in self.reports]}


def distinct(sources: Sequence[str]) -> list[str]:
    """Short names for paths, no two alike: their last part, more of them where those are the same, then numbers."""
    whole = [str(s).rstrip("/") or str(s) for s in sources]
    parts = [PurePath(s).parts if s.startswith(("/", ".", "~")) else (s,) for s in whole]
    names = whole
    for n in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(p[-n:]) for p in parts]
        if len(set(names)) == len(set(whole)):
            break
    return [f"{n} ({names[: i + 1].count(n)})" if n in names[:i] else n for i, n in enumerate(names)]


def protocol_words(comparison: Comparison) -> tuple[dict[str, str], dict[str, str]]:
    """What all protocols share (data, counts), and each metric's own words."""
    own = {row.metric: dict(w.partition("=")[::2] for w in row.some.protocol.split()) for row in comparison.rows}
    first = next(iter(own.values()), {})
    shared = {k: v for k, v in first.items() if all(words.get(k) == v for words in own.values())}
    return shared, {m: " ".join(f"{k}={v}" for k, v in w.items() if k not in shared) for m, w in own.items()}


def differing(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys, in order, whose values are not the same in all tables; a key that one lacks differs."""
    keys, lacking = dict.fromkeys(k for t in tables for k in t), object()
    return [k for k in keys if any(t.get(k, lacking) != tables[0].get(k, lacking) for t in tables[1:])]


def _row(metric: str, reports: Sequence[Report], uneven: bool = False) -> Row:
    results = tuple(next((r for r in report if r.metric == metric), None) for report in reports)
    reasons = tuple("" if metric in report else report.why_not(metric) or "it was not measured" for report in reports)
    there = [(i, r) for i, r in enumerate(results) if r is not None]
    best = None
    for i, result in there:
        verdicts = [_verdict(result, other, uneven) for j, other in there if j != i]
        if verdicts and all(v == "better" for v in verdicts):
            best = i
    return Row(metric, results, reasons, best)


def _verdict(a: Result, b: Result, uneven: bool) -> str:
    """Which is better; where only the numbers of samples differ, as far as what the intervals hold is free of them."""
    if uneven and a.n_fake != b.n_fake:
        if "unlimited samples" not in a.interval.covers:
            return "undecided"
        b = replace(b, protocol=b.protocol.replace(f"fake={b.n_fake}", f"fake={a.n_fake}"))
    return a.compare(b)
