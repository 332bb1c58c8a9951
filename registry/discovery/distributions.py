"""Reads which installed distributions name entry points, as `importlib.metadata` does, in a fifth of the time.

That module reads mail (its import alone costs 15 ms, and each command of genzoo's would wait for it) in order to parse
all of a distribution's metadata, where two lines of it are wanted. Where distributions do not lie in a folder on
``sys.path``, in archives or behind finders of others, it is asked all the same.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genzoo.core.errors import GenzooError

if TYPE_CHECKING:
    from importlib.metadata import Distribution


@dataclass(frozen=True)
class Installed:
    """A distribution with entry points.

    Attributes:
        name: as its metadata have it.
        version: empty if it has none.
        points: name and value of each entry point in the group, in order.
    """

    name: str
    version: str
    points: tuple[tuple[str, str], ...]


def installed(group: str, say: Callable[[str, Exception], None]) -> Iterator[Installed]:
    """Yield the distributions that have entry points in a group, in the order of ``sys.path``.

    Args:
        group: of entry points.
        say: told in words of what cannot be read, and why.
    """
    for read in _readers(say):
        name = version = ""
        try:
            text = read("entry_points.txt")
            if f"[{group}]" in text.replace(" ", ""):
                name, version = _name_and_version(read("METADATA") or read("PKG-INFO"))
                yield Installed(name, version, _points(text, group))
        except Exception as e:  # any broken package on this machine, which must not break this one
            say(f"{name or 'a distribution'} {version or '?'}", e)


def _readers(say: Callable[[str, Exception], None]) -> Iterator[Callable[[str], str]]:
    """For each distribution, what reads a file of its metadata: "" if there is none."""
    for entry in sys.path:
        try:
            names = os.listdir(entry or ".")
        except NotADirectoryError:  # an archive, it seems
            yield from _asked(entry)
            continue
        except OSError:
            continue
        if entry.rstrip(os.sep).endswith(".egg"):
            yield from _asked(entry)
            continue
        for name in names:
            if name.lower().endswith((".dist-info", ".egg-info")):
                yield _Folder(os.path.join(entry, name))
    for finder in sys.meta_path:
        if getattr(finder, "__module__", "") != "_frozen_importlib_external" and hasattr(finder, "find_distributions"):
            from importlib.metadata import DistributionFinder

            try:
                yield from map(_Other, list(finder.find_distributions(DistributionFinder.Context())))
            except Exception as e:
                say(f"what {finder!r} finds", e)


def _asked(entry: str) -> Iterator[Callable[[str], str]]:
    """Those that `importlib.metadata` finds."""
    from importlib.metadata import distributions

    yield from map(_Other, distributions(path=[entry]))


class _Folder:
    """Metadata as files in a folder; of an ``.egg-info`` that is a file itself, none."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, name: str) -> str:
        try:
            with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError):
            return ""


class _Other:
    """Metadata of any other kind."""

    def __init__(self, distribution: Distribution) -> None:
        self.distribution = distribution

    def __call__(self, name: str) -> str:
        return self.distribution.read_text(name) or ""


def _points(text: str, group: str) -> tuple[tuple[str, str], ...]:
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
    return tuple(found)


def _name_and_version(text: str) -> tuple[str, str]:
    """Read two headers, and nothing behind them."""
    headers: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(": ")
        if not line or ("version" in headers and "name" in headers):
            break
        if colon:
            headers.setdefault(key.lower(), value.strip())
    if "name" not in headers:
        raise GenzooError("its METADATA has no name")
    return headers["name"], headers.get("version", "")
