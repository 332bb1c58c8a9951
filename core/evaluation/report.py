"""What an evaluation says: numbers with intervals, each with the protocol that it was measured by. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.evaluation import DIRECTIONS as DIRECTIONS
from genzoo.core.evaluation import NEEDS as NEEDS
from genzoo.core.evaluation import Direction as Direction

Verdict = Literal["better", "worse", "undecided"]
POPULATION = "the value for unlimited samples and data"  # what intervals claim to hold
AT_COUNTS = "the expected value at these counts"
ARROWS: Mapping[str, str] = {"higher": "↑", "lower": "↓", "none": ""}


@dataclass(frozen=True)
class Interval:
    """Where the number may lie: between `low` and `high`, None where there is no interval."""

    low: float | None = None
    high: float | None = None
    level: float = 0.95
    how: str = "none was made"  # how it was made (``jackknife of 49``), or why there is none
    covers: str = ""  # what it holds at that level, such as `AT_COUNTS`; "" where the metric does not say

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return self.low is not None and self.high is not None


@dataclass(frozen=True)
class Result:
    """One metric of one model: the number with its interval, and all that it rests on."""

    metric: str
    value: float  # may be infinite
    interval: Interval = field(default_factory=Interval)
    n_real: int = 0  # observations of the data that were used
    n_fake: int = 0  # samples that were judged
    seed: int = 0  # of sampling and of every random choice
    title: str = ""  # what to call it in a table; "FID" only where it is
    extractor: str = ""  # whose features or classes it is made of, "" if of none
    extractor_sha256: str = ""  # of that extractor's weights and code version
    unit: str = ""  # of value and interval
    direction: Direction = "none"
    protocol: str = ""  # all that two numbers must share to be compared, as ``key=value`` words
    details: Mapping[str, Any] = field(default_factory=dict)  # plain data beyond the number
    pictures: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)  # evidence; not in `to_dict`

    def compare(self, other: Result) -> Verdict:
        """``better`` or ``worse`` where the metric has a direction and both intervals have no point in common.

        What is made of densities (``density`` of the details) is undecided beside what is made of probabilities.

        Raises:
            UsageError: if the protocols differ, with all in which they do.
        """
        if self.protocol != other.protocol:
            raise UsageError(
                f"{self.metric} {_number(self.value)} and {other.metric} {_number(other.value)} do not compare, since "
                f"they were not measured alike: {differences(self.protocol, other.protocol)}"
            )
        if self.details.get("density") != other.details.get("density"):  # nor is it less than a probability
            return "undecided"
        a, b = self.interval, other.interval
        if self.direction == "none" or a.low is None or a.high is None or b.low is None or b.high is None:
            return "undecided"
        if not (a.low > b.high or a.high < b.low):
            return "undecided"
        return "better" if (a.low > b.high) == (self.direction == "higher") else "worse"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: infinity and NaN as the words ``inf``, ``-inf`` and ``nan``; no pictures."""
        own = {k: plain(getattr(self, k)) for k in self.__dataclass_fields__ if k not in ("interval", "pictures")}
        return {**own, "interval": {k: plain(v) for k, v in self.interval.__dict__.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """Rebuild from `to_dict`'s output; unknown keys of a later version are left out.

        Raises:
            UsageError: if it is no such thing.
        """
        try:
            given = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
            interval = {k: v for k, v in given.pop("interval", {}).items() if k in Interval.__dataclass_fields__}
            ends = {k: None if interval.get(k) is None else float(interval[k]) for k in ("low", "high")}
            return cls(**{**given, "value": float(given["value"]), "interval": Interval(**{**interval, **ends})})
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UsageError(
                "this is no result of an evaluation: it has no metric with a number and its interval"
            ) from None

    def text(self) -> str:
        """The number with its interval, for people: ``11.8 [11.2, 12.5]``."""
        return _number(self.value) + (f" {_ends(self.interval)}" if self.interval.known else "")


@dataclass(frozen=True)
class Absent:
    """A metric that could not be measured, and why."""

    metric: str
    reason: str


@dataclass(frozen=True)
class Report:
    """All that one evaluation found."""

    subject: str  # what was judged, for people
    results: tuple[Result, ...] = ()  # in the order in which they were asked for
    absent: tuple[Absent, ...] = ()  # what could not be measured
    record: Mapping[str, Any] = field(default_factory=dict)  # data, counts, seconds and versions, as plain data

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __contains__(self, metric: object) -> bool:
        return any(r.metric == metric for r in self.results)

    def __getitem__(self, metric: str) -> Result:
        """The result of a metric, by its name in the zoo.

        Raises:
            UsageError: if it is not there, with the reason if it is known.
        """
        results = {r.metric: r for r in self.results}
        if metric in results:
            return results[metric]
        if reason := self.why_not(metric):
            raise UsageError(f"{self.subject} has no {metric}: {reason}")
        raise UsageError(f"{metric!r} was not measured of {self.subject}{did_you_mean(metric, list(results))}")

    def why_not(self, metric: str) -> str:
        """Why a metric could not be measured, "" if that is not known."""
        return next((a.reason for a in self.absent if a.metric == metric), "")

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """A table for people: title with arrow, number, interval, unit, and what it rests on."""
        return [
            (
                f"{r.title or r.metric} {ARROWS[r.direction]}".rstrip(),
                _number(r.value),
                _ends(r.interval),
                r.unit,
                _basis(r),
            )
            for r in self.results
        ]

    def __str__(self) -> str:
        """What ``print`` shows: a line for each metric, under what was judged against what, then the remarks."""
        lines = [("metric", "value", "95 % interval", "unit", "measured on"), *self.rows()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        shown = ["  ".join(w.ljust(n) for w, n in zip(line, widths, strict=True)).rstrip() for line in lines]
        return "\n".join([self._title(), *shown, *self.remarks()])

    def _title(self) -> str:
        return f"{self.subject} against {self.record['data']}" if self.record.get("data") else self.subject

    def _repr_html_(self) -> str:
        from genzoo.core.notebook import paragraphs, table

        shown = table(self.rows(), ("metric", "value", "95 % interval", "unit", "measured on"), self._title())
        return shown + paragraphs(self.remarks())

    def absences(self) -> dict[str, list[str]]:
        """Metrics that could not be measured, by reason."""
        return _grouped((a.reason, a.metric) for a in self.absent)

    def claims(self) -> dict[str, list[str]]:
        """Metrics with an interval, by what it holds."""
        held = (r for r in self.results if r.interval.known and r.interval.covers)
        return _grouped((r.interval.covers, r.metric) for r in held)

    def remarks(self) -> list[str]:
        """What people are told beside the numbers: the ``caution`` of details, and which metrics are absent."""
        cautions = _grouped((str(r.details["caution"]), r.metric) for r in self.results if "caution" in r.details)
        return [f"{', '.join(names)}: {why}" for why, names in cautions.items()] + [
            f"absent: {', '.join(names)} ({why})" for why, names in self.absences().items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        results, absent = [r.to_dict() for r in self.results], [dict(a.__dict__) for a in self.absent]
        return {"subject": self.subject, "record": plain(self.record), "results": results, "absent": absent}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """Rebuild from `to_dict`'s output (pictures are not in it)."""
        try:
            results = tuple(Result.from_dict(r) for r in data["results"])
            absent = tuple(Absent(str(a["metric"]), str(a["reason"])) for a in data["absent"])
            return cls(str(data["subject"]), results, absent, dict(data.get("record", {})))
        except (KeyError, TypeError):
            raise UsageError("this is no report of an evaluation: it has no subject with results") from None


def differences(a: str, b: str) -> str:
    """Say in which words two protocols differ: ``fake=1000 against fake=500``."""
    one, two = (dict(w.partition("=")[::2] for w in p.split()) for p in (a, b))
    keys = [k for k in {**one, **two} if one.get(k) != two.get(k)]
    return ", ".join(f"{k}={one.get(k, 'none')} against {k}={two.get(k, 'none')}" for k in keys)


def _ends(interval: Interval) -> str:
    return f"[{_number(interval.low)}, {_number(interval.high)}]" if interval.known else "–"


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, name in pairs:
        found.setdefault(key, []).append(name)
    return found


def _basis(r: Result) -> str:
    counts = [f"{r.n_fake:,} samples" if r.n_fake else "", f"{r.n_real:,} real" if r.n_real else "", r.extractor]
    return ", ".join(filter(None, counts))


def _number(value: float | None) -> str:
    """Four digits that matter; infinity as such."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "∞" if value > 0 else "-∞" if value < 0 else "undefined"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def plain(value: Any) -> Any:
    """Plain data for JSON, of numbers, text, lists and mappings."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return plain(value.tolist()) if hasattr(value, "tolist") else value
