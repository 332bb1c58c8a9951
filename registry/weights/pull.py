"""Weights from elsewhere: pull them, look after the copies that were kept, pin what a project uses."""

from __future__ import annotations

import builtins
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.core.arguments import checked
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import MANIFEST, creating_folder, given_path, write_json
from genzoo.core.text import tell
from genzoo.registry import the_registry
from genzoo.registry.weights import resolve
from genzoo.registry.weights.locate import pin_of
from genzoo.registry.weights.lock import FILE, Lock, used_in
from genzoo.registry.weights.names import parse

if TYPE_CHECKING:
    from genzoo.registry.weights.base import Located
    from genzoo.registry.weights.cache import Cached


@checked
def pull(
    weights: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    endpoint: str | None = None,
    progress: bool = False,
    verbose: bool = True,
) -> Located:
    """Bring weights to this machine, with the sha256 of every file checked.

    Args:
        weights: what `genzoo.load` takes: ``hf:org/name@revision``, a name of the zoo, a folder.
        out: a new folder to copy the files to; by default they stay in huggingface_hub's cache (or in the package).
        endpoint: the Hub's address; default ``HF_ENDPOINT``, or Hugging Face.
        progress: show a bar on stderr, if that is a terminal.
        verbose: whether to say on stderr when an old copy is used.

    Returns:
        Where they are (``folder``), what they are (``commit``, ``origin``) and their ``files`` with size and sha256.

    Raises:
        GenzooError: in one sentence, whatever goes wrong; nothing half is left behind.
    """
    from dataclasses import replace

    from genzoo.registry.weights.layout import check

    target = None if out is None else given_path(out)
    if target is not None and target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"{target} exists already: name a new folder with --out")
    found = resolve(weights, endpoint=endpoint, progress=progress, say=tell if verbose else None)
    if not found.files:
        found = replace(found, files=check(found.folder, found.within))
    if target is None:
        return found
    with creating_folder(target) as temporary:
        for name in found.files:
            if name != MANIFEST:
                shutil.copyfile(found.folder / name, temporary / name)
        files = {n: f for n, f in sorted(found.files.items()) if n != MANIFEST}
        write_json(temporary / MANIFEST, {"format": 1, "files": files})
        check(temporary, trust=False)
    return replace(found, folder=target, within=None, files=check(target))


def list_cached() -> builtins.list[Cached]:
    """Every model of genzoo's that was pulled, the newest use first; other models in the cache are left out."""
    from genzoo.registry.weights.cache import cached

    return cached()


def verify_cached(weights: Sequence[str] = ()) -> builtins.list[tuple[Cached, str]]:
    """Hash everything that was pulled again, whatever is remembered of it.

    Args:
        weights: only these, by name; none means all.

    Returns:
        Each with what is wrong with it, or an empty string.
    """
    from genzoo.registry.weights.cache import chosen, fault

    return [(c, fault(c)) for c in chosen(weights)]


def remove_cached(weights: Sequence[str]) -> int:
    """Delete what was pulled, by name; files that another commit needs stay.

    Returns:
        Bytes that were freed.

    Raises:
        UsageError: if there is no such copy.
    """
    from genzoo.registry.weights.cache import chosen, remove

    if not weights:
        raise UsageError("say which copies to remove: 'genzoo cache ls' shows them")
    return remove(chosen(weights))


@checked
def lock(
    weights: Sequence[str] = (),
    file: str | os.PathLike[str] = FILE,
    *,
    endpoint: str | None = None,
    progress: bool = False,
) -> dict[str, str]:
    """Pin weights by name to a commit and the sha256 of every file, in a file that people can read.

    Args:
        weights: names as they are used; those that the file pins already are renewed, its others stay. None at all
            means every name in the file, or, if there is no file yet, every one that the project's own files mention.
        file: the lock file.
        endpoint: the Hub's address.
        progress: show a bar on stderr.

    Returns:
        By name what became of it: ``new``, ``changed`` or ``same``.

    Raises:
        GenzooError: if one of them cannot be had; the file is then as it was.
    """
    registry, path = the_registry(), given_path(file)
    current = Lock.read(path) if path.exists() else Lock(path)
    names = [os.fspath(w) for w in weights] or builtins.list(current.pins)
    if not names:
        zoo = [e.name for e in registry.entries("weights")]
        names = used_in(path.parent if path.parent.name else Path.cwd(), zoo)
    if not names:
        raise UsageError("there is nothing to pin: no file here mentions weights of the zoo or the Hub; name some")
    for name in names:
        parse(name, registry)  # all mistakes before the first download
    before, now = dict(current.pins), _unlocked(names, endpoint, progress)
    current.pins.update(now)
    current.write()
    return {n: "new" if n not in before else "same" if before[n] == now[n] else "changed" for n in names}


def _unlocked(names: Sequence[str], endpoint: str | None, progress: bool) -> dict[str, Any]:
    """Pins of what names mean now, whatever they are locked to."""
    said = os.environ.pop("GENZOO_LOCKED", None)
    try:
        registry = the_registry()
        return {n: pin_of(n, registry, endpoint=endpoint, progress=progress) for n in names}
    finally:
        if said is not None:
            os.environ["GENZOO_LOCKED"] = said


__all__ = ["GenzooError", "list_cached", "lock", "pull", "remove_cached", "verify_cached"]
