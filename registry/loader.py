"""Finds plugins among the installed packages and asks each for itself, so that none can break the others."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

import pluggy

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.registry import hooks
from genzoo.registry.entries import PluginRecord, origin
from genzoo.registry.registrar import Registrar

GROUP = "genzoo"
OWN = "genzoo"  # the distribution whose plugins always load

_warned: set[str] = set()


@dataclass(frozen=True)
class Found:
    """An installed plugin, not yet loaded."""

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint


def warn(line: str) -> None:
    """Print one line on stderr, once per process."""
    if line not in _warned:
        _warned.add(line)
        print(f"genzoo: {line}", file=sys.stderr)


def one_line(error: BaseException) -> str:
    """Say an exception in one line, with its type unless genzoo raised it."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else text[:299] + "…"
    if isinstance(error, GenzooError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def normal(name: str) -> str:
    """A distribution's name as packaging compares it: ``My.Pkg`` is ``my-pkg``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> list[Found]:
    """List the plugins of all installed distributions: genzoo's own first, then by distribution and name.

    A distribution whose metadata cannot be read costs one warning line. One that is found twice on
    ``sys.path`` counts once, the first time.
    """
    found: dict[str, list[Found]] = {}
    for distribution in distributions():
        name = version = ""
        try:
            if f"[{GROUP}]" not in (distribution.read_text("entry_points.txt") or "").replace(" ", ""):
                continue
            name, version = _name_and_version(distribution)
            points = distribution.entry_points.select(group=GROUP)
            found.setdefault(normal(name), [Found(p.name, name, version, p) for p in points])
        except Exception as e:  # any broken package on this machine, which must not break this one
            warn(f"the plugins of {name or 'a distribution'} {version or '?'} could not be listed: {one_line(e)}")
    plugins = [plugin for several in found.values() for plugin in several]
    return sorted(plugins, key=lambda p: (normal(p.distribution) != OWN, normal(p.distribution), p.name))


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    """Read the two headers alone: the whole metadata, README included, takes 20 times longer to parse."""
    headers: dict[str, str] = {}
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    for line in text.splitlines():
        key, colon, value = line.partition(": ")
        if not line or ("version" in headers and "name" in headers):
            break
        if colon:
            headers.setdefault(key.lower(), value.strip())
    if "name" not in headers:
        raise GenzooError("its METADATA has no name")
    return headers["name"], headers.get("version", "")


def wanted(found: list[Found], plugins: bool | None, only: Collection[str] | None) -> list[Found]:
    """Choose which plugins to load; the zoo's own always.

    Args:
        found: all that are installed.
        plugins: whether to load those of other distributions; None asks ``GENZOO_NO_PLUGINS``.
        only: names of entry points or distributions, to load no other; None asks ``GENZOO_PLUGINS``.
    """
    if plugins is None:
        plugins = os.environ.get("GENZOO_NO_PLUGINS", "").lower() in ("", "0", "false", "no")
    if only is None:
        listed = os.environ.get("GENZOO_PLUGINS", "")
        only = [n.strip() for n in listed.split(",") if n.strip()] or None
    own = [p for p in found if normal(p.distribution) == OWN]
    others = [p for p in found if normal(p.distribution) != OWN] if plugins else []
    if only is None:
        return own + others
    if plugins:
        known = {p.name for p in found} | {p.distribution for p in found}
        for name in sorted(set(only)):
            if name not in known and normal(name) not in map(normal, known):
                warn(f"there is no plugin or distribution {name!r} to load{did_you_mean(name, known)}")
    names = {normal(n) for n in only}
    return own + [p for p in others if p.name in only or normal(p.distribution) in names]


def ask(
    manager: pluggy.PluginManager, name: str, distribution: str, version: str, module: str, load: Callable[[], Any]
) -> PluginRecord:
    """Load one plugin and let it register; whatever it does wrong becomes its record's ``error`` and one warning.

    What it prints meanwhile goes to stderr. Only Ctrl-C passes through: a plugin that exits has failed.
    """
    registrar = Registrar(name, distribution, version)
    fault, error = "could not be loaded", None
    start = time.perf_counter()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            plugin = load()
            key = f"{distribution}/{name}"
            if plugin in manager.get_plugins():
                raise GenzooError(f"{module} is already the plugin {manager.get_name(plugin)}")
            others = manager.get_plugins()
            manager.register(plugin, key)
            fault = "could not register all it has"
            _check_hooks(manager, plugin, module)
            manager.subset_hook_caller("genzoo_register", others)(registry=registrar)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        error = one_line(e)
        warn(f"{origin(name, distribution, version)} {fault}: {error}")
    seconds = time.perf_counter() - start
    return PluginRecord(name, distribution, version, module, registrar.entries, error, seconds)


def _check_hooks(manager: pluggy.PluginManager, plugin: Any, module: str) -> None:
    """Refuse a plugin that answers no hook of ours, or one that does not exist: it would be ignored in silence."""
    ours = [h for h in vars(hooks) if h.startswith("genzoo_")]
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        optional = all(i.optionalhook for i in caller.get_hookimpls() if i.plugin is plugin)
        if not caller.has_spec() and not optional:
            raise GenzooError(
                f"{module} answers the hook {caller.name!r}, which there is not{did_you_mean(caller.name, ours)}"
            )
    if not callers:
        unmarked = next((h for h in ours if hasattr(plugin, h)), None)
        cause = f"{unmarked!r} is not marked with @hookimpl" if unmarked else f"there is no function {ours[0]!r} in it"
        raise GenzooError(f"{module} answers no hook: {cause}")


def new_manager() -> pluggy.PluginManager:
    """Return a plugin manager that knows genzoo's hooks."""
    manager = pluggy.PluginManager("genzoo")
    manager.add_hookspecs(hooks)
    return manager
