"""From a name of weights to a folder on this machine: the one way that everything takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.storage.files import given_path
from genzoo.core.text import tell
from genzoo.registry.registry import Registry, the_registry
from genzoo.registry.weights.base import Fetch, Located, Store
from genzoo.registry.weights.layout import CONFIG, LIMITS, TENSORS, check
from genzoo.registry.weights.lock import Pin, active
from genzoo.registry.weights.names import Reference, beside, parse


def resolve(
    name: str | os.PathLike[str],
    *,
    registry: Registry | None = None,
    endpoint: str | None = None,
    progress: bool = False,
    say: Callable[[str], object] | None = tell,
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
    fetch = Fetch({}, endpoint, progress, say or (lambda text: None), again)
    lock = active()
    if lock is None:
        return _located(parse(name, registry), registry, Pin({}), fetch)
    pin = lock.pin(name)
    try:
        return _located(parse(name, registry), registry, pin, replace(fetch, pins=pin.files))
    except GenzooError as e:
        maker = f"; it came from {pin.plugin} when it was locked" if pin.plugin else ""
        kind = UsageError if isinstance(e, UsageError) else GenzooError
        raise kind(f"{e}{maker}; {lock.path} pins it, and 'genzoo lock {os.fspath(name)}' renews the pin") from None


def _located(found: Reference, registry: Registry, pin: Pin, fetch: Fetch) -> Located:
    if found.kind == "folder":
        folder = given_path(found.name)
        if not folder.is_dir():
            raise GenzooError(f"there is no weights folder {found.name!r}{did_you_mean(folder.name, beside(folder))}")
        return Located(found.name, folder, files=check(folder, pins=fetch.pins) if fetch.pins else {})
    if found.kind == "zoo":
        from genzoo.registry.weights.bundled import locate_bundled, version_of

        entry = registry.get("weights", found.name)
        return locate_bundled(entry, version_of(entry, str(pin.version or found.revision)), pin.commit, fetch)
    return _store(registry, found.kind).locate(found.name, pin.commit or found.revision, fetch)


def _store(registry: Registry, prefix: str) -> Store:
    if prefix == "hf":  # whatever a plugin registers
        from genzoo.registry.weights.hub import Hub

        return Hub()
    entry = registry.get("store", prefix)
    cls = registry.load(entry, Store)
    try:
        store: Store = cls()
    except GenzooError:
        raise
    except Exception as e:
        raise GenzooError(f"store {prefix!r} of {entry.origin} cannot be used ({type(e).__name__}: {e})") from e
    store.prefix = prefix
    return store


def pin_of(name: str, registry: Registry, *, endpoint: str | None = None, progress: bool = False) -> Pin:
    """What a name stands for now, whatever is locked; brings it to this machine and checks it.

    Raises:
        GenzooError: if it cannot be had.
    """
    meant = parse(name, registry)
    found = _located(meant, registry, Pin({}), Fetch({}, endpoint, progress, tell))
    files = found.files or check(found.folder, found.within)
    plugin = registry.get("weights", meant.name).origin if meant.kind == "zoo" else ""
    # A card and its pictures may be drawn again without the model being another, except in a commit.
    keep = tuple(LIMITS) if found.commit else (CONFIG, TENSORS)
    return Pin({n: f["sha256"] for n, f in files.items() if n in keep}, found.commit, found.version, plugin)
