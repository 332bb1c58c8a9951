"""Runs a plugin's code so that what it prints, replaces, exits or interrupts touches nobody else."""

from __future__ import annotations

import builtins
import contextlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Collection, Iterator
from types import FrameType
from typing import Any, TextIO

from genzoo.core.errors import GenzooError

LIMIT = 60.0  # seconds that a plugin may take to load
SLOW = 1.0  # seconds from which on it is told

# What a plugin might replace and all others rely on: put back when it is done.
_SHARED = ("stderr", "excepthook", "displayhook", "breakpointhook", "unraisablehook", "argv", "path_hooks", "modules")


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
    """Contain what runs inside, and put back what it replaced.

    What it prints goes to stderr. A KeyboardInterrupt that no signal asked for becomes an error like any other, and
    so does loading for longer than `LIMIT`.

    Args:
        notes: told what was replaced or warned of, a line each.
    """
    shared = {name: getattr(sys, name) for name in _SHARED}
    stdout, limit, own = sys.stdout, sys.getrecursionlimit(), dict(vars(builtins))
    finding, here = _Finding(), _folder()
    sys.stdout = _Aside(sys.stderr)
    sys.stderr = _Aside(sys.stderr)
    aside = sys.stderr
    replaced: list[str] = []
    try:
        with warnings.catch_warnings(record=True) as caught, _signals():
            yield
    finally:
        replaced += [f"sys.{n}" for n in _SHARED if getattr(sys, n) is not (aside if n == "stderr" else shared[n])]
        for name, value in shared.items():
            setattr(sys, name, value)
        replaced += finding.put_back()
        if here and _folder() != here:
            os.chdir(here)
            replaced.append("the working folder")
        sys.stdout = stdout
        sys.setrecursionlimit(limit)
        now = vars(builtins)
        changed = [n for n in {**now, **own} if now.get(n, now) is not own.get(n, now)] if now != own else []
        for name in changed:
            replaced.append(f"builtins.{name}")
            if name in own:
                now[name] = own[name]
            else:
                del now[name]
    if replaced:
        notes.append(f"replaced {', '.join(sorted(replaced))} while loading, which was put back")
    said = dict.fromkeys(" ".join(str(w.message).split())[:300] for w in caught)
    notes.extend(f"warns: {text}" for text in list(said)[:3])


class _Finding:
    """Where modules are looked for: a plugin may add to it, and take nothing away."""

    def __init__(self) -> None:
        self.lists = {name: getattr(sys, name) for name in ("path", "meta_path")}
        self.contents = {name: list(found) for name, found in self.lists.items()}

    def put_back(self) -> list[str]:
        """Put back what is missing, and name the lists that it was missing from."""
        replaced = []
        for name, found in self.lists.items():
            before, now = self.contents[name], getattr(sys, name)
            if now is not found or (found != before and any(entry not in found for entry in before)):
                replaced.append(f"sys.{name}")
                found[:] = before
                setattr(sys, name, found)
        return replaced


def _folder() -> str:
    """The working folder; "" if there is none any more."""
    try:
        return os.getcwd()
    except OSError:
        return ""


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Tell a user's Ctrl-C from a plugin's, stop one that does not come to an end, and put handlers back."""
    if threading.current_thread() is not threading.main_thread():
        try:
            yield
        except KeyboardInterrupt:
            raise GenzooError("it raised KeyboardInterrupt") from None
        return
    came = False

    def watch(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        handler = before[number]
        if callable(handler):
            handler(number, frame)

    def stop(number: int, frame: FrameType | None) -> None:
        raise GenzooError(f"it was not loaded after {LIMIT:g} seconds")

    before: dict[int, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if callable(handler):  # neither ignored nor the system's
            before[number] = handler
            signal.signal(number, watch)
    timer = hasattr(signal, "setitimer") and not any(signal.getitimer(signal.ITIMER_REAL))
    alarm = signal.signal(signal.SIGALRM, stop) if timer else None
    if timer:
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
            signal.signal(signal.SIGALRM, alarm)
        for watched, former in before.items():
            signal.signal(watched, former)


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
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


def patches(packages: Collection[str]) -> dict[str, list[str]]:
    """Say what of torch was replaced by something that one of these packages defines, by package.

    Nothing if torch is not imported: who patches it has imported it.
    """
    torch = sys.modules.get("torch")
    if torch is None or not packages or not hasattr(torch, "nn"):
        return {}
    places: dict[str, Any] = {"torch": torch, "torch.Tensor": torch.Tensor}
    for name in ("nn", "nn.functional", "optim", "autograd"):
        module = sys.modules.get(f"torch.{name}")
        if module is not None:
            places[f"torch.{name}"] = module
    for name in ("torch.nn", "torch.optim"):
        classes = vars(places.get(name, builtins))
        places |= {f"{name}.{k}": v for k, v in classes.items() if isinstance(v, type) and name in places}
    found: dict[str, list[str]] = {}
    for place, thing in places.items():
        for key, value in list(vars(thing).items()):
            home = getattr(value, "__module__", None)
            if isinstance(home, str) and (package := home.partition(".")[0]) in packages:
                found.setdefault(package, []).append(f"{place}.{key}")
    return found
