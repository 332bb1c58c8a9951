"""Who a run is reported to: trackers by name, and the observers of plugins."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import coerce_all
from genzoo.core.text import error_line, tell
from genzoo.core.training.run_view import GuardedObserver, RunView, Tracker
from genzoo.core.training.trainer import Observer
from genzoo.registry import Entry, Registry

Reports = list[tuple[Entry, dict[str, Any]]]


def chosen_trackers(registry: Registry, names: Sequence[str], given: dict[str, Any]) -> Reports:
    """Find trackers by name, and take their options out of what a user set."""
    reports: Reports = []
    for name in dict.fromkeys(names):
        entry = registry.get("tracker", name)
        prefix = f"{entry.name}."
        own = {k.removeprefix(prefix): given.pop(k) for k in list(given) if k.startswith(prefix)}
        reports.append((entry, coerce_all(registry.options(entry), own, entry.name)))
    others = {e.name for e in registry.entries("tracker")}
    for key in given:
        group, dot, _ = key.partition(".")
        if dot and group in others:
            raise UsageError(f"{key!r} is an option of the tracker {group!r}: ask for it with --tracker {group}")
    return reports


def plugin_observers(registry: Registry, reports: Reports, run: RunView, stack: ExitStack) -> list[Observer]:
    """Make trackers, closed with the stack however training ends, and ask plugins for observers.

    A tracker that cannot be made is an error; of a plugin's observers a failure costs one line.
    """
    watching: list[Observer] = []
    for entry, options in reports:
        cls: Any = registry.load(entry, Tracker)
        who = f"tracker {entry.name!r} of {entry.origin}"
        try:
            tracker: Tracker = cls(cls.Options(**options), run)
        except GenzooError:
            raise
        except Exception as e:
            raise GenzooError(f"{who} could not begin: {error_line(e)}") from e
        stack.push(functools.partial(_close, tracker, who))
        watching.append(GuardedObserver(tracker, who, run))
    for plugin, given in registry.observers(run):
        watching += [GuardedObserver(o, f"observer {type(o).__name__} of {plugin}", run) for o in given]
    return watching


def _close(tracker: Tracker, who: str, kind: Any, value: Any, trace: Any) -> None:
    """Close a tracker; what goes wrong then is told and not raised."""
    try:
        tracker.close(failed=kind is not None)
    except Exception as e:
        tell(f"{who} could not be closed: {error_line(e)}")
