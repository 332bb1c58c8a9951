"""What the conformance suite says. Torch-free."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["passed", "failed", "skipped"]


class Fault(Exception):
    """What a check raises: what should have been, what was, what to change, and the data on which it showed."""

    def __init__(self, expected: str, found: str, mend: str, where: str = "") -> None:
        super().__init__(f"expected {expected}; found {found}; {mend}")
        self.expected, self.found, self.mend, self.where = expected, found, mend, where


class Skip(Exception):
    """What a check raises where it has nothing to look at; the reason is its text."""


@dataclass(frozen=True)
class Finding:
    """One check of one entry, ``kind:name``; what was found of a skipped one is the reason. Seconds that it took."""

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
    """How one plugin's module imports in a process of its own: ``seconds`` beyond what genzoo imports, the ``heavy``
    packages that it brings (torch, numpy, …), and in ``fault`` one sentence on what is wrong, or "".
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
    """All that the suite found, in the order of entries and checks, and how each plugin imports."""

    distribution: str
    findings: tuple[Finding, ...]
    plugins: tuple[Imported, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures and not any(p.fault for p in self.plugins)

    @property
    def failures(self) -> list[Finding]:
        """What failed."""
        return [f for f in self.findings if f.outcome == "failed"]

    @property
    def counts(self) -> dict[str, int]:
        """How many passed, failed and were skipped."""
        outcomes = [f.outcome for f in self.findings]
        return {o: outcomes.count(o) for o in ("passed", "failed", "skipped")}

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
        plugins = [{**asdict(p), "heavy": list(p.heavy)} for p in self.plugins]
        findings = [asdict(f) for f in self.findings]
        about = {"distribution": self.distribution, "ok": self.ok, "counts": self.counts}
        return {**about, "plugins": plugins, "findings": findings}
