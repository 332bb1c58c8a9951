"""What watches a run and what it saves: a bar, a log, pictures, checkpoints, the best model; on every process."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import time
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from tqdm import tqdm

from genzoo.core.config import FEW_STEPS, Config
from genzoo.core.data.observations import to_model
from genzoo.core.errors import GenzooError
from genzoo.core.math.estimates import active_units
from genzoo.core.modality import of
from genzoo.core.notebook import shows_progress
from genzoo.core.pictures import grids as pictures
from genzoo.core.storage.files import write_bytes, writing
from genzoo.core.storage.strict import regular
from genzoo.core.text import tell
from genzoo.core.training.runs import BEST, describe, picture_of, save_checkpoint, save_weights
from genzoo.core.training.trainer import Observer, Trainer


def observers(trainer: Trainer, config: Config, folder: Path | None) -> list[Observer]:
    """Who watches: on process 0 all that write; on the others what needs all of them."""
    judge: list[Observer] = [HeldOut(trainer, config, folder)] if trainer.held_out is not None else []
    if folder is None:
        return judge
    log = [LogFile(trainer, folder / "log.jsonl")] if trainer.runtime.first else []
    return [*log, Pictures(trainer, folder / "samples"), *judge, Checkpoints(folder)]


def save(folder: Path, trainer: Trainer) -> None:
    """Save a checkpoint: all processes bring together what it holds, and process 0 writes."""
    trainer.prepare_state()
    if trainer.runtime.first:
        written = save_checkpoint(folder, trainer, trainer.options.keep)
        for observer in trainer.observers:
            observer.checkpoint(trainer, written)


class Progress(Observer):
    """A bar on stderr with the rate, the time left and the loss, of each player: the terms are in the log."""

    def __init__(self, trainer: Trainer, label: str) -> None:
        terminal = shows_progress()  # colour codes and cursor movements are for these: elsewhere, plain lines
        self._losses: dict[str, str] = {}
        self._bar = tqdm(
            total=trainer.steps,
            initial=trainer.step,
            desc=label,
            unit="step",
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [<{remaining}, {rate_fmt}{postfix}]",
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=0.1 if terminal else 10.0,
            ascii=None if terminal else True,
        )

    def step(self, trainer: Trainer) -> None:
        self._bar.update()

    def log(self, trainer: Trainer, record: Mapping[str, float]) -> None:
        self._losses |= losses_of(record)
        self._bar.set_postfix(dict(list(self._losses.items())[:2]), refresh=False)

    def end(self, trainer: Trainer) -> None:
        self._bar.close()


def losses_of(record: Mapping[str, float]) -> dict[str, str]:
    """The losses of a record under short names, so that two of them fit a bar of 80 columns."""
    losses = {k.removesuffix("loss").rstrip("/ ") or "loss": v for k, v in record.items() if k.endswith("loss")}
    return {k if len(k) <= 8 else k[:3]: f"{v:.3g}" for k, v in losses.items()}


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
        text = regular(path).read_text(encoding="utf-8", errors="replace")
        return text.split("\n")[:-1]  # what follows the last end is torn
    except OSError:
        return []


def _step_of(line: str) -> float:
    """The step of a line of the log; infinity if it is none."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf


class Pictures(Observer):
    """Sample pictures at intervals, always from the same codes; in the plane over data and the critic's surface."""

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self.folder, self.every = folder, trainer.options.sample_every or max(trainer.steps // 10, 1)

    def step(self, trainer: Trainer) -> None:
        if trainer.step % self.every and trainer.step != trainer.steps:
            return
        trainer.gather()  # with the other processes, which draw nothing
        model = trainer.model
        if not trainer.runtime.first or model.prior.unfitted:
            return
        n = min(of(model.spec).preview, 1000)
        plane = of(model.spec).plane(model.spec)
        image = _landscape(trainer, model.sample(n, numbers=True)) if plane else picture_of(model, n)
        if image is not None:
            pictures.save(image, self.folder / f"step-{trainer.step:07d}.png")


@torch.no_grad()
def _landscape(trainer: Trainer, points: Tensor, steps: int = 64) -> Image:
    """Draw samples ``(N, 2)`` in data units over a trainer's data, and under both the critic's surface.

    It is asked at ``steps`` × ``steps`` places, where it judges single observations; a conditional critic's surface is
    the mean over the classes. The square shown is the data's, so that the pictures of a run make a film. Nothing of the
    trainer changes.
    """
    spec, behind = trainer.model.spec, trainer.data.take(slice(1000)).x.float().cpu()
    limit, surface = pictures.reach(behind), None
    critic: Any = dict(trainer.nets.critics).get("critic")
    single = critic is not None and critic.ports.inputs == spec.shape and not critic.ports.beside
    single = single and not critic.ports.condition
    if single and critic.ports.outputs == (1,) and critic.ports.classes <= 32:
        x = to_model(spec, pictures.plane(limit, steps).to(trainer.device))
        training = critic.training
        critic.eval()  # spectral norm moves while it trains
        classes = range(critic.ports.classes) if critic.ports.classes else (None,)
        judged = [critic(x, None if c is None else torch.full((len(x),), c, device=x.device)) for c in classes]
        critic.train(training)
        surface = torch.stack(judged).float().flatten(2).mean((0, 2)).view(steps, steps)
    return pictures.scatter(points, behind, limit=limit, under=surface)


class Checkpoints(Observer):
    """Saves the state of training every ``train.checkpoint_every`` steps, or by the clock of process 0.

    By the clock it is so many seconds from one to the next, or so many that saving takes no more than a twentieth.
    """

    def __init__(self, folder: Path, seconds: float = 300.0) -> None:
        self.folder, self.seconds = folder, seconds
        self._last, self._took = time.monotonic(), 0.0

    def step(self, trainer: Trainer) -> None:
        every, now = trainer.options.checkpoint_every, time.monotonic()
        due = trainer.step % every == 0 if every else trainer.save_due
        if due and trainer.step != trainer.steps:  # the run's end saves
            save(self.folder, trainer)
            self._last = time.monotonic()
            self._took = self._last - now
        elif not every and trainer.runtime.first and now - self._last > max(self.seconds, 19 * self._took):
            trainer.save_wanted, self._last = True, now


class HeldOut(Observer):
    """Computes the held-out loss at intervals, keeps the best model, and ends training where it gets no better."""

    def __init__(self, trainer: Trainer, config: Config, folder: Path | None) -> None:
        per_epoch = math.ceil(len(trainer.data) / (trainer.options.batch_size * trainer.turns))
        # Each improvement is written to disk, so on tiny data an epoch would be too often.
        self.every = trainer.options.validate_every or min(max(per_epoch, 50), trainer.steps)
        self.config, self.folder = config, folder
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
        trainer.gather()
        if not math.isfinite(loss):
            raise GenzooError(f"training broke down at step {trainer.step}: the held-out loss is {loss}")
        trainer.note({"held-out loss": loss})
        self.worse += 1
        if loss < self.best:
            self.best, self.worse = loss, 0
            if trainer.options.patience:
                trainer.best = {k: v.clone() for k, v in trainer.model.state_dict().items()}
            if self.folder is not None and trainer.runtime.first:
                record = describe(trainer, self.config, {"held-out loss": loss})
                save_weights(self.folder / BEST, trainer.model, record)
        self._end(trainer)

    def _end(self, trainer: Trainer) -> None:
        trainer.converged = 0 < trainer.options.patience <= self.worse


def final_metrics(trainer: Trainer) -> dict[str, Any]:
    """Held-out loss and active units of the kept model, where there are any."""
    metrics: dict[str, Any] = {}
    losses = [r["held-out loss"] for r in trainer.history if "held-out loss" in r]
    if losses:
        metrics["held-out loss"] = losses[-1] if trainer.best is None else min(losses)
    model = trainer.model
    seen = trainer.held_out if trainer.held_out is not None else trainer.data
    if model.encoder is None or not trainer.step or len(seen) < 2:
        return metrics
    some = seen.take(slice(2000))
    codes = []
    for part in torch.split(torch.arange(len(some), device=some.device), 256):
        # For dynamically binarized data, the threshold that gives each pixel its likelier value.
        grey = torch.full((len(part), *some.spec.shape), 0.5, device=some.device) if some.dynamic else None
        x, y = some.batch(part, grey)
        y = y.to(model.device) if y is not None and trainer.conditional else None
        with torch.no_grad():
            codes.append(model.eval().posterior(x.to(model.device), y).mean.flatten(1))
    metrics["active units"] = active = active_units(torch.cat(codes))
    metrics["latent size"] = model.latent.numbers
    if active == 0 and trainer.seen >= len(trainer.data) and trainer.step >= FEW_STEPS:  # else it means nothing
        tell(
            "the posterior collapsed: no latent dimension carries information "
            "(try --set objective.kl_warmup=0.3, or --set objective.free_bits=0.1)"
        )
    return metrics
