"""Finds the weights folders that a package ships, without opening more than their manifests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError
from genzoo.core.storage.strict import read_json
from genzoo.registry.discovery import scan
from genzoo.registry.discovery.source_code import locate

INDEX = "index.json"
MANIFEST = "manifest.json"  # as genzoo.core.storage.files has it, which listing the zoo need not import


def folder_of(target: str) -> Path | None:
    """The folder that ``package.module:folder`` means, None if there is none."""
    module, _, folder = target.partition(":")
    found = locate(module) if folder else None
    beside = () if found is None else found.folders or (os.path.dirname(found.file),)
    return next((p for b in beside if (p := Path(b, folder)).is_dir()), None)


def shelved(target: str) -> Iterator[dict[str, Any] | GenzooError]:
    """Yield the keywords of `Registrar.weights` for each folder, or what is wrong with it.

    ``package.module:folder`` is the folder that holds them: ``NAME`` or ``NAME@VERSION``, a name of one level or two.
    """
    module, _, shelf = target.partition(":")
    root = folder_of(target)
    if root is None:
        missing = f"folder {shelf!r} beside {module}" if locate(module) else f"module {module!r}"
        yield GenzooError(f"there is no {missing}")
        return
    index: Any = {}
    try:
        with suppress(FileNotFoundError):
            index = read_json(root / INDEX)
    except GenzooError as e:
        yield e
    if not isinstance(index, dict) or not all(isinstance(v, dict) for v in index.values()):
        yield GenzooError(f"{root / INDEX} is no dict of names and what is said of them")
        index = {}
    for manifest in sorted([*root.glob(f"*/{MANIFEST}"), *root.glob(f"*/*/{MANIFEST}")]):
        path = manifest.parent.relative_to(root).as_posix()
        name, _, version = path.partition("@")
        if version and not version.isdigit():
            yield GenzooError(f"{manifest.parent}: behind the '@' belongs a version's number")
            continue
        recipe, _, data = name.partition("/")
        said = {"summary": f"{recipe} trained on {data}" if data else ""} | index.get(path, index.get(name, {}))
        try:
            files = _pins(manifest)
        except GenzooError as e:
            yield e
            continue
        yield {"name": name, "target": f"{module}:{shelf}/{path}", "files": files, "version": int(version or 1), **said}


def _pins(manifest: Path) -> dict[str, str]:
    """The sha256 of every file that a manifest lists: what was kept of it, if it has not changed since."""
    status = os.lstat(manifest)
    known = scan.recall("pins", status)
    if isinstance(known, dict):
        return dict(known)
    from genzoo.registry.weights.base import LIMITS, manifest_of

    found = {n: f["sha256"] for n, f in manifest_of(manifest.parent).items() if n in LIMITS}
    scan.remember("pins", status, found)
    return found
