"""Training for a while: so many minutes for each of several recipes, in a run that a kill does not lose."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.core.config import Config
from genzoo.core.errors import GenzooError
from genzoo.core.storage.files import MANIFEST, write_json
from genzoo.core.storage.strict import read_json
from genzoo.core.training.runs import checkpoints, never_checkpointed
from genzoo.core.training.trainer import Observer, Trainer
from genzoo.registry.verbs.fit import Run, fit

_ENDLESS = 10**9
_LIMIT = 2**16  # bytes of a plan


@dataclass(frozen=True)
class Effort:
    """How long to train: by wall time or by steps, and on how many threads.

    Attributes:
        seconds: of training, None to go by steps.
        steps: None to go by time.
        threads: of the CPU; None leaves torch's setting.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    """

    seconds: float | None = None
    steps: int | None = None
    threads: int | None = None
    device: str = "auto"


class Clock(Observer):
    """Stops a run when its time is over, or when the process that started it is gone.

    Args:
        limit: seconds of training, over all sessions; infinity for none.
        skip: steps before the clock starts, while things warm up.
        tell: called about once a second with the share that is done.
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
        if self.seconds >= self.limit:
            self.spent = trainer.stopping = True
        if os.getppid() != self.parent:
            trainer.stopping = True
        if self.tell is not None and now - self.told > 1:
            self.told = now
            self.tell(min(max(self.seconds / self.limit, trainer.step / trainer.steps), 1.0))


@dataclass(frozen=True)
class Trained:
    """A run that was given a while.

    Attributes:
        run: what training gave.
        seconds: of training, over all sessions.
        steps: that were done.
        planned: that its schedule was laid out for.
    """

    run: Run
    seconds: float
    steps: int
    planned: int


def train_for(
    recipe: str,
    data: str,
    effort: Effort,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    tell: Callable[[float], None] | None = None,
) -> Trained:
    """Train one recipe for a time or a number of steps; go on where an earlier call was stopped.

    Schedules need to know their end. So where it goes by time, a short trial finds out how many steps fit into it, and
    the run is laid out for that many; if the machine turns out slower than in the trial, the time ends it.

    Args:
        recipe: its name.
        data: name of a data set.
        effort: how long.
        seed: of the run.
        options: by dotted name, over the recipe's.
        folder: for the run, its checkpoints, and beside it ``NAME.plan.json``; None keeps nothing.
        tell: called now and then with the share that is done.

    Raises:
        KeyboardInterrupt: if it was stopped from outside; what was done is saved in the folder.
    """
    given = dict(options or {})
    common: dict[str, Any] = {"seed": seed, "device": effort.device, "threads": effort.threads, "progress": False}
    steps = effort.steps
    if steps is None and effort.seconds is not None:
        steps = _plan(folder, effort.seconds, common, recipe, data, given)
    if folder is not None and steps is not None:
        given.setdefault("train.checkpoint_every", max(steps // 10, 1))
    clock: list[Clock] = []

    def start(trainer: Trainer, config: Config) -> None:
        clock.append(Clock(effort.seconds or float("inf"), tell=tell))
        trainer.observers.append(clock[0])

    there = folder is not None and folder.is_dir() and bool(checkpoints(folder) or never_checkpointed(folder))
    run = fit(recipe, data, folder, steps=steps, options=given, resume=there, on_start=start, **common)
    if not run.finished and not (clock and clock[0].spent):
        raise KeyboardInterrupt
    seconds = clock[0].seconds if clock and clock[0].at else run.seconds
    return Trained(run, seconds, run.steps, run.config.train.steps or run.steps)


def _plan(
    folder: Path | None, seconds: float, common: Mapping[str, Any], recipe: str, data: str, options: Mapping[str, Any]
) -> int:
    """How many steps fit into a time: as an earlier session planned, or as a trial shows."""
    kept = None if folder is None else folder.with_name(f"{folder.name}.plan.json")
    if kept is not None and folder is not None and ((folder / MANIFEST).exists() or checkpoints(folder)):
        try:
            found: Any = read_json(kept, limit=_LIMIT)
            return int(found["steps"])
        except (GenzooError, OSError, KeyError, TypeError, ValueError):
            pass  # the run itself will say that it was started with another number of steps
    clock: list[Clock] = []

    def start(trainer: Trainer, config: Config) -> None:
        clock.append(Clock(min(max(0.04 * seconds, 0.5), 20.0), skip=3))
        trainer.observers.append(clock[0])

    fit(recipe, data, None, steps=_ENDLESS, options=options, on_start=start, **common)
    if not clock[0].spent:
        raise KeyboardInterrupt
    done = clock[0].at - 3
    steps = max(round(done * seconds / clock[0].seconds), 1)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_json(kept, {"steps": steps, "seconds": seconds, "trial": {"steps": done, "seconds": clock[0].seconds}})
    return steps
