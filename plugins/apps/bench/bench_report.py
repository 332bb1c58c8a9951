"""What benchmarks share: training for a while, cells that a killed call goes on from, tables, the machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import given_path, write_bytes, write_json, writing
from genzoo.core.storage.strict import read_json
from genzoo.core.storage.weights import read_config
from genzoo.core.training.runs import checkpoints, from_newest, never_checkpointed
from genzoo.core.training.trainer import Observer, Trainer
from genzoo.core.units import duration_text
from genzoo.registry.verbs.fit import Run, fit
from genzoo.registry.verbs.initialize import pick_device
from genzoo.registry.verbs.prior import fit_prior

_LIMIT = 2**26  # bytes of a cell
_ENDLESS, _WARM = 10**9, 3  # steps of a trial: at most, and before its clock starts


@dataclass(frozen=True)
class Table:
    """Columns with a header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As documents have it."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Cell:
    """One cell of a long table, kept in a file of its own as soon as it is there; equal settings are the same cell.

    The settings are all that its numbers depend on, as plain data; a folder of None keeps nothing.
    """

    folder: Path | None
    name: str
    settings: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Name of its files: the cell's own, as far as file systems take it, and a hash of its settings."""
        plain = re.sub(r"[^a-z0-9.]+", "-", self.name.lower()).strip("-")
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True, default=str).encode()).hexdigest()
        return f"{plain}-{digest[:8]}"

    @property
    def run(self) -> Path | None:
        """Where the cell's training is kept."""
        return None if self.folder is None else self.folder / "runs" / self.key

    def get(self) -> Any:
        """What was found before, None if it is missing; raises `GenzooError` if its file is damaged."""
        if self.folder is None:
            return None
        path = self.folder / "cells" / f"{self.key}.json"
        try:
            return read_json(path, limit=_LIMIT)["result"]
        except FileNotFoundError:
            return None
        except (GenzooError, OSError, ValueError, KeyError, TypeError):
            raise GenzooError(f"{path} is damaged: delete it, and that cell is measured again") from None

    def put(self, result: Any) -> None:
        """Keep what was found."""
        if self.folder is not None:
            path = self.folder / "cells" / f"{self.key}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"name": self.name, "settings": dict(self.settings), "result": result})


def folder_for(out: str | os.PathLike[str] | None) -> Path | None:
    """Make the folder that results go to before anything is measured; raises `UsageError` if that is a file."""
    if out is None:
        return None
    folder = given_path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder for the results")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep(folder: Path | None, name: str, numbers: Mapping[str, Any], text: str, about: Mapping[str, Any]) -> None:
    """Write ``NAME.json`` and ``NAME.md`` into a folder, if there is one, with the machine that it is about."""
    if folder is not None:
        write_json(folder / f"{name}.json", {"machine": about, **numbers})
        write_bytes(folder / f"{name}.md", f"{text.rstrip()}\n\n{sentence(about)}.\n".encode())


def machine(device: str | torch.device = "cpu", threads: int | None = None) -> dict[str, Any]:
    """What a benchmark runs on, for its record."""
    where = pick_device(str(device))
    return {
        "device": where.type,
        "name": torch.cuda.get_device_name(where) if where.type == "cuda" else _processor(),
        "cores": os.cpu_count(),
        "threads": threads or torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


def sentence(about: Mapping[str, Any]) -> str:
    """The machine in words."""
    return f"{about['name']}, {about['threads']} of {about['cores']} cores, torch {about['torch']}"


@dataclass(frozen=True)
class Effort:
    """How long to train: for so many seconds, or, where that is None, so many steps."""

    seconds: float | None = None
    steps: int | None = None
    threads: int | None = None
    device: str = "auto"

    def text(self) -> str:
        """For people: ``10 min``, ``3,000 steps``."""
        return duration_text(self.seconds) if self.seconds is not None else f"{self.steps:,} steps"

    def on(self, bar: Any, what: str) -> Callable[[float], None]:
        """What tells the share that is done on a progress bar."""
        return lambda share: bar.set_description_str(f"{what}: {share:.0%} of {self.text()}")


class Clock(Observer):
    """Stops a run when its time, over all sessions, is over, or when the process that started it is gone.

    The clock starts after ``skip`` steps; ``tell`` is called about once a second with the share that is done.
    """

    def __init__(self, limit: float, skip: int = 0, tell: Callable[[float], None] | None = None) -> None:
        self.limit, self.skip, self.tell = limit, skip, tell
        self.parent, self.told, self.spent = os.getppid(), 0.0, False
        self.seconds, self.at = 0.0, 0  # at the last step that was looked at

    def start(self, trainer: Trainer) -> None:
        self.before, self.first, self.begun = trainer.seconds, trainer.step, time.perf_counter()

    def step(self, trainer: Trainer) -> None:
        now = time.perf_counter()
        if trainer.step - self.first <= self.skip:
            self.begun = now
        self.seconds, self.at = self.before + now - self.begun, trainer.step
        self.spent = self.seconds >= self.limit
        if self.spent or os.getppid() != self.parent:
            trainer.stopping = True
        if self.tell is not None and now - self.told > 1:
            self.told = now
            self.tell(min(max(self.seconds / self.limit, trainer.step / trainer.steps), 1.0))


def train_for(
    recipe: str,
    data: Any,
    effort: Effort,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    tell: Callable[[float], None] | None = None,
    first: Path | None = None,
    init: Path | None = None,
) -> Run:
    """Train one recipe for a time or a number of steps; go on where an earlier call was stopped.

    Schedules need to know their end. So where it goes by time, a short trial finds out how many steps fit into it, and
    the run is laid out for that many; if the machine turns out slower than in the trial, the time ends it. Where a
    ``first`` run is given, the recipe is the name of a prior, which is fitted to the codes of that; ``init`` has the
    weights to start from.

    Raises:
        KeyboardInterrupt: if it was stopped from outside; what was done is saved in the folder.
    """

    def train(steps: int | None, clock: Clock, out: Path | None = None, resume: bool = False) -> Run:
        make = partial(fit, recipe, data, init=init) if first is None else partial(fit_prior, first, recipe)
        run = make(
            out, steps=steps, seed=seed, options=given, device=effort.device, threads=effort.threads,
            progress=False, resume=resume, on_start=lambda trainer, config: trainer.observers.append(clock),
        )  # fmt: skip
        if not run.finished and not clock.spent:
            raise KeyboardInterrupt
        return replace(run, seconds=clock.seconds) if clock.at else run  # its own are those of the last record

    def trial() -> int:
        assert effort.seconds is not None
        clock = Clock(min(max(0.04 * effort.seconds, 0.5), 20.0), skip=_WARM)
        train(_ENDLESS, clock)
        return max(round((clock.at - _WARM) * effort.seconds / clock.seconds), 1)

    given, steps = dict(options or {}), effort.steps
    if steps is None and effort.seconds is not None:
        begun = folder is not None and checkpoints(folder)
        steps = from_newest(folder, read_config)[1].train.steps if folder is not None and begun else trial()
    if folder is not None and steps is not None:
        given.setdefault("train.checkpoint_every", max(steps // 10, 1))
    there = folder is not None and bool(checkpoints(folder) or never_checkpointed(folder))
    return train(steps, Clock(effort.seconds or float("inf"), tell=tell), folder, there)


def _processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
            names = [line.partition(":")[2].strip() for line in f if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
