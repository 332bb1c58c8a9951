"""Real processes that find each other over gloo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

CLEAN = ("GENZOO", "_GENZOO", "RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "SLURM_", "TORCHELASTIC")


def environment(**more: str) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(CLEAN)}
    return clean | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"} | more


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 grey images of 9×8 in 3 classes, in an .npz."""
    path = tmp_path_factory.mktemp("data") / "small.npz"
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.integers(0, 256, (40, 9, 8), dtype=np.uint8), y=np.arange(40) % 3)
    return path


SMALL = [
    "--set", "train.batch_size=8", "--set", "latent.size=3", "--set", "train.validation=0",
    "--set", "train.log_every=1", "--generator", "mlp", "--set", "generator.width=8", "--device", "cpu", "--quiet",
]  # fmt: skip


def train(recipe: str, data: Path, out: Path, *more: object) -> list[str]:
    """Arguments of ``genzoo`` that train something small."""
    other = "critic" if "gan" in recipe else "encoder"
    parts = [f"--{other}", "mlp", "--set", f"{other}.width=8"]
    return ["train", recipe, "--data", str(data), "--out", str(out), *SMALL, *parts, *map(str, more)]


def python(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``python ARGUMENTS`` to its end."""
    command = [sys.executable, *map(str, arguments)]
    how = {"capture_output": True, "text": True, "timeout": 200, "check": False}
    return subprocess.run(command, env=environment(**env), **how)


def genzoo(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``genzoo ARGUMENTS`` to its end."""
    return python("-m", "genzoo.cli", *arguments, **env)


TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0")

Start = Callable[..., "subprocess.Popen[str]"]


def _listening() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # where the tests run in the background it is ignored


@pytest.fixture
def start() -> Iterator[Start]:
    """Start ``python ARGUMENTS``, and leave nothing behind."""
    started = []

    def run(*arguments: object, **env: str) -> subprocess.Popen[str]:
        pipe, command = subprocess.PIPE, [sys.executable, *map(str, arguments)]
        how = {"text": True, "env": environment(**env), "start_new_session": True, "preexec_fn": _listening}
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, **how))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, 9)
        process.communicate()


def workers(out: Path) -> dict[int, int]:
    """Rank to process id of those that train in a folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                names = (entry / "cmdline").read_bytes().decode().split("\0")
                env = dict(v.split("=", 1) for v in (entry / "environ").read_bytes().decode().split("\0") if "=" in v)
            except OSError:
                continue
            if str(out) in names and "RANK" in env and "torch.distributed.run" not in names:
                found[int(env["RANK"])] = int(entry.name)
    return found


def gone(pid: int, within: float = 10.0) -> bool:
    """Whether a process ends (or waits for nobody but its parent to notice)."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Wait until a run has come so far."""
    until = time.monotonic() + seconds
    while not ready() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()
    assert ready()


def launched(*command: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run ``python COMMAND`` as two processes to their end."""
    code = "import sys; from genzoo.core.distributed.launch import launch; sys.exit(launch(sys.argv[1:], 2))"
    return python("-c", code, sys.executable, *command, **env)


@pytest.fixture(scope="session")
def jobs() -> SimpleNamespace:
    """What the tests use of this file."""
    return SimpleNamespace(**globals())
