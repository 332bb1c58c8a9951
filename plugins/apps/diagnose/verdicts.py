"""What is wrong with a trained model, in plain words: verdicts, each with the numbers that it rests on. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from genzoo.core import notebook
from genzoo.core.errors import UsageError, did_you_mean, in_words
from genzoo.core.evaluation.report import plain
from genzoo.core.options import typed

Status = Literal["problem", "hint", "healthy", "unknown"]
NAMES: Mapping[str, str] = {
    "divergence": "training that diverged or was not finite",
    "exploding-gradients": "gradient norms that explode",
    "vanishing-gradients": "gradient norms that vanish",
    "saturated-critic": "a critic that always wins",
    "posterior-collapse": "a code that says nothing of the data",
    "mode-collapse": "parts of the data that samples leave out",
    "memorization": "samples that copy training data",
    "overfitting": "a held-out loss that rises",
    "under-training": "too few steps, or too small ones; a loss that was still falling",
}  # in this order: what comes first may be the cause of what follows


@dataclass(frozen=True)
class Fact:
    """A number, what it is held against in words (``trouble below 0.1``, "" for none), and whether it is beyond."""

    what: str
    value: float
    limit: str = ""
    wrong: bool = False

    def text(self) -> str:
        """For people: ``critic loss 0.0001 (trouble below 0.1)``."""
        return f"{self.what} {number(self.value)}" + (f" ({self.limit})" if self.limit else "")


def below(what: str, value: float, limit: float, words: str = "trouble below") -> Fact:
    """A number that is wrong below a limit."""
    return Fact(what, value, f"{words} {limit:g}", value < limit)


def above(what: str, value: float, limit: float, words: str = "trouble above") -> Fact:
    """A number that is wrong above a limit."""
    return Fact(what, value, f"{words} {limit:g}", value > limit)


def reaching(what: str, value: float, limit: float) -> Fact:
    """A number that is wrong from a limit on."""
    return Fact(what, value, f"trouble from {limit:g}", value >= limit)


@dataclass(frozen=True)
class Remedy:
    """Something to try, and why: another recipe ("" for this one), and options of ``--set``, name to value.

    A value ``÷3`` is a third of what the run had; `genzoo.diagnose` puts the number in place. A command stands for
    itself.
    """

    why: str
    recipe: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    command: str = ""

    def text(self) -> str:
        """As words of a command line, and what they do."""
        words = [f"genzoo train {self.recipe}"] if self.recipe else [self.command] if self.command else []
        words += [f"--set {name}={typed(value)}" for name, value in self.options]
        return f"{' '.join(words)}: {self.why}" if words else self.why


@dataclass(frozen=True)
class Verdict:
    """One thing that may be wrong with a model, by its name in `NAMES`; says it in one sentence.

    Attributes:
        status: ``problem``; ``hint``, worth knowing and no failure; ``healthy``; or ``unknown``, with the reason.
        because: name of the problem that this one follows from, "" for a problem of its own.
        missing: names of what is left out, of a mode collapse.
        pictures: images that show it, by name; not part of `to_dict`.
    """

    name: str
    status: Status
    says: str
    facts: tuple[Fact, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    because: str = ""
    missing: tuple[str, ...] = ()
    pictures: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "status": self.status,
            "says": self.says,
            "evidence": [{**f.__dict__, "value": plain(f.value), "text": f.text()} for f in self.facts],
            "try": [{"recipe": r.recipe, "options": dict(r.options), "text": r.text()} for r in self.remedies],
            "because": self.because,
            "missing": list(self.missing),
            "pictures": sorted(self.pictures),
        }


def judged(
    name: str, wrong: str, healthy: str, facts: Iterable[Fact], remedies: Iterable[Remedy] = (), **more: Any
) -> Verdict:
    """A problem, if there are words for one, with what to try; else healthy."""
    if not wrong:
        return Verdict(name, "healthy", healthy, tuple(facts), **more)
    return Verdict(name, "problem", wrong, tuple(facts), tuple(remedies), **more)


def unknown(name: str, why: str) -> Verdict:
    """What could not be checked."""
    return Verdict(name, "unknown", f"Not checked: {why}.")


@dataclass(frozen=True)
class Diagnosis:
    """All verdicts on one model: one for each of `NAMES`, in that order.

    The ``subject`` is for people; the ``record`` says which data and how many samples, as plain data.
    """

    subject: str
    verdicts: tuple[Verdict, ...]
    record: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def __getitem__(self, name: str) -> Verdict:
        """The verdict of a name; raises `UsageError` if there is none."""
        for verdict in self.verdicts:
            if verdict.name == name:
                return verdict
        raise UsageError(f"there is no verdict {name!r}{did_you_mean(name, NAMES)}")

    def _repr_html_(self) -> str:
        rows = []
        for v in sorted(self.verdicts, key=lambda v: (v.status != "problem", bool(v.because))):
            tried = "; ".join(r.text() for r in v.remedies) if v.status in ("problem", "hint") else ""
            says = v.says + (f" (follows from {v.because})" if v.because else "")
            rows.append((v.status, v.name, says, in_words(tried)))
        n = len(self.problems)
        count = f"{n} problem{'s' * (n > 1)}" if n else "healthy"
        return notebook.table(rows, ("", "verdict", "what was found", "what to try"), f"{self.subject}: {count}")

    @property
    def problems(self) -> tuple[str, ...]:
        """Names of what is wrong, less what only follows from something else that is."""
        return tuple(v.name for v in self.verdicts if v.status == "problem" and not v.because)

    @property
    def healthy(self) -> bool:
        """Whether nothing was found wrong; what could not be checked does not count."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "subject": self.subject,
            "healthy": self.healthy,
            "problems": list(self.problems),
            "record": dict(self.record),
            "verdicts": [v.to_dict() for v in self.verdicts],
        }


def number(value: float) -> str:
    """Three digits that matter."""
    if not math.isfinite(value):
        return "not finite" if math.isnan(value) else "infinite"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
