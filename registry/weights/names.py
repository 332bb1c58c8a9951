"""What a name of weights means: a folder, a name of the zoo, or a name in a store."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genzoo.core.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from genzoo.registry.registry import Registry

_ZOO = re.compile(r"(?:(?P<who>[A-Za-z0-9._/-]+):)?(?P<name>[a-z0-9][a-z0-9._-]*(?:/[a-z0-9][a-z0-9._-]*)?)"
                  r"(?:@(?P<version>[^@]*))?")  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """What a name means, before anything is looked up.

    Attributes:
        text: as it was given.
        kind: ``folder``, ``zoo``, or the prefix of a store (``hf``).
        name: the path, the name in the zoo (perhaps ``plugin:name``), or the name in the store.
        revision: what stood behind ``@``; empty if nothing did.
    """

    text: str
    kind: str
    name: str
    revision: str = ""


def parse(given: str | os.PathLike[str], registry: Registry) -> Reference:
    """Tell what a name means; the network is never asked.

    ``hf:org/name@revision`` is the Hub and nothing else is. Then comes a folder that exists, then a name of the zoo.
    What starts with ``.``, ``/`` or ``~`` or with ``dir:`` is only ever a folder.

    Raises:
        UsageError: if it is empty, or means nothing; with the nearest names.
    """
    text = os.fspath(given)
    if not text:
        raise UsageError("an empty path was given: say where")
    if not isinstance(given, str):
        return Reference(text, "folder", text)
    prefix, colon, rest = text.partition(":")
    if colon and prefix == "dir":
        return Reference(text, "folder", rest)
    in_store = bool(colon) and (prefix == "hf" or any(e.name == prefix for e in registry.entries("store")))
    is_path = text.startswith((".", "/", "~")) or "\\" in text or os.path.isabs(text) or text.count("/") > 1
    if not in_store and (is_path or os.path.isdir(text)):
        return Reference(text, "folder", text)
    if in_store:
        if rest.startswith("//"):
            raise UsageError(f"weights in a store are written {prefix}:NAME, without the slashes of {text!r}")
        name, _, revision = rest.partition("@")
        return Reference(text, prefix, name, revision)
    match = _ZOO.fullmatch(text)
    names = [e.name for e in registry.entries("weights")]
    if match and (match["who"] or match["name"] in names):
        name = f"{match['who']}:{match['name']}" if match["who"] else match["name"]
        return Reference(text, "zoo", name, match["version"] or "")
    raise UsageError(_unknown(text, names, registry))


def beside(path: Path) -> list[str]:
    """Names of the folders beside a path, as far as that can be read."""
    try:
        return [p.name for p in path.parent.iterdir() if p.is_dir()]
    except OSError:
        return []


def _unknown(text: str, names: list[str], registry: Registry) -> str:
    """Say that a name means nothing, and what may have been meant or is missing."""
    from genzoo.registry.discovery.loader import installed

    bare, path = text.partition("@")[0], Path(text)
    folders = [str(path.parent / n) if path.parent.name else n for n in beside(path)]
    recipes = [n for n in names if n.partition("/")[0] == bare]
    hint = did_you_mean(bare, [*names, *folders])
    if recipes:
        hint = f" (that is a recipe; did you mean {' or '.join(map(repr, recipes))}?)"
    broken = next((r for r in registry.plugins() if r.error), None)
    loaded = {(r.name, r.distribution) for r in registry.plugins()}
    left = next((p for p in installed() if (p.name, p.distribution) not in loaded), None)
    more = "; 'genzoo list weights' shows the names"
    if broken:
        more = f"; it may be one of {broken.origin}, which failed ({broken.error})"
    elif left:
        more = f"; it may be one of plugin {left.name!r} ({left.distribution} {left.version}), which was not loaded"
    elif bare.count("/") == 1 and not hint:
        more = f"; a model on the Hub would be {f'hf:{text}'!r}"
    return f"there is no weights folder and nothing in the zoo called {text!r}{hint}{more}"
