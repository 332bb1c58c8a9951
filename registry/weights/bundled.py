"""Weights that have a name in the zoo: versions that never change, beside a module, on the Hub, or both."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import MANIFEST
from genzoo.core.storage.strict import read_json, read_plain
from genzoo.registry.discovery.source_code import locate
from genzoo.registry.entries import Entry
from genzoo.registry.weights.base import Located, Say
from genzoo.registry.weights.layout import CARD, CONFIG, LIMITS, RECORD, TENSORS, Damage, check, manifest_of

_LICENSE = re.compile(r"^license: *[\"']?([^\s\"']+)", re.MULTILINE)


def version_of(entry: Entry, wanted: str = "") -> int:
    """The version that is meant: the default one unless another is named.

    Raises:
        UsageError: if there is no such version; says which there are, and in what package.
    """
    versions = sorted(int(v) for v in entry.data["versions"])
    if not wanted:
        return int(entry.data["default"])
    if not wanted.isdigit() or int(wanted) not in versions:
        there = ", ".join(map(str, versions))
        raise UsageError(
            f"weights {entry.name!r} have no version {wanted!r}: {entry.origin} has {there}; another release of "
            f"{entry.distribution or entry.plugin} may have more"
        )
    return int(wanted)


def folder_of(entry: Entry, version: int) -> Path | None:
    """The copy that ships in a package, None if there is none."""
    module, _, folder = entry.data["versions"][str(version)]["target"].partition(":")
    found = locate(module) if folder else None
    beside = () if found is None else found.folders or (os.path.dirname(found.file),)
    return next((p for b in beside if (p := Path(b, folder)).is_dir()), None)


def locate_bundled(
    entry: Entry, version: int, *, pins: Mapping[str, str] | None = None, commit: str = "",
    endpoint: str | None = None, progress: bool = False, say: Say = lambda text: None, again: bool = False,
) -> Located:  # fmt: skip
    """Find a version of an entry: in its package, or else on the Hub at the commit that it names.

    Raises:
        GenzooError: if it is in neither, or is not what the entry says it is.
    """
    about = entry.data["versions"][str(version)]
    name = f"{entry.name}@{version}"
    folder, why = folder_of(entry, version), "its folder is missing"
    if folder is not None:
        try:
            files = check(folder, pins=about["files"] | dict(pins or {}), trust=not again)
            return Located(name, folder, None, f"{entry.distribution} {entry.version}", "", version, files)
        except (GenzooError, OSError) as e:
            why = str(e)
    if about["hub"]:
        if folder is not None:
            say(f"{why}: taking {name} from the Hub")
        # The card on the Hub is another text than the one in the package: what makes the model is pinned.
        core = {n: d for n, d in (about["files"] | dict(pins or {})).items() if n in (CONFIG, TENSORS)}
        from genzoo.registry.weights.hub import Hub  # with its client, which listing the zoo need not wait for

        found = Hub().locate(about["hub"], about["commit"] or commit or f"v{version}", pins=core, endpoint=endpoint,
                             progress=progress, say=say, again=again)  # fmt: skip
        return Located(name, found.folder, found.within, found.origin, found.commit, version, found.files)
    if pins and isinstance(folder, Path) and "pinned" in why:
        raise GenzooError(f"{name} of {entry.origin} is not what is pinned: {why}")
    raise GenzooError(f"the weights {name} of {entry.origin} cannot be used ({why}): reinstall {entry.distribution}")


def manifest_pins(folder: Path) -> dict[str, str]:
    """The sha256 of every file that a folder's manifest lists, by name."""
    return {n: f["sha256"] for n, f in manifest_of(folder).items() if n in LIMITS}


def about_weights(entry: Entry, version: int) -> dict[str, Any]:
    """What one version of an entry is, as plain data, from what it ships and what it was registered with.

    Returns:
        ``recipe``, ``data``, ``license``, ``metrics``, ``hub``, ``commit``, ``files`` (name to sha256), ``bytes`` of
        the copy in the package, and its ``folder`` (None if there is no copy).
    """
    said: dict[str, Any] = dict(entry.data["versions"][str(version)])
    folder = folder_of(entry, version)
    found: dict[str, Any] = {"recipe": "", "data": "", "license": "", "metrics": {}, "bytes": 0}
    if folder is not None:
        found |= _read(folder)
    given = {k: said[k] for k in ("recipe", "data", "license", "metrics") if said.get(k)}
    pinned = {k: said[k] for k in ("hub", "commit", "files")}
    return {"version": version, **found, **given, **pinned, "folder": None if folder is None else str(folder)}


def _read(folder: Path) -> dict[str, Any]:
    """What a weights folder says of itself; what it does not say is left out."""
    found: dict[str, Any] = {}
    try:
        found["bytes"] = sum(f["size"] for f in manifest_of(folder).values()) + (folder / MANIFEST).stat().st_size
        config = read_json(folder / CONFIG, limit=LIMITS[CONFIG])
        found |= {"recipe": str(config["recipe"]), "data": str(config["data"]["name"])}
        record = read_json(folder / RECORD, limit=LIMITS[RECORD])
        found["metrics"] = dict(record.get("metrics", {}))
        head = read_plain(folder / CARD, LIMITS[CARD]).decode().partition("\n---")[0]
        match = _LICENSE.search(head) if head.startswith("---") else None
        found["license"] = match[1] if match else ""
    except (GenzooError, OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return found


__all__ = ["Damage", "about_weights", "folder_of", "locate_bundled", "manifest_pins", "version_of"]
