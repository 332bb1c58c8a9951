"""Finds plugins, holds what they register, and turns names into classes; never imports torch itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genzoo.registry.entries import Entry, PluginRecord
    from genzoo.registry.hooks import hookimpl
    from genzoo.registry.kinds import KINDS
    from genzoo.registry.registrar import Registrar
    from genzoo.registry.registry import Registry, the_registry

__all__ = ["KINDS", "Entry", "PluginRecord", "Registrar", "Registry", "hookimpl", "the_registry"]

_MODULES = {
    "Registrar": "registrar",
    "Registry": "registry",
    "hookimpl": "hooks",
    "KINDS": "kinds",
    "the_registry": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'entries')}"), name)
    return value
