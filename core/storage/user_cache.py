"""Small JSON files in the user's cache, and how to know that a file is still the same; torch-free and quick to import.

A cache that is damaged, somebody else's, too large or cannot be written costs time and nothing else. Of a file's
content `recall` knows hash and health; ``GENZOO_ALWAYS_HASH=1`` neither reads nor writes that.
"""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import suppress
from typing import Any, NamedTuple


def asked_for(variable: str) -> bool:
    """Whether a variable of the environment is set to anything but 0, false and no."""
    return os.environ.get(variable, "").lower() not in ("", "0", "false", "no")


def place(*names: str) -> str:
    """A path under ``$XDG_CACHE_HOME/genzoo``, or else ``~/.cache/genzoo``; "" if the user has no home either."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = given if os.path.isabs(given) else os.path.expanduser("~/.cache")
    return os.path.join(base, "genzoo", *names) if os.path.isabs(base) else ""


def identity(status: os.stat_result) -> str:
    """What changes with a file's content: device, inode, size, modification and change time, which nobody sets back."""
    fields = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return ":".join(map(str, fields))


def is_settled(status: os.stat_result) -> bool:
    """Whether the next change would show in the times: one within a tick of the file system's clock leaves no trace."""
    age = time.time() - max(status.st_mtime, status.st_ctime)
    return age > (2.0 if status.st_mtime_ns % 10**9 == 0 else 0.1)


def read(path: str, largest: int = 2**24) -> Any:
    """The content of a JSON file of the user's own; None if there is none, or it is no such file."""
    try:
        status = os.lstat(path)  # no link, pipe or device is opened
        mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
        if not mine or not stat.S_ISREG(status.st_mode) or status.st_size > largest:
            return None
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError):
        return None


def write(path: str, content: Any) -> None:
    """Replace a JSON file, all at once, or leave it."""
    import tempfile  # which costs more than the rest of this module, and is seldom needed

    with suppress(OSError, ValueError, RecursionError):
        text = json.dumps(content, separators=(",", ":"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".new-", dir=os.path.dirname(path))  # only its user may write to it
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise


# --- what was found of a file before, so that hashing it and looking for NaN in it is done once ---------------

_FORMAT, _MOST = 1, 256


class Seen(NamedTuple):
    """What is known of a file: its sha256, and whether all its tensors were looked at and hold no NaN or infinity."""

    sha256: str
    finite: bool = False


def recall(status: os.stat_result) -> Seen | None:
    """What was found of the file that ``status`` is of, or None if nothing was, or it may have changed since."""
    found = _remembered().get(identity(status))
    return Seen(*found[:2]) if found else None


def remember(status: os.stat_result, seen: Seen) -> None:
    """Keep what was found of a file, whose ``status`` was the same before and after it was read."""
    if is_settled(status) and (path := _verified()):
        entries = _remembered() | {identity(status): [*seen, time.time()]}
        newest = sorted(entries.items(), key=lambda entry: entry[1][2])[-_MOST:]
        write(path, {"format": _FORMAT, "files": dict(newest)})


def same_file(a: os.stat_result, b: os.stat_result) -> bool:
    """Whether nothing happened to a file between two looks at it."""
    return identity(a) == identity(b)


def _verified() -> str:
    return "" if asked_for("GENZOO_ALWAYS_HASH") else place("verified.json")


def _remembered() -> dict[str, list[Any]]:
    raw = read(_verified())
    files = raw.get("files") if isinstance(raw, dict) and raw.get("format") == _FORMAT else None
    return {key: entry for key, entry in files.items() if _is_entry(entry)} if isinstance(files, dict) else {}


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, list) and [type(v) for v in entry] == [str, bool, float] and len(entry[0]) == 64
