"""What was found of a file before, as long as the system says that it is still the same file; torch-free.

Hashing 200 MB and looking for NaN in them takes longer than loading them. Both are done once for a file and
remembered by its device, inode, size, modification and change time (which nobody can set back), in one small file
in the user's cache. ``GENZOO_ALWAYS_HASH=1`` neither reads nor writes it.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from genzoo.core.storage import user_cache

_FORMAT, _MOST = 1, 256


@dataclass(frozen=True)
class Seen:
    """What is known of a file's content.

    Attributes:
        sha256: in hexadecimal.
        finite: whether all its tensors were looked at, and none has NaN or infinities.
    """

    sha256: str
    finite: bool = False


def recall(stat: os.stat_result) -> Seen | None:
    """What was found of the file that ``stat`` is of, or None if nothing was, or it may have changed since."""
    found = _read().get(user_cache.identity(stat))
    return Seen(found[0], found[1]) if found else None


def remember(stat: os.stat_result, seen: Seen) -> None:
    """Keep what was found of a file; where the cache cannot be written, nothing is kept.

    Args:
        stat: of the file, taken before it was read, and equal to one taken after.
        seen: what was found.
    """
    path = _place()
    if path and user_cache.is_settled(stat):
        entries = _read() | {user_cache.identity(stat): [seen.sha256, seen.finite, time.time()]}
        newest = sorted(entries.items(), key=lambda entry: entry[1][2])[-_MOST:]
        user_cache.write(path, {"format": _FORMAT, "files": dict(newest)})


def same_file(a: os.stat_result, b: os.stat_result) -> bool:
    """Whether nothing happened to a file between two looks at it."""
    return user_cache.identity(a) == user_cache.identity(b)


def _place() -> str:
    return "" if user_cache.asked_for("GENZOO_ALWAYS_HASH") else user_cache.place("verified.json")


def _read() -> dict[str, list[Any]]:
    """The remembered files; none if there is no cache, it is damaged, or someone else's."""
    try:
        raw = user_cache.read(_place())
        entries = raw["files"] if raw["format"] == _FORMAT else {}
        return {key: list(entry) for key, entry in entries.items() if _makes_sense(entry)}
    except (KeyError, TypeError, AttributeError):
        return {}


def _makes_sense(entry: Any) -> bool:
    return isinstance(entry, list) and [type(v) for v in entry] == [str, bool, float] and len(entry[0]) == 64
