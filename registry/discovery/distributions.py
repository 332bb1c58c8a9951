"""Reads which installed distributions name entry points, as `importlib.metadata` does, in a fifth of the time.

That module reads mail (its import alone costs 15 ms, and each command of genzoo's would wait for it) in order to parse
all of a distribution's metadata, where two lines of it are wanted. Where distributions do not lie in a folder on
``sys.path``, in archives or behind finders of others, it is asked all the same.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from genzoo.core.errors import GenzooError
from genzoo.registry.entries import Plugin


def installed(group: str, say: Callable[[str, Exception], None]) -> Iterator[list[Plugin]]:
    """Yield the entry points in a group of each distribution that has any, in the order of ``sys.path``.

    Args:
        group: of entry points.
        say: told in words of what cannot be read, and why.
    """
    for read in _readers(say):
        name = version = ""
        try:
            text = read("entry_points.txt") or ""
            if f"[{group}]" in text.replace(" ", ""):
                metadata = read("METADATA") or read("PKG-INFO") or ""
                name, version = _header(metadata, "Name"), _header(metadata, "Version")
                if not name:
                    raise GenzooError("its METADATA has no name")
                yield [Plugin(point, name, version, value) for point, value in _points(text, group)]
        except Exception as e:  # any broken package on this machine, which must not break this one
            say(f"{name or 'a distribution'} {version or '?'}", e)


def _readers(say: Callable[[str, Exception], None]) -> Iterator[Callable[[str], str | None]]:
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
            say("some distributions", e)
        return
    for folder in folders:
        for name in os.listdir(folder):
            if name.lower().endswith((".dist-info", ".egg-info")):
                yield partial(_read, os.path.join(folder, name))


def _read(folder: str, name: str) -> str | None:
    """A file of metadata; of an ``.egg-info`` that is a file itself, none."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
        return None


def _points(text: str, group: str) -> Iterable[tuple[str, str]]:
    """The entry points of a group: ``name = value`` under ``[group]``."""
    here, found = "", dict[tuple[str, str], None]()
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            here = line[1:-1].strip()
        elif here == group and line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            if not equals:
                raise GenzooError(f"its entry_points.txt says {line!r}, where 'name = module' belongs")
            found[name.strip(), value.strip()] = None
    return found


def _header(metadata: str, name: str) -> str:
    found = re.search(rf"^{name}: *(.+)$", metadata.partition("\n\n")[0], re.MULTILINE | re.IGNORECASE)
    return found[1].strip() if found else ""
