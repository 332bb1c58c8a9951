"""Finds plugins among the installed packages and asks each for itself, so that none can break the others."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import reduce
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pluggy

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.core.storage import user_cache
from genzoo.core.text import error_line, tell
from genzoo.registry import hooks
from genzoo.registry.discovery import distributions, guard, state
from genzoo.registry.entries import Entry, PluginRecord, origin
from genzoo.registry.registrar import Registrar

if TYPE_CHECKING:
    from genzoo.core.training.run_view import RunView
    from genzoo.core.training.trainer import Observer

GROUP = "genzoo"
OWN = "genzoo"  # the distribution whose plugins always load
VALUE = re.compile(r"([\w.]+)\s*(?::\s*([\w.]+)\s*)?(\[.*\])?\s*")  # of an entry point: module, attribute, extras

_warned: set[str] = set()


@dataclass(frozen=True)
class Found:
    """An installed plugin, not yet loaded: an entry point ``name = value`` of a distribution."""

    name: str
    distribution: str
    version: str
    value: str

    def load(self) -> Any:
        """Import what the entry point names."""
        match = VALUE.fullmatch(self.value)
        if not match:
            raise GenzooError(f"its entry point says {self.value!r}, where 'package.module' belongs: tell its authors")
        return reduce(getattr, filter(None, (match[2] or "").split(".")), import_module(match[1]))

    @property
    def origin(self) -> str:
        """The plugin in words: ``plugin 'x' (dist 1.0)``."""
        return origin(self.name, self.distribution, self.version)

    @property
    def address(self) -> str:
        """``distribution/plugin``, the distribution as normal: what it is switched off by."""
        return f"{normal(self.distribution)}/{self.name}"

    @property
    def own(self) -> bool:
        """Whether it is the zoo's own."""
        return normal(self.distribution) == OWN

    def goes_by(self, name: str) -> bool:
        """Whether a plugin's name, its distribution's, or ``distribution/plugin`` is meant."""
        distribution, slash, bare = name.rpartition("/")
        if slash:
            return self.name == bare and normal(self.distribution) == normal(distribution)
        return self.name == name or normal(self.distribution) == normal(name)


def warn(line: str) -> None:
    """Print one line on stderr, once per process."""
    if line not in _warned:
        _warned.add(line)
        tell(line)


def normal(name: str) -> str:
    """A distribution's name as packaging compares it: ``My.Pkg`` is ``my-pkg``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(say: Callable[[str], None] = warn) -> list[Found]:
    """List the plugins of all installed distributions: genzoo's own first, then by distribution and name.

    A distribution that is found twice on ``sys.path`` counts once, the first time.

    Args:
        say: told in one line of a distribution whose metadata cannot be read.
    """
    found: dict[str, list[Found]] = {}
    for of in distributions.installed(
        GROUP, lambda who, e: say(f"the plugins of {who} could not be listed: {error_line(e)}")
    ):
        found.setdefault(normal(of.name), [Found(name, of.name, of.version, value) for name, value in of.points])
    plugins = [plugin for several in found.values() for plugin in several]
    return sorted(plugins, key=lambda p: (normal(p.distribution) != OWN, normal(p.distribution), p.name))


def wanted(found: list[Found], plugins: bool | None, only: Collection[str] | None) -> list[Found]:
    """Choose which plugins to load; the zoo's own always.

    Args:
        found: all that are installed.
        plugins: whether to load those of other distributions; None asks ``GENZOO_NO_PLUGINS``.
        only: names of entry points or distributions, to load no other, even if they were disabled; None asks
            ``GENZOO_PLUGINS``, and without it all are loaded that were not disabled.
    """
    if plugins is None:
        plugins = not user_cache.asked_for("GENZOO_NO_PLUGINS")
    if only is None:
        listed = os.environ.get("GENZOO_PLUGINS", "")
        only = [n.strip() for n in listed.split(",") if n.strip()] or None
    own = [p for p in found if p.own]
    others = [p for p in found if not p.own] if plugins else []
    if only is None:
        off = state.disabled(warn) if others else ()
        return own + [p for p in others if not is_off(p, off)]
    if plugins:
        known = {p.name for p in found} | {p.distribution for p in found}
        for name in sorted(set(only)):
            if not any(p.goes_by(name) for p in found):
                warn(f"there is no plugin or distribution {name!r} to load{did_you_mean(name, known)}")
    return own + [p for p in others if any(p.goes_by(name) for name in only)]


def is_off(plugin: Found, off: Collection[str]) -> bool:
    """Whether a plugin is among those that were disabled."""
    return not plugin.own and (plugin.address in off or normal(plugin.distribution) in off)


def ask(
    manager: pluggy.PluginManager, name: str, distribution: str, version: str, module: str, load: Callable[[], Any]
) -> PluginRecord:
    """Load one plugin and let it register; whatever it does wrong becomes its record's ``error`` and one warning.

    What it prints meanwhile goes to stderr. Only the user's Ctrl-C passes through: a plugin that exits has failed.
    """
    registrar = Registrar(name, distribution, version)
    who, key, own = origin(name, distribution, version), f"{distribution}/{name}", normal(distribution) == OWN
    fault, error = "could not be loaded", None
    notes: list[str] = []
    heavy, start = "torch" in sys.modules, time.perf_counter()
    try:
        with nullcontext() if own else guard.contained(notes):
            plugin = load()
            if plugin in manager.get_plugins():
                raise GenzooError(f"{module} is already the plugin {manager.get_name(plugin)}")
            registrar.api = _api(plugin, module, notes)
            others = manager.get_plugins()
            manager.register(plugin, key)
            fault = "could not register all it has"
            _check_hooks(manager, plugin, module)
            manager.subset_hook_caller("genzoo_register", others)(registry=registrar)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        error = error_line(e)
        warn(f"{who} {fault}: {error}")
        if not registrar.entries and manager.has_plugin(key):
            manager.unregister(name=key)  # it answers no other hook either
    finally:
        registrar.close()
    seconds = time.perf_counter() - start
    if not own:
        notes += _costs(heavy, seconds)
    for note in notes:
        warn(f"{who} {note}")
    return PluginRecord(name, distribution, version, module, _kept(registrar), error, seconds, registrar.api, (*notes,))


def _kept(registrar: Registrar) -> tuple[Entry, ...]:
    """What was registered, out of a stranger's reach."""
    if normal(registrar.distribution) == OWN:
        return registrar.entries
    return tuple(replace(e, data=deepcopy(e.data)) if e.data else e for e in registrar.entries)


def _api(plugin: Any, module: str, notes: list[str]) -> int:
    """The plugin API that a plugin was written for: what its ``genzoo_api`` says, or else the first."""
    said = getattr(plugin, "genzoo_api", hooks.OLDEST_API)
    if isinstance(said, bool) or not isinstance(said, int):
        raise GenzooError(f"{module} has genzoo_api = {said!r}, where the number of a plugin API belongs, such as 1")
    if said > hooks.API:
        notes.append(f"was written for plugin API {said}, and this genzoo has {hooks.API}: upgrade genzoo")
    if said < hooks.OLDEST_API:
        notes.append(
            f"was written for plugin API {said}, and this genzoo takes {hooks.OLDEST_API} at least: upgrade the plugin"
        )
    return said


def _costs(heavy: bool, seconds: float) -> list[str]:
    """Say what loading a plugin costs every command, where that is much."""
    if not heavy and "torch" in sys.modules:
        return [
            f"imports torch while it is loaded, which costs every command {seconds:.1f} s: "
            "a plugin's module should name its classes as text and import nothing heavy"
        ]
    return [f"took {seconds:.1f} s to load, which every command waits for"] if seconds > guard.SLOW else []


def patched(records: Iterable[PluginRecord]) -> dict[tuple[str, str], str]:
    """Find, and warn of, the plugins of others that have replaced something of torch, which all models share."""
    packages = [(r, r.module.partition(":")[0].partition(".")[0]) for r in records if normal(r.distribution) != OWN]
    found, notes = guard.patches({name for _, name in packages}), dict[tuple[str, str], str]()
    for record, name in packages:
        if name in found:
            some = ", ".join(found[name][:3]) + (f" and {len(found[name]) - 3} more" if len(found[name]) > 3 else "")
            note = f"replaces {some}, for every model: 'genzoo plugins disable {record.name}' does without it"
            notes[record.name, record.distribution] = note
            warn(f"{record.origin} {note}")
    return notes


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


def observers(
    manager: pluggy.PluginManager, records: Iterable[PluginRecord], run: RunView
) -> list[tuple[str, list[Observer]]]:
    """Ask each plugin for the observers of a run: the plugin in words, and what it gives.

    A plugin that fails to say costs one line and does not watch.
    """
    from genzoo.core.training.trainer import Observer as Base

    found = []
    hook = manager.hook.genzoo_observers
    answering = [i.plugin for i in hook.get_hookimpls()]
    who = {f"{r.distribution}/{r.name}": r.origin for r in records}
    for plugin in answering:
        key = manager.get_name(plugin) or ""
        others = [p for p in manager.get_plugins() if p is not plugin]
        notes: list[str] = []
        try:
            with guard.contained(notes):
                answers = manager.subset_hook_caller("genzoo_observers", others)(run=run)
                given = [o for a in answers for o in (a if isinstance(a, (list, tuple)) else [a])]
                odd = next((o for o in given if not isinstance(o, Base)), None)
                if odd is not None:
                    raise GenzooError(f"{odd!r} is no genzoo.core.training.trainer.Observer")
            found.append((who[key], given))
        except KeyboardInterrupt:
            raise
        except BaseException as e:
            warn(f"{who[key]} could not give its observers: {error_line(e)}")
        for note in notes:
            warn(f"{who[key]} {note}")
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


def warn_of_strange_data(records: Sequence[PluginRecord]) -> None:
    """Say on stderr which entries are for a kind of data that no plugin brings: mostly a slip of the pen."""
    known = {e.name for r in records for e in r.entries if e.kind == "modality"}
    for record in records:
        for entry in record.entries:
            strange = next((m for m in entry.modalities if m not in known), None)
            if strange is not None:
                what = f"{entry.kind} {entry.name!r} is for {strange!r} data, which no plugin brings"
                warn(f"{record.origin}: {what}{did_you_mean(strange, known)}")
                break
