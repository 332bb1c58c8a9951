"""Fixtures for plugins' own test suites; pytest loads them wherever genzoo is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from genzoo.plugins.apps.kit.findings import Report
    from genzoo.registry import Registry


@pytest.fixture
def genzoo_registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry of the zoo's own plugins, with none of those that happen to be installed beside them.

    It is what ``genzoo.fit`` and the rest use during the test; ``genzoo_registry.add(module, "name")`` adds a plugin.
    """
    from genzoo.registry import Registry, registry

    own = Registry.discover(plugins=False)
    monkeypatch.setattr(registry, "_shared", [own])
    return own


@pytest.fixture
def genzoo_check() -> Callable[..., Report]:
    """`genzoo.testing.check`, which fails the test with what is wrong: ``genzoo_check("my-distribution")``."""
    from genzoo.plugins.apps.kit.suite import check

    def checked(*args: Any, **kwargs: Any) -> Report:
        report = check(*args, **kwargs)
        if not report.ok:
            pytest.fail(report.text(), pytrace=False)
        return report

    return checked
