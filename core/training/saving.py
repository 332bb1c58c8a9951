"""What watches a run, and what it saves: on one process or on several that train together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.math.estimates import active_units
from genzoo.core.text import tell
from genzoo.core.training.observers import Checkpoints, HeldOut, LogFile, Pictures
from genzoo.core.training.runs import BEST, describe, save_checkpoint, save_weights
from genzoo.core.training.trainer import Observer, Trainer


def save(folder: Path, trainer: Trainer) -> None:
    """Save a checkpoint: all processes bring together what it holds, and process 0 writes."""
    trainer.prepare_state()
    if trainer.runtime.first:
        written = save_checkpoint(folder, trainer, trainer.options.keep)
        for observer in trainer.observers:
            observer.checkpoint(trainer, written)


class _Agreed(Observer):
    """Saves at the step that all processes agreed on."""

    def __init__(self, save: Callable[[Trainer], None]) -> None:
        self.save = save

    def step(self, trainer: Trainer) -> None:
        if trainer.save_due and trainer.step != trainer.steps:
            self.save(trainer)


class _Gathered(Observer):
    """Puts a model that is split over processes together when one of those that watch it will look."""

    def __init__(self, *intervals: int) -> None:
        self.intervals = intervals

    def step(self, trainer: Trainer) -> None:
        if trainer.step == trainer.steps or any(trainer.step % n == 0 for n in self.intervals):
            trainer.gather()


def observers(trainer: Trainer, config: Config, folder: Path | None) -> list[Observer]:
    """Who watches: on process 0 all that write; on the others what needs all of them."""
    options, watching = config.train, list[Observer]()
    first, alone = trainer.runtime.first, trainer.runtime.size == 1

    def keep(trainer: Trainer, loss: float) -> None:
        if folder is not None and first:
            save_weights(folder / BEST, trainer.model, describe(trainer, config, {"held-out loss": loss}))

    judge = HeldOut(trainer, options.validate_every, keep) if trainer.held_out is not None else None
    if folder is not None and first:
        watching.append(LogFile(trainer, folder / "log.jsonl"))
        watching.append(Pictures(trainer, folder / "samples", options.sample_every))
    if judge is not None:
        watching.append(judge)
    if trainer.sharded:
        pictures = options.sample_every or max(trainer.steps // 10, 1)
        watching.insert(0, _Gathered(pictures, *([judge.every] if judge else [])))
    if folder is not None:

        def now(trainer: Trainer) -> None:
            save(folder, trainer)

        def want(trainer: Trainer) -> None:
            trainer.save_wanted = True

        if alone or options.checkpoint_every:
            watching.append(Checkpoints(now, options.checkpoint_every))
        else:  # by the clock of process 0
            watching += [Checkpoints(want, 0)] * first + [_Agreed(now)]
    return watching


def final_metrics(trainer: Trainer) -> dict[str, Any]:
    """Held-out loss and active units of the kept model, where there are any."""
    metrics: dict[str, Any] = {}
    losses = [r["held-out loss"] for r in trainer.history if "held-out loss" in r]
    if losses:
        metrics["held-out loss"] = losses[-1] if trainer.best is None else min(losses)
    model = trainer.model
    if model.encoder is not None and trainer.step:
        seen = trainer.held_out if trainer.held_out is not None else trainer.data
        some = seen.take(slice(2000))
        if len(some) < 2:
            return metrics
        codes = []
        for part in torch.split(torch.arange(len(some), device=some.device), 256):
            x, y = some.batch(part, _grey(len(part), some))
            y = y.to(model.device) if y is not None and trainer.conditional else None
            with torch.no_grad():
                codes.append(model.eval().posterior(x.to(model.device), y).mean.flatten(1))
        metrics["active units"] = active = active_units(torch.cat(codes))
        metrics["latent size"] = model.latent.numbers
        if active == 0 and trainer.seen >= len(trainer.data):  # after less than an epoch it means nothing
            tell(
                "the posterior collapsed: no latent dimension carries information "
                "(try --set objective.kl_warmup=0.3, or objective.free_bits=0.1)"
            )
    return metrics


def _grey(n: int, data: Data) -> torch.Tensor | None:
    """For dynamically binarized data, the threshold that gives each pixel its likelier value."""
    return torch.full((n, *data.spec.shape), 0.5, device=data.device) if data.dynamic else None
