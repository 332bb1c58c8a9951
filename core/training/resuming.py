"""A run's folder: who may write to it, and how a run goes on from a checkpoint there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from genzoo.core.config import Config
from genzoo.core.errors import UsageError
from genzoo.core.storage.files import MANIFEST, writing
from genzoo.core.text import tell
from genzoo.core.training.runs import checkpoints, from_newest, never_checkpointed, read_checkpoint, working_on
from genzoo.core.training.terms import TrainingDiverged
from genzoo.core.training.trainer import Trainer

ROLLBACKS = 5  # times that a run may go back to its last checkpoint


def check_folder(folder: Path | None, resume: bool) -> None:
    """Refuse to overwrite anything, and to resume what is not there."""
    if folder is None:
        if resume:
            raise UsageError("resuming needs the run's folder: give out")
        return
    there = folder.exists()
    if there and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder to write to")
    if resume:
        if not there or not (checkpoints(folder) or never_checkpointed(folder)):
            raise UsageError(f"{folder} holds no checkpoint to resume from")
        return
    if there and (checkpoints(folder) or never_checkpointed(folder)) and not (folder / MANIFEST).exists():
        raise UsageError(f"{folder} holds a run that was interrupted: go on with --resume, or give another folder")
    if there and ((folder / MANIFEST).exists() or checkpoints(folder)):
        raise UsageError(f"{folder} already holds a run: go on with --resume, or give another folder")
    if there and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: give a new folder, so that nothing is overwritten")


@contextmanager
def claimed(folder: Path | None) -> Iterator[None]:
    """Let nobody else train in a folder that is there while its checkpoints are read and gone on from."""
    with working_on(folder) if folder is not None and folder.is_dir() else nullcontext():
        yield


@contextmanager
def new_folder(folder: Path | None, trainer: Trainer) -> Iterator[None]:
    """Make a run's folder; if it fails with nothing to go on from, leave nothing behind."""
    if folder is None:
        yield
        return
    there, begun = folder.exists(), trainer.step
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir()) or never_checkpointed(folder)
    with working_on(folder):  # only who holds the folder may take it away
        try:
            yield
        except BaseException:
            if empty and (trainer.step == begun or not checkpoints(folder)):
                shutil.rmtree(folder, ignore_errors=True)
                if there:
                    folder.mkdir(exist_ok=True)
            raise


def go_on(trainer: Trainer, config: Config, checkpoint: Path, read: Any, problems: list[str]) -> None:
    """Go on from a checkpoint that was read."""
    if trainer.runtime.first:
        for problem in problems:
            tell(f"{problem}; falling back to {checkpoint}")
    saved, kept, tensors, plain = read
    trainer.runtime.require_equal("the checkpoint they go on from", str(plain["step"]))
    difference = _difference(saved.to_dict(), config.to_dict())
    if difference:
        raise UsageError(f"the run in {checkpoint.parent.parent} was started with {difference}: resume it as it was")
    trainer.load_state(kept, tensors, plain)


def _difference(before: Any, now: Any, where: str = "") -> str:
    """The first place where two configs differ, in words; versions of plugins may differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in {**before, **now}:
            inner = where if key == "options" else f"{where}.{key}".lstrip(".")
            found = "" if key == "version" else _difference(before.get(key), now.get(key), inner)
            if found:
                return found
        return ""
    return "" if before == now else f"{where} = {before}, not {now}"


def roll_back(trainer: Trainer, config: Config, folder: Path, why: TrainingDiverged) -> None:
    """Go back to the newest checkpoint, for another attempt from there; raises ``why`` after too many."""
    attempt = trainer.attempt + 1
    if attempt > ROLLBACKS:
        raise TrainingDiverged(f"{why} (after going back to a checkpoint {ROLLBACKS} times)")
    trainer.runtime.barrier()  # what process 0 was writing is there
    checkpoint, saved, problems = from_newest(folder, read_checkpoint)
    go_on(trainer, config, checkpoint, saved, problems)
    trainer.attempt = attempt
    if trainer.runtime.first:
        cause = str(why).partition(";")[0]
        tell(f"{cause}; going back to step {trainer.step} with fresh noise")
