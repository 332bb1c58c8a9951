"""Reading what a stranger wrote; torch-free.

Plain files only, of bounded size; JSON that says one thing; plain data of which nothing is guessed, converted or
left out.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.options import OptionInfo, coerce_all, options_of
from genzoo.core.text import one_line as one_line

LARGEST = 2**19  # bytes of a JSON file, where the reader names no other limit
DEEPEST = 32  # brackets within brackets
LONGEST_TEXT, MOST_OPTIONS, LONGEST_LIST = 1000, 200, 10_000


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn a failed read of ``path`` into one sentence; that there is nothing (FileNotFoundError) stays an OSError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as e:
        raise GenzooError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from None


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
    """Open a plain file to read, never a folder, pipe or device; never waits. Folders above it are the caller's word.

    A link is refused, unless it leads into ``within``: the ``blobs`` of a Hugging Face cache, to which snapshots link.

    Raises:
        GenzooError: if it is no plain file, or a link that leads elsewhere, or the system cannot open it.
        FileNotFoundError: if there is none.
    """
    target = path
    with reading(path):
        if path.is_symlink():
            if within is None:
                raise GenzooError(f"{path} is a link, no plain file: get the folder anew")
            target = Path(os.path.realpath(path, strict=True))
            if not target.is_relative_to(os.path.realpath(within)):
                raise GenzooError(f"{path} is a link that leads out of {within}: get the folder anew")
        if stat.S_ISREG(os.lstat(target).st_mode):  # before opening, since devices may act on being opened
            # Whatever took its place meanwhile is not followed and not waited for.
            flags = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
            file = open(target, "rb", opener=lambda p, _: os.open(p, flags))  # noqa: SIM115 (the caller closes it)
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file
            file.close()
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise GenzooError(f"{path} is no plain file: get the folder anew")


def read_plain(path: Path, limit: int = LARGEST, within: Path | None = None) -> bytes:
    """Read a whole plain file of at most ``limit`` bytes; raises what `open_plain` does, and GenzooError beyond."""
    with open_plain(path, within) as file, reading(path):
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
    """Read and parse a JSON file, see `read_plain` and `parse_json`; raises GenzooError, FileNotFoundError."""
    try:
        return parse_json(read_plain(path, limit, within), nan=nan)
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


# --- plain data ---------------------------------------------------------------------------------------------


def table(value: Any, where: str, known: type | Collection[str], needed: Collection[str] = ()) -> dict[str, Any]:
    """Check that an object has no keys but those ``known`` (or a dataclass's fields), and those ``needed``.

    Raises:
        UsageError: naming the key.
    """
    keys = {f.name for f in dataclasses.fields(known)} if isinstance(known, type) else set(known)
    if not isinstance(value, dict):
        raise UsageError(f"{where} must be an object, not {_short(value)}")
    for key in needed:
        if key not in value:
            raise UsageError(f"{where} lacks {key!r}")
    for key in value:
        if key not in keys:
            raise UsageError(
                f"{where} says {_short(key)}, which this genzoo does not know{did_you_mean(key[:80], keys)}"
            )
    return value


def text(value: Any, where: str) -> str:
    """Check a text: of bounded length, without what would act on a terminal; raises UsageError."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise UsageError(f"{where} must be text of at most {LONGEST_TEXT} characters, not {_short(value)}")
    if value.isprintable():
        return value
    if any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" or "\ud800" <= c <= "\udfff" for c in value):
        raise UsageError(f"{where} must be one line of text, not {_short(value)}")
    return value


def plain_options(value: Any, where: str) -> dict[str, Any]:
    """Check options whose component is not known yet: named scalars, lists of such, in bounded number; UsageError."""
    if not isinstance(value, dict) or len(value) > MOST_OPTIONS:
        raise UsageError(f"{where} must be an object of at most {MOST_OPTIONS} options, not {_short(value)}")
    return {text(key, where): plain(v, where, key) for key, v in value.items()}


def plain(value: Any, where: str, key: str, depth: int = 0) -> Any:
    """Check a number, a text, or a list of such, which becomes a tuple; UsageError."""
    if isinstance(value, (list, tuple)) and depth < 4 and len(value) <= LONGEST_LIST:
        return tuple(plain(v, where, key, depth + 1) for v in value)
    if isinstance(value, str):
        return text(value, where)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise UsageError(f"{where} {_short(key)} must be a number, a text or a list of them, not {_short(value)}")


def exact(infos: Collection[OptionInfo], given: Any, where: str) -> dict[str, Any]:
    """Check recorded options: as `coerce_all`, but nothing is read as something else, so "32" is not 32; UsageError."""
    types = {i.name: i.type for i in infos}
    values = plain_options(given, where)
    whole = coerce_all(infos, values, where)
    for name, value in values.items():
        if name not in whole:  # but for its capitals, which people may type as they like
            raise UsageError(f"{where} has no option {_short(name)}")
        if not _same(whole[name], value):
            raise UsageError(f"{where}.{name} must be recorded as {types[name]}, not as {_short(value)}")
    return whole


def _same(value: Any, recorded: Any) -> bool:
    """Whether a value is what was recorded, but for a whole number where a real one belongs."""
    if isinstance(value, tuple):
        return isinstance(recorded, (list, tuple)) and len(value) == len(recorded) and all(map(_same, value, recorded))
    if type(value) is float:
        return type(recorded) in (int, float) and value == recorded
    return type(value) is type(recorded) and bool(value == recorded)


def check_options(cls: Any, options: Mapping[str, Any], where: str) -> None:
    """Check the recorded options of a component whose class is known, as `exact` does."""
    exact(options_of(cls.Options), dict(options), where)


def _short(value: Any) -> str:
    """A value for a message: of one line, however long and deep it is."""
    if isinstance(value, (dict, list, tuple)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return one_line(repr(value if not isinstance(value, str) else value[:80]), 80)
