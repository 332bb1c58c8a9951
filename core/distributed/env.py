"""The environment of a launched process: its rank, a report of its failure to the parent, and its end with it.

Torch-free, since the parent and the command line use it too.
"""

from __future__ import annotations

import json
import os
import threading
import time
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
    """Leave why this process fails where the parent looks; False if there is no such place.

    Args:
        code: the exit code that goes with it.
        sentence: what went wrong.
        because: the process whose failure was the cause, if it was another's.
    """
    folder = os.environ.get(REPORTS)
    if not folder:
        _tell_torchrun(sentence)
        return False
    path = Path(folder) / f"{rank()}.json"
    if not path.exists():  # the first word is the cause
        try:
            content = json.dumps({"code": code, "sentence": sentence, "because": because})
            path.with_suffix(".part").write_text(content, encoding="utf-8")
            path.with_suffix(".part").rename(path)
        except OSError:
            return False
    return True


def _tell_torchrun(sentence: str) -> None:
    """Leave the sentence where torchrun's summary of what failed takes it from."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        message = {"message": sentence, "extraInfo": {"py_callstack": sentence, "timestamp": str(int(time.time()))}}
        with suppress(OSError):
            Path(path).write_text(json.dumps({"message": message}), encoding="utf-8")


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
