"""Runs a plugin's code so that what it prints, replaces, exits or interrupts touches nobody else."""

from __future__ import annotations

import builtins
import contextlib
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import Any, TextIO

from genzoo.core.errors import GenzooError

LIMIT = 60.0  # seconds that a plugin may take to load
SLOW = 1.0  # seconds from which on it is told

# What a plugin might replace and all others rely on: put back when it is done. To the lists it may add.
_LISTS = ("path", "meta_path")
_SHARED = ("stdout", "stderr", "excepthook", "displayhook", "breakpointhook", "unraisablehook", "argv", "path_hooks",
           "modules", *_LISTS)  # fmt: skip


class _Aside:
    """Standard output for a plugin: goes to stderr, and cannot be closed."""

    def __init__(self, to: TextIO) -> None:
        self._to = to

    def write(self, text: str) -> int:
        return self._to.write(text)

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._to, name)


@contextlib.contextmanager
def contained(notes: list[str]) -> Iterator[None]:
    """Contain what runs inside, put back what it replaced, and note that and what it warns of, a line each.

    What it prints goes to stderr. A KeyboardInterrupt that no signal asked for becomes an error like any other, and
    so does loading for longer than `LIMIT`.
    """
    stdout, stderr, limit, here = sys.stdout, sys.stderr, sys.getrecursionlimit(), _folder()
    sys.stdout = sys.stderr = _Aside(sys.stderr)
    shared = {name: getattr(sys, name) for name in _SHARED}
    lists = {name: list(shared[name]) for name in _LISTS}
    own = dict(vars(builtins))
    try:
        with _quiet_stdout(), warnings.catch_warnings(record=True) as caught, _signals():
            yield
    finally:
        replaced = [f"sys.{name}" for name, value in shared.items() if getattr(sys, name, None) is not value]
        for name, value in shared.items():
            setattr(sys, name, value)
        for name, before in lists.items():
            if any(entry not in shared[name] for entry in before):
                replaced.append(f"sys.{name}")
                shared[name][:] = before
        sys.stdout, sys.stderr = stdout, stderr
        sys.setrecursionlimit(limit)
        if here and _folder() != here:
            os.chdir(here)
            replaced.append("the working folder")
        now = vars(builtins)
        if now != own:
            replaced += [f"builtins.{n}" for n in {**now, **own} if now.get(n, now) is not own.get(n, now)]
            for name in now.keys() - own.keys():
                del now[name]
            now.update(own)
    if replaced:
        notes.append(f"replaced {', '.join(sorted(set(replaced)))} while loading, which was put back")
    said = dict.fromkeys(" ".join(str(w.message).split())[:300] for w in caught)
    notes.extend(f"warns: {text}" for text in list(said)[:3])


def _folder() -> str:
    """The working folder; "" if there is none any more."""
    try:
        return os.getcwd()
    except OSError:
        return ""


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Tell a user's Ctrl-C from a plugin's, stop one that does not come to an end, and put handlers back."""
    main = threading.current_thread() is threading.main_thread()
    came: list[int] = []

    def watch(number: int, frame: FrameType | None) -> None:
        came.append(number)
        before[number](number, frame)

    def stop(number: int, frame: FrameType | None) -> None:
        raise GenzooError(f"it was not loaded after {LIMIT:g} seconds")

    numbers = (signal.SIGINT, signal.SIGTERM) if main else ()
    before: dict[int, Any] = {n: h for n in numbers if callable(h := signal.getsignal(n))}  # not ignored
    for number in before:
        signal.signal(number, watch)
    timer = main and hasattr(signal, "setitimer") and not any(signal.getitimer(signal.ITIMER_REAL))
    if timer:
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    except KeyboardInterrupt:
        if came:
            raise
        raise GenzooError("it raised KeyboardInterrupt") from None
    finally:
        if timer:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, former in before.items():
            signal.signal(number, former)


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Send to stderr what is written to the file behind standard output: by extensions and by other programs."""
    try:
        sys.stdout.flush()
        kept = os.dup(1)
    except (OSError, ValueError, AttributeError):  # closed, or none
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def patches(target: str, plugin: str) -> str:
    """Say what of torch, if it is imported, was replaced by something that a target's package defines."""
    package = re.split("[.:]", target)[0]
    modules = {name: sys.modules.get(name) for name in ("torch.nn", "torch.nn.functional", "torch.optim", "torch")}
    if None in modules.values():
        return ""
    classes = {f"{m}.{k}": v for m, of in modules.items() for k, v in vars(of).items() if isinstance(v, type)}
    found = [
        f"{place}.{key}"
        for place, thing in {**modules, **classes}.items()
        for key, value in list(vars(thing).items())
        if str(getattr(value, "__module__", "")).partition(".")[0] == package
    ]
    some = ", ".join(found[:3]) + ", …" * (len(found) > 3)
    return f"replaces {some}, for every model: 'genzoo plugins disable {plugin}' does without it" if found else ""
