"""Say in plain words what is wrong with a trained model, on what evidence, and what to try."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from genzoo.core.arguments import checked
from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import Extractor, from_storage
from genzoo.core.model import Model
from genzoo.core.pictures.charts import curves
from genzoo.core.pictures.grids import save
from genzoo.core.protocol import Protocol
from genzoo.core.record import CallRecord, TrainingRecord
from genzoo.core.storage.files import MANIFEST, given_path, write_json
from genzoo.core.storage.strict import one_line
from genzoo.core.training.runs import checkpoints, from_newest, read_checkpoint
from genzoo.plugins.apps.diagnose import symptoms
from genzoo.plugins.apps.diagnose.sample_health import (
    COLLAPSED,
    COPY,
    JUDGED,
    SAMPLE_METRICS,
    Looked,
    memorization,
    mode_collapse,
    posterior_collapse,
)
from genzoo.plugins.apps.diagnose.verdicts import NAMES, Diagnosis, Fact, Remedy, Verdict
from genzoo.registry import Registry, the_registry
from genzoo.registry.verbs.data import open_data
from genzoo.registry.verbs.evaluate import default_extractor, measure, open_extractor
from genzoo.registry.verbs.fit import Run
from genzoo.registry.verbs.initialize import pick_device
from genzoo.registry.verbs.load import load
from genzoo.registry.verbs.sample import check_fits
from genzoo.registry.verbs.subjects import draw_samples, subset
from genzoo.registry.weights.history import LOG, History, history_of
from genzoo.registry.weights.remeasure import split_of

SAMPLES = 2000
UNREAL = 0.25  # density of samples that do not lie among the data at all
OF_SAMPLES = ("mode-collapse", "memorization")
CURVES = {
    "divergence": ("loss",),
    "exploding-gradients": ("grad",),
    "vanishing-gradients": ("grad",),
    "saturated-critic": ("real", "fake"),
    "overfitting": ("held-out loss", "loss"),
}  # terms of the log that show a verdict


@dataclass(frozen=True)
class _Subject:
    model: Model
    history: History
    title: str
    stopped: bool = False  # whether it is a run that did not come to its end


@dataclass(frozen=True)
class _Origin:
    """What a model was trained on, and what it is held against."""

    training: Data
    reference: Data
    note: str = ""


@checked
def diagnose(
    subject: Any,
    data: Any = None,
    *,
    n: int | None = None,
    seed: int = 0,
    data_options: Mapping[str, Any] | None = None,
    extractor: str | os.PathLike[str] | Extractor | None = None,
    batch_size: int = 256,
    device: str = "auto",
    cache: bool = True,
    progress: bool = False,
) -> Diagnosis:
    """Judge a run or weights: curves of the training, samples, and codes.

    Args:
        subject: a run's folder, also of one that goes on or broke down; weights by any name; a `genzoo.Run` or a
            `Model`, which have no folder.
        data: what it was trained on, as for `genzoo.fit`; None takes the data set that its record names.
        n: samples to judge; None takes 2,000, and 2,500 of mixtures.
        seed: of the samples.
        data_options: of the data set by name; None takes those of the record.
        extractor: of features, as for `genzoo.evaluate`.
        batch_size: observations at a time.
        device: where networks run.
        cache: whether to keep features of data on disk.
        progress: show bars on stderr.

    Returns:
        A verdict for each of its names; what could not be checked is ``unknown``, with the reason.

    Raises:
        UsageError: for names that do not exist, and data that do not fit the model.
        GenzooError: if the subject or the data cannot be read.
    """
    if n is not None and n < 100:
        raise UsageError(f"a diagnosis takes at least 100 samples, not {n}")
    registry, where = the_registry(), pick_device(device)
    opened = _open(subject, where)
    history = opened.history
    log = history.log
    verdicts = [
        symptoms.divergence(log, broke_down=opened.stopped),
        *symptoms.gradients(log),
        symptoms.saturated_critic(log),
        symptoms.overfitting(log),
        symptoms.under_training(log),
    ]
    verdicts = [_drawn(v, log) for v in verdicts]
    origin = _origin(registry, history, data, data_options)
    record: dict[str, Any] = {"records of the log": len(log), "seed": seed}
    if isinstance(origin, str):
        record["data"] = None
        verdicts += [Verdict(name, "unknown", f"Not checked: {origin}.") for name in OF_SAMPLES]
        verdicts.append(_recorded_collapse(opened, origin))
    else:
        check_fits(opened.model, origin.reference.spec)
        count = n or _usual(origin.reference)
        held = subset(origin.reference, count)
        record |= {"data": origin.training.name or "data", "samples": count, "held against": len(held)}
        record |= {"note": origin.note} if origin.note else {}
        how = Protocol(count, seed, extractor=extractor, batch_size=batch_size, device=device, cache=cache)
        verdicts += _sampled(opened.model, origin, held, how, progress)
    if history.config is not None:
        verdicts = [
            replace(v, remedies=_possible(registry, v.remedies, history.config, opened.model)) for v in verdicts
        ]
    found = _causes({v.name: v for v in verdicts})
    return Diagnosis(opened.title, tuple(found[name] for name in NAMES), record)


def save_diagnosis(found: Diagnosis, out: str | os.PathLike[str]) -> Path:
    """Write ``diagnosis.json`` and the pictures of the verdicts to a folder; returns it."""
    folder = diagnosis_folder(out)
    folder.mkdir(parents=True, exist_ok=True)
    for verdict in found:
        for name, image in verdict.pictures.items():
            save(image, folder / f"{verdict.name}-{name}.png")
    write_json(folder / "diagnosis.json", found.to_dict())
    return folder


def diagnosis_folder(out: str | os.PathLike[str]) -> Path:
    """Where a diagnosis can be written; refuses files."""
    path = given_path(out)
    if path.exists() and not path.is_dir():
        raise UsageError(f"a diagnosis is written to a folder, and {path} is a file")
    return path


def _open(subject: Any, device: torch.device) -> _Subject:
    if isinstance(subject, Run):
        folder = subject.folder
        history = history_of(folder) if folder is not None else History()
        history = replace(history, log=history.log or tuple(subject.history), config=subject.config)
        return _Subject(subject.model.to(device), history, str(folder or subject.config.recipe), not subject.finished)
    if isinstance(subject, Model):
        title = (subject.config.recipe if subject.config else "") or "model"
        return _Subject(subject.to(device), History(config=subject.config), title)
    if not isinstance(subject, (str, os.PathLike)):
        raise UsageError(f"what is diagnosed is a run's folder, weights or a model, not {type(subject).__name__}")
    model = load(subject, device=device)
    history = history_of(subject)
    folder = history.folder
    stopped = folder is not None and not (folder / MANIFEST).exists() and bool(checkpoints(folder))
    if stopped and folder is not None:
        record = history.record or from_newest(folder, _record_of)[1]
        history = replace(history, record=record, config=history.config or model.config)
    return _Subject(model, history, os.fspath(subject), stopped)


def _record_of(checkpoint: Path) -> TrainingRecord:
    """What a checkpoint knows of how its run was called, as the record of a finished run would say it."""
    config, _, _, plain = read_checkpoint(checkpoint)
    data = {"name": config.data.name, "observations": 0}
    about = {"recipe": config.recipe, "data": data, "seed": plain["seed"], "called with": plain["record"]}
    return TrainingRecord.from_dict({**about, "steps": plain["step"], "of": plain["steps"]})


def _origin(registry: Registry, history: History, data: Any, options: Mapping[str, Any] | None) -> _Origin | str:
    """What the model was trained on, or why that is not known."""
    called = CallRecord() if history.record is None else history.record.called
    of_data = dict(options if options is not None else called.data)
    source, note = data, ""
    if source is None:
        source = called.source
        names = {e.name for e in registry.entries("dataset")}
        if not source or source.rpartition(":")[2] not in names:
            about = f"it was trained on {source}" if source else "there is no record of what it was trained on"
            return f"{about}: name the data with --data"
    opened = open_data(registry, source, of_data, split="train")
    training, held_out = opened, None
    if history.config is not None and history.record is not None and history.record.data.fingerprint:
        try:
            training, held_out = split_of(history.config, history.record, opened)
        except GenzooError as e:
            note = one_line(str(e))
    reference = held_out if held_out is not None and len(held_out) >= SAMPLES else None
    if reference is None and isinstance(source, (str, os.PathLike)):
        reference = open_data(registry, source, of_data, split="test")
    if reference is None:
        reference = held_out if held_out is not None and len(held_out) >= 100 else training
    return _Origin(training, reference, note)


def _sampled(model: Model, origin: _Origin, held: Data, how: Protocol, progress: bool) -> list[Verdict]:
    """Verdicts on samples and codes."""
    spec, n = held.spec, how.n or SAMPLES
    x, asked = draw_samples(model, n, how, progress)
    samples = from_storage(spec, x)
    codes = measure(model, held, "active-units,posterior-kl", replace(how, n=2, extractor=None), strict=False)
    verdicts = [posterior_collapse(codes, model, held)]
    whole = model.sample(min(n, JUDGED), seed=how.seed, batch_size=how.batch_size).flatten(1).isfinite().all(1)
    if not whole.all():  # in 8 bits that does not show
        share = 1 - whole.double().mean().item()
        fact = Fact("share of samples that are not finite", share, "none may be", True)
        broken = Verdict("mode-collapse", "problem", "Samples are not finite.", (fact,), because="divergence")
        return [*verdicts, broken, Verdict("memorization", "unknown", "Not checked: samples are not finite.")]
    metrics = SAMPLE_METRICS + (",modes,high-quality,mode-kl" if _mixture(held) else "")
    ready = how.extractor
    if not isinstance(ready, Extractor):
        ready = open_extractor(the_registry(), ready or default_extractor(spec), spec)
    report = measure(
        samples if asked is None else (samples, asked), held, metrics, replace(how, n=None, extractor=ready),
        training=origin.training, strict=False, progress=progress,
        options={"memorization.ratio": COPY, "memorization.limit": JUDGED},
    )  # fmt: skip
    looked = Looked(model, samples, held, report, ready)
    return [*verdicts, mode_collapse(looked), memorization(looked, origin.training)]


def _mixture(data: Data) -> bool:
    """Whether the data are of a mixture whose centres are known."""
    return data.modes is not None and bool(data.modes.centres)


def _usual(data: Data) -> int:
    """Samples where no number is given."""
    return data.modes.samples if data.modes is not None and data.modes.centres else SAMPLES


def _recorded_collapse(opened: _Subject, why: str) -> Verdict:
    """What the record of a run tells of its codes, where the data are not there to encode."""
    name, metrics = "posterior-collapse", opened.history.record.metrics if opened.history.record else {}
    if opened.model.encoder is None:
        return Verdict(name, "healthy", "The model has no encoder whose code could be ignored.")
    active = metrics.get("active units") if isinstance(metrics, Mapping) else None
    if not isinstance(active, (int, float)):
        return Verdict(name, "unknown", f"Not checked: {why}.")
    what = "numbers of the code that varied over the data when training ended"
    fact = Fact(what, active, "trouble at 0", active == 0)
    if active == 0:
        return Verdict(name, "problem", "The posterior collapsed: codes say nothing of the data.", (fact,), COLLAPSED)
    return Verdict(name, "healthy", "The code says something of the data.", (fact,))


def _causes(found: dict[str, Verdict]) -> dict[str, Verdict]:
    """Mark what follows from something else: a problem of its own is what one should cure."""

    def wrong(name: str) -> bool:
        return found[name].status == "problem"

    def follows(name: str, cause: str, when: Callable[[], bool] = lambda: True) -> None:
        if wrong(name) and wrong(cause) and not found[name].because and when():
            found[name] = replace(found[name], because=cause)

    def unreal() -> bool:
        """Whether the samples have nothing to do with the data: then what they leave out is no news."""
        return any(f.what == "density" and f.value < UNREAL for f in found["mode-collapse"].facts)

    def few() -> bool:
        """Whether samples are only near to the data, which those of a few easy things are, and no copies."""
        return not any(f.wrong for f in found["memorization"].facts if not f.what.startswith("chance"))

    follows("mode-collapse", "posterior-collapse")
    follows("vanishing-gradients", "saturated-critic")
    follows("mode-collapse", "saturated-critic", unreal)
    follows("mode-collapse", "divergence", unreal)
    follows("exploding-gradients", "divergence")
    follows("memorization", "mode-collapse", few)
    follows("memorization", "posterior-collapse", few)
    if found["mode-collapse"].because == "divergence" and not wrong("divergence"):
        broken = found["mode-collapse"]
        found["divergence"] = Verdict("divergence", "problem", "What the model makes is not finite.", broken.facts)
    return found


def _possible(registry: Registry, remedies: Sequence[Remedy], config: Config, model: Model) -> tuple[Remedy, ...]:
    """Remedies that exist here, are another thing than what was done, and with numbers in place of shares of them."""
    flat = History(config=config).options()
    recipes = {e.name for e in registry.entries("recipe", modality=config.data.modality)}
    left: list[Remedy] = []
    for remedy in remedies:
        if remedy.recipe and (remedy.recipe not in recipes or remedy.recipe == config.recipe):
            continue
        options = []
        for key, value in remedy.options:
            if key not in flat or flat[key] == value:
                continue
            if isinstance(value, str) and value.startswith("÷"):
                now = flat[key]
                if not isinstance(now, (int, float)) or not now:
                    continue
                value = now / float(value[1:])
                value = max(int(value), 1) if isinstance(now, int) else float(f"{value:.2g}")
                if value == now:
                    continue
            elif value == "none" and flat[key] is None:
                continue
            options.append((key, value))
        if remedy.options and not options:
            continue
        left.append(replace(remedy, options=tuple(options)))
    return tuple(left)


def _drawn(verdict: Verdict, log: Sequence[Mapping[str, float]]) -> Verdict:
    """Add the curves that show a problem."""
    wanted = CURVES.get(verdict.name, ())
    if verdict.status not in ("problem", "hint") or not wanted:
        return verdict
    names = dict.fromkeys(k for r in log for k in r if k.rpartition("/")[2] in wanted)
    series = {k: [(float(r["step"]), float(r[k])) for r in log if k in r] for k in names}
    try:
        return replace(verdict, pictures={**verdict.pictures, "curves": curves(series).image()})
    except GenzooError:
        return verdict


__all__ = ["LOG", "diagnose", "diagnosis_folder", "save_diagnosis"]
