"""What an evaluation says: numbers with intervals, each with the protocol that it was measured by. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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
    """Where the number may lie.

    Attributes:
        low: lower end, None without an interval.
        high: upper end likewise.
        level: confidence, .95 as a rule.
        how: how it was made (``jackknife of 49``, ``exact binomial``), or why there is none.
        covers: what it holds at that level, such as `AT_COUNTS`; "" where the metric does not say.
    """

    low: float | None = None
    high: float | None = None
    level: float = 0.95
    how: str = "none was made"
    covers: str = ""

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return self.low is not None and self.high is not None


@dataclass(frozen=True)
class Result:
    """One metric of one model.

    Attributes:
        metric: its name in the zoo.
        value: the number; may be infinite.
        interval: where it may lie.
        n_real: observations of the data that were used.
        n_fake: samples that were judged.
        seed: of sampling and of every random choice.
        title: what to call it in a table; "FID" only where it is.
        extractor: whose features or classes it is made of, "" if of none.
        extractor_sha256: of that extractor's weights and code version.
        unit: of value and interval.
        direction: whether ``higher`` or ``lower`` is better, or ``none``.
        protocol: all that two numbers must share to be compared, as ``key=value`` words.
        details: plain data beyond the number, such as the classes that are missing.
        pictures: images that are evidence, by name; not part of `to_dict`.
    """

    metric: str
    value: float
    interval: Interval = field(default_factory=Interval)
    n_real: int = 0
    n_fake: int = 0
    seed: int = 0
    title: str = ""
    extractor: str = ""
    extractor_sha256: str = ""
    unit: str = ""
    direction: Direction = "none"
    protocol: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def compare(self, other: Result) -> Verdict:
        """Say whether this is better than another result of the same protocol.

        Returns:
            ``better`` or ``worse`` only if both intervals are known and have no point in common and the metric
            has a direction; otherwise ``undecided``.

        Raises:
            UsageError: if the protocols differ, with all in which they do.
        """
        if self.protocol != other.protocol:
            raise UsageError(
                f"{self.metric} {_number(self.value)} and {other.metric} {_number(other.value)} do not compare, since "
                f"they were not measured alike: {differences(self.protocol, other.protocol)}"
            )
        a, b = self.interval, other.interval
        if self.direction == "none" or a.low is None or a.high is None or b.low is None or b.high is None:
            return "undecided"
        if a.low > b.high:
            return "better" if self.direction == "higher" else "worse"
        if a.high < b.low:
            return "worse" if self.direction == "higher" else "better"
        return "undecided"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: infinity and NaN as the words ``inf``, ``-inf`` and ``nan``; no pictures."""
        plain = {k: _plain(getattr(self, k)) for k in self.__dataclass_fields__ if k not in ("interval", "pictures")}
        return {**plain, "interval": {k: _plain(v) for k, v in self.interval.__dict__.items()}}

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
        value = _number(self.value)
        if not self.interval.known:
            return value
        return f"{value} [{_number(self.interval.low)}, {_number(self.interval.high)}]"


@dataclass(frozen=True)
class Absent:
    """A metric that could not be measured, and why."""

    metric: str
    reason: str


@dataclass(frozen=True)
class Report:
    """All that one evaluation found.

    Attributes:
        subject: what was judged, for people.
        results: in the order in which they were asked for.
        absent: what could not be measured.
        record: data, counts, seconds and versions, as plain data.
    """

    subject: str
    results: tuple[Result, ...] = ()
    absent: tuple[Absent, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __contains__(self, metric: object) -> bool:
        return any(r.metric == metric for r in self.results)

    def __getitem__(self, metric: str) -> Result:
        """The result of a metric, by its name in the zoo.

        Raises:
            UsageError: if it is not there, with the reason if it is known.
        """
        for result in self.results:
            if result.metric == metric:
                return result
        if any(a.metric == metric for a in self.absent):
            raise UsageError(f"{self.subject} has no {metric}: {self.why_not(metric)}")
        names = [r.metric for r in self.results]
        raise UsageError(f"{metric!r} was not measured of {self.subject}{did_you_mean(metric, names)}")

    def why_not(self, metric: str) -> str:
        """Why a metric could not be measured, "" if that is not known."""
        return next((a.reason for a in self.absent if a.metric == metric), "")

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """A table for people: title with arrow, number, interval, unit, and what it rests on."""
        rows = []
        for r in self.results:
            ends = f"[{_number(r.interval.low)}, {_number(r.interval.high)}]" if r.interval.known else "–"
            rows.append(
                (f"{r.title or r.metric} {ARROWS[r.direction]}".rstrip(), _number(r.value), ends, r.unit, _basis(r))
            )
        return rows

    def absences(self) -> dict[str, list[str]]:
        """Metrics that could not be measured, by reason."""
        found: dict[str, list[str]] = {}
        for missing in self.absent:
            found.setdefault(missing.reason, []).append(missing.metric)
        return found

    def claims(self) -> dict[str, list[str]]:
        """Metrics with an interval, by what it holds."""
        found: dict[str, list[str]] = {}
        for r in self.results:
            if r.interval.known and r.interval.covers:
                found.setdefault(r.interval.covers, []).append(r.metric)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "subject": self.subject,
            "record": _plain(self.record),
            "results": [r.to_dict() for r in self.results],
            "absent": [{"metric": a.metric, "reason": a.reason} for a in self.absent],
        }

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


def _plain(value: Any) -> Any:
    """Plain data for JSON, of numbers, text, lists and mappings."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return _plain(value.tolist()) if hasattr(value, "tolist") else value
