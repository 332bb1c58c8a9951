"""For plugin authors: the conformance suite, as a call, as a pytest test of two lines, and as fixtures.

from genzoo.testing import conformance

test_conformance = conformance("my-distribution")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from genzoo.plugins.apps.kit.findings import Fault, Finding, Imported, Report
from genzoo.plugins.apps.kit.suite import CHECKS, check, checks_of, explained

__all__ = ["CHECKS", "Fault", "Finding", "Imported", "Report", "check", "checks_of", "conformance", "explained"]


def conformance(
    distribution: str, entries: Iterable[str] | None = None, *, known: Iterable[tuple[str, str]] = ()
) -> Callable[..., None]:
    """Return a pytest test with one case for every entry and check, and one for each plugin's import.

    Args:
        distribution: whose entries; it must be installed.
        entries: only these, as ``kind:name`` or ``name``.
        known: pairs of entry and check that are known to fail and are reported as such.
    """
    import pytest

    from genzoo.plugins.apps.kit.suite import chosen, imported, run
    from genzoo.registry import the_registry

    registry, xfails = the_registry(), set(known)
    cases: list[Any] = []
    for entry in chosen(registry, distribution, entries):
        for name in checks_of(entry.kind):
            label = f"{entry.kind}:{entry.name}"
            marks = [pytest.mark.xfail(strict=True)] if (label, name) in xfails else []
            cases.append(pytest.param(entry, name, id=f"{label}-{name}", marks=marks))
    if entries is None:
        cases.append(pytest.param(None, "imports", id="imports"))

    @lru_cache(maxsize=1)
    def case_of(entry: Any) -> Any:
        from genzoo.plugins.apps.kit.cases import Case

        return Case(registry, entry)

    @pytest.mark.parametrize(("entry", "name"), cases)
    def test_conformance(entry: Any, name: str) -> None:
        if entry is None:
            faults = [p.fault for p in imported(registry, distribution) if p.fault]
            assert not faults, "\n".join(faults)
            return
        finding = run(case_of(entry), name)
        if finding.outcome == "skipped":
            pytest.skip(finding.found)
        if finding.outcome == "failed":
            pytest.fail(finding.text(), pytrace=False)

    made: Callable[..., None] = test_conformance
    return made
