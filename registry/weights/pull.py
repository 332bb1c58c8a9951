"""Weights from elsewhere: pull them, and pin what a project uses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from genzoo.core.arguments import checked
from genzoo.core.errors import UsageError
from genzoo.core.storage.files import MANIFEST, given_path, write_folder
from genzoo.core.text import tell
from genzoo.registry import the_registry
from genzoo.registry.weights.base import Located
from genzoo.registry.weights.layout import check
from genzoo.registry.weights.locate import pin_of, resolve
from genzoo.registry.weights.lock import FILE, Lock, used_in
from genzoo.registry.weights.names import parse


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
    target = None if out is None else given_path(out)
    if target is not None and target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"{target} exists already: name a new folder with --out")
    found = resolve(weights, endpoint=endpoint, progress=progress, say=tell if verbose else None)
    if not found.files:
        found = replace(found, files=check(found.folder, found.within))
    if target is None:
        return found
    write_folder(target, {n: partial(shutil.copyfile, found.folder / n) for n in found.files if n != MANIFEST})
    return replace(found, folder=target, within=None, files=check(target))


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
    names = [os.fspath(w) for w in weights] or list(current.pins)
    if not names:
        zoo = [e.name for e in registry.entries("weights")]
        names = used_in(path.parent if path.parent.name else Path.cwd(), zoo)
    if not names:
        raise UsageError("there is nothing to pin: no file here mentions weights of the zoo or the Hub; name some")
    for name in names:
        parse(name, registry)  # all mistakes before the first download
    before = dict(current.pins)
    now = {n: pin_of(n, registry, endpoint=endpoint, progress=progress) for n in names}
    current.pins.update(now)
    current.write()
    return {n: "new" if n not in before else "same" if before[n] == now[n] else "changed" for n in names}
