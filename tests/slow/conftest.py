"""Training processes to kill, and runs to train in them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

STEPS = 120

# A process that has imported everything and starts a copy of itself for each command: half a second instead of many.
STARTER = """
import json, os, sys
import torch
import genzoo.registry.verbs.fit, genzoo.core.training.runs, genzoo.core.training.observers
from genzoo.cli.main import main
for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
        continue
    child = os.fork()
    if child == 0:
        code = 70
        try:
            said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1), os.dup2(said, 2), os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.argv = ["genzoo", *order["start"]]
            main()
        except SystemExit as e:
            code = int(e.code or 0)
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    print(child, flush=True)
"""


class Training:
    """A process that trains."""

    def __init__(self, pid: int, said: Path, wait: Callable[[], int]) -> None:
        self.pid, self._said, self._wait, self._code = pid, said, wait, None

    @property
    def running(self) -> bool:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def send(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def end(self) -> tuple[int, str]:
        """Wait for it; exit code (negative: the signal) and what it said."""
        return self._wait(), self._said.read_text()


Start = Callable[..., Training]


def environment() -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GENZOO_", "_GENZOO"))}
    return clean | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@pytest.fixture(scope="session")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """``fork(*ARGUMENTS)``: ``genzoo ARGUMENTS`` in a process forked from one that has imported everything."""
    folder = tmp_path_factory.mktemp("said")
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, env=environment())  # fmt: skip
    count = iter(range(10**6))

    def ask(order: dict[str, Any]) -> int:
        assert starter.stdin is not None
        assert starter.stdout is not None
        starter.stdin.write(json.dumps(order) + "\n")
        starter.stdin.flush()
        return int(starter.stdout.readline())

    def start(*arguments: object) -> Training:
        said = folder / str(next(count))
        pid = ask({"start": [str(a) for a in arguments], "said": str(said)})
        return Training(pid, said, lambda: ask({"wait": pid}))

    yield start
    starter.kill()
    starter.communicate()


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Start]:
    """``spawn(*ARGUMENTS, before=…)``: ``genzoo ARGUMENTS`` as a process like those that people start."""
    started = []

    def start(*arguments: object, before: Callable[[], None] | None = None) -> Training:
        said = tmp_path / f"said-{len(started)}"
        with open(said, "w") as file:
            command = [sys.executable, "-m", "genzoo.cli", *map(str, arguments)]
            started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                            env=environment(), preexec_fn=before))  # fmt: skip
        return Training(started[-1].pid, said, started[-1].wait)

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Labelled vectors, pictures of 8×8, sounds of 256 samples and of 512 (for spectra); texts of at most 9 letters."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    y = np.arange(60) % 3
    np.savez(folder / "vectors.npz", x=(rng.normal(0, 0.3, (60, 2)) + y[:, None]).astype(np.float32), y=y)
    np.savez(folder / "pictures.npz", x=rng.integers(0, 256, (60, 8, 8), dtype=np.uint8), y=y)
    for name, samples in (("sounds", 256), ("spectra", 512)):
        np.savez(folder / f"{name}.npz", x=rng.normal(0, 3000, (60, samples)).astype(np.int16), y=y)
    words = dict.fromkeys("".join(rng.choice(list("abc "), rng.integers(3, 10))).strip() for _ in range(90))
    (folder / "texts.txt").write_text("\n".join(w for w in words if w))
    return {path.stem: path for path in sorted(folder.iterdir())}


@pytest.fixture(scope="session")
def command(data: dict[str, Path]) -> Callable[..., list[object]]:
    """The command that trains a recipe on one of them, with everything in it that has a state."""

    def parts_of(recipe: str, kind: str, second: str) -> tuple[list[str], list[str]]:
        """Its networks, and their options."""
        if kind == "texts":
            small = {"likelihood": "hidden=8,embed=4", "encoder": "hidden=6,embed=4", "critic": "hidden=6,embed=4"}
            mine = ["likelihood", *([] if recipe == "lm" else [second])]
            options = [f"{part}.{said}" for part in mine for said in small[part].split(",")]
            return [], options + (["latent.size=3", "likelihood.word_dropout=0.3"] if "vae" in recipe else [])
        net = {"vectors": "mlp", "pictures": "conv", "sounds": "wave", "spectra": "conv"}[kind]
        options = [f"generator.width={8 if net == 'mlp' else 4}", f"{second}.width={8 if net == 'mlp' else 4}"]
        options += ["generator.dropout=0.1"] * (net != "wave") + ["data.modality=audio"] * (
            kind in ("sounds", "spectra")
        )
        options += [f"latent.size={32 if net == 'wave' else 3}"]  # two frames of 16, where each has its own
        return ["--generator", net, f"--{second}", net], options

    def make(recipe: str, kind: str, out: Path, *more: str, steps: int = STEPS) -> list[object]:
        second = "critic" if "gan" in recipe else "encoder"
        parts, options = parts_of(recipe, kind, second)
        options += ["train.batch_size=7", "train.average=100"]
        options += ["train.schedule=cosine", "train.warmup=5", "train.clip=1", "train.log_every=3"]
        options += ["train.sample_every=25", "train.checkpoint_every=10"]
        options += ["train.validation=0.2", "train.validate_every=20"] if second == "encoder" else []
        again = {m.partition("=")[0] for m in more}  # nothing is taken twice
        options = [o for o in options if o.partition("=")[0] not in again]
        sets = [x for option in (*options, *more) for x in ("--set", option)]
        how = ["--steps", steps, "--device", "cpu", "--threads", "1", "--quiet"]
        return ["train", recipe, "--data", data[kind], "--out", out, *how, *parts, *sets]

    return make


@pytest.fixture(scope="session")
def whole(
    tmp_path_factory: pytest.TempPathFactory, fork: Start, command: Callable[..., list[object]]
) -> Callable[..., Path]:
    """The folder of a run that nothing interrupted."""
    found: dict[tuple[str, ...], Path] = {}

    def run(recipe: str, kind: str, more: Sequence[str] = ()) -> Path:
        key = (recipe, kind, *more)
        if key not in found:
            out = tmp_path_factory.mktemp("whole") / "run"
            code, said = fork(*command(recipe, kind, out, *more)).end()
            assert code == 0, said
            found[key] = out
        return found[key]

    return run


@pytest.fixture
def until() -> Callable[..., bool]:
    """``until(CONDITION, TRAINING)``: wait; False if the process ended before."""

    def wait(condition: Callable[[], bool], training: Training, seconds: float = 60) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            if not training.running:
                return condition()
            time.sleep(0.002)
        return True

    return wait
