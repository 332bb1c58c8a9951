"""Weights that have a name in the zoo: versions that never change, beside a module, on the Hub, or both."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import MANIFEST
from genzoo.core.storage.strict import read_json, read_plain
from genzoo.registry.entries import Entry
from genzoo.registry.weights.base import CARD, CONFIG, LIMITS, RECORD, TENSORS, Fetch, Located, check, manifest_of
from genzoo.registry.weights.shelf import folder_of


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


def locate_bundled(entry: Entry, version: int, commit: str, fetch: Fetch) -> Located:
    """Find a version of an entry: in its package, or else on the Hub at the commit that it or a lock file names.

    Raises:
        GenzooError: if it is in neither, or is not what the entry says it is.
    """
    about, name = entry.data["versions"][str(version)], f"{entry.name}@{version}"
    pins = {**about["files"], **fetch.pins}
    folder, why = folder_of(about["target"]), "its folder is missing"
    if folder is not None:
        try:
            files = check(folder, pins=pins)
            return Located(name, folder, None, f"{entry.distribution} {entry.version}", "", version, files)
        except (GenzooError, OSError) as e:
            why = str(e)
    if not about["hub"]:
        raise GenzooError(
            f"the weights {name} of {entry.origin} cannot be used ({why}): reinstall {entry.distribution}"
        )
    if folder is not None:
        fetch.say(f"{why}: taking {name} from the Hub")
    from genzoo.registry.weights.hub import Hub

    # The card on the Hub is another text than the one in the package: what makes the model is pinned.
    core = {n: d for n, d in pins.items() if n in (CONFIG, TENSORS)}
    found = Hub().locate(about["hub"], about["commit"] or commit or f"v{version}", replace(fetch, pins=core))
    return replace(found, name=name, version=version)


def about_weights(entry: Entry, version: int) -> dict[str, Any]:
    """What one version of an entry is, as plain data, from what it ships and what it was registered with.

    Returns:
        ``recipe``, ``data``, ``license``, ``metrics``, ``hub``, ``commit``, ``files`` (name to sha256), ``bytes`` of
        the copy in the package, and its ``folder`` (None if there is no copy).
    """
    said: dict[str, Any] = dict(entry.data["versions"][str(version)])
    folder = folder_of(said["target"])
    found: dict[str, Any] = {"recipe": "", "data": "", "license": "", "metrics": {}, "bytes": 0}
    if folder is not None:
        found |= _read(folder)
    given = {k: said[k] for k in ("recipe", "data", "license", "metrics") if said.get(k)}
    pinned = {k: said[k] for k in ("hub", "commit", "files")}
    return {"version": version, **found, **given, **pinned, "folder": None if folder is None else str(folder)}


def _read(folder: Path) -> dict[str, Any]:
    """What a weights folder says of itself; what it does not say is left out."""
    found: dict[str, Any] = {}
    with suppress(GenzooError, OSError, ValueError, KeyError, TypeError, AttributeError):
        found["bytes"] = sum(f["size"] for f in manifest_of(folder).values()) + (folder / MANIFEST).stat().st_size
        config = read_json(folder / CONFIG, limit=LIMITS[CONFIG])
        found |= {"recipe": str(config["recipe"]), "data": str(config["data"]["name"])}
        found["metrics"] = dict(read_json(folder / RECORD, limit=LIMITS[RECORD]).get("metrics", {}))
        found["license"] = license_of(folder)
    return found


def license_of(folder: Path, within: Path | None = None) -> str:
    """The license that a weights folder's card names, empty if it names none."""
    head = read_plain(folder / CARD, LIMITS[CARD], within).decode().partition("\n---")[0]
    match = re.search(r"^license: *[\"']?([^\s\"']+)", head, re.MULTILINE) if head.startswith("---") else None
    return match[1] if match else ""
