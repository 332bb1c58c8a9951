"""From a name of weights to a folder on this machine: the one way that everything takes."""

from __future__ import annotations

import os

from genzoo.core.text import tell
from genzoo.registry.registry import Registry, the_registry
from genzoo.registry.weights.base import Located, Say
from genzoo.registry.weights.folder import locate_folder
from genzoo.registry.weights.layout import CONFIG, LIMITS, TENSORS, check
from genzoo.registry.weights.lock import Pin, active
from genzoo.registry.weights.names import parse, store_for


def resolve(
    name: str | os.PathLike[str],
    *,
    registry: Registry | None = None,
    endpoint: str | None = None,
    progress: bool = False,
    say: Say | None = tell,
    again: bool = False,
) -> Located:
    """Find weights by any kind of name, and bring them to this machine, checked.

    Where the environment names a lock file (``GENZOO_LOCKED``), only what it pins is given, at what it pins.

    Args:
        name: ``hf:org/name@revision``, a folder, a name of the zoo such as ``wgan-gp/fashion-mnist`` or
            ``wgan-gp/fashion-mnist@1``, or ``STORE:NAME@REVISION`` of a plugin's store.
        registry: where names are looked up; default this process's.
        endpoint: the Hub's address; default ``HF_ENDPOINT``, or Hugging Face.
        progress: show a bar on stderr, if that is a terminal, for what is downloaded.
        say: what to tell the user with; None for nothing.
        again: hash every file of it, though it is known to be good.

    Returns:
        Where it is. A folder's files are checked when they are loaded, all others are checked here.

    Raises:
        UsageError: if the name means nothing.
        GenzooError: in one sentence, if it cannot be had or is not what it should be.
    """
    registry = registry or the_registry()
    told = say or (lambda text: None)
    lock = active()
    if lock is not None:
        return lock.locate(name, registry, endpoint=endpoint, progress=progress, say=told, again=again)
    found = parse(name, registry)
    if found.kind == "folder":
        return locate_folder(name if not isinstance(name, str) else found.name)
    if found.kind == "zoo":
        from genzoo.registry.weights.bundled import locate_bundled, version_of

        entry = registry.get("weights", found.name)
        version = version_of(entry, found.revision)
        return locate_bundled(entry, version, endpoint=endpoint, progress=progress, say=told, again=again)
    return store_for(registry, found.kind).locate(found.name, found.revision, endpoint=endpoint, progress=progress,
                                                  say=told, again=again)  # fmt: skip


def pin_of(name: str, registry: Registry, *, endpoint: str | None = None, progress: bool = False) -> Pin:
    """What a name stands for now; brings it to this machine and checks it.

    Raises:
        GenzooError: if it cannot be had.
    """
    found = resolve(name, registry=registry, endpoint=endpoint, progress=progress)
    files = found.files or check(found.folder, found.within)
    meant = parse(name, registry)
    plugin = registry.get("weights", meant.name).origin if meant.kind == "zoo" else ""
    # A card and its pictures may be drawn again without the model being another, except in a commit.
    keep = tuple(LIMITS) if found.commit else (CONFIG, TENSORS)
    return Pin({n: f["sha256"] for n, f in files.items() if n in keep}, found.commit, found.version, plugin)
