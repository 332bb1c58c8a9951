"""Holding a folder against other processes; who dies lets go, and nothing is left in the folder."""

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
def claimed(folder: Path, taken: str) -> Iterator[None]:
    """Hold a folder that exists; a thread that holds it already may claim it again.

    Args:
        folder: which.
        taken: the sentence for who comes second.

    Raises:
        UsageError: if another process or thread holds it.
    """
    stat = folder.stat()
    who = (stat.st_dev, stat.st_ino, threading.get_ident())
    handle = -1 if who in _held.values() else _claim(folder, taken)
    if handle >= 0:
        _held[handle] = who
    try:
        yield
    finally:
        if _held.pop(handle, None):
            os.close(handle)


def _claim(folder: Path, taken: str) -> int:
    """Lock a folder and return the handle that holds the lock, -1 where the system has no such locks."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a system that opens no folders, or one that may be written and not read
        return -1
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UsageError(taken) from None
    except OSError:  # a file system without them
        pass
    return handle


def _let_go() -> None:
    """In a process that was forked: it would hold its parent's claims for as long as it outlives it."""
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
