"""What was read from source files before, as long as the system says that they are still the same files.

Listing the zoo reads a hundred files for their declarations, every time. What was found is kept in one small file in
the user's cache, by path, device, inode, size, modification and change time (which nobody can set back), and never
trusted further than the file that it was read from: it goes through the same checks. A cache that is damaged, somebody
else's, of another genzoo, or cannot be written costs time and nothing else. ``GENZOO_ALWAYS_READ=1`` does without it.
"""

from __future__ import annotations

import os
import zlib
from typing import Any

from genzoo.core.storage import user_cache

_MOST = 20_000  # files

_known: dict[str, list[Any]] | None = None  # path and what was looked for, to the file's state and what was found
_new: dict[str, list[Any]] = {}


def recall(path: str, what: str, status: os.stat_result) -> Any:
    """What was found in a file whose status is this, as JSON has it; None if nothing is known."""
    global _known
    if _known is None:
        _known = _read()
    found = _known.get(f"{what} {path}")
    return found[1] if found and found[0] == user_cache.identity(status) else None


def remember(path: str, what: str, status: os.stat_result, found: Any) -> None:
    """Note for `save` what was found in a file, in JSON's terms; its status was taken before it was read."""
    if user_cache.is_settled(status):
        _new[f"{what} {path}"] = [user_cache.identity(status), found]


def save() -> None:
    """Add to the cache what is new, all at once; where it cannot be written, nothing is kept."""
    if _new and (path := _place()):
        files = _read() | _new  # another process may have written meanwhile
        _new.clear()
        if len(files) > _MOST:  # packages that were uninstalled, most likely
            files = {k: v for k, v in files.items() if os.path.exists(k.partition(" ")[2])}
        user_cache.write(path, {"by": _by(), "files": dict(list(files.items())[-_MOST:])})


def _read() -> dict[str, list[Any]]:
    try:
        content = user_cache.read(_place())
        files = content["files"] if content["by"] == _by() else {}
        return {k: v for k, v in files.items() if isinstance(v, list) and len(v) == 2}
    except (OSError, KeyError, TypeError, AttributeError):
        return {}


def _place() -> str:
    """The file; empty if there is no place for it, or it shall not be used."""
    which = zlib.crc32(__file__.encode(errors="surrogateescape"))  # a cache for each installed genzoo
    return "" if user_cache.asked_for("GENZOO_ALWAYS_READ") else user_cache.place(f"declared-{which:08x}.json")


def _by() -> list[str]:
    """Which code found it: that of another genzoo, or one that is being edited, may find something else."""
    sources = ("scan.py", "../kinds.py", "scan_cache.py")
    return [user_cache.identity(os.stat(os.path.join(os.path.dirname(__file__), name))) for name in sources]
