"""What watches a run: a progress bar, a log, pictures, checkpoints, the best model so far."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from itertools import takewhile
from pathlib import Path

from tqdm import tqdm

from genzoo.core.errors import GenzooError
from genzoo.core.modality import of
from genzoo.core.pictures import grids as pictures
from genzoo.core.pictures.landscape import is_plane, landscape
from genzoo.core.storage.files import write_bytes, writing
from genzoo.core.storage.strict import regular
from genzoo.core.training.trainer import Observer, Trainer


class Progress(Observer):
    """A bar on stderr with the rate, the time left and the loss terms."""

    def __init__(self, trainer: Trainer, label: str) -> None:
        self._bar = tqdm(
            total=trainer.steps,
            initial=trainer.step,
            desc=label,
            unit="step",
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=0.1 if sys.stderr.isatty() else 10.0,
            # Colour codes and cursor movements are for terminals: elsewhere, plain lines.
            ascii=None if sys.stderr.isatty() else True,
        )

    def step(self, trainer: Trainer) -> None:
        self._bar.update()

    def log(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        shown = {k: f"{v:.4g}" for k, v in record.items() if k not in ("step", "seconds")}
        self._bar.set_postfix(shown, refresh=False)

    def end(self, trainer: Trainer) -> None:
        self._bar.close()


class LogFile(Observer):
    """The loss log as JSON lines beside the run: one object per record, of every step up to the trainer's."""

    def __init__(self, trainer: Trainer, path: Path) -> None:
        self.path = path
        # A resumed run's log may reach beyond the checkpoint that it resumes from, or end in the middle of a line;
        # and a long history in a checkpoint has fewer records than there were.
        lines = [json.dumps(r) for r in trainer.history]
        before = list(takewhile(lambda line: _step_of(line) <= trainer.step, _lines(path)))
        if set(lines) <= set(before):
            lines = before
        write_bytes(path, "".join(f"{line}\n" for line in lines).encode())

    def log(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        with writing(self.path), open(self.path, "ab", buffering=0) as f:
            line, size = f"{json.dumps(record)}\n".encode(), f.tell()
            try:
                if f.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                f.truncate(size)  # no half line
                raise


def _lines(path: Path) -> list[str]:
    try:
        return (
            regular(path).read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        )  # what follows the last end is torn
    except OSError:
        return []


def _step_of(line: str) -> float:
    """The step of a line of the log; infinity if it is none."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf


class Pictures(Observer):
    """Sample pictures at intervals, always from the same codes."""

    def __init__(self, trainer: Trainer, folder: Path, every: int, most: int = 1000) -> None:
        self.folder, self.most = folder, most
        self.every = every or max(trainer.steps // 10, 1)

    def step(self, trainer: Trainer) -> None:
        if trainer.step % self.every == 0 or trainer.step == trainer.steps:
            model = trainer.model
            n = min(of(model.spec).preview, self.most)
            made = model.sample(n)
            if is_plane(trainer):
                pictures.save(landscape(trainer, made), self.folder / f"step-{trainer.step:07d}.png")
                return
            image = of(model.spec).picture(model.spec, made, columns_for(model.classes, n))
            if image is not None:
                pictures.save(image, self.folder / f"step-{trainer.step:07d}.png")


def columns_for(classes: int, n: int) -> int | None:
    """Columns of a grid of samples: one per class where a conditional model cycles through a few."""
    return classes if 2 <= classes <= 16 else None


class Checkpoints(Observer):
    """Saves the state of training at intervals of steps, or of time.

    Args:
        save: what saves.
        every: steps from one to the next; 0 goes by time.
        seconds: from one to the next, where saving takes less than a twentieth of them; else so long that it does.
    """

    def __init__(self, save: Callable[[Trainer], None], every: int, seconds: float = 300.0) -> None:
        self.save, self.every, self.seconds = save, every, seconds
        self._last, self._took = time.monotonic(), 0.0

    def step(self, trainer: Trainer) -> None:
        if trainer.step == trainer.steps:
            return  # the run's end saves
        now = time.monotonic()
        due = now - self._last > max(self.seconds, 19 * self._took)
        if trainer.step % self.every == 0 if self.every else due:
            self.save(trainer)
            self._last = time.monotonic()
            self._took = self._last - now


class HeldOut(Observer):
    """Computes the held-out loss at intervals, keeps the best model, and ends training where it gets no better."""

    def __init__(self, trainer: Trainer, every: int, keep: Callable[[Trainer, float], None] | None) -> None:
        per_epoch = math.ceil(len(trainer.data) / (trainer.options.batch_size * trainer.turns))
        # Each improvement is written to disk, so on tiny data an epoch would be too often.
        self.every, self.keep = every or min(max(per_epoch, 50), trainer.steps), keep
        losses = [r["held-out loss"] for r in trainer.history if "held-out loss" in r]
        self.best = min(losses, default=math.inf)
        self.worse = len(losses) - 1 - losses.index(self.best) if losses else 0  # losses since the best
        self._end(trainer)

    def step(self, trainer: Trainer) -> None:
        if trainer.step % self.every and trainer.step != trainer.steps:
            return
        loss = trainer.validate()
        if loss is None:
            return
        if not math.isfinite(loss):
            raise GenzooError(f"training broke down at step {trainer.step}: the held-out loss is {loss}")
        trainer.note({"held-out loss": loss})
        self.worse += 1
        if loss < self.best:
            self.best, self.worse = loss, 0
            if trainer.options.patience:
                trainer.best = {k: v.clone() for k, v in trainer.model.state_dict().items()}
            if self.keep:
                self.keep(trainer, loss)
        self._end(trainer)

    def _end(self, trainer: Trainer) -> None:
        trainer.converged = 0 < trainer.options.patience <= self.worse
