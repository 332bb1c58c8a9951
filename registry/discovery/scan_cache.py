"""What was read from source files before, as long as the system says that they are still the same files.

Listing the zoo reads a hundred files for their declarations, every time. What was found is kept in one small file in
the user's cache, by path, device, inode, size, modification and change time (which nobody can set back), and never
trusted further than the file that it was read from: it goes through the same checks. A cache that is damaged, somebody
else's, of another genzoo, or cannot be written costs time and nothing else. ``GENZOO_ALWAYS_READ=1`` does without it.
"""

from __future__ import annotations

import json
import os
import stat
import time
import zlib
from contextlib import suppress
from typing import Any

_MOST = 20_000  # files
_LARGEST = 2**24  # bytes of the cache

_known: dict[str, list[Any]] | None = None  # path and what was looked for, to the file's state and what was found
_new: dict[str, list[Any]] = {}


def recall(path: str, what: str, status: os.stat_result) -> Any:
    """What was found in a file, as JSON has it; None if nothing is known.

    Args:
        path: of the file.
        what: was looked for, and by whom.
        status: of the file, now.
    """
    global _known
    if _known is None:
        _known = _read()
    found = _known.get(f"{what} {path}")
    return found[1] if found and found[0] == _state(status) else None


def remember(path: str, what: str, status: os.stat_result, found: Any) -> None:
    """Note what was found, for `save`; see `recall`.

    Args:
        path: of the file.
        what: was looked for.
        status: of the file, taken before it was read.
        found: what JSON can hold, and not None.
    """
    age = time.time() - max(status.st_mtime, status.st_ctime)
    # A change that comes within one tick of the file system's clock leaves no trace in the times.
    if age > (2.0 if status.st_mtime_ns % 10**9 == 0 else 0.1):
        _new[f"{what} {path}"] = [_state(status), found]


def save() -> None:
    """Add to the cache what is new, all at once; where it cannot be written, nothing is kept."""
    path = _place()
    if not _new or not path:
        return
    import tempfile  # which costs more than the rest of this module, and is seldom needed

    entries = _read() | _new  # another process may have written meanwhile
    _new.clear()
    if len(entries) > _MOST:  # packages that were uninstalled, most likely
        entries = {k: v for k, v in entries.items() if os.path.exists(k.partition(" ")[2])}
    with suppress(OSError, ValueError, RecursionError):
        content = json.dumps({"by": _by(), "files": dict(list(entries.items())[-_MOST:])}, separators=(",", ":"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".declared-", dir=os.path.dirname(path))  # only its user may write to it
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise


def _read() -> dict[str, list[Any]]:
    path = _place()
    try:
        status = os.lstat(path)  # no link, pipe or device is opened
        mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
        if not path or not mine or not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            return {}
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        entries = content["files"] if content["by"] == _by() else {}
        return {k: v for k, v in entries.items() if isinstance(v, list) and len(v) == 2}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _place() -> str:
    """The file; empty if there is no place for it, or it shall not be used."""
    if os.environ.get("GENZOO_ALWAYS_READ", "").lower() not in ("", "0", "false", "no"):
        return ""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = given if os.path.isabs(given) else os.path.expanduser("~/.cache")
    which = zlib.crc32(__file__.encode(errors="surrogateescape"))  # a cache for each installed genzoo
    return os.path.join(base, "genzoo", f"declared-{which:08x}.json") if os.path.isabs(base) else ""


def _by() -> list[str]:
    """Which code found it: that of another genzoo, or one that is being edited, may find something else."""
    here = os.path.dirname(__file__)
    return [_state(os.stat(os.path.join(here, name))) for name in ("scan.py", "../entries.py", "scan_cache.py")]


def _state(status: os.stat_result) -> str:
    of = status
    return f"{of.st_dev}:{of.st_ino}:{of.st_size}:{of.st_mtime_ns}:{of.st_ctime_ns}"
