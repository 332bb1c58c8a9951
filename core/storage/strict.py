"""Reading what a stranger wrote: plain files only, of bounded size, and JSON that says one thing; torch-free."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO

from genzoo.core.errors import GenzooError
from genzoo.core.text import one_line as one_line

LARGEST = 2**19  # bytes of a JSON file, where the reader names no other limit
DEEPEST = 32  # brackets within brackets


def regular(path: Path) -> Path:
    """The path of a regular file, or of a link to one; a pipe or a device, which may wait for ever, is refused.

    Raises:
        GenzooError: if it is something else.
        OSError: if it is not there.
    """
    mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a folder is an error of its own, at once
        what = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise GenzooError(f"{path} is {what}, no regular file, and is not opened")
    return path


def open_plain(path: Path, within: Path | None = None) -> BinaryIO:
    """Open a plain file to read, never a link, folder, pipe or device; never waits.

    Args:
        path: of the file; the folders above it are the caller's word.
        within: a folder into which a link may lead: the ``blobs`` of a Hugging Face cache, whose snapshots are
            links. None allows no link at all.

    Raises:
        GenzooError: if it is no plain file, or a link that leads elsewhere.
        OSError: if the system cannot open it, or it is a folder.
    """
    if path.is_symlink():
        if within is None:
            raise GenzooError(f"{path} is a link, no plain file: get the folder anew")
        target = Path(os.path.realpath(path, strict=True))
        if not target.is_relative_to(os.path.realpath(within)):
            raise GenzooError(f"{path} is a link that leads out of {within}: get the folder anew")
        path = target
    if stat.S_ISREG(os.lstat(path).st_mode):  # before opening, since devices may act on being opened
        # Whatever took its place meanwhile is not followed and not waited for.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = open(path, "rb", opener=lambda p, _: os.open(p, flags))  # noqa: SIM115 (the caller closes it)
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise GenzooError(f"{path} is no plain file: get the folder anew")


def read_plain(path: Path, limit: int = LARGEST, within: Path | None = None) -> bytes:
    """Read a whole plain file; see `open_plain` for what is refused.

    Raises:
        GenzooError: if it has more than ``limit`` bytes, too.
        OSError: if the system cannot read it.
    """
    with open_plain(path, within) as file:
        content = file.read(limit + 1) if os.fstat(file.fileno()).st_size <= limit else b"." * (limit + 1)
    if len(content) > limit:
        raise GenzooError(f"{path} is larger than the {limit:,} bytes that are read of such a file")
    return content


def parse_json(content: bytes, *, deepest: int = DEEPEST, nan: bool = False) -> Any:
    """Parse JSON that can mean only one thing, in time and memory proportional to its length.

    Refused beside what is no JSON: a repeated key, NaN and infinities, whole numbers beyond 64 bits, nesting
    beyond ``deepest``, text that is not UTF-8 or holds half a character. NaN and infinities pass with ``nan``.

    Raises:
        ValueError: saying which.
    """
    if _too_deep(content, deepest):
        raise ValueError(f"its brackets nest deeper than {deepest}, or do not match")
    try:
        text = content.decode()
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=float if nan else _constant, parse_int=_whole,
            parse_float=_finite,
        )  # fmt: skip
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError:
        raise ValueError("it is not UTF-8 text") from None
    except json.JSONDecodeError as e:
        raise ValueError(f"line {e.lineno}, column {e.colno} is no JSON: {e.msg}") from None
    return value


def read_json(path: Path, *, limit: int = LARGEST, within: Path | None = None, nan: bool = False) -> Any:
    """Read and parse a JSON file, see `read_plain` and `parse_json`.

    Raises:
        GenzooError: naming the file and what is wrong with it.
        FileNotFoundError: if there is none.
    """
    try:
        return parse_json(read_plain(path, limit, within), nan=nan)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise GenzooError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from None
    except ValueError as e:
        raise GenzooError(f"{path} is damaged: {e}") from None


_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)  # closed or not, so that it is looked at once
_ALIKE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _too_deep(content: bytes, deepest: int) -> bool:
    """Whether brackets nest deeper, or are left open so often that a parser would descend as far."""
    brackets = _TEXT.sub(b"", content).translate(_ALIKE, _NO_BRACKETS)
    for _ in range(deepest):  # each round takes away the innermost pairs
        brackets = brackets.replace(b"[]", b"")
    return b"[]" in brackets or len(brackets) > deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs) if pairs else {}  # which takes less
    if len(found) < len(pairs):
        keys = [k for k, _ in pairs]
        twice = next(k for k in keys if keys.count(k) > 1) if len(keys) < 1000 else "…"
        raise ValueError(f"it says {one_line(repr(twice), 80)} twice")
    return found


def _constant(text: str) -> None:
    raise ValueError(f"it holds {text}, which is no number")


def _whole(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
        raise ValueError(f"it holds a whole number of {len(digits)} digits, beyond 64 bits")
    return int(digits)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it holds {one_line(text, 40)}, which no number can be")
    return value
