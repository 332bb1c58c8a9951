"""Switch plugins off and on, whatever state they are in: none of them is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from genzoo.core.errors import UsageError, did_you_mean
from genzoo.registry.discovery import loader, state

if TYPE_CHECKING:
    from genzoo.registry.discovery.doctor import Finding


def disable(name: str) -> list[str]:
    """Load a plugin no more in this Python environment, until it is enabled.

    Args:
        name: of a plugin, of a distribution for all its plugins, or ``distribution/plugin``.

    Returns:
        What is disabled now and was not before, as ``distribution/plugin``.

    Raises:
        UsageError: if there is no such plugin, several are meant, or it is the zoo's own.
    """
    found = loader.installed()
    meant = _meant(name, found)
    if meant[0].own:
        raise UsageError(f"{meant[0].origin} is the zoo's own, which always loads")
    what = {loader.normal(name)} if _is_distribution(name, found) else {p.address for p in meant}
    before = state.disabled(loader.warn)
    state.change(lambda off: off | what)
    return [p.address for p in meant if not loader.is_off(p, before)]


def enable(name: str) -> list[str]:
    """Load a plugin again that was disabled.

    Args:
        name: as for `disable`; also of one that is not installed any more.

    Returns:
        What is enabled now and was not before, as ``distribution/plugin``.

    Raises:
        UsageError: if there is no such plugin, or several are meant.
    """
    found, off = loader.installed(), state.disabled(loader.warn)
    gone = {o for o in off if o in (name, loader.normal(name)) or o.partition("/")[2] == name}
    if not any(p.goes_by(name) for p in found) and gone:  # was uninstalled meanwhile
        state.change(lambda off: off - gone)
        return sorted(gone)
    meant = _meant(name, found, off)
    state.change(_without(meant, found))
    return [p.address for p in meant if loader.is_off(p, off)]


def disabled() -> list[str]:
    """What is disabled in this environment, as ``distribution`` or ``distribution/plugin``."""
    return sorted(state.disabled(loader.warn))


def _without(meant: list[loader.Found], found: list[loader.Found]) -> Callable[[frozenset[str]], frozenset[str]]:
    """Take some plugins out of what is off, and leave the others of their distributions as they were."""
    wholes = {loader.normal(p.distribution) for p in meant}

    def edit(off: frozenset[str]) -> frozenset[str]:
        others = {p.address for p in found if p not in meant and loader.normal(p.distribution) in off & wholes}
        return (off | others) - wholes - {p.address for p in meant}

    return edit


def _is_distribution(name: str, found: list[loader.Found]) -> bool:
    """Whether a name means a distribution with all its plugins, and not one plugin that goes by it."""
    return "/" not in name and not any(p.name == name for p in found)


def _meant(name: str, found: list[loader.Found], off: frozenset[str] = frozenset()) -> list[loader.Found]:
    """The plugins that a name means: those of one distribution."""
    meant = [p for p in found if p.goes_by(name)]
    by_name = [p for p in meant if p.name == name or "/" in name]
    meant = by_name or meant
    if not meant:
        known = {p.name for p in found} | {p.distribution for p in found} | set(off)
        raise UsageError(f"there is no plugin {name!r}{did_you_mean(name, known) or _listing()}")
    if len({p.distribution for p in meant}) > 1:
        ways = " or ".join(repr(p.address) for p in meant)
        raise UsageError(f"{name!r} is {' and '.join(p.origin for p in meant)}: say which, {ways}")
    return meant


def _listing() -> str:
    return "; see 'genzoo plugins list'"


def doctor(*, load: bool = False, seconds: float | None = None) -> list[Finding]:
    """Say what is wrong with the installed plugins, errors first, and what to do about each.

    Args:
        load: also load each plugin, in a process of its own; otherwise none is imported.
        seconds: that each of these processes may take; None means 30.
    """
    from genzoo.registry.discovery.doctor import examine
    from genzoo.registry.discovery.trial import SECONDS, trials

    findings = examine()
    if load:
        findings += trials(SECONDS if seconds is None else seconds)
    order = ("error", "warning", "note")
    return sorted(findings, key=lambda f: order.index(f.level))
