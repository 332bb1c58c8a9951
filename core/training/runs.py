"""A run's folder: who may write to it, its checkpoints, how a run goes on from one, and the weights it grows into."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from genzoo.core.config import Config
from genzoo.core.data.summary import was_read
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.pictures import grids as pictures
from genzoo.core.record import RECORD, TrainingRecord
from genzoo.core.storage import files
from genzoo.core.storage.card import card
from genzoo.core.storage.fingerprint import hardware, take
from genzoo.core.storage.strict import parse_json, read_json
from genzoo.core.storage.weights import CONFIG, TENSORS, model_files, read_config, read_tensors, write_tensors
from genzoo.core.text import tell
from genzoo.core.training.terms import TrainingDiverged
from genzoo.core.training.trainer import Trainer

if TYPE_CHECKING:
    from PIL.Image import Image

CHECKPOINTS, BEST = "checkpoints", "best"
CARD, PICTURE = "README.md", "samples.png"
_STATE, _PLAIN = "trainer.safetensors", "trainer.json"
_LARGEST = 2**27  # bytes of a checkpoint's plain data that are read
_HISTORY = 20_000  # records of the loss in a checkpoint, about 3 MB
ROLLBACKS = 5  # times that a run may go back to its last checkpoint

_ENDS = (
    "steps",
    "epochs",
    "patience",
    "sample_every",
    "checkpoint_every",
    "keep",
)  # may change on resuming

T = TypeVar("T")
Read = tuple[Config, dict[str, Tensor], dict[str, Tensor], dict[str, Any]]

# What a run leaves in its folder.


def describe(
    trainer: Trainer, config: Config, metrics: Mapping[str, Any], fingerprint: str | None = None
) -> TrainingRecord:
    """Everything worth knowing about a run, for ``training.json``; curves are thinned to 500 records."""
    data, history = trainer.data, thinned(trainer.history, trainer.options.log_every)
    history = [{k: v for k, v in r.items() if math.isfinite(v)} for r in history]  # JSON has no infinity
    every, held_out = max(len(history) // 500, 1), 0 if trainer.held_out is None else len(trainer.held_out)
    private = trainer.private
    about, beside = dict(trainer.about), trainer.objective.compare_with
    about |= {"compare with": beside} if beside else {}
    if private is not None:
        about["privacy"], history = private.said(trainer.step), []  # losses have no noise, nor has a hash of rows
    plain = {
        "recipe": config.recipe,
        "data": {
            "name": data.name,
            "license": data.license,
            "observations": len(data),
            "held_out": held_out,
            "fingerprint": "" if private else data.fingerprint() if fingerprint is None else fingerprint,
            "fed": trainer.feed.how,
            "read": was_read(data, validation=held_out, steps=trainer.steps),
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
        "about": about,
        "metrics": dict(metrics),
        "curves": history[::every] + (history[-1:] if (len(history) - 1) % every else []),
    }
    return TrainingRecord.from_dict(plain)


def check_saving(trainer: Trainer, config: Config) -> None:
    """Make every record that saving writes, so that what it would refuse at the end is refused before step 1."""
    try:
        model_files(trainer.model)
        record = describe(trainer, config, {}, fingerprint="0" * 64)  # the data's own may take long
        card(config, record, picture=PICTURE).encode()
        TrainingRecord.from_dict(parse_json(record.text().encode()))
    except UnicodeEncodeError:
        why = "a file or folder that it names has a name that is no text"
        raise UsageError(f"this run could not be saved: {why}") from None
    except (GenzooError, ValueError) as e:
        why = str(e).removeprefix(f"{CONFIG} is no genzoo config: ")
        raise UsageError(f"this run could not be saved: {why}") from None


def picture_of(model: Model, n: int | None = None) -> Image | None:
    """A picture of samples, by default of as many as a card shows; None if there are none to draw."""
    kind = of(model.spec)
    if model.prior.unfitted:
        return None
    return kind.picture(model.spec, model.sample(n or kind.preview, numbers=True), columns_for(model.classes))


def columns_for(classes: int) -> int | None:
    """Columns of a grid of samples: one per class where a conditional model cycles through a few."""
    return classes if 2 <= classes <= 16 else None


def weights_files(model: Model, record: TrainingRecord) -> dict[str, files.Writer]:
    """Everything that a weights folder holds but its manifest: name to writer."""
    assert model.config is not None  # model_files says so politely
    written, image = model_files(model), picture_of(model)
    if image is not None:
        written[PICTURE] = lambda path: pictures.save(image, path)
    record = replace(record, fingerprint=take(model))
    written[CARD] = files.text_file(card(model.config, record, picture=PICTURE if image is not None else ""))
    written[RECORD] = files.text_file(record.text())
    return written


def save_weights(folder: Path, model: Model, record: TrainingRecord) -> None:
    """Write a weights folder, or bring the one that is there up to date, as one instant."""
    files.update_folder(folder, weights_files(model, record))


# Who may write to it.


@contextmanager
def working_on(run: Path | None) -> Iterator[None]:
    """Be the one process that trains in a run's folder, if that is there; raises `UsageError` if another one is."""
    taken = f"another process is training in {run}: let it end, or give another folder"
    with files.claimed(run, taken) if run is not None and run.is_dir() else nullcontext():
        yield


def never_checkpointed(run: Path) -> bool:
    """Whether a folder holds what a run leaves that was killed before its first checkpoint, and nothing else."""
    if not run.is_dir() or checkpoints(run):
        return False
    known = {"log.jsonl", "samples", "tensorboard", CHECKPOINTS, BEST}
    left = {p.name for p in run.iterdir() if not p.name.startswith(files.ASIDE)}
    return "log.jsonl" in left and left <= known


def check_folder(folder: Path | None, resume: bool) -> None:
    """Refuse to overwrite anything, and to resume what is not there."""
    if folder is None:
        if resume:
            raise UsageError("resuming needs the run's folder: give --out")
        return
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder to write to")
    begun = folder.exists() and bool(checkpoints(folder) or never_checkpointed(folder))
    whole = (folder / files.MANIFEST).exists()
    if resume:
        if not begun:
            raise UsageError(f"{folder} holds no checkpoint to resume from")
    elif begun or whole:
        what = "already holds a run" if whole else "holds a run that was interrupted"
        raise UsageError(f"{folder} {what}: go on with --resume, or give another folder")
    elif folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: give a new folder, so that nothing is overwritten")


@contextmanager
def new_folder(folder: Path | None, trainer: Trainer) -> Iterator[None]:
    """Make a run's folder; if it fails with nothing to go on from, leave nothing behind."""
    if folder is None:
        yield
        return
    there, begun = folder.exists(), trainer.step
    with files.writing(folder):
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


# Checkpoints.


def thinned(history: Sequence[Mapping[str, float]], every: int, most: int = _HISTORY) -> list[dict[str, float]]:
    """Leave records out of a long history, evenly, to about ``most``; the last one and held-out losses stay.

    What is left out are steps that are not multiples of ``every`` times a power of two. It depends on the last step
    alone, not on whether the history had been thinned before: a resumed run tells the same curves.
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
    whole = False
    with suppress(
        GenzooError
    ):  # it is there if the run was stopped right after a checkpoint, or has nothing left to do
        verified(folder)
        whole = True
    if not whole:
        tensors, plain = trainer.state()
        text = json.dumps({**plain, "history": thinned(plain["history"], trainer.options.log_every)}) + "\n"
        written = model_files(trainer.model)
        written[_STATE] = lambda path: write_tensors(path, tensors)
        written[_PLAIN] = files.text_file(text)
        with files.writing(folder):
            files.discard(folder)
        files.write_folder(folder, written)
    found = checkpoints(run)
    here = found.index(folder) + 1
    for other in (*found[: max(here - keep, 0)], *found[here:]):
        with suppress(OSError):  # it is tried again after the next one
            files.discard(other)
    for place in (run, run / CHECKPOINTS, run / BEST, run / "samples"):  # what a process that was killed left
        files.tidy(place)
    return folder


def checkpoints(run: Path) -> list[Path]:
    """A run's checkpoints, oldest first; whether they are whole is found out when they are read."""
    there = list[Path]()
    for _ in range(5):  # a process that writes one and drops another while they are listed may hide both
        listed = [p for p in (run / CHECKPOINTS).glob("step-*") if re.fullmatch(r"step-\d+", p.name)]
        there = [p for p in listed if p.is_dir()]
        if there and len(there) == len(listed):
            break
    return sorted(there, key=lambda p: int(p.name.removeprefix("step-")))


def verified(folder: Path) -> None:
    """Check every hash of a checkpoint; raises `GenzooError` naming what is damaged."""
    files.verify(folder, (CONFIG, TENSORS, _STATE, _PLAIN))


def read_checkpoint(folder: Path) -> Read:
    """Read a checkpoint after verifying every hash: config, kept model, trainer's tensors, trainer's numbers."""
    verified(folder)
    try:
        plain = read_json(folder / _PLAIN, limit=_LARGEST, nan=True)  # a held-out loss may be infinite
        _check_plain(plain)
        return read_config(folder), read_tensors(folder / TENSORS), read_tensors(folder / _STATE), plain
    except (OSError, ValueError) as e:
        raise GenzooError(f"{folder} is damaged: {e}") from None


def _check_plain(plain: Any) -> None:
    """Raise `ValueError` unless a checkpoint's plain data has the form that this module writes."""
    if not isinstance(plain, dict):
        raise ValueError(f"{_PLAIN} holds no object")
    kinds: dict[str, Any] = {"seconds": (int, float), "record": dict, "data": str, "history": list}
    for key, kind in {"step": int, "steps": int, "seed": int, **kinds}.items():
        if not isinstance(plain.get(key), kind) or isinstance(plain[key], bool):
            raise ValueError(f"{_PLAIN} has no {key!r} that makes sense")
    if not 0 <= plain["step"] <= plain["steps"]:
        raise ValueError(f"{_PLAIN} says that step {plain['step']} of {plain['steps']} was reached")
    if not all(isinstance(r, dict) and isinstance(r.get("step"), int) for r in plain["history"]):
        raise ValueError(f"{_PLAIN} has a history that makes no sense")


def from_newest(run: Path, read: Callable[[Path], T]) -> tuple[Path, T, list[str]]:
    """Read the newest checkpoint that can be read, also while a process goes on writing new and dropping old ones.

    ``read`` verifies one of them, and raises `GenzooError` where it is damaged, as this does if there is none. Returns
    the checkpoint, what ``read`` gave, and what was wrong with newer ones.
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


# Going on.


def go_on(trainer: Trainer, config: Config, checkpoint: Path, read: Read, problems: list[str]) -> None:
    """Go on from a checkpoint that was read."""
    if trainer.runtime.first:
        for problem in problems:
            tell(f"{problem}; falling back to {checkpoint}")
    saved, kept, tensors, plain = read
    trainer.runtime.require_equal("the checkpoint they go on from", str(plain["step"]))
    before, now = saved.to_dict(), config.to_dict()
    before["train"] |= {k: now["train"][k] for k in _ENDS}
    difference = _difference(before, now)
    if difference:
        raise UsageError(f"the run in {checkpoint.parent.parent} was started with {difference}: resume it as it was")
    if trainer.private and trainer.steps != plain["steps"]:
        raise UsageError(f"the run in {checkpoint.parent.parent} spends its ε over {plain['steps']:,} steps: resume it "
                         "without other --steps or --epochs")  # fmt: skip
    if trainer.steps < plain["step"]:
        raise UsageError(f"the run in {checkpoint.parent.parent} is at step {plain['step']:,} already, beyond the "
                         f"{trainer.steps:,} that are asked for: name more")  # fmt: skip
    if trainer.steps != plain["steps"] and trainer.runtime.first:
        tell(_longer(trainer, config, plain["step"], plain["steps"]))
    trainer.load_state(kept, tensors, plain)


def _longer(trainer: Trainer, config: Config, step: int, steps: int) -> str:
    """What changes where a run goes on to another end than it was made for."""
    said = [f"the run goes on from step {step:,} to {trainer.steps:,}; it was made for {steps:,}"]
    for playing in trainer.player_states:
        was, now = (playing.rates.at(trainer.options, step, n)["lr"] for n in (steps, trainer.steps))
        if was != now:
            kind = playing.rates.schedule
            said.append(f"the {kind} learning rate of {playing.player.name} is that of the new length: {now:.3g} here, "
                        f"where it was {was:.3g}")  # fmt: skip
    shares = [f"{k}={v:g}" for k, v in config.flat().items() if k.endswith("warmup") and isinstance(v, float) and v]
    if shares:
        said.append(f"{', '.join(shares)} is a share of the new length")
    return "; ".join(said)


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
    go_on(trainer, config, *from_newest(folder, read_checkpoint))
    trainer.attempt = attempt
    if trainer.runtime.first:
        cause = str(why).partition(";")[0]
        tell(f"{cause}; going back to step {trainer.step} with fresh noise")
