"""What genzoo raises on purpose: one sentence that says what was wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable


class GenzooError(Exception):
    """A failure that the user can act on; the command line prints it without a traceback and exits 1."""

    told = False  # whether another process of the same job says it


class UsageError(GenzooError):
    """The request itself was wrong (an unknown name, an option out of range); exits 2."""


def folded(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` is but for its capitals, if there is one such; otherwise ``name`` as it is."""
    same = {k for k in known if k.casefold() == name.casefold()}
    return name if name in same or len(same) != 1 else same.pop()


def did_you_mean(name: str, known: Iterable[str], say: Callable[[str], str] = repr) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest known names, or an empty string; capitals do not count."""
    lower = {k.casefold(): k for k in known}
    near = [lower[k] for k in difflib.get_close_matches(name.casefold(), lower, n=2, cutoff=0.5)]
    return f" (did you mean {' or '.join(map(say, near))}?)" if near else ""


def said(**options: object) -> str:
    """Options of the data to be pasted, at a command line and in Python; None for those that need not be said."""
    given = {k: f"{v:g}" if isinstance(v, float) else str(v) for k, v in options.items() if v is not None}
    line = " ".join(f"--set data.{k}={v}" for k, v in given.items())
    python = ", ".join(f'"{k}": "{v}"' for k, v in given.items())
    return f"{line} (in Python options={{{python}}})"
