"""What the conformance suite says: a finding per entry and check, and how each plugin imports. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Outcome = Literal["passed", "failed", "skipped"]


class Fault(Exception):
    """What a check raises.

    Args:
        expected: what should have been, as a phrase.
        found: what was.
        mend: what to change, as a sentence in the imperative.
        where: the case in which it showed, e.g. ``image 1×16×16, 3 classes``.
    """

    def __init__(self, expected: str, found: str, mend: str, where: str = "") -> None:
        super().__init__(f"expected {expected}; found {found}; {mend}")
        self.expected, self.found, self.mend, self.where = expected, found, mend, where


class Skip(Exception):
    """What a check raises where it has nothing to look at; the reason is its text."""


@dataclass(frozen=True)
class Finding:
    """One check of one entry.

    Attributes:
        entry: ``kind:name``.
        check: the check's name.
        outcome: ``passed``, ``failed`` or ``skipped``.
        expected: of a failure, what should have been.
        found: of a failure, what was; of a skipped check, why.
        mend: of a failure, what to change.
        where: of a failure, the case in which it showed.
        seconds: that the check took.
    """

    entry: str
    check: str
    outcome: Outcome
    expected: str = ""
    found: str = ""
    mend: str = ""
    where: str = ""
    seconds: float = 0.0

    def text(self) -> str:
        """A failure in four lines."""
        at = f" ({self.where})" if self.where else ""
        lines = [f"{self.entry} fails {self.check!r}{at}", f"  expected: {self.expected}", f"  found:    {self.found}"]
        return "\n".join([*lines, f"  to mend:  {self.mend}"])


@dataclass(frozen=True)
class Imported:
    """How one plugin's module imports, measured in a process of its own.

    Attributes:
        plugin: name of its entry point.
        distribution: the package that carries it.
        version: of that package.
        module: what the entry point names.
        seconds: that the import took beyond what genzoo itself had imported.
        heavy: heavy packages that it dragged in (torch, numpy, …).
        fault: one sentence on what is wrong, or "".
    """

    plugin: str
    distribution: str
    version: str
    module: str
    seconds: float
    heavy: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class Report:
    """All that the suite found.

    Attributes:
        distribution: what was checked, "" for several.
        findings: in the order of entries and checks.
        plugins: how each plugin imports.
    """

    distribution: str
    findings: tuple[Finding, ...]
    plugins: tuple[Imported, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures and not any(p.fault for p in self.plugins)

    @property
    def failures(self) -> list[Finding]:
        """What failed."""
        return [f for f in self.findings if f.outcome == "failed"]

    def failed(self) -> set[tuple[str, str]]:
        """Entry and check of everything that failed."""
        return {(f.entry, f.check) for f in self.failures}

    def table(self) -> dict[str, dict[str, Outcome]]:
        """Entry to check to outcome."""
        rows: dict[str, dict[str, Outcome]] = {}
        for f in self.findings:
            rows.setdefault(f.entry, {})[f.check] = f.outcome
        return rows

    def text(self) -> str:
        """Every failure in words; "" if there is none."""
        plugins = [f"plugin {p.plugin!r}: {p.fault}" for p in self.plugins if p.fault]
        return "\n\n".join([*plugins, *(f.text() for f in self.failures)])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "distribution": self.distribution,
            "ok": self.ok,
            "counts": counts(self.findings),
            "plugins": [{**asdict(p), "heavy": list(p.heavy)} for p in self.plugins],
            "findings": [asdict(f) for f in self.findings],
        }


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many passed, failed and were skipped."""
    outcomes = [f.outcome for f in findings]
    return {o: outcomes.count(o) for o in ("passed", "failed", "skipped")}
