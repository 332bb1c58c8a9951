"""Trained models again from what was recorded of them, and whether the new one is as good, or the same."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genzoo.core.arguments import checked
from genzoo.core.config import LISTS, Config, TrainOptions
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import options_of
from genzoo.core.record import TrainingRecord, read_record
from genzoo.core.storage.files import given_path, sha256
from genzoo.core.storage.fingerprint import compare, hardware
from genzoo.core.storage.weights import TENSORS, read_config
from genzoo.core.training.trainer import Observer, Trainer
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.fit import Run, fit
from genzoo.registry.verbs.initialize import pick_device
from genzoo.registry.verbs.load import load
from genzoo.registry.weights import resolve
from genzoo.registry.weights.verify import Remeasured, measure_again, source_of, split_of, version_differences


@dataclass(frozen=True)
class Rerun:
    """What `reproduce` runs: arguments of `genzoo.fit`, never a line for a shell."""

    weights: str  # the name that was given
    folder: Path
    config: Config
    record: TrainingRecord
    arguments: Mapping[str, Any]  # of genzoo.fit, by name
    differences: tuple[str, ...]  # what is not as it was: versions, hardware, threads


@dataclass(frozen=True)
class Reproduction:
    """What came of it."""

    weights: str  # the name that was given
    folder: Path  # of the new weights
    steps: int  # that were trained
    of: int  # steps that the recorded weights had
    finished: bool  # whether the recorded run was repeated to its end
    same_bytes: bool | None = None  # of the tensors' files; None before the end
    samples: str = ""  # same bytes, within tolerance or different; empty where none were recorded
    metrics: tuple[Remeasured, ...] = ()  # the card's, and the new ones
    curve: float | None = None  # greatest relative difference of the losses at the same steps
    differences: tuple[str, ...] = ()  # what is not as it was

    @property
    def ok(self) -> bool:
        """Whether the new weights are the old ones, or no metric says that they are worse or better."""
        return bool(self.same_bytes) or all(m.agrees is not False for m in self.metrics)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = {**self.__dict__, "folder": str(self.folder), "differences": list(self.differences)}
        return {**plain, "metrics": [m.to_dict() for m in self.metrics], "ok": self.ok}


def plan(
    weights: str | os.PathLike[str],
    *,
    source: Any = None,
    given_by: str = "--source",
    init: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    device: str = "auto",
) -> Rerun:
    """Turn what was recorded of weights into a call of `genzoo.fit`, checked against what is here; see `reproduce`.

    The option ``given_by`` is where a person says ``source``.

    Raises:
        GenzooError: naming what is missing: the record, a plugin, the data, or an option that its part no longer has.
    """
    found = resolve(weights)
    config = read_config(found.folder, within=found.within)
    record = read_record(found.folder, found.within)
    if record is None:
        raise GenzooError(f"{weights} cannot be reproduced: nobody recorded how it was trained (training.json)")
    options, called, then = _options(config), record.called, record.hardware
    recipe = config.recipe if any(e.name == config.recipe for e in the_registry().entries("recipe")) else None
    differences = version_differences(config)
    try:
        again = compose(the_registry(), config.data, recipe, options).flat()
        recorded = config.flat()
        new = {k for k in again.keys() - recorded if _is_default(config, k, again[k])}  # it does nothing by default
        if changed := sorted(k for k in {*again, *recorded} - new if again.get(k) != recorded.get(k)):
            raise UsageError(f"{', '.join(changed[:5])} would differ")
    except UsageError as e:
        versions = f" ({'; '.join(differences)})" if differences else ""
        raise GenzooError(f"{weights} cannot be reproduced with what is installed{versions}: {e}") from e
    data = source_of(record, source, given_by)
    split_of(config, record, source)  # the wrong data shows before training, not after
    try:
        where = pick_device(str(then.get("device") or "auto") if device == "auto" else device)
    except UsageError:
        if device != "auto":
            raise
        where = pick_device("auto")
    said = then.get("threads")
    threads = threads or (said if type(said) is int and 1 <= said <= 4096 else None)
    arguments = {
        "recipe": recipe, "data": data, "options": {**options, **{f"data.{k}": v for k, v in called.data.items()}},
        "seed": record.seed, "precision": called.precision, "compile": called.compile, "on_nan": called.on_nan,
        "threads": threads, "device": where.type, "init": called.init if init is None else os.fspath(init),
        "init_partial": bool(called.init_partial),
    }  # fmt: skip
    now = {**hardware(where), **({"threads": threads} if threads else {})}
    differences += [f"{k} {v}, not {then[k]}" for k, v in now.items() if k in then and then[k] != v]
    differences += [f"one process, not {called.processes}"] if called.processes != 1 else []
    return Rerun(os.fspath(weights), found.folder, config, record, arguments, tuple(differences))


def _is_default(config: Config, key: str, value: Any) -> bool:
    """Whether an option of a part that is recorded, or of training, has its default."""
    group, _, name = key.rpartition(".")
    if part := config.parts.get(group):
        home = (part.plugin, part.distribution)
        infos = the_registry().options(the_registry().get(group, part.name, prefer=home))
    else:
        infos = options_of(TrainOptions) if group == "train" else []
    return any(i.name == name and i.default == value for i in infos)


@checked
def reproduce(
    weights: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    steps: int | None = None,
    resume: bool = False,
    source: Any = None,
    init: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    device: str = "auto",
    metrics: bool = True,
    progress: bool | None = None,
    on_plan: Callable[[Rerun], None] | None = None,
) -> Reproduction:
    """Train weights again as their record says, and compare.

    Args:
        weights: what `genzoo.load` takes.
        out: new folder for the run; default ``reproduced/NAME``.
        steps: stop after so many, as if interrupted, and compare the losses so far; ``resume`` goes on.
        resume: go on with a reproduction that was interrupted.
        source: the data, if it is no data set of the zoo.
        init: the weights that training started from, if those are elsewhere now.
        threads: of the CPU; default as recorded, since the last bits depend on it.
        device: default as recorded, if this machine has it.
        metrics: whether to measure the card's metrics of the new weights too.
        progress: show a bar on stderr; None shows it on a terminal.
        on_plan: told of the plan before training.

    Raises:
        GenzooError: naming what is missing.
    """
    if steps is not None and steps < 1:
        raise UsageError(f"the number of steps must be at least 1, not {steps}")
    place = re.sub(r"[^a-zA-Z0-9.]+", "-", os.fspath(weights)).strip("-.") or "weights"
    path = given_path(out) if out is not None else Path("reproduced", place)
    todo = plan(weights, source=source, init=init, threads=threads, device=device)
    if not resume:
        _require_first(todo)
    if on_plan is not None:
        on_plan(todo)
    record = todo.record
    target = record.steps  # fewer than the run had where these are its best weights
    until = target if steps is None else min(steps, target)

    def start(trainer: Trainer, config: Config) -> None:
        trainer.observers.append(_Stop(until))
        trainer.stopping = trainer.step >= until

    arguments = {**todo.arguments, **({"init": None, "init_partial": False} if resume else {})}
    run = fit(**arguments, out=path, resume=resume, on_start=start, progress=progress)
    done = Reproduction(todo.weights, path, run.steps, target, run.steps >= target, curve=_curve(record, run),
                        differences=todo.differences)  # fmt: skip
    if not done.finished:
        return done
    model = load(path, device=run.model.device, verbose=False)
    compared = measure_again(
        model, todo.config, record, rule="overlap", source=source, device=arguments["device"], progress=bool(progress)
    )
    return replace(
        done,
        same_bytes=sha256(path / TENSORS) == sha256(todo.folder / TENSORS),
        samples=compare(record.fingerprint, model)[0].verdict if record.fingerprint is not None else "",
        metrics=tuple(compared) if metrics else (),
    )


def _require_first(todo: Rerun) -> None:
    """Raise `GenzooError` where a second stage's first one is not here: only both together are published."""
    about, init = todo.config.parts["objective"].options, todo.arguments["init"]
    if not about.get("sha256"):
        return
    try:
        if init and sha256(resolve(init).folder / TENSORS) == about["sha256"]:
            return
    except (GenzooError, OSError):
        if init != todo.record.called.init:  # a person said it
            raise
    other = f", and {init} is another" if init and init != todo.record.called.init else ""
    raise UsageError(
        f"{todo.weights} is a second stage, and its first stage ({about['first'] or 'a model'}, whose {TENSORS} has "
        f"the sha256 {about['sha256'][:12]}…) does not ship with it{other}: name it with --init, or train both stages "
        "by the commands in the card"
    )


class _Stop(Observer):
    """Stops a run at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def step(self, trainer: Trainer) -> None:
        if trainer.step >= self.at:
            trainer.stopping = True


def _options(config: Config) -> dict[str, Any]:
    """A config as the ``options`` of `genzoo.fit`, all by value: what a recipe says today changes nothing."""
    found: dict[str, Any] = {**dict.fromkeys(("posterior", "prior"), ""), **dict.fromkeys(LISTS, ()), **config.flat()}
    for kind, part in config.components():
        whole = part.distribution and part.plugin
        name = f"{part.distribution}/{part.plugin}:{part.name}" if whole else part.name
        found[kind] = name if kind in config.parts else tuple(name if n == part.name else n for n in found[kind])
    return found


def _curve(record: TrainingRecord, run: Run) -> float | None:
    """How far the losses on the way are apart, relatively, at worst."""
    then = {r["step"]: r for r in record.curves if isinstance(r, dict) and "step" in r}
    apart = []
    for now in run.history:
        for key, b in now.items():
            a = then.get(now["step"], {}).get(key)
            if key not in ("step", "seconds") and isinstance(a, (int, float)):
                apart.append(abs(a - b) / max(abs(a), abs(b), 1e-6))
    return max(apart, default=None)
