"""Which plugins are installed, and which of them the user has switched off; none is imported.

Metadata are read as `importlib.metadata` does, in a fifth of the time: that module reads mail (its import alone costs
15 ms, and each command would wait for it), where two lines are wanted. Where distributions do not lie in a folder on
``sys.path``, in archives or behind finders of others, it is asked all the same. What is switched off stands in one
small file for each Python environment.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.text import error_line, tell
from genzoo.registry.entries import Plugin, normal

_GROUP = "genzoo"  # of entry points
_warned: set[str] = set()


def warn(line: str) -> None:
    """Print one line on stderr, once per process."""
    if line not in _warned:
        _warned.add(line)
        tell(line)


def plugins(say: Callable[[str], None] = warn, begin: str = "") -> list[Plugin]:
    """List the plugins of all installed distributions: genzoo's own first, then by distribution and name.

    With ``begin`` those whose metadata are in folders of such names may be all.

    Of a distribution that is found twice the first counts; ``say`` is told of one whose metadata cannot be read.
    """
    found: dict[str, list[Plugin]] = {}
    for read in _readers(say, begin):
        name = version = ""
        try:
            text = read("entry_points.txt") or ""
            if f"[{_GROUP}]" in text.replace(" ", ""):
                metadata = read("METADATA") or read("PKG-INFO") or ""
                name, version = _header(metadata, "Name"), _header(metadata, "Version")
                if not name:
                    raise GenzooError("its METADATA has no name")
                found.setdefault(normal(name), [Plugin(point, name, version, value) for point, value in _points(text)])
        except Exception as e:  # any broken package on this machine, which must not break this one
            say(f"the plugins of {name or 'a distribution'} {version or '?'} could not be listed: {error_line(e)}")
    return sorted((p for several in found.values() for p in several), key=lambda p: (not p.own, p.address))


def _readers(say: Callable[[str], None], begin: str) -> Iterator[Callable[[str], str | None]]:
    """For each distribution, what reads a file of its metadata."""
    folders = [entry or "." for entry in sys.path if os.path.isdir(entry or ".")]
    finders = [f for f in sys.meta_path if getattr(f, "__module__", "") != "_frozen_importlib_external"]
    if (
        any(os.path.isfile(entry) for entry in sys.path)
        or any(folder.rstrip(os.sep).endswith(".egg") for folder in folders)
        or any(hasattr(f, "find_distributions") for f in finders)
    ):
        from importlib.metadata import distributions

        try:
            yield from [d.read_text for d in distributions()]
        except Exception as e:
            say(f"distributions could not be listed: {error_line(e)}")
        return
    for folder in folders:
        with suppress(OSError):  # one that cannot be read
            names = [n for n in os.listdir(folder) if n.startswith(begin) and n.endswith((".dist-info", ".egg-info"))]
            yield from (partial(_text, os.path.join(folder, name)) for name in names)


def _text(folder: str, name: str) -> str | None:
    """A file of metadata; of an ``.egg-info`` that is a file itself, none."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
        return None


def _points(text: str) -> Iterable[tuple[str, str]]:
    """The entry points: ``name = value`` under ``[genzoo]``."""
    here, found = "", dict[tuple[str, str], None]()
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            here = line[1:-1].strip()
        elif here == _GROUP and line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            if not equals:
                raise GenzooError(f"its entry_points.txt says {line!r}, where 'name = module' belongs")
            found[name.strip(), value.strip()] = None
    return found


def _header(metadata: str, name: str) -> str:
    found = re.search(rf"^{name}: *(.+)$", metadata.partition("\n\n")[0], re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else ""


def path() -> Path:
    """The file of this environment: ``genzoo/plugins/NAME-DIGEST.json`` in the user's configuration folder."""
    from hashlib import sha256

    prefix = os.path.realpath(sys.prefix)
    return _folder() / f"{os.path.basename(prefix)}-{sha256(prefix.encode()).hexdigest()[:12]}.json"


def _folder() -> Path:
    given = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~")) / ".config"
    return home / "genzoo" / "plugins"


def disabled(say: Callable[[str], None] = warn) -> frozenset[str]:
    """The addresses of what is switched off: nothing, as ``say`` is told in one line, if the file is of no use."""
    if not os.path.isdir(_folder()):  # nobody ever switched anything off
        return frozenset()
    names, fault = _read(path())
    if fault:
        say(f"{path()} {fault}, so no plugin is disabled; 'genzoo plugins disable' and 'enable' write it anew")
    return frozenset(names)


def switch(name: str, on: bool) -> list[str]:
    """Load what a name means no more in this environment, or again; return the addresses of what was switched.

    It means a plugin, all of a distribution, or ``distribution/plugin``; what is switched on need not be installed
    any more. Raises UsageError if it means none, those of several distributions, or the zoo's own.
    """
    there, off = plugins(), frozenset(_read(path())[0])
    gone = off - {p.address for p in there} if on else ()
    there += [Plugin(plugin, of) for of, _, plugin in (address.partition("/") for address in sorted(gone))]
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
