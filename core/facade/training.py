"""Train a model: `fit` is what ``genzoo train`` calls."""

from __future__ import annotations

import operator
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch

from genzoo.core.build import build
from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import UsageError
from genzoo.core.estimates import active_units
from genzoo.core.files import MANIFEST, given_path, writing
from genzoo.core.model import Model
from genzoo.core.noise import stream_seed
from genzoo.core.objective import Networks, Objective
from genzoo.core.observers import Checkpoints, HeldOut, LogFile, Pictures, Progress, TensorBoard
from genzoo.core.runs import (
    BEST,
    checkpoints,
    describe,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
    save_weights,
)
from genzoo.core.trainer import Observer, Trainer
from genzoo.registry import the_registry
from genzoo.registry.compose import compose, resolver, with_steps
from genzoo.registry.sources import open_data

_INIT, _SPLIT = 101, 102  # streams of randomness


@dataclass(frozen=True)
class Run:
    """What training gives.

    Attributes:
        model: the trained model (the moving average where the recipe keeps one), in eval mode.
        config: every option by value.
        history: records of the loss terms.
        metrics: of the end: held-out loss, active units, where there are any.
        folder: where it was written, or None.
        finished: False if it was interrupted.
        steps: how many were done.
        seconds: of training, over all sittings.
    """

    model: Model
    config: Config
    history: list[dict[str, float]]
    metrics: dict[str, Any]
    folder: Path | None
    finished: bool
    steps: int
    seconds: float


def initialize(config: Config, seed: int) -> tuple[Objective, Networks]:
    """Build an objective and its networks, initialized by a seed, on the CPU; the global seed is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, _INIT))
        return build(config, resolver(the_registry(), config))


def pick_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``mps`` into a device that is there; raises `UsageError`."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"there is no device {name!r}: use auto, cpu, cuda or mps") from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type):
        raise UsageError(f"this machine has no usable {device.type} device: use --device auto or cpu")
    return device


def fit(
    recipe: str | None,
    data: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    labels: Any = None,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    init: str | os.PathLike[str] | None = None,
    device: str = "auto",
    threads: int | None = None,
    precision: Literal["float32", "bfloat16"] = "float32",
    compile: bool = False,
    resume: bool = False,
    tensorboard: bool = False,
    progress: bool | None = None,
    on_start: Callable[[Trainer, Config], None] | None = None,
) -> Run:
    """Train a recipe on data.

    Args:
        recipe: its name; None to compose from parts named in ``options`` (``{"objective": "wgan-gp"}``).
        data: a data set's name, a path (folder of images, .npy, .npz), a tensor or an array, a pair
            (observations, labels), a torch Dataset or DataLoader.
        out: folder for the weights, log, pictures and checkpoints; None writes nothing.
        labels: class labels ``(N,)``, where ``data`` is a tensor or an array.
        steps: training steps, over the recipe's.
        epochs: passes over the data instead.
        batch_size: observations per turn.
        seed: of the initialization, the order of the data and all noise.
        options: any option by dotted name, e.g. ``{"objective.gp_weight": 5, "generator": "mlp",
            "data.binarize": "static", "conditional": True}``.
        init: weights to start from, of the same architecture.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: of the CPU; None leaves torch's setting.
        precision: ``bfloat16`` computes networks in autocast; losses stay in float32.
        compile: compile every player's turn.
        resume: go on from the newest whole checkpoint in ``out``.
        tensorboard: write event files under ``out``.
        progress: show a bar on stderr; None shows it on a terminal.
        on_start: called with the trainer and the config before the first step.

    Returns:
        The trained model and what is known about it.

    Raises:
        UsageError: if the request is wrong; nothing was written.
        GenzooError: if training broke down or files could not be written.
    """
    folder = None if out is None else given_path(out)
    _check_folder(folder, resume)
    if resume and init is not None:
        raise UsageError("a run that is resumed goes on from its own weights: leave out init")
    seed = operator.index(seed)
    if tensorboard and folder is None:
        raise UsageError("tensorboard=True writes event files under out: give it")
    where = pick_device(device)
    if precision not in ("float32", "bfloat16"):
        raise UsageError(f"precision is float32 or bfloat16, not {precision!r}")
    registry, given = the_registry(), dict(options or {})
    of_data = {k.partition(".")[2]: given.pop(k) for k in list(given) if k.startswith("data.")}
    source = open_data(registry, data, of_data, labels=labels)
    config = with_steps(
        compose(registry, source.spec, recipe, given), steps=steps, epochs=epochs, batch_size=batch_size
    )
    start = newest_checkpoint(folder) if folder and resume else None
    train, held_out = _split(source, config, seed)
    objective, nets = initialize(config, seed)
    if init is not None:
        _start_from(nets.model, init)
    nets.to(where)
    trainer = Trainer(
        objective,
        nets,
        _resident(train, where),
        config.train,
        held_out=held_out,
        seed=seed,
        precision=precision,
        compile_turns=compile,
        record={"data": of_data, "precision": precision, "compile": compile},
    )
    del source, train  # what is not on the device is not needed twice
    if trainer.steps < 1:
        raise UsageError("there is nothing to train: train.steps and train.epochs are both 0")
    if start is not None:
        checkpoint, problems = start
        for problem in problems:
            print(f"genzoo: {problem}; falling back to {checkpoint}", file=sys.stderr)
        _resume(trainer, config, checkpoint)
    if on_start is not None:
        on_start(trainer, config)
    metrics: dict[str, Any] = {}
    with _new_folder(folder, trainer), _stops_cleanly(trainer), ExitStack() as stack:
        if threads:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        trainer.observers = _observers(trainer, config, folder, tensorboard=tensorboard)
        if progress if progress is not None else sys.stderr.isatty():
            bar = Progress(trainer, config.recipe)
            stack.callback(bar.end, trainer)  # so that a sentence about what went wrong gets a line of its own
            trainer.observers.append(bar)
        if folder is not None:
            (folder / MANIFEST).unlink(missing_ok=True)  # from here on, the newest checkpoint is what the run is
        trainer.train()
        if folder is not None:
            save_checkpoint(folder, trainer, config.train.keep)
        _final_metrics(trainer, metrics)
        if folder is not None:
            save_weights(folder, trainer.model, describe(trainer, config, metrics))
    model = trainer.model.requires_grad_(False).eval()
    finished = trainer.step == trainer.steps
    return Run(model, config, trainer.history, metrics, folder, finished, trainer.step, trainer.seconds)


def _check_folder(folder: Path | None, resume: bool) -> None:
    """Refuse to overwrite anything, and to resume what is not there."""
    if folder is None:
        if resume:
            raise UsageError("resuming needs the run's folder: give out")
        return
    there = folder.exists()
    if there and not folder.is_dir():
        raise UsageError(f"{folder} is a file: give a folder to write to")
    if resume:
        if not there or not checkpoints(folder):
            raise UsageError(f"{folder} holds no checkpoint to resume from")
        return
    if there and checkpoints(folder) and not (folder / MANIFEST).exists():
        raise UsageError(f"{folder} holds a run that was interrupted: go on with --resume, or give another folder")
    if there and ((folder / MANIFEST).exists() or checkpoints(folder)):
        raise UsageError(f"{folder} already holds a run: go on with --resume, or give another folder")
    if there and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: give a new folder, so that nothing is overwritten")


def _split(data: Data, config: Config, seed: int) -> tuple[Data, Data | None]:
    """Hold out the validation share (or number) of the data; raises `UsageError` if nothing would be left."""
    share = config.train.validation
    n = int(share * len(data)) if share < 1 else int(share)
    if n < 1:
        return data, None
    return data.hold_out(n, stream_seed(seed, _SPLIT))


def _resident(data: Data, device: torch.device) -> Data:
    """Keep data on the device where it fits in half of what is free there."""
    if device.type == "cuda" and data.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
        return data.to(device)
    return data


def _start_from(model: Model, init: str | os.PathLike[str]) -> None:
    """Copy the tensors of other weights; every one must fit."""
    from genzoo.zoo import load

    theirs, ours = load(init).state_dict(), model.state_dict()
    for name in sorted(set(ours) | set(theirs)):
        a, b = (tuple(s[name].shape) if name in s else None for s in (ours, theirs))
        if a != b:
            raise UsageError(f"{init} does not fit this model: tensor {name!r} has shape {b} there and {a} here "
                             "(start from weights of the same architecture, data shape and latent size)")  # fmt: skip
    model.load_state_dict(theirs)


def _resume(trainer: Trainer, config: Config, checkpoint: Path) -> None:
    saved, kept, tensors, plain = read_checkpoint(checkpoint)
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


@contextmanager
def _new_folder(folder: Path | None, trainer: Trainer) -> Iterator[None]:
    """Make a run's folder; if it fails with nothing to go on from, leave nothing behind."""
    if folder is None:
        yield
        return
    there, begun = folder.exists(), trainer.step
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        empty = not any(folder.iterdir())
    try:
        yield
    except BaseException:
        if empty and (trainer.step == begun or not checkpoints(folder)):
            shutil.rmtree(folder, ignore_errors=True)
            if there:
                folder.mkdir(exist_ok=True)
        raise


def _observers(trainer: Trainer, config: Config, folder: Path | None, *, tensorboard: bool) -> list[Observer]:
    options, watching = config.train, list[Observer]()
    if folder is not None:
        watching.append(LogFile(trainer, folder / "log.jsonl"))
        watching.append(Pictures(trainer, folder / "samples", options.sample_every))
        if tensorboard:
            watching.append(TensorBoard(folder / "tensorboard"))
    if trainer.held_out is not None:

        def keep(trainer: Trainer, loss: float) -> None:
            if folder is not None:
                save_weights(folder / BEST, trainer.model, describe(trainer, config, {"held-out loss": loss}))

        watching.append(HeldOut(trainer, options.validate_every, keep))
    if folder is not None:
        watching.append(
            Checkpoints(lambda t: _quiet(save_checkpoint(folder, t, options.keep)), options.checkpoint_every)
        )
    return watching


def _quiet(_: object) -> None:
    return None


def _final_metrics(trainer: Trainer, metrics: dict[str, Any]) -> None:
    """Held-out loss and active units of the kept model."""
    losses = [r["held-out loss"] for r in trainer.history if "held-out loss" in r]
    if losses:
        metrics["held-out loss"] = losses[-1]
    model = trainer.model
    if model.encoder is not None and trainer.step:
        seen = trainer.held_out if trainer.held_out is not None else trainer.data
        some = seen.take(slice(2000))
        if len(some) < 2:
            return
        codes = []
        for part in torch.split(torch.arange(len(some), device=some.x.device), 256):
            x, y = some.batch(part, _grey(len(part), some))
            y = y.to(model.device) if y is not None and model.classes else None
            with torch.no_grad():
                codes.append(model.eval().posterior(x.to(model.device), y).mean)
        metrics["active units"] = active = active_units(torch.cat(codes))
        metrics["latent size"] = model.latent.size
        if active == 0 and trainer.seen >= len(trainer.data):  # after less than an epoch it means nothing
            print(
                "genzoo: the posterior collapsed: no latent dimension carries information "
                "(try --set objective.kl_warmup=0.3, or objective.free_bits=0.1)",
                file=sys.stderr,
            )


def _grey(n: int, data: Data) -> torch.Tensor | None:
    """For dynamically binarized data, the threshold that gives each pixel its likelier value."""
    return torch.full((n, *data.spec.shape), 0.5, device=data.x.device) if data.dynamic else None


@contextmanager
def _stops_cleanly(trainer: Trainer) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM stop training after the step; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {s: signal.getsignal(s) for s in signals}

    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stopping = True
        for s in signals:
            signal.signal(s, signal.SIG_DFL)
        # Not print, which may be what was interrupted.
        os.write(2, b"\ngenzoo: stopping after this step and saving; again to stop at once\n")

    for s in signals:
        signal.signal(s, stop)
    try:
        yield
    finally:
        for s in signals:
            signal.signal(s, before[s])
