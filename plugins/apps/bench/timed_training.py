"""Training for a while: so many minutes for each of several recipes, in a run that a kill does not lose."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError
from genzoo.core.storage.files import MANIFEST, write_json
from genzoo.core.storage.strict import read_json
from genzoo.core.training.runs import checkpoints, never_checkpointed
from genzoo.core.training.trainer import Observer, Trainer
from genzoo.core.units import duration_text
from genzoo.registry.verbs.fit import Run, fit

_ENDLESS = 10**9
_LIMIT = 2**16  # bytes of a plan
_WARM = 3  # steps of a trial before its clock starts


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
        self.spent = self.seconds >= self.limit
        if self.spent or os.getppid() != self.parent:
            trainer.stopping = True
        if self.tell is not None and now - self.told > 1:
            self.told = now
            self.tell(min(max(self.seconds / self.limit, trainer.step / trainer.steps), 1.0))


def train_for(
    recipe: str,
    data: str,
    effort: Effort,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    tell: Callable[[float], None] | None = None,
) -> Run:
    """Train one recipe for a time or a number of steps; go on where an earlier call was stopped.

    Schedules need to know their end. So where it goes by time, a short trial finds out how many steps fit into it, and
    the run is laid out for that many; if the machine turns out slower than in the trial, the time ends it. The folder
    gets the run, and beside it ``NAME.plan.json``.

    Raises:
        KeyboardInterrupt: if it was stopped from outside; what was done is saved in the folder.
    """

    def train(steps: int | None, clock: Clock, out: Path | None = None, resume: bool = False) -> Run:
        run = fit(
            recipe, data, out, steps=steps, seed=seed, options=given, device=effort.device, threads=effort.threads,
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
        steps = _planned(folder) or trial()
        if folder is not None:
            folder.parent.mkdir(parents=True, exist_ok=True)
            write_json(_plan_of(folder), {"steps": steps, "seconds": effort.seconds})
    if folder is not None and steps is not None:
        given.setdefault("train.checkpoint_every", max(steps // 10, 1))
    there = folder is not None and folder.is_dir() and bool(checkpoints(folder) or never_checkpointed(folder))
    return train(steps, Clock(effort.seconds or float("inf"), tell=tell), folder, there)


def _plan_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.plan.json")


def _planned(folder: Path | None) -> int:
    """Steps that an earlier session planned for what it left in the folder, 0 if there is nothing to go on with."""
    if folder is None or not ((folder / MANIFEST).exists() or checkpoints(folder)):
        return 0
    try:
        plan: Any = read_json(_plan_of(folder), limit=_LIMIT)
        return int(plan["steps"])
    except (GenzooError, OSError, KeyError, TypeError, ValueError):
        return 0  # the run itself will say that it was started with another number of steps
