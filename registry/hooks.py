"""The hooks that a plugin may answer. A later kind of hook is one more function here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from genzoo.registry.registrar import Registrar

hookspec = pluggy.HookspecMarker("genzoo")
hookimpl = pluggy.HookimplMarker("genzoo")


@hookspec
def genzoo_register(registry: Registrar) -> None:
    """Register what the plugin adds: names and ``"package.module:attribute"`` targets, nothing imported."""
