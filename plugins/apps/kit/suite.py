"""The conformance suite: which checks there are of each kind, and what becomes of them. Imports torch on use."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.plugins.apps.kit.findings import Fault, Finding, Imported, Report, Skip
from genzoo.registry import Entry, Registry, the_registry
from genzoo.registry.entries import normal

if TYPE_CHECKING:
    from genzoo.plugins.apps.kit.cases import Case

_HOME = "genzoo.plugins.apps.kit"
_ALL = {"described": "statics:described"}
_CLASS = {**_ALL, "options": "statics:options", "safe": "statics:safe"}
_NETWORK = {
    **_CLASS,
    "builds": "network_checks:builds",
    "shapes": "network_checks:shapes",
    "dtypes": "network_checks:dtypes",
    "devices": "network_checks:devices",
    "deterministic": "network_checks:deterministic",
    "gradients": "network_checks:gradients",
    "inputs-kept": "network_checks:inputs_kept",
    "batch-independent": "network_checks:batch_independent",
    "condition": "network_checks:condition",
    "round-trip": "network_checks:round_trip",
    "variants": "network_checks:variants",
}
_PLAYED = {
    "terms": "games:terms",
    "dtypes": "games:dtypes",
    "devices": "games:devices",
    "deterministic": "games:deterministic",
    "gradients": "games:gradients",
    "inputs-kept": "games:inputs_kept",
    "coupled": "games:coupled",
    "accumulates": "state_checks:accumulates",
    "round-trip": "games:resumes",
    "variants": "games:variants",
}
CHECKS: Mapping[str, Mapping[str, str]] = {
    "generator": _NETWORK,
    "encoder": _NETWORK,
    "critic": {**_NETWORK, "per-observation": "network_checks:per_observation"},
    "objective": {**_CLASS, "plays": "games:plays", **_PLAYED, "held-out": "games:held_out"},
    "likelihood": {
        **_CLASS,
        "shapes": "likelihood_checks:shapes",
        "normalized": "likelihood_checks:normalized",
        "dtypes": "likelihood_checks:dtypes",
        "devices": "likelihood_checks:devices",
        "deterministic": "likelihood_checks:deterministic",
        "gradients": "likelihood_checks:gradients",
        "inputs-kept": "likelihood_checks:inputs_kept",
        "batch-independent": "likelihood_checks:batch_independent",
        "mean": "likelihood_checks:mean_of_samples",
        "round-trip": "likelihood_checks:round_trip",
        "variants": "likelihood_checks:variants",
    },
    **{kind: {**_CLASS, **_PLAYED} for kind in ("regularizer", "augmentation")},
    "posterior": {
        **_CLASS,
        "sampled": "code_checks:sampled",
        "dense": "code_checks:dense",
        "bounded": "code_checks:bounded",
    },
    "prior": {**_CLASS, "drawn": "code_checks:drawn", "total": "code_checks:total"},
    "modality": {
        **_ALL,
        "safe": "statics:safe",
        "light": "modality_checks:light",
        "forms": "modality_checks:forms",
        "recorded": "modality_checks:recorded",
        "shows": "modality_checks:shows",
        "files": "modality_checks:files",
        "builds": "modality_checks:builds",
    },
    "dataset": {
        **_CLASS,
        "spec": "dataset_checks:spec",
        "deterministic": "dataset_checks:deterministic",
        "splits": "dataset_checks:splits",
        "limit": "dataset_checks:limited",
    },
    "metric": {
        **_CLASS,
        "measures": "measures:measures",
        "deterministic": "measures:deterministic",
        "inputs-kept": "measures:inputs_kept",
        "protocol": "measures:protocol",
    },
    "extractor": {**_ALL, "safe": "statics:safe", "extracts": "measures:extracts"},
    "recipe": {
        **_ALL,
        "trains": "recipe_checks:trains",
        "samples": "recipe_checks:samples",
        "scored": "recipe_checks:scored",
        "condition": "recipe_checks:condition",
        "round-trip": "recipe_checks:round_trip",
        "deterministic": "recipe_checks:deterministic",
        "bfloat16": "recipe_checks:precision",
    },
    **{kind: {**_ALL, "safe": "statics:safe"} for kind in ("store", "tracker", "command", "modality")},
    "weights": _ALL,
}


# What a check cannot tell while another fails: it would only repeat that failure in other words.
AFTER: Mapping[str, tuple[str, ...]] = {
    "shapes": ("builds",),
    "dtypes": ("builds", "shapes", "terms"),
    "devices": ("builds", "terms"),
    "deterministic": ("builds", "shapes", "terms", "trains"),
    "gradients": ("builds", "shapes", "terms", "dtypes"),
    "inputs-kept": ("builds", "shapes", "terms", "measures"),
    "batch-independent": ("builds", "shapes", "deterministic", "inputs-kept"),
    "coupled": ("terms", "deterministic", "inputs-kept"),
    "accumulates": ("terms", "deterministic", "gradients", "inputs-kept", "coupled", "round-trip"),
    "condition": ("builds", "shapes", "deterministic", "trains"),
    "round-trip": (
        "builds",
        "shapes",
        "terms",
        "deterministic",
        "inputs-kept",
        "gradients",
        "batch-independent",
        "trains",
    ),
    "variants": ("builds", "shapes", "terms", "options"),
    "held-out": ("terms",),
    "per-observation": ("builds", "shapes", "deterministic"),
    "samples": ("trains",),
    "scored": ("trains", "samples"),
    "bfloat16": ("trains",),
}


def checks_of(kind: str) -> tuple[str, ...]:
    """Names of the checks of a kind."""
    return tuple(CHECKS.get(kind, _ALL))


def explained(kind: str, check: str) -> str:
    """What a check of a kind holds an entry to."""
    return (_function(kind, check).__doc__ or "").strip().splitlines()[0]


def chosen(registry: Registry, distribution: str | None, entries: Iterable[str] | None = None) -> list[Entry]:
    """The entries of a distribution (or plugin), or of all but genzoo's own where None; torch-free.

    Args:
        registry: where they are looked up.
        distribution: name of a distribution or of an entry point.
        entries: of those only these, as ``kind:name`` or ``name``.

    Raises:
        UsageError: if there is no such distribution or entry.
    """
    known = {n for r in registry.plugins() for n in (r.name, r.distribution) if n}
    if distribution is None:
        found = [e for e in registry.entries() if normal(e.distribution) != "genzoo"]
        if not any(normal(r.distribution) != "genzoo" for r in registry.plugins()):
            raise UsageError("no plugin of another distribution is installed: name one, or 'genzoo' for the zoo's own")
    elif distribution not in known and normal(distribution) not in map(normal, known):
        raise UsageError(f"there is no plugin or distribution {distribution!r}{did_you_mean(distribution, known)}")
    else:
        found = [
            e for e in registry.entries() if e.plugin == distribution or normal(e.distribution) == normal(distribution)
        ]
    if entries is None:
        return found
    wanted = list(entries)
    names = {f"{e.kind}:{e.name}" for e in found} | {e.name for e in found}
    for name in wanted:
        if name not in names:
            raise UsageError(f"{distribution or 'no plugin'} registers no {name!r}{did_you_mean(name, names)}")
    return [e for e in found if e.name in wanted or f"{e.kind}:{e.name}" in wanted]


def check(
    distribution: str | None = None,
    entries: Iterable[str] | None = None,
    *,
    checks: Sequence[str] | None = None,
    registry: Registry | None = None,
    on_finding: Callable[[Finding], None] | None = None,
) -> Report:
    """Hold everything that a distribution registers to what the zoo asks of its parts.

    Args:
        distribution: name of a distribution or plugin; None is all but genzoo's own.
        entries: only these, as ``kind:name`` or ``name``.
        checks: only these, by name.
        registry: where entries are looked up; None is what is installed.
        on_finding: called with each finding as it is made.

    Returns:
        A finding for every entry and check, and how each plugin's module imports.

    Raises:
        UsageError: for a distribution, entry or check that there is not.
    """
    registry = registry or the_registry()
    known = {c for of in CHECKS.values() for c in of}
    for name in checks or ():
        if name not in known:
            raise UsageError(f"there is no check {name!r}{did_you_mean(name, known)}")
    todo = chosen(registry, distribution, entries)
    findings = []
    with _one_thread():
        for finding in _findings(registry, todo, checks):
            findings.append(finding)
            if on_finding is not None:
                on_finding(finding)
    plugins = [] if entries is not None or checks else list(imported(registry, distribution))
    return Report(distribution or "", tuple(findings), tuple(plugins))


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


def imported(registry: Registry, distribution: str | None) -> Iterator[Imported]:
    """How the modules of a distribution's plugins import."""
    from genzoo.plugins.apps.kit.statics import imports

    for record in registry.plugins():
        own = normal(record.distribution) == "genzoo"
        if (
            (not own)
            if distribution is None
            else (normal(distribution) in (normal(record.distribution), normal(record.name)))
        ):
            yield imports(record)


def _findings(registry: Registry, entries: Iterable[Entry], checks: Sequence[str] | None) -> Iterator[Finding]:
    for entry in entries:
        names = checks_of(entry.kind)
        made = {name: run(registry, entry, name) for name in names if not checks or name in checks}
        failed = {name for name, f in made.items() if f.outcome == "failed"}
        nowhere = "devices" in failed and "CUDA" in made["devices"].found
        for name, finding in made.items():
            first = [a for a in AFTER.get(name, ()) if a in failed]
            if nowhere and name != "devices" and "CUDA" in finding.found:
                first = ["devices"]
            if name in failed and first and not (name == "devices" and nowhere):
                why = f"it cannot tell before {first[0]!r} is mended"
                yield replace(finding, outcome="skipped", expected="", found=why, mend="", where="")
            else:
                yield finding


def run(registry: Registry, entry: Entry, check: str) -> Finding:
    """Run one check of one entry; nothing that the entry does gets out but Ctrl-C."""
    from genzoo.plugins.apps.kit.cases import Case, said

    label, start = f"{entry.kind}:{entry.name}", time.perf_counter()

    def finding(outcome: str, expected: str = "", found: str = "", mend: str = "", where: str = "") -> Finding:
        seconds = round(time.perf_counter() - start, 3)
        return Finding(label, check, outcome, expected, found, mend, where, seconds)  # type: ignore[arg-type]

    try:
        _function(entry.kind, check)(Case(registry, entry))
    except Skip as e:
        return finding("skipped", found=str(e))
    except Fault as e:
        return finding("failed", e.expected, e.found, e.mend, e.where)
    except GenzooError as e:
        return finding("failed", "no refusal", str(e), "support it, or say in the registration what it is for")
    except KeyboardInterrupt:
        raise
    except BaseException as e:  # whatever a plugin does, the others are checked too
        return finding("failed", "no exception", said(e), "mend what the exception is about")
    return finding("passed")


def _function(kind: str, check: str) -> Callable[[Case], None]:
    module, _, name = CHECKS.get(kind, _ALL)[check].partition(":")
    function: Callable[[Case], None] = getattr(importlib.import_module(f"{_HOME}.{module}"), name)
    return function
