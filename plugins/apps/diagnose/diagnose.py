"""Say in plain words what is wrong with a trained model, on what evidence, and what to try."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from genzoo.core.arguments import checked
from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import Extractor
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.notebook import visible
from genzoo.core.pictures.drawing import curves
from genzoo.core.pictures.grids import save
from genzoo.core.protocol import Protocol
from genzoo.core.record import CallRecord, TrainingRecord
from genzoo.core.storage.files import MANIFEST, given_path, write_json
from genzoo.core.storage.strict import one_line
from genzoo.core.training.runs import checkpoints, from_newest, read_checkpoint
from genzoo.plugins.apps.diagnose import sample_health, symptoms
from genzoo.plugins.apps.diagnose.verdicts import NAMES, Diagnosis, Fact, Remedy, Verdict, unknown
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.data import open_data
from genzoo.registry.verbs.evaluate import default_extractor, measure, open_extractor
from genzoo.registry.verbs.fit import Run
from genzoo.registry.verbs.initialize import pick_device
from genzoo.registry.verbs.load import load
from genzoo.registry.verbs.sample import check_fits
from genzoo.registry.verbs.subjects import draw_samples, subset
from genzoo.registry.weights.history import History, history_of
from genzoo.registry.weights.verify import split_of

SAMPLES = 2000
UNREAL = 0.25  # density of samples that do not lie among the data at all
CURVES = {
    "divergence": ("loss",),
    "exploding-gradients": ("grad",),
    "vanishing-gradients": ("grad",),
    "saturated-critic": ("real", "fake"),
    "overfitting": ("held-out loss", "loss"),
}  # terms of the log that show a verdict
CAUSES = (  # what a problem may follow from, and when: see `_causes`
    ("under-training", "divergence", ""),
    ("under-training", "saturated-critic", ""),
    ("mode-collapse", "under-training", ""),
    ("posterior-collapse", "under-training", ""),
    ("memorization", "under-training", "near"),
    ("mode-collapse", "posterior-collapse", ""),
    ("vanishing-gradients", "saturated-critic", ""),
    ("mode-collapse", "saturated-critic", "unreal"),
    ("mode-collapse", "divergence", "unreal"),
    ("exploding-gradients", "divergence", ""),
    ("memorization", "mode-collapse", "near"),
    ("memorization", "posterior-collapse", "near"),
)


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
    progress: bool | None = None,
) -> Diagnosis:
    """Judge a run or weights: curves of the training, samples, and codes.

    The subject is a run's folder, also of one that goes on or broke down; weights by any name; a `genzoo.Run` or a
    `Model`, which have no folder. The data are what it was trained on, as for `genzoo.fit`, by default the data set and
    the options that its record names. ``n`` samples are judged, by default 2,000, and 2,500 of mixtures. All else is as
    for `genzoo.evaluate`.

    Returns:
        A verdict for each of its names; what could not be checked is ``unknown``, with the reason.

    Raises:
        UsageError: for names that do not exist, and data that do not fit the model.
        GenzooError: if the subject or the data cannot be read.
    """
    if n is not None and n < 100:
        raise UsageError(f"a diagnosis takes at least 100 samples, not {n}")
    model, history, title, stopped = _open(subject, pick_device(device))
    log = history.log
    record: dict[str, Any] = {"records of the log": len(log), "seed": seed, "data": None}
    verdicts = [
        symptoms.divergence(log, broke_down=stopped),
        *symptoms.gradients(log),
        symptoms.saturated_critic(log),
        symptoms.overfitting(log, best_kept=_best_kept(history)),
        _under_training(history, log, title),
    ]
    verdicts = [_with_curves(v, log) for v in verdicts]
    source, why = _source(history, data)
    if why:
        verdicts += [unknown(name, why) for name in ("mode-collapse", "memorization", "posterior-collapse")]
    else:
        training, reference, note = _origin(history, source, data_options)
        check_fits(model, reference.spec)
        known = reference.modes
        count = n or (known.samples if known is not None and known.centres else SAMPLES)
        held = subset(reference, count)
        record |= {"data": training.name or "data", "samples": count, "held against": len(held)}
        record |= {"note": note} if note else {}
        how = Protocol(count, seed, extractor=extractor, batch_size=batch_size, device=device, cache=cache)
        verdicts += _sampled(model, training, held, how, visible(progress))
    if history.config is not None:
        verdicts = [replace(v, remedies=_possible(v, history.config)) for v in verdicts]
    found = _causes({v.name: v for v in verdicts})
    return Diagnosis(title, tuple(found[name] for name in NAMES), record)


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


def _open(subject: Any, device: torch.device) -> tuple[Model, History, str, bool]:
    """The model, how it was made, what to call it, and whether it is of a run that did not come to its end."""
    if isinstance(subject, Run):
        folder = subject.folder
        history = history_of(folder) if folder is not None else History()
        history = replace(history, log=history.log or tuple(subject.history), config=subject.config)
        return subject.model.to(device), history, str(folder or subject.config.recipe), not subject.finished
    if isinstance(subject, Model):
        title = (subject.config.recipe if subject.config else "") or "model"
        return subject.to(device), History(config=subject.config), title, False
    if not isinstance(subject, (str, os.PathLike)):
        raise UsageError(f"what is diagnosed is a run's folder, weights or a model, not {type(subject).__name__}")
    model, history = load(subject, device=device), history_of(subject)
    folder = history.folder
    stopped = folder is not None and not (folder / MANIFEST).exists() and bool(checkpoints(folder))
    if stopped and folder is not None:
        record = history.record or from_newest(folder, _record_of)[1]
        history = replace(history, record=record, config=history.config or model.config)
    return model, history, os.fspath(subject), stopped


def _record_of(checkpoint: Path) -> TrainingRecord:
    """What a checkpoint knows of how its run was called, as the record of a finished run would say it."""
    config, _, _, plain = read_checkpoint(checkpoint)
    data = {"name": config.data.name, "observations": 0}
    about = {"recipe": config.recipe, "data": data, "seed": plain["seed"], "called with": plain["record"]}
    return TrainingRecord.from_dict({**about, "steps": plain["step"], "of": plain["steps"]})


def _source(history: History, data: Any) -> tuple[Any, str]:
    """What the model was trained on, as given or as its record names it; or why that is not known."""
    if data is not None:
        return data, ""
    source = "" if history.record is None else history.record.called.source
    if source.rpartition(":")[2] in {e.name for e in the_registry().entries("dataset")}:
        return source, ""
    about = f"it was trained on {source}" if source else "there is no record of what it was trained on"
    return None, f"{about}: name the data with --data"


def _origin(history: History, source: Any, options: Mapping[str, Any] | None) -> tuple[Data, Data, str]:
    """The training data, what samples are held against (held-out data, or the test split), and what to note."""
    registry, record = the_registry(), history.record
    called = CallRecord() if record is None else record.called
    of_data = dict(called.data if options is None else options)
    training, held_out, note = open_data(registry, source, of_data, split="train"), None, ""
    if history.config is not None and record is not None and record.data.fingerprint:
        try:
            training, held_out = split_of(history.config, record, training)
        except GenzooError as e:
            note = one_line(str(e))
    if held_out is not None and len(held_out) >= SAMPLES:
        return training, held_out, note
    if isinstance(source, (str, os.PathLike)):
        return training, open_data(registry, source, of_data, split="test"), note
    return training, held_out if held_out is not None and len(held_out) >= 100 else training, note


def _best_kept(history: History) -> bool:
    """Whether training is over, and `TrainOptions.patience` put the best model in the last one's place."""
    record = history.record
    return bool(history.options().get("train.patience")) and record is not None and 0 < record.of <= record.steps


def _sampled(model: Model, training: Data, held: Data, how: Protocol, progress: bool) -> list[Verdict]:
    """Verdicts on samples and codes."""
    spec, n = held.spec, how.n or SAMPLES
    of_codes = replace(how, n=None, extractor=None)  # of all that is held, and of no samples
    codes = measure(model, held, sample_health.CODE_METRICS, of_codes, strict=False, draws=2)
    collapse = sample_health.posterior_collapse(codes, model, held)
    if why := model.prior.unfitted:
        return [collapse, unknown("mode-collapse", why), unknown("memorization", why)]
    x, _ = draw_samples(model, n, how, progress)
    samples = of(spec).from_storage(spec, x)
    few = min(n, sample_health.JUDGED)
    whole = model.sample(few, seed=how.seed, batch_size=how.batch_size, numbers=True).flatten(1).isfinite().all(1)
    if not whole.all():  # in 8 bits that does not show
        share = 1 - whole.double().mean().item()
        fact = Fact("share of samples that are not finite", share, "none may be", True)
        broken = Verdict("mode-collapse", "problem", "Samples are not finite.", (fact,), because="divergence")
        return [collapse, broken, unknown("memorization", "samples are not finite")]
    mixture = ",modes,high-quality,mode-kl" if held.modes is not None and held.modes.centres else ""
    ready = how.extractor
    if not isinstance(ready, Extractor):
        ready = open_extractor(the_registry(), ready or default_extractor(spec), spec)
    kept = replace(spec, levels=256) if of(spec).pixels else spec  # as pictures are, of binary ones too
    report = measure(
        Data(kept, x, name="the samples", split="all"), held, sample_health.SAMPLE_METRICS + mixture,
        replace(how, n=None, extractor=ready), training=training, strict=False, progress=progress,
        options={"memorization.ratio": sample_health.COPY, "memorization.limit": sample_health.JUDGED},
    )  # fmt: skip
    looked = sample_health.Looked(samples, held, report, ready)
    return [collapse, sample_health.mode_collapse(looked), sample_health.memorization(looked, training)]


def _causes(found: dict[str, Verdict]) -> dict[str, Verdict]:
    """Mark what follows from something else: a problem of its own is what one should cure."""
    wrong = {name for name, verdict in found.items() if verdict.status == "problem"}
    samples, copies = found["mode-collapse"], found["memorization"]
    holds = {
        "": True,
        # The samples have nothing to do with the data: then what they leave out is no news.
        "unreal": any(f.what == "density" and f.value < UNREAL for f in samples.facts),
        # Samples are only near to the data, which those of a few easy things are, and no copies.
        "near": not any(f.wrong for f in copies.facts if not f.what.startswith("chance")),
    }
    for name, cause, when in CAUSES:
        hinted = cause == "under-training" and found[name].status == "hint"  # what is early is no finding of its own
        if cause in wrong and (name in wrong or hinted) and not found[name].because and holds[when]:
            # What follows from too little training could be advised the opposite of its cure.
            remedies = () if cause == "under-training" else found[name].remedies
            found[name] = replace(found[name], because=cause, remedies=remedies)
    if samples.because == "divergence" and "divergence" not in wrong:  # samples that are not finite
        found["divergence"] = Verdict("divergence", "problem", "What the model makes is not finite.", samples.facts)
    return found


def _under_training(history: History, log: Sequence[Mapping[str, float]], title: str) -> Verdict:
    """The verdict on a run's length and learning rate, as far as they are recorded."""
    record, config = history.record, history.config
    steps = max(record.steps if record is not None else 0, int(max((r["step"] for r in log), default=0)))
    of = record.of if record is not None else 0
    lr = (None, None) if config is None else (config.train.lr, _own(config).get("train.lr"))
    run = title if history.folder is not None and checkpoints(history.folder) else ""
    return symptoms.under_training(log, steps=steps, of=of, lr=lr, run=run)


def _own(config: Config) -> dict[str, Any]:
    """What a composition's recipe says by itself; empty if there is no such recipe."""
    try:
        return compose(the_registry(), config.data, config.recipe).flat()
    except GenzooError:
        return {}


def _possible(verdict: Verdict, config: Config) -> tuple[Remedy, ...]:
    """Remedies that exist here, are another thing than what was done, and with numbers in place of shares of them.

    Recipes are of the run's own family; learning rates are the recipe's own where the run had another.
    """
    flat, own = config.flat(), _own(config)
    family = "vae" if "likelihood" in config.parts else "gan"
    entries = the_registry().entries("recipe", modality=config.data.modality, tag=family)
    recipes = {e.name for e in entries} - {config.recipe}
    down = verdict.name in ("divergence", "exploding-gradients")
    left: list[Remedy] = []
    for remedy in verdict.remedies:
        options = {key: _value(key, flat, value, own, down) for key, value in remedy.options if key in flat}
        changed = tuple((key, value) for key, value in options.items() if value not in (None, flat[key]))
        why = "the recipe's own learning rate" if changed == (("train.lr", own.get("train.lr")),) else remedy.why
        if remedy.recipe in recipes | {""} and (changed or not remedy.options):
            left.append(replace(remedy, options=changed, why=why))
    return tuple(left)


def _value(key: str, flat: Mapping[str, Any], wanted: Any, own: Mapping[str, Any], down: bool) -> Any:
    """A value that is advised, in numbers where it is a share of what is; None where there is no such.

    ``down`` says that it must not be more than it is.
    """
    now, usual = flat[key], own.get(key)
    if wanted == "none":
        return None if now is None else wanted
    if not isinstance(wanted, str) or not wanted.startswith("÷"):
        return wanted
    if key == "train.epochs" and flat["train.steps"]:  # they do not count
        return None
    if key == "train.lr" and usual is not None and now != usual:
        lower = not isinstance(now, tuple) and not isinstance(usual, tuple) and now < usual
        if not (lower and down):
            return None if lower else usual
    if not isinstance(now, (int, float)) or not now:
        return None
    value = now / float(wanted[1:])
    return max(int(value), 1) if isinstance(now, int) else float(f"{value:.2g}")


def _with_curves(verdict: Verdict, log: Sequence[Mapping[str, float]]) -> Verdict:
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
