"""Strict checks of plain data that a stranger wrote: nothing is guessed, converted or left out; torch-free."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.options import OptionInfo, coerce_all
from genzoo.core.storage.strict import one_line

LONGEST_TEXT, MOST_OPTIONS, LONGEST_LIST = 1000, 200, 10_000


def table(value: Any, where: str, known: type | Collection[str], needed: Collection[str] = ()) -> dict[str, Any]:
    """Check the keys of an object.

    Args:
        value: what should be one.
        where: its name, for messages.
        known: keys that it may have, or a dataclass whose fields they are.
        needed: those that it must have.

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
    """Check a text: of bounded length, without what would act on a terminal.

    Raises:
        UsageError: naming ``where``.
    """
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise UsageError(f"{where} must be text of at most {LONGEST_TEXT} characters, not {_short(value)}")
    if any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" or "\ud800" <= c <= "\udfff" for c in value):
        raise UsageError(f"{where} must be one line of text, not {_short(value)}")
    return value


def plain_options(value: Any, where: str) -> dict[str, Any]:
    """Check options whose component is not known yet: named scalars, and lists of such, in bounded number.

    Raises:
        UsageError: naming the option.
    """
    if not isinstance(value, dict) or len(value) > MOST_OPTIONS:
        raise UsageError(f"{where} must be an object of at most {MOST_OPTIONS} options, not {_short(value)}")
    return {text(key, where): _plain(v, where, key) for key, v in value.items()}


def _plain(value: Any, where: str, key: str, depth: int = 0) -> Any:
    if isinstance(value, (list, tuple)) and depth < 4 and len(value) <= LONGEST_LIST:
        return tuple(_plain(v, where, key, depth + 1) for v in value)
    if isinstance(value, str):
        return text(value, where)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise UsageError(f"{where} {_short(key)} must be a number, a text or a list of them, not {_short(value)}")


def exact(infos: Iterable[OptionInfo], given: Any, where: str) -> dict[str, Any]:
    """Check recorded options: as `coerce_all`, but nothing is read as something else, so "32" is not 32.

    Raises:
        UsageError: naming the option.
    """
    infos = list(infos)
    values = plain_options(given, where)
    whole = coerce_all(infos, values, where)
    types = {i.name: i for i in infos}
    for name, value in values.items():
        if not _same(whole[name], value):
            raise UsageError(f"{where}.{name} must be recorded as {types[name].type}, not as {_short(value)}")
    return whole


def _same(value: Any, recorded: Any) -> bool:
    """Whether a value is what was recorded, but for a whole number where a real one belongs."""
    if isinstance(value, tuple):
        return isinstance(recorded, (list, tuple)) and len(value) == len(recorded) and all(map(_same, value, recorded))
    if type(value) is float:
        return type(recorded) in (int, float) and value == recorded
    return type(value) is type(recorded) and bool(value == recorded)


def check_options(cls: type, options: Mapping[str, Any], where: str) -> None:
    """Check the recorded options of a component whose class is known, see `exact`.

    Raises:
        UsageError: naming the option.
    """
    from genzoo.core.options import options_of

    exact(options_of(cls.Options), dict(options), where)  # type: ignore[attr-defined]


def _short(value: Any) -> str:
    """A value for a message: of one line, however long and deep it is."""
    if isinstance(value, (dict, list, tuple)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return one_line(repr(value if not isinstance(value, str) else value[:80]), 80)
