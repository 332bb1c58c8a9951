"""The environment of a launched process: its rank, a report of its failure to the parent, and its end with it.

Torch-free, since the parent and the command line use it too.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path

REPORTS = "GENZOO_REPORTS"  # folder where a process leaves its last word
STORE = "GENZOO_STORE"  # file through which the processes of one machine find each other
PARENT = "GENZOO_PARENT"  # read end of a pipe that closes when the parent is gone
STOPPED = (0, 130, 143)  # exit codes of a process that ended its work: done, after SIGINT, after SIGTERM
joined = False  # whether this process has joined others; `genzoo.core.distributed.init.init_runtime` says so
_watched = False


def rank() -> int:
    """This process's number among those of its job, by the environment; 0 alone."""
    for name in ("RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit() and world() > 1:
            return int(os.environ[name])
    return 0


def world() -> int:
    """How many processes the environment says there are."""
    if "RANK" in os.environ:
        names = ["WORLD_SIZE"]
    else:  # a job step knows better than the job, whose batch script has a number too
        names = ["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"] if "SLURM_PROCID" in os.environ else []
    for name in names:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 1


def report(code: int, sentence: str, *, because: int | None = None) -> bool:
    """Leave why this process fails, and its exit code, where the parent looks; False if there is no such place.

    ``because`` is the process whose failure was the cause, if it was another's.
    """
    folder = os.environ.get(REPORTS)
    path = Path(folder or "", f"{rank()}.json")
    if folder and not path.exists():  # the first word is the cause
        try:
            content = json.dumps({"code": code, "sentence": sentence, "because": because})
            path.with_suffix(".part").write_text(content, encoding="utf-8")
            path.with_suffix(".part").rename(path)
        except OSError:
            return False
    return bool(folder)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def follow_parent() -> None:
    """End this process at once when the one that launched it is gone, however it went."""
    global _watched
    handle = os.environ.get(PARENT, "")
    if _watched or not handle.isdigit():
        return
    _watched = True

    def watch() -> None:
        with suppress(OSError):
            os.read(int(handle), 1)  # nobody writes: it returns when the other end closes
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="genzoo-parent").start()
