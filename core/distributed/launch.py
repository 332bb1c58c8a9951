"""Start a command as several processes on this machine that work together: what ``--devices N`` does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from genzoo.core.distributed import env as job_env
from genzoo.core.errors import GenzooError, UsageError

_GRACE = 6.0  # seconds that the others have to end by themselves once one has failed
_TAIL = 20_000  # bytes of a process's complaints that are looked at


def launch(command: Sequence[str], devices: int, *, advice: str = "") -> int:
    """Run a command as ``devices`` processes, which find each other when they call `genzoo.fit` or `genzoo.sample`.

    They share the cores of this machine, or take a CUDA device each. Output of process 0 goes where this
    process's goes; what the others say on stderr is kept back, and shown in one line if they fail. A signal is
    passed on to all of them, a second one ends them at once; they end with this process, however it ends.
    ``advice`` says what to do after a failure, to end its sentence with.

    Returns:
        The exit code: 0; 130 if it was interrupted, 143 if it was terminated.

    Raises:
        UsageError: for less than one device, or where all processes refuse what was asked.
        GenzooError: if a process fails or dies; names it, with its reason.
    """
    if devices < 1:
        raise UsageError(f"the number of devices must be at least 1, not {devices}")
    folder = Path(tempfile.mkdtemp(prefix="genzoo-launch-"))
    alive, ours = os.pipe()  # the children's end closes when this process is gone
    group = _Group()
    try:
        with _passing_on(group):
            for rank in range(devices):
                group.processes.append(_start(command, rank, devices, folder, alive))
            codes = group.wait()
        ended = (*job_env.STOPPED, -signal.SIGINT, -signal.SIGTERM, -signal.SIGKILL)
        if group.signals and (len(group.signals) > 1 or all(code in ended for code in codes)):
            return 128 + group.signals[0]
        if all(code in job_env.STOPPED for code in codes):  # perhaps a signal went to one of them, and all stopped
            return max(codes)
        raise _failure(folder, codes, group.first_failed, advice)
    finally:
        group.kill()
        os.close(alive)
        os.close(ours)
        shutil.rmtree(folder, ignore_errors=True)


def _start(command: Sequence[str], rank: int, devices: int, folder: Path, alive: int) -> subprocess.Popen[bytes]:
    env = dict(os.environ)
    env |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(devices), "LOCAL_WORLD_SIZE": str(devices)}
    env |= {job_env.STORE: str(folder / "store"), job_env.REPORTS: str(folder), job_env.PARENT: str(alive)}
    env.setdefault("OMP_NUM_THREADS", str(max(job_env.cores() // devices, 1)))
    # Of two failures one is the other's echo, and C++ tells both at length.
    env.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    # A group of its own: Ctrl-C reaches this process alone, which passes it on once.
    how: dict[str, Any] = {"env": env, "pass_fds": (alive,), "process_group": 0, "stdin": subprocess.DEVNULL}
    if rank == 0:
        return subprocess.Popen(list(command), **how)
    with open(folder / f"{rank}.err", "wb") as errors:
        return subprocess.Popen(list(command), stderr=errors, **how)


class _Group:
    """Processes that end together."""

    def __init__(self) -> None:
        self.processes, self.signals, self.first_failed = list[subprocess.Popen[bytes]](), list[int](), -1

    def wait(self) -> list[int]:
        """Wait for all to end; soon after one has failed, end the others."""
        deadline, over = float("inf"), False
        while not over:
            codes = [p.poll() for p in self.processes]  # all are asked: who is not, stays a zombie
            over = None not in codes
            failed = [r for r, code in enumerate(codes) if code not in (None, *job_env.STOPPED)]
            if failed and self.first_failed < 0:
                self.first_failed, deadline = failed[0], time.monotonic() + _GRACE
            if time.monotonic() > deadline:
                self.kill()
            time.sleep(0.03)
        return [p.returncode for p in self.processes]

    def send(self, number: int) -> None:
        """Pass a signal on; after the first, end all at once."""
        self.signals.append(number)
        self.tell(number if len(self.signals) == 1 else signal.SIGKILL)

    def tell(self, number: int) -> None:
        """Send a signal to those that are left."""
        for p in self.processes:
            if p.poll() is None:
                with suppress(ProcessLookupError):
                    p.send_signal(number)

    def kill(self) -> None:
        """End those that are left."""
        for p in self.processes:
            if p.poll() is None:
                p.kill()
        for p in self.processes:
            p.wait()


@contextmanager
def _passing_on(group: _Group) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pass_on(number: int, frame: FrameType | None) -> None:
        # Without a terminal there is no second Ctrl-C either: they had better save.
        group.send(number if number == signal.SIGINT else signal.SIGTERM)

    def pause(number: int, frame: FrameType | None) -> None:
        group.tell(signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)  # until somebody says fg
        group.tell(signal.SIGCONT)

    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = {s: signal.signal(s, pass_on) for s in numbers if signal.getsignal(s) is not signal.SIG_IGN}
    before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, pause)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _failure(folder: Path, codes: list[int], first_failed: int, advice: str) -> GenzooError:
    """The one sentence: which process failed, and why."""
    said: dict[int, dict[str, Any]] = {}
    for rank in range(len(codes)):
        with suppress(OSError, ValueError):
            said[rank] = json.loads((folder / f"{rank}.json").read_bytes())
    causes = {r: s for r, s in said.items() if s["because"] is None and codes[r] != 0}
    if causes:
        first = min(causes, key=lambda r: (causes[r]["code"] != 2, r != first_failed, r))
        sentence = causes[first]["sentence"]
        if causes[first]["code"] == 2:
            return UsageError(sentence)
        all_say_so = len(causes) == len(codes) and len({s["sentence"] for s in causes.values()}) == 1
        return GenzooError(sentence if all_say_so else f"process {first} of {len(codes)} failed: {sentence}")
    silent = [r for r, code in enumerate(codes) if code not in job_env.STOPPED and r not in said]
    rank = first_failed if first_failed in silent or not silent else silent[0]
    who, end = f"process {rank} of {len(codes)}", f"; {advice}" if advice else ""
    if codes[rank] < 0:
        name = signal.Signals(-codes[rank]).name
        memory = ", perhaps for want of memory" if name == "SIGKILL" else ""
        return GenzooError(f"{who} was killed ({name}{memory}), and the others were stopped{end}")
    line = ""
    with suppress(OSError):
        errors = (folder / f"{rank}.err").read_bytes()[-_TAIL:].decode(errors="replace")
        line = next((line.strip().removeprefix("genzoo: ") for line in errors.splitlines()[::-1] if line.strip()), "")
    return GenzooError(f"{who} failed with exit code {codes[rank]}{f': {line}' if line else ''}{end}")


def again(arguments: Sequence[str] | None = None) -> list[str]:
    """This command line as a command, for `launch`."""
    return [sys.executable, "-m", "genzoo.cli", *(sys.argv[1:] if arguments is None else arguments)]
