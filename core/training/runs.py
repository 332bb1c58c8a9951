"""A run's folder: the weights folder that it grows into, and its checkpoints."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from genzoo.core.config import Config
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.pictures import grids as pictures
from genzoo.core.record import RECORD, TrainingRecord
from genzoo.core.storage.card import card
from genzoo.core.storage.files import (
    ASIDE,
    Writer,
    discard,
    text_file,
    tidy,
    update_folder,
    verify,
    write_folder,
    writing,
)
from genzoo.core.storage.fingerprint import hardware, take
from genzoo.core.storage.folder_lock import claimed
from genzoo.core.storage.strict import parse_json, read_json
from genzoo.core.storage.tensors import read_tensors, write_tensors
from genzoo.core.storage.weights import CONFIG, TENSORS, model_files, read_config
from genzoo.core.training.observers import columns_for
from genzoo.core.training.trainer import Trainer

CHECKPOINTS, BEST = "checkpoints", "best"
CARD, PICTURE = "README.md", "samples.png"
_STATE, _PLAIN = "trainer.safetensors", "trainer.json"
_LARGEST = 2**27  # bytes of a checkpoint's plain data that are read
_HISTORY = 20_000  # records of the loss in a checkpoint, about 3 MB

T = TypeVar("T")


def describe(
    trainer: Trainer, config: Config, metrics: Mapping[str, Any], fingerprint: str | None = None
) -> TrainingRecord:
    """Everything worth knowing about a run, for ``training.json``; curves are thinned to 500 records."""
    data, history = trainer.data, thinned(trainer.history, trainer.options.log_every)
    history = [{k: v for k, v in r.items() if math.isfinite(v)} for r in history]  # JSON has no infinity
    every = max(len(history) // 500, 1)
    plain = {
        "recipe": config.recipe,
        "data": {
            "name": data.name,
            "license": data.license,
            "observations": len(data),
            "held_out": len(trainer.held_out) if trainer.held_out is not None else 0,
            "fingerprint": data.fingerprint() if fingerprint is None else fingerprint,
            "fed": trainer.feed.how,
        },
        "seed": trainer.seed,
        "called with": trainer.record,
        "steps": trainer.step,
        "of": trainer.step if trainer.converged else trainer.steps,  # what `TrainOptions.patience` ended is whole
        "seen": trainer.seen,
        "seconds": round(trainer.seconds, 1),
        "hardware": {**hardware(trainer.device), "processes": trainer.runtime.size},
        "python": sys.version.split()[0],
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "about": dict(trainer.about),
        "metrics": dict(metrics),
        "curves": history[::every] + (history[-1:] if (len(history) - 1) % every else []),
    }
    return TrainingRecord.from_dict(plain)


def check_saving(trainer: Trainer, config: Config) -> None:
    """Make every record that saving writes, so that what it would refuse at the end is refused before the first step.

    Raises:
        UsageError: naming what cannot be written, or could not be read again.
    """
    try:
        model_files(trainer.model)
        record = describe(trainer, config, {}, fingerprint="0" * 64)  # the data's own may take long
        card(config, record, picture=PICTURE).encode()
        TrainingRecord.from_dict(parse_json(record.text().encode()))
    except UnicodeEncodeError:
        raise UsageError(
            "this run could not be saved: a file or folder that it names has a name that is no text"
        ) from None
    except (GenzooError, ValueError) as e:
        raise UsageError(
            f"this run could not be saved: {str(e).removeprefix(f'{CONFIG} is no genzoo config: ')}"
        ) from None


def weights_files(model: Model, record: TrainingRecord) -> dict[str, Writer]:
    """Everything that a weights folder holds but its manifest: name to writer."""
    assert model.config is not None  # model_files says so politely
    files = model_files(model)
    n = of(model.spec).preview
    image = of(model.spec).picture(model.spec, model.sample(n), columns_for(model.classes, n))
    if image is not None:
        files[PICTURE] = lambda path: pictures.save(image, path)
    record = replace(record, fingerprint=take(model))
    text = card(model.config, record, picture=PICTURE if image is not None else "")
    files[CARD] = text_file(text)
    files[RECORD] = text_file(record.text())
    return files


def save_weights(folder: Path, model: Model, record: TrainingRecord) -> None:
    """Write a weights folder, or bring the one that is there up to date, as one instant."""
    update_folder(folder, weights_files(model, record))


@contextmanager
def working_on(run: Path) -> Iterator[None]:
    """Be the one process that trains in a run's folder, which exists.

    Raises:
        UsageError: if another process is at it.
    """
    with claimed(run, f"another process is training in {run}: let it end, or give another folder"):
        yield


def never_checkpointed(run: Path) -> bool:
    """Whether a folder holds what a run leaves that was killed before its first checkpoint, and nothing else."""
    if not run.is_dir() or checkpoints(run):
        return False
    known = {"log.jsonl", "samples", "tensorboard", CHECKPOINTS, BEST}
    left = {p.name for p in run.iterdir() if not p.name.startswith(ASIDE)}
    return "log.jsonl" in left and left <= known


def thinned(history: Sequence[Mapping[str, float]], every: int, most: int = _HISTORY) -> list[dict[str, float]]:
    """Leave records out of a long history, evenly: those at steps that are not multiples of a power of two.

    What is left depends on the last step alone, not on whether the history had been thinned before: a resumed run
    tells the same curves.

    Args:
        history: records of the loss, and perhaps others: the last one and those of held-out losses stay.
        every: steps between records of the loss.
        most: records that are left, about.
    """
    apart = every
    while history and history[-1]["step"] > most * apart:
        apart *= 2
    if apart == every:
        return [dict(r) for r in history]
    left = [dict(r) for r in history[:-1] if r["step"] % apart == 0 or "held-out loss" in r]
    return [*left, dict(history[-1])]


def save_checkpoint(run: Path, trainer: Trainer, keep: int) -> Path:
    """Write a checkpoint, everything that the next step depends on, and drop those that are no longer needed.

    The last ``keep`` stay, as far as the run has come: later ones were damaged, or it would have begun there.
    """
    folder = run / CHECKPOINTS / f"step-{trainer.step:08d}"
    if not _is_whole(folder):  # else the run was stopped right after a checkpoint, or has nothing left to do
        tensors, plain = trainer.state()
        text = json.dumps({**plain, "history": thinned(plain["history"], trainer.options.log_every)}) + "\n"
        files = model_files(trainer.model)
        files[_STATE] = lambda path: write_tensors(path, tensors)
        files[_PLAIN] = text_file(text)
        with writing(folder):
            discard(folder)
        write_folder(folder, files)
    found = checkpoints(run)
    here = found.index(folder) + 1
    for other in (*found[: max(here - keep, 0)], *found[here:]):
        with suppress(OSError):  # it is tried again after the next one
            discard(other)
    for place in (run, run / CHECKPOINTS, run / BEST, run / "samples"):  # what a process that was killed left
        tidy(place)
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        verify(folder, (CONFIG, TENSORS, _STATE, _PLAIN))
    except GenzooError:
        return False
    return True


def checkpoints(run: Path) -> list[Path]:
    """A run's checkpoints, oldest first; whether they are whole is found out when they are read."""
    there = list[Path]()
    for _ in range(5):  # a process that writes one and drops another while they are listed may hide both
        listed = [p for p in (run / CHECKPOINTS).glob("step-*") if re.fullmatch(r"step-\d+", p.name)]
        there = [p for p in listed if p.is_dir()]
        if there and len(there) == len(listed):
            break
    return sorted(there, key=lambda p: int(p.name.removeprefix("step-")))


def read_checkpoint(folder: Path) -> tuple[Config, dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint after verifying every hash: config, kept model, trainer's tensors, trainer's numbers.

    Raises:
        GenzooError: naming what is damaged.
    """
    verify(folder, (CONFIG, TENSORS, _STATE, _PLAIN))
    try:
        plain = read_json(folder / _PLAIN, limit=_LARGEST, nan=True)  # a held-out loss may be infinite
        _check_plain(plain)
        return read_config(folder), read_tensors(folder / TENSORS), read_tensors(folder / _STATE), plain
    except (OSError, ValueError) as e:
        raise GenzooError(f"{folder} is damaged: {e}") from None


_PLAIN_HOLDS: Mapping[str, type | tuple[type, ...]] = {
    "step": int, "steps": int, "seed": int, "seconds": (int, float), "record": dict, "data": str, "history": list,
}  # fmt: skip


def _check_plain(plain: Any) -> None:
    """Raise `ValueError` unless a checkpoint's plain data has the form that this module writes."""
    if not isinstance(plain, dict):
        raise ValueError(f"{_PLAIN} holds no object")
    for key, kind in _PLAIN_HOLDS.items():
        if not isinstance(plain.get(key), kind) or isinstance(plain[key], bool):
            raise ValueError(f"{_PLAIN} has no {key!r} that makes sense")
    if not 0 <= plain["step"] <= plain["steps"]:
        raise ValueError(f"{_PLAIN} says that step {plain['step']} of {plain['steps']} was reached")
    if not all(isinstance(r, dict) and isinstance(r.get("step"), int) for r in plain["history"]):
        raise ValueError(f"{_PLAIN} has a history that makes no sense")


def from_newest(run: Path, read: Callable[[Path], T]) -> tuple[Path, T, list[str]]:
    """Read the newest checkpoint that can be read, also while a process goes on writing new and dropping old ones.

    Args:
        run: the run's folder.
        read: reads one of its checkpoints, after verifying it; raises `GenzooError` where it is damaged.

    Returns:
        The checkpoint, what ``read`` gave, and what was wrong with newer ones.

    Raises:
        GenzooError: if there is none.
    """
    problems = dict[Path, str]()
    for _ in range(100):
        untried = [p for p in checkpoints(run) if p not in problems]
        if not untried:
            break
        folder = untried[-1]
        try:
            return folder, read(folder), list(problems.values())
        except GenzooError as e:
            if folder.is_dir():  # else it was dropped meanwhile, and there is a newer one
                problems[folder] = str(e)
    detail = f": {next(iter(problems.values()))}" if problems else ""
    raise GenzooError(f"{run} has no checkpoint to go on from{detail}")


def newest_checkpoint(run: Path) -> tuple[Path, list[str]]:
    """The newest checkpoint that is whole, and what was wrong with newer ones.

    Who goes on to read it calls `from_newest`, which verifies once.

    Raises:
        GenzooError: if there is none.
    """
    folder, _, problems = from_newest(run, lambda folder: verify(folder, (CONFIG, TENSORS, _STATE, _PLAIN)))
    return folder, problems
