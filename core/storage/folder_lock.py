"""Holding a folder against other processes: the end of a process frees it, and nothing is left in the folder."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genzoo.core.errors import UsageError

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]

_held = dict[int, tuple[int, int, int]]()  # handle to device, inode and thread


@contextmanager
def claimed(folder: Path, taken: str = "") -> Iterator[None]:
    """Hold a folder that exists; a thread that holds it already may claim it again.

    Raises:
        UsageError: saying ``taken``, if another process or thread holds it; without such words it is waited for.
    """
    stat = folder.stat()
    who = (stat.st_dev, stat.st_ino, threading.get_ident())
    if fcntl is None or who in _held.values() or not os.access(folder, os.R_OK):
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    _held[handle] = who
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if taken else 0))
        except BlockingIOError:
            raise UsageError(taken) from None
        except OSError:  # a file system without them
            pass
        yield
    finally:
        if _held.pop(handle, None):
            os.close(handle)


def _let_go() -> None:
    """In a process that was forked: it would hold its parent's claims for as long as it outlives it."""
    while _held:
        os.close(_held.popitem()[0])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
