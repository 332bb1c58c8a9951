"""Which plugins the user has switched off, whatever state they are in: one small file for each Python environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

from genzoo.core.errors import UsageError, did_you_mean
from genzoo.registry.entries import Plugin


def path() -> Path:
    """The file of this environment: ``genzoo/plugins/NAME-DIGEST.json`` in the user's configuration folder."""
    from hashlib import sha256

    prefix = os.path.realpath(sys.prefix)
    return _folder() / f"{os.path.basename(prefix)}-{sha256(prefix.encode()).hexdigest()[:12]}.json"


def _folder() -> Path:
    given = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~")) / ".config"
    return home / "genzoo" / "plugins"


def disabled(say: Callable[[str], None]) -> frozenset[str]:
    """What is switched off, each as ``distribution/plugin``, the distribution as normal.

    Args:
        say: told in one line if the file is there and no use; then nothing is switched off.
    """
    if not os.path.isdir(_folder()):  # nobody ever switched anything off
        return frozenset()
    names, fault = _read(path())
    if fault:
        say(f"{path()} {fault}, so no plugin is disabled; 'genzoo plugins disable' and 'enable' write it anew")
    return frozenset(names)


def switch(found: Iterable[Plugin], name: str, on: bool) -> list[str]:
    """Load a plugin no more in this Python environment, or again; none is imported.

    Args:
        found: what is installed.
        name: of a plugin, of a distribution for all its plugins, or ``distribution/plugin``; of one that is to be
            enabled also if it is not installed any more.
        on: whether it shall be loaded.

    Returns:
        What was switched, each as ``distribution/plugin``, and not what was so before.

    Raises:
        UsageError: if there is no such plugin, several are meant, or it is the zoo's own.
    """
    off = frozenset(_read(path())[0])
    gone = off - {p.address for p in found} if on else ()
    there = [*found, *(Plugin(plugin, of) for of, _, plugin in (address.partition("/") for address in sorted(gone)))]
    meant = [p for p in there if p.goes_by(name)]
    meant = [p for p in meant if p.name == name] or meant
    if not meant:
        known = {p.name for p in there} | {p.distribution for p in there}
        hint = did_you_mean(name, known) or "; see 'genzoo plugins list'"
        raise UsageError(f"there is no plugin {name!r}{hint}")
    if len({p.distribution for p in meant}) > 1:
        ways = " or ".join(repr(p.address) for p in meant)
        raise UsageError(f"{name!r} is {' and '.join(p.origin for p in meant)}: say which, {ways}")
    if meant[0].own:
        raise UsageError(f"{meant[0].origin} is the zoo's own, which always loads")
    addresses = {p.address for p in meant}
    _change(lambda off: off - addresses if on else off | addresses)
    return sorted(addresses & off if on else addresses - off)


def _change(edit: Callable[[frozenset[str]], Collection[str]]) -> None:
    """Rewrite the file, whole, while nobody else does; one that was damaged is kept beside it."""
    from genzoo.core.storage.files import claimed, write_json, writing

    file = path()
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    with claimed(file.parent):
        names, fault = _read(file)
        if fault and file.is_file():
            with writing(file):
                os.replace(file, f"{file}.damaged")
        write_json(file, {"format": 1, "environment": sys.prefix, "disabled": sorted(edit(frozenset(names)))})


def _read(file: Path) -> tuple[Collection[str], str]:
    """Names, and what is wrong with the file."""
    import json

    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
        names = content["disabled"]
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
            raise ValueError
    except FileNotFoundError:
        return (), ""
    except OSError as e:
        return (), f"cannot be read ({e.strerror})"
    except (ValueError, TypeError, KeyError, RecursionError):
        return (), "is damaged, or of another genzoo"
    return names, ""
