"""Train a model: `fit` is what ``genzoo train`` calls."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch

from genzoo.core.arguments import checked
from genzoo.core.config import FEW_STEPS, MANY_STEPS, Config
from genzoo.core.data import Data
from genzoo.core.distributed.gather import restore_batch_norm
from genzoo.core.distributed.init import init_runtime
from genzoo.core.distributed.runtime import Runtime
from genzoo.core.distributed.sharding import LARGE
from genzoo.core.errors import UsageError
from genzoo.core.hardware import Hardware
from genzoo.core.mixed_precision import choose_precision
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.noise import stream_seed
from genzoo.core.notebook import of_run, visible
from genzoo.core.objective import Networks
from genzoo.core.storage.files import MANIFEST, given_path
from genzoo.core.text import tell
from genzoo.core.training.observers import Progress, final_metrics, observers, save
from genzoo.core.training.private import with_private
from genzoo.core.training.run_view import RunView
from genzoo.core.training.runs import (
    check_folder,
    check_saving,
    describe,
    from_newest,
    go_on,
    never_checkpointed,
    new_folder,
    read_checkpoint,
    roll_back,
    save_weights,
    working_on,
)
from genzoo.core.training.terms import TrainingDiverged
from genzoo.core.training.trainer import Trainer
from genzoo.registry import Entry, Registry, the_registry
from genzoo.registry.recipes.compose import check_given, compose, with_steps
from genzoo.registry.recipes.read import find
from genzoo.registry.recipes.save import about, named_data
from genzoo.registry.verbs.data import announce, entry_for, open_data
from genzoo.registry.verbs.initialize import initialize, pick_device
from genzoo.registry.verbs.reporting import Reports, chosen_trackers, plugin_observers
from genzoo.registry.verbs.starting import Known, Start, enough, require_start

_SPLIT = 102  # stream of randomness


@dataclass(frozen=True)
class Run:
    """What training gives.

    The model (the moving average where the recipe keeps one) is in eval mode; the config has every option by value;
    history are records of the loss terms, metrics those of the end. Folder is where it was written, or None; finished
    is False if it was interrupted, by the signal stopped_by, 0 for none; seconds of all sessions; read what was read.
    """

    model: Model
    config: Config
    history: list[dict[str, float]]
    metrics: dict[str, Any]
    folder: Path | None
    finished: bool
    steps: int
    seconds: float
    stopped_by: int = 0
    read: Mapping[str, Any] = field(default_factory=dict)
    _repr_html_ = of_run


@checked
def fit(
    recipe: str | os.PathLike[str] | None = None,
    data: Any = None,
    out: str | os.PathLike[str] | None = None,
    *,
    labels: Any = None,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    posterior: str | None = None,
    prior: str | None = None,
    regularizer: str | Sequence[str] | None = None,
    augmentation: str | Sequence[str] | None = None,
    condition: str | None = None,
    private: float | None = None,
    init: str | os.PathLike[str] | None = None,
    init_partial: bool = False,
    device: str = "auto",
    threads: int | None = None,
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    compile: bool = False,
    shard: bool | None = None,
    on_nan: Literal["stop", "skip", "rollback"] = "stop",
    resume: bool | str | os.PathLike[str] = False,
    tensorboard: bool = False,
    trackers: Sequence[str] = (),
    watch: bool = False,
    data_memory: int | str | None = None,
    data_workers: int | None = None,
    progress: bool | None = None,
    on_start: Callable[[Trainer, Config], None] | None = None,
) -> Run:
    """Train a recipe on data.

    In a process of a job (torchrun, srun, ``--devices``), all processes train one model together: each
    computes its part of every batch, and process 0 writes. A batch has the same gradient on any number of them.

    Args:
        recipe: its name or TOML file; None to compose from parts named in ``options`` (``{"objective": "wgan-gp"}``),
            to take the recipe of ``init``, or with ``resume``.
        data: what `genzoo.load_data` takes; with ``resume`` the run's own where it is a name or a path.
        out: folder for the weights, log, pictures and checkpoints; None writes nothing.
        labels: class labels ``(N,)``, where ``data`` is a tensor or an array.
        steps: training steps, over the recipe's; of a recipe that goes by passes over the data, 2,000 batches are the
            least where nobody says. A run that is resumed may be given more.
        epochs: passes over the data instead.
        batch_size: observations per turn.
        seed: of the initialization, the order of the data and all noise; 0 unless given.
        options: any option by dotted name, ``{"objective.gp_weight": 5, "generator": "mlp", "data.limit": 100}``.
        posterior: the posterior's name, over the recipe's; like the next three also a key of ``options``.
        prior: the prior's name.
        regularizer: names of regularizers in place of the recipe's, ``["r1=0.5", "lecam"]``: the number is the first
            option's; ``options`` sets others, ``{"regularizer.lecam.decay": 0.99}``. ``"none"`` or ``[]`` is none.
        augmentation: names of augmentations, likewise.
        condition: makes the model conditional, and says how the critic is told the class: ``projection``, ``concat``.
        private: ε of differential privacy that all steps spend at the option ``train.delta``; none is held out then,
            and ``train.clip`` is of one observation's gradient, 1 unless given.
        init: weights to start from: what is not said of the architecture is as theirs, and a folder of images is read
            in their size and colours. All must fit; see ``init_partial``.
        init_partial: take of ``init`` what fits, such as all but what goes by the number of classes.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: of the CPU; None leaves torch's setting.
        precision: ``bfloat16`` computes networks in autocast, losses in float32; ``auto`` takes it where that is
            quicker (a resumed run goes on as it began).
        compile: compile every player's turn.
        shard: split the generator, its gradients and its optimizer's state over the processes (FSDP2); None
            does on CUDA from 100 million parameters of the generator on.
        on_nan: what follows a loss that is not finite: ``stop``; ``skip`` that turn's update (waits for the
            device at every turn); or ``rollback`` to the last checkpoint, to go on from there with fresh noise.
        resume: go on from the newest whole checkpoint in ``out``, or in the run's folder that is given here. What the
            run knows need not be said again; ``steps`` or ``epochs`` may be other than they were.
        tensorboard: write event files under ``out``; short for the tracker of that name.
        trackers: names of what the run is reported to; ``options`` may set theirs (``{"wandb.project": "faces"}``).
        watch: warn once, on stderr and in the log, of each symptom that the diagnose app knows.
        data_memory: the most memory that data may take on the compute device, in bytes or as text (``"2GB"``); more
            is streamed to it by the batch, which changes no bit of the run. None decides by what is free.
        data_workers: processes that read what is streamed, 0 for none; None goes by the cores.
        progress: show a bar on stderr; None shows it on a terminal.
        on_start: called with the trainer and the config before the first step.

    Raises:
        UsageError: if the request is wrong; nothing was written.
        GenzooError: if training broke down or files could not be written.
        KeyboardInterrupt: after SIGINT stopped the run and it was saved; its attribute ``run`` is what would have been
            returned. SIGTERM does, after saving, what it does elsewhere in the program: by default it ends it.
    """
    if not isinstance(resume, bool):
        if out is not None and given_path(out) != given_path(resume):
            raise UsageError(
                f"a run goes on in its own folder, {os.fspath(resume)}: leave out the other, {os.fspath(out)}"
            )
        out, resume = resume, True
    folder = None if out is None else given_path(out)
    if on_nan not in ("stop", "skip", "rollback"):
        raise UsageError(f"on_nan is stop, skip or rollback, not {on_nan!r}")
    if on_nan == "rollback" and folder is None:
        raise UsageError("going back to the last checkpoint needs a folder where it is: give out")
    hardware = Hardware(device, threads, precision, compile, shard, data_memory, data_workers)
    if tensorboard and folder is None:
        raise UsageError("tensorboard=True writes event files under out: give it")
    parts = {"posterior": posterior, "prior": prior, "regularizer": regularizer, "augmentation": augmentation,
             "condition": condition}  # fmt: skip
    options = with_private(private, options)
    short = {"train.steps": steps, "train.epochs": epochs, "train.batch_size": batch_size}
    for name, now in (parts | short).items():
        if now is not None and name in (options or {}) and now != options[name]:
            raise UsageError(f"{name} was given twice, in options and beside them: give it once")
    registry, given = the_registry(), {**(options or {}), **{k: v for k, v in parts.items() if v is not None}}
    reports = chosen_trackers(registry, [*["tensorboard"] * tensorboard, *trackers], given)
    of_data = {k.partition(".")[2]: given.pop(k) for k in list(given) if k.startswith("data.")}
    check_given(registry, recipe, given)
    runtime = init_runtime(pick_device(device))
    with runtime.failing_together(), working_on(folder if runtime.first else None):
        runtime.on_rank_zero(lambda: check_folder(folder, bool(resume)))
        found = from_newest(folder, read_checkpoint) if folder and resume and not never_checkpointed(folder) else None
        known = None if found is None else Known.of(found[1])
        start = Start.at(init, init_partial) if init is not None and known is None else None
        if known is not None:
            data = known.data(registry) if data is None else data
            seed = known.plain["seed"] if seed is None else seed
            of_data = {**known.record.get("data", {}), **of_data}
            precision = known.record["precision"] if precision == "auto" else precision
            compile = compile or bool(known.record.get("compile"))
        said: dict[str, str] = {}
        seed, base = seed or 0, _base(registry, recipe, given, known, start)
        if data is None:
            raise UsageError("there is nothing to train on: name the data with --data")
        entry, implied = entry_for(registry, data) if isinstance(data, (str, os.PathLike)) else (None, {})
        if start is not None and entry is not None:
            of_data, said["data"] = start.reading(registry, entry, of_data)
        kinds = (known.config.data.modality,) if known else base.modalities if base else ()
        source = open_data(registry, data, of_data, labels=labels, memory=hardware.memory, kinds=kinds)
        source = of(source.spec).recast(source, kinds)
        wanted = given.get("objective") or (base.data["objective"] if base else "")
        beside = None if start is None else start.layer(registry, wanted)
        config = compose(registry, source.spec, base, given, beside)
        asked = {steps, epochs} != {None} or {"train.steps", "train.epochs"} & {*given}
        config = with_steps(config, steps=steps, epochs=epochs, batch_size=batch_size)
        if known is not None and not asked:
            was = known.config.train
            config = replace(config, train=replace(config.train, steps=was.steps, epochs=was.epochs))
        runtime.require_equal(
            "what they train", json.dumps([config.to_dict(), len(source), seed, precision, on_nan, resume])
        )
        train, held_out = _split(source, config, seed)
        objective, nets = initialize(config, seed)
        if not asked and known is None:
            config, said["steps"] = enough(config, len(train), objective.players()[0].turns)
            nets.model.config = config
        require_start(objective, start or known, config)
        if start is not None:
            said["init"] = start.copy(nets.model, config, objective.fresh)
            del start
        nets.to(runtime.device)
        hardware = _settled(replace(hardware, precision=precision, compile=compile), runtime, nets)
        record = {"data": of_data, "precision": hardware.precision, "compile": compile, "on_nan": on_nan}
        record |= {"source": named_data(registry, data), "init": None if init is None else os.fspath(init)}
        record |= {"processes": runtime.size, **({"init_partial": True} if init_partial else {})}
        trainer = Trainer(objective, nets, train, config.train, held_out=held_out, seed=seed, record=record,
                          runtime=runtime, on_nan=on_nan, hardware=hardware)  # fmt: skip
        if folder is not None and runtime.first:  # who writes the card
            if entry is not None:  # where they are on this machine, for who goes on here
                trainer.place = os.path.abspath(os.path.expanduser(data)) if implied else str(data)
            trainer.about = about(registry, config, data, seed, record)
        validation = len(source) - len(train)
        del source, train  # what is not on the device is not needed twice
        if trainer.steps < 1:
            raise UsageError("there is nothing to train: train.steps and train.epochs are both 0")
        if found is not None:
            go_on(trainer, config, *found)
            del found, known
        elif resume and runtime.first:
            tell(f"{folder} was stopped before its first checkpoint; starting over")
        if folder is not None:
            runtime.on_rank_zero(lambda: check_saving(trainer, config))
        read = announce(trainer.data, runtime.first, progress is False, validation, trainer.steps)
        if trainer.steps < FEW_STEPS and progress is not False:
            more = f"--steps {MANY_STEPS} (steps={MANY_STEPS})"
            said["few"] = f"{trainer.steps:,} steps are few, and most data want thousands: {more}"
        for line in filter(None, said.values() if runtime.first else ()):
            tell(line)
        if on_start is not None:
            on_start(trainer, config)
        metrics, signals = _train(trainer, config, folder, reports=reports, watch=watch, progress=progress)
    model = trainer.model.requires_grad_(False).eval()
    restore_batch_norm(model)
    run = Run(model, config, trainer.history, metrics, folder, trainer.done, trainer.step, trainer.seconds,
              sum(signals[:1]), read)  # fmt: skip
    if run.stopped_by:
        try:
            signal.raise_signal(run.stopped_by)  # what was held back does what it does
        except KeyboardInterrupt as e:
            e.run = run  # type: ignore[attr-defined]
            raise
    return run


def _base(
    registry: Registry, recipe: Any, given: Mapping[str, Any], known: Known | None, start: Start | None
) -> Entry | None:
    """What to compose from: a recipe; a run's own composition, to go on with it; or the recipe of weights."""
    if known is not None:
        return known.entry(registry, recipe)
    if recipe is None and start is not None and not given.get("objective"):
        return start.entry(registry)
    if recipe is None and not given.get("objective"):
        raise UsageError("name a recipe, or an objective with --objective; 'genzoo list recipe' shows the recipes")
    return None if recipe is None else find(registry, recipe)


def _settled(asked: Hardware, runtime: Runtime, nets: Networks) -> Hardware:
    """What was left open: the precision that process 0 gains by, and whether to shard."""
    precision, shard = asked.precision, asked.shard
    if precision == "auto":
        precision = str(runtime.broadcast(choose_precision(runtime.device, nets)))
    if shard is None:
        size = sum(p.numel() for p in nets.model.generator.parameters())
        shard = runtime.size > 1 and runtime.device.type == "cuda" and size >= LARGE and not asked.compile
    if shard and runtime.size == 1:
        raise UsageError("one process has nobody to share the generator with: start several, or leave out shard")
    return replace(asked, precision=precision, shard=shard)


def _train(
    trainer: Trainer, config: Config, folder: Path | None, *, reports: Reports, watch: bool, progress: bool | None
) -> tuple[dict[str, Any], list[int]]:
    """Train, and write what there is to write, on process 0; returns the metrics of the end, and the first signal."""
    runtime, writes = trainer.runtime, folder if trainer.runtime.first else None
    metrics: dict[str, Any] = {}
    bar: Progress | None = None
    more = list(trainer.observers)  # of whoever was told of the start
    # Innermost what finds out who is gone, while a signal, which may well follow, is still waited with.
    with (
        new_folder(writes, trainer),
        _stops_cleanly(trainer) as signals,
        ExitStack() as stack,
        runtime.failing_together(),
    ):
        stack.enter_context(trainer.feed)
        if trainer.hardware.threads:
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(trainer.hardware.threads)
        if runtime.first:
            more += plugin_observers(the_registry(), reports, RunView(trainer, config, folder, watch), stack)
        if folder is not None and trainer.on_nan == "rollback":
            save(folder, trainer)  # so that there is something to go back to
        while True:
            trainer.observers = [*observers(trainer, config, folder), *more]
            if runtime.first and visible(progress):
                bar = Progress(trainer, config.recipe)
                stack.callback(bar.end, trainer)  # so that a sentence about what went wrong gets a line of its own
                trainer.observers.append(bar)
            if writes is not None:
                (writes / MANIFEST).unlink(missing_ok=True)  # from here on, the newest checkpoint is what the run is
            try:
                trainer.train()
                if folder is not None:
                    save(folder, trainer)
                if trainer.done:
                    trainer.keep_best()
                break
            except TrainingDiverged as e:
                if bar is not None:
                    bar.end(trainer)
                if folder is None or trainer.on_nan != "rollback":
                    raise
                roll_back(trainer, config, folder, e)
        if runtime.first:
            metrics = final_metrics(trainer)
            if writes is not None:
                save_weights(writes, trainer.model, describe(trainer, config, metrics))
        metrics = runtime.broadcast(metrics)
    return metrics, signals


def _split(data: Data, config: Config, seed: int) -> tuple[Data, Data | None]:
    """Hold out the validation share (or number) of the data; raises `UsageError` if nothing would be left."""
    share = config.train.validation
    n = max(int(share * len(data)), share > 0 and len(data) > 1) if share < 1 else int(share)  # a share is one at least
    if n < 1:
        return data, None
    return data.hold_out(n, stream_seed(seed, _SPLIT))


@contextmanager
def _stops_cleanly(trainer: Trainer) -> Iterator[list[int]]:
    """Let the first SIGINT or SIGTERM stop training after the step; a second one ends the process at once.

    Yields a list that then holds the first one's number.
    """
    caught = list[int]()
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stopping = True
        caught.append(number)
        for s in before:
            signal.signal(s, signal.SIG_DFL)
        if trainer.runtime.first:  # not print, which may be what was interrupted
            os.write(2, b"\ngenzoo: stopping after this step and saving; again to stop at once\n")

    for s in before:
        signal.signal(s, stop)
    try:
        yield caught
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
