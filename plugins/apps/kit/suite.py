"""The conformance suite: which checks there are of each kind, what they find, and how plugins import.

Imports torch on use. A check is a function of a `genzoo.plugins.apps.kit.cases.Case` that raises `Fault` or `Skip`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.plugins.apps.kit.findings import Fault, Finding, Imported, Report, Skip
from genzoo.registry import KINDS, Entry, Registry, the_registry
from genzoo.registry.entries import normal
from genzoo.registry.kinds import TABLE

if TYPE_CHECKING:
    from genzoo.plugins.apps.kit.cases import Case

_HOME = "genzoo.plugins.apps.kit"
_NETWORKS = ("generator", "encoder", "critic")
_PLAYED = ("objective", "regularizer", "augmentation")
_COMPUTE = (*_NETWORKS, *_PLAYED, "likelihood")
_GIVE = (*_NETWORKS, "likelihood", "posterior", "extractor")
_CODE = [k for k, about in TABLE.items() if about.target in ("class", "any")]
_OPTIONS = [k for k in _CODE if TABLE[k].options and k not in ("extractor", "tracker")]

# Every check by its module, in the order in which it is made, and whose it is. What fails after another failure may
# only repeat it in other words, so it is skipped.
_ROWS: tuple[tuple[str, Iterable[str], Iterable[str]], ...] = (
    ("statics", ["described"], KINDS),
    ("statics", ["options"], _OPTIONS),
    ("statics", ["safe"], _CODE),
    ("part_checks", ["builds"], _NETWORKS),
    ("objective_checks", ["plays"], ["objective"]),
    ("property_checks", ["shapes"], [*_GIVE, "prior"]),
    ("property_checks", ["terms"], _PLAYED),
    ("property_checks", ["dtypes", "devices"], _COMPUTE),
    ("property_checks", ["deterministic", "inputs-kept"], [*_GIVE, *_PLAYED, "prior"]),
    ("property_checks", ["gradients"], [*_NETWORKS, *_PLAYED]),
    ("part_checks", ["normalized", "gradients", "mean"], ["likelihood"]),
    ("property_checks", ["batch-independent"], [*_GIVE, *_PLAYED]),
    ("part_checks", ["condition"], _NETWORKS),
    ("part_checks", ["per-observation"], ["critic"]),
    ("property_checks", ["round-trip"], [*_NETWORKS, "likelihood"]),
    ("objective_checks", ["round-trip", "accumulates"], _PLAYED),
    ("property_checks", ["variants"], _COMPUTE),
    ("part_checks", ["dense", "bounded"], ["posterior"]),
    ("part_checks", ["total"], ["prior"]),
    ("data_checks", ["light", "forms", "shows", "files", "builds"], ["modality"]),
    ("data_checks", ["spec", "deterministic", "splits", "limit"], ["dataset"]),
    ("measures", ["measures", "deterministic", "inputs-kept"], ["metric"]),
    ("measures", ["extracts"], ["extractor"]),
    ("recipe_checks", ["trains", "samples", "scored", "round-trip"], ["recipe"]),
)
CHECKS: Mapping[str, Mapping[str, str]] = {
    kind: {name: f"{module}:{name}" for module, names, kinds in _ROWS if kind in kinds for name in names}
    for kind in KINDS
}
_ALONE = ("described", "options", "safe", "devices")  # whose failure says nothing of other checks


def checks_of(kind: str) -> tuple[str, ...]:
    """Names of the checks of a kind, in the order in which they are made."""
    return tuple(CHECKS[kind])


def explained(kind: str, check: str) -> str:
    """What a check of a kind holds an entry to."""
    return (_function(kind, check).__doc__ or "").strip().splitlines()[0]


def chosen(registry: Registry, distribution: str | None, entries: Iterable[str] | None = None) -> list[Entry]:
    """The entries of a distribution (or plugin), or of all but genzoo's own where None; torch-free.

    Raises:
        UsageError: if there is no such distribution, or none of the entries named by ``kind:name`` or ``name``.
    """
    known = {n for r in registry.plugins() for n in (r.name, r.distribution) if n}
    if distribution is None and all(normal(r.distribution) == "genzoo" for r in registry.plugins()):
        raise UsageError("no plugin of another distribution is installed: name one, or 'genzoo' for the zoo's own")
    if distribution is not None and normal(distribution) not in map(normal, known):
        raise UsageError(f"there is no plugin or distribution {distribution!r}{did_you_mean(distribution, known)}")
    found = [e for e in registry.entries() if _is_of(distribution, e.plugin, e.distribution)]
    if entries is None:
        return found
    wanted, names = list(entries), {name for e in found for name in (e.name, f"{e.kind}:{e.name}")}
    for name in set(wanted) - names:
        raise UsageError(f"{distribution or 'no plugin'} registers no {name!r}{did_you_mean(name, names)}")
    return [e for e in found if e.name in wanted or f"{e.kind}:{e.name}" in wanted]


def _is_of(asked: str | None, plugin: str, distribution: str) -> bool:
    """Whether a plugin is meant by the name of a distribution or a plugin, or is of another than genzoo."""
    if asked is None:
        return normal(distribution) != "genzoo"
    return normal(asked) in (normal(plugin), normal(distribution))


def check(
    distribution: str | None = None,
    entries: Iterable[str] | None = None,
    *,
    checks: Sequence[str] | None = None,
    registry: Registry | None = None,
    on_finding: Callable[[Finding], None] | None = None,
    jobs: int = 1,
) -> Report:
    """Hold everything that a distribution registers to what the zoo asks of its parts.

    Args:
        distribution: name of a distribution or plugin; None is all but genzoo's own.
        entries: only these, as ``kind:name`` or ``name``.
        checks: only these, by name.
        registry: where entries are looked up; None is what is installed.
        on_finding: called with each finding as it is made.
        jobs: processes that share the entries, where these are what is installed.

    Raises:
        UsageError: for a distribution, entry or check that there is not.
        GenzooError: if one of several processes died.
    """
    alone = jobs == 1 or registry is not None
    registry = registry or the_registry()
    known = {c for of in CHECKS.values() for c in of}
    for name in set(checks or ()) - known:
        raise UsageError(f"there is no check {name!r}{did_you_mean(name, known)}")
    todo, findings = chosen(registry, distribution, entries), []
    with _one_thread():
        made = (f for e in todo for f in _findings(registry, e, checks)) if alone else _shared(todo, checks, jobs)
        for finding in made:
            findings.append(finding)
            if on_finding is not None:
                on_finding(finding)
    plugins = [] if entries is not None or checks else imported(registry, distribution)
    return Report(distribution or "", tuple(findings), tuple(plugins))


def _shared(entries: Sequence[Entry], checks: Sequence[str] | None, jobs: int) -> Iterator[Finding]:
    """Findings of all entries in their order, made by several processes."""
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))
    try:
        for found in pool.map(partial(_of_one, checks=checks), [(e.kind, e.address) for e in entries]):
            yield from found
    except BrokenProcessPool as e:
        raise GenzooError("a process that checked died: --jobs 1 shows at which entry") from e
    finally:
        pool.shutdown(cancel_futures=True)


def _of_one(entry: tuple[str, str], checks: Sequence[str] | None) -> list[Finding]:
    """Findings of the entry of a kind and an address, in a process of its own."""
    registry = the_registry()
    with _one_thread():
        return list(_findings(registry, registry.get(*entry), checks))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread for a while: on networks this small several only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def imported(registry: Registry, distribution: str | None) -> list[Imported]:
    """How the modules of a distribution's plugins import."""
    from genzoo.plugins.apps.kit.statics import imports

    return [imports(r) for r in registry.plugins() if _is_of(distribution, r.name, r.distribution)]


def _findings(registry: Registry, entry: Entry, checks: Sequence[str] | None) -> Iterator[Finding]:
    from genzoo.plugins.apps.kit.cases import Case

    first, case = "", Case(registry, entry)
    for name in checks_of(entry.kind):
        if checks and name not in checks:
            continue
        finding = run(case, name)
        if finding.outcome == "failed" and first:
            why = f"it cannot tell before {first!r} is mended"
            finding = Finding(finding.entry, name, "skipped", found=why, seconds=finding.seconds)
        elif finding.outcome == "failed" and name not in _ALONE:
            first = name
        yield finding


def run(case: Case, check: str) -> Finding:
    """Run one check of one entry; nothing that the entry does gets out but Ctrl-C."""
    from genzoo.plugins.apps.kit.cases import at

    start, outcome, said, entry = time.perf_counter(), "passed", dict[str, str](), case.entry
    try:
        with at(""):
            _function(entry.kind, check)(case)
    except Skip as e:
        outcome, said = "skipped", {"found": str(e)}
    except Fault as e:
        outcome, said = "failed", vars(e) | {"mend": e.mend or f"what is asked: {explained(entry.kind, check)}"}
    seconds = round(time.perf_counter() - start, 3)
    return Finding(f"{entry.kind}:{entry.name}", check, outcome, **said, seconds=seconds)  # type: ignore[arg-type]


def _function(kind: str, check: str) -> Callable[[Case], None]:
    module, _, name = CHECKS[kind][check].partition(":")
    found = getattr(importlib.import_module(f"{_HOME}.{module}"), name.replace("-", "_"))
    function: Callable[[Case], None] = found
    return function
