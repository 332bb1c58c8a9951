"""What genzoo raises on purpose: one sentence that says what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SET = r"--set [\w.*-]+=(?:[^\s,;:?()']|[,:](?=\S))+"
_ADVICE = re.compile(
    rf"(?P<command>'genzoo [^']*')|(?P<set>{_SET}(?: {_SET})*)(?: \(in Python options=\{{[^}}]*\}}\))?"
    r"|(?<![\w-])--(?P<name>[a-z][a-z-]*)(?:[ =](?P<value>[\w./-]*[\w/]))?"
)
_FLAGS = (
    "resume", "force", "unfinished", "private", "all", "watch", "noise", "conditional", "compile", "shard",
    "tensorboard",
)  # fmt: skip
_PROGRAM = ("debug", "locked", "no-plugins", "set", "help", "yes")  # these are of no call
_PARTS = ("objective", "generator", "encoder", "critic", "likelihood")  # of `genzoo.fit` in its options
_NO_VALUES = (
    "and", "are", "as", "at", "by", "cannot", "do", "does", "first", "for", "give", "go", "goes", "has", "here", "if",
    "in", "instead", "is", "it", "of", "on", "or", "says", "takes", "that", "then", "there", "to", "wants", "where",
    "which", "with",
)  # fmt: skip
_command_line = False  # whether sentences are for somebody at a command line
_door: ContextVar[str] = ContextVar("door", default="")


@contextmanager
def at_command_line() -> Iterator[None]:
    """Let errors speak of arguments as they are typed, and not as they are given in Python."""
    global _command_line
    before, _command_line = _command_line, True
    try:
        yield
    finally:
        _command_line = before


@contextmanager
def through(door: str) -> Iterator[None]:
    """Say what a public call takes options of data by: ``options``, ``data_options``, or ``dotted`` among others.

    Of calls within calls the outermost counts.
    """
    token = _door.set(_door.get() or door)
    try:
        yield
    finally:
        _door.reset(token)


def in_words(text: str, door: str = "") -> str:
    """A sentence with its advice, written as for a command line, in the words of the door that was used."""

    def said(found: re.Match[str]) -> str:
        name, value = (found["name"] or "").replace("-", "_"), found["value"] or ""
        if found["command"] or found["name"] in _PROGRAM:
            return found[0]
        if found["set"]:
            pairs = [word.partition("=") for word in found["set"].removeprefix("--set ").split(" --set ")]
            of, bare = "options", door != "dotted" and all(k.startswith(("data.", "samples.")) for k, *_ in pairs)
            if bare and door == "data_options":
                of = f"{pairs[0][0].partition('.')[0]}_options"
            given = ", ".join(f'"{k.partition(".")[2] if bare else k}": "{v}"' for k, _, v in pairs)
            return f"{of}={{{given}}}"
        kept = "" if value.split("/")[0] not in _NO_VALUES else found[0][found[0].index(found["name"]) + len(name) :]
        value = "" if kept else value
        if name.startswith("no_") and not value:
            return f"{name[3:]}=False{kept}"
        if name in _FLAGS:
            return f"{name}=True{kept or (f' {value}' if value else '')}"
        shown = value if not value or value.isupper() or value.replace(".", "", 1).isdigit() else f'"{value}"'
        if name in _PARTS:
            return f'options={{"{name}": {shown or "…"}}}{kept}'
        return f"{name}={shown or '…'}{kept}"

    if _command_line:
        return re.sub(r"(--set \S+) \(in Python options=\{[^}]*\}\)", r"\1", text)
    return _ADVICE.sub(said, text) if "--" in text else text


class GenzooError(Exception):
    """A failure that the user can act on; the command line prints it without a traceback and exits 1.

    Its sentence is written with options as they are typed (``--set data.size=32``), and says them in Python as they
    are given there (``options={"size": "32"}``).
    """

    told = False  # whether another process of the same job says it

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.door = _door.get()

    def __str__(self) -> str:
        return in_words(super().__str__(), self.door)


class MissingPackage(GenzooError):
    """An optional package that something needs is not installed; the message says how to install it."""


class UsageError(GenzooError):
    """The request itself was wrong (an unknown name, an option out of range); exits 2."""


def folded(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` is but for its capitals, if there is one such; otherwise ``name`` as it is."""
    same = {k for k in known if k.casefold() == name.casefold()}
    return name if name in same or len(same) != 1 else same.pop()


def did_you_mean(name: str, known: Iterable[str], say: Callable[[str], str] = repr) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known names, or an empty string; capitals do not count."""
    lower = {k.casefold(): k for k in known}
    near = difflib.get_close_matches(name.casefold(), lower, n=2, cutoff=0.5)
    near = [
        lower[k] for k in sorted(near, key=lambda k: sorted(k) != sorted(name.casefold()))
    ]  # first the same letters
    return f" (did you mean {' or '.join(map(say, near))}?)" if near else ""


def said(**options: object) -> str:
    """Options of the data as they are typed, to be pasted; None for those that need not be said."""
    given = {k: f"{v:g}" if isinstance(v, float) else v for k, v in options.items() if v is not None}
    return " ".join(f"--set data.{k}={v}" for k, v in given.items())
