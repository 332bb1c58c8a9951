"""Finds plugins, holds what they register, and turns names into classes; never imports torch itself."""

from __future__ import annotations

from genzoo.registry.entries import KINDS, Entry, PluginRecord
from genzoo.registry.hooks import hookimpl
from genzoo.registry.registrar import Registrar
from genzoo.registry.registry import Registry, the_registry

__all__ = ["KINDS", "Entry", "PluginRecord", "Registrar", "Registry", "hookimpl", "the_registry"]
