"""Finds plugins among the installed packages and asks each for itself, so that none can break the others."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.core.storage import user_cache
from genzoo.core.text import error_line
from genzoo.registry import hooks
from genzoo.registry.discovery import guard, installed
from genzoo.registry.discovery.installed import warn
from genzoo.registry.entries import Entry, Plugin, PluginRecord
from genzoo.registry.registrar import Registrar

if TYPE_CHECKING:
    from genzoo.core.training.run_view import RunView
    from genzoo.core.training.trainer import Observer


def wanted(found: list[Plugin], plugins: bool | None, only: Collection[str] | None) -> list[Plugin]:
    """Choose which plugins to load, as `genzoo.registry.registry.Registry.discover` says; the zoo's own always.

    Those that ``only`` names are loaded even if they were disabled.
    """
    if plugins is None:
        plugins = not user_cache.asked_for("GENZOO_NO_PLUGINS")
    if only is None:
        only = [n.strip() for n in os.environ.get("GENZOO_PLUGINS", "").split(",") if n.strip()] or None
    own = [p for p in found if p.own]
    others = [p for p in found if not p.own] if plugins else []
    if only is None:
        off = installed.disabled() if others else ()
        return own + [p for p in others if p.address not in off]
    if plugins:
        known = {p.name for p in found} | {p.distribution for p in found}
        for name in sorted(set(only)):
            if not any(p.goes_by(name) for p in found):
                warn(f"there is no plugin or distribution {name!r} to load{did_you_mean(name, known)}")
    return own + [p for p in others if any(p.goes_by(name) for name in only)]


def ask(manager: pluggy.PluginManager, of: Plugin, load: Callable[[], Any]) -> PluginRecord:
    """Load one plugin and let it register; whatever it does wrong becomes its record's ``error`` and one warning.

    What it prints meanwhile goes to stderr. Only the user's Ctrl-C passes through: a plugin that exits has failed.
    """
    registrar = Registrar(of.name, of.distribution, of.version)
    key, fault, error = f"{of.distribution}/{of.name}", "could not be loaded", None
    notes: list[str] = []
    heavy, start = "torch" in sys.modules, time.perf_counter()
    try:
        with nullcontext() if of.own else guard.contained(notes):
            plugin = load()
            if plugin in manager.get_plugins():
                raise GenzooError(f"{of.module} is already the plugin {manager.get_name(plugin)}")
            said = getattr(plugin, "genzoo_api", hooks.OLDEST_API)
            if odd := hooks.other_api(said):
                notes.append(odd)
            registrar.api = said
            others = manager.get_plugins()
            manager.register(plugin, key)
            fault = "could not register all it has"
            silent = not _answers_hooks(manager, plugin, of.module)  # then it only declares
            if silent and not (isinstance(plugin, ModuleType) and registrar.scan(plugin.__name__)):
                raise GenzooError(f"{of.module} answers no hook: there is no function 'genzoo_register' in it")
            manager.subset_hook_caller("genzoo_register", others)(registry=registrar)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        error = error_line(e)
        warn(f"{of.origin} {fault}: {error}")
        if not registrar.entries and manager.has_plugin(key):
            manager.unregister(name=key)  # it answers no other hook either
    finally:
        registrar.close()
    seconds = time.perf_counter() - start
    if not of.own and not heavy and "torch" in sys.modules:
        notes.append(
            f"imports torch while it is loaded, which costs every command {seconds:.1f} s: "
            "a plugin's module should name its classes as text and import nothing heavy"
        )
    elif not of.own and seconds > guard.SLOW:
        notes.append(f"took {seconds:.1f} s to load, which every command waits for")
    if not of.own and (note := guard.patches(of.module, of.name)):
        notes.append(note)
    for note in notes:
        warn(f"{of.origin} {note}")
    return PluginRecord(**vars(of), entries=registrar.entries, error=error, seconds=seconds, api=registrar.api,
                        notes=tuple(notes))  # fmt: skip


def _answers_hooks(manager: pluggy.PluginManager, plugin: Any, module: str) -> bool:
    """Whether a plugin answers a hook; refuses one that does not exist or is not marked, and would be ignored."""
    ours = [h for h in vars(hooks) if h.startswith("genzoo_")]
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        optional = all(i.optionalhook for i in caller.get_hookimpls() if i.plugin is plugin)
        if not caller.has_spec() and not optional:
            raise GenzooError(
                f"{module} answers the hook {caller.name!r}, which there is not{did_you_mean(caller.name, ours)}"
            )
    if unmarked := next((h for h in ours if not callers and hasattr(plugin, h)), None):
        raise GenzooError(f"{module} answers no hook: {unmarked!r} is not marked with @hookimpl")
    return bool(callers)


def observers(
    manager: pluggy.PluginManager, records: Iterable[PluginRecord], run: RunView
) -> list[tuple[str, list[Observer]]]:
    """The observers of a run: plugin in words, and what it gives; one that fails costs a line and does not watch."""
    from genzoo.core.training.trainer import Observer as Base

    found = []
    origins = {f"{r.distribution}/{r.name}": r.origin for r in records}
    for plugin in [i.plugin for i in manager.hook.genzoo_observers.get_hookimpls()]:
        who = origins[manager.get_name(plugin) or ""]
        others = [p for p in manager.get_plugins() if p is not plugin]
        notes: list[str] = []
        try:
            with guard.contained(notes):
                answers = manager.subset_hook_caller("genzoo_observers", others)(run=run)
                given = [o for a in answers for o in (a if isinstance(a, (list, tuple)) else [a])]
                odd = next((o for o in given if not isinstance(o, Base)), None)
                if odd is not None:
                    raise GenzooError(f"{odd!r} is no genzoo.core.training.trainer.Observer")
            found.append((who, given))
        except KeyboardInterrupt:
            raise
        except BaseException as e:
            warn(f"{who} could not give its observers: {error_line(e)}")
        for note in notes:
            warn(f"{who} {note}")
    return found


class _Manager(pluggy.PluginManager):
    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """No hook of anybody's is called ``__…__``: most names of a module are, and looking at each takes its time."""
        return None if name.startswith("__") else super().parse_hookimpl_opts(plugin, name)


def new_manager() -> pluggy.PluginManager:
    """Return a plugin manager that knows genzoo's hooks."""
    manager = _Manager("genzoo")
    manager.add_hookspecs(hooks)
    return manager


def strange_modality(entry: Entry, known: Collection[str]) -> str:
    """What is wrong with an entry for data that no plugin brings, mostly a slip of the pen; "" if nothing is."""
    strange = next((m for m in entry.modalities if known and m not in known), None)
    return f"is for {strange!r} data, which no plugin brings{did_you_mean(strange, known)}" if strange else ""
