"""One table of kinds, and one way to register."""

from __future__ import annotations

import importlib
import inspect

import pytest

from genzoo.core import config
from genzoo.plugins.apps.kit.suite import CHECKS
from genzoo.registry import KINDS, Registrar, declare, kinds, the_registry
from genzoo.registry.discovery.doctor import unscanned
from genzoo.registry.discovery.scan import of_file
from genzoo.registry.discovery.source_code import locate
from genzoo.registry.kinds import TABLE


@pytest.mark.parametrize("kind", TABLE.values(), ids=lambda k: k.name)
def test_a_kind_is_whole(kind):
    assert kind.help
    assert inspect.isfunction(getattr(Registrar, kind.name))
    assert inspect.getdoc(getattr(Registrar, kind.name)).startswith("Register")
    assert kind.declared == callable(getattr(declare, kind.name, None))
    assert kind.name in CHECKS
    if kind.base:
        module, _, name = kind.base.partition(":")
        base = getattr(importlib.import_module(module), name)
        assert kind.options == hasattr(base, "Options") or kind.name == "extractor"
        assert [m for m in kind.methods if not hasattr(base, m)] == []
        public = {m for m, of in vars(base).items() if inspect.isfunction(of) and m[0] != "_"}
        assert kind.part != "many" or public == {*kind.methods}


def test_parts_of_a_composition_are_kinds():
    assert (kinds.SINGLE, kinds.LISTS) == (config.KINDS, config.LISTS)
    assert tuple(TABLE) == KINDS


def test_what_is_declared_is_registered():
    assert list(unscanned("genzoo.plugins")) == []
    registered = {(e.kind, e.name, e.target) for e in the_registry().entries(plugin="genzoo")}
    (top,) = locate("genzoo.plugins").folders
    files = [path for path in importlib.import_module("pathlib").Path(top).rglob("*.py")]
    found = 0
    for path in files:
        module = ".".join(["genzoo", "plugins", *path.relative_to(top).with_suffix("").parts]).removesuffix(".__init__")
        for declared in of_file(str(path), module):
            assert declared.fault == ""
            found += 1
            if declared.kind != "recipe":
                assert (declared.kind, declared.keywords["name"], declared.keywords["target"]) in registered
    assert found > 80


def test_a_kind_that_there_is_not_has_no_decorator():
    with pytest.raises(AttributeError, match=r"no declare.critics \(did you mean 'critic'"):
        declare.critics  # noqa: B018
    with pytest.raises(AttributeError, match="command"):
        declare.command  # noqa: B018
