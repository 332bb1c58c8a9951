"""Judge a model, or samples of it, by the zoo's metrics."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from genzoo.core.arguments import checked
from genzoo.core.data import Data, Split
from genzoo.core.data.summary import was_read
from genzoo.core.distributed.init import init_runtime
from genzoo.core.errors import GenzooError, UsageError, did_you_mean, in_words
from genzoo.core.evaluation.evidence import Evidence, Extractor, Measured, Metric, as_floats, why_absent
from genzoo.core.evaluation.feature_cache import FeatureCache
from genzoo.core.evaluation.report import Absent, Interval, Report, Result
from genzoo.core.math.intervals import Estimate
from genzoo.core.modality import of
from genzoo.core.notebook import visible
from genzoo.core.options import coerce_all
from genzoo.core.pictures import grids as pictures
from genzoo.core.protocol import Protocol
from genzoo.core.spec import DataSpec
from genzoo.core.storage.files import given_path, write_json
from genzoo.core.storage.strict import regular
from genzoo.registry import Entry, Registry, the_registry
from genzoo.registry.defaults import choose
from genzoo.registry.verbs.data import looks_like_path, meant_of_data
from genzoo.registry.verbs.initialize import pick_device
from genzoo.registry.verbs.sample import check_fits
from genzoo.registry.verbs.subjects import (
    Say,
    among_data,
    draw_samples,
    no_data,
    open_reference,
    open_subject,
    options_of_samples,
    subset,
)

MOST = 10_000  # samples where no number is given
MOST_ABOUT_DATA = ("images", "labels", "conditional", "factors")  # needs that are the data's own affair


@checked
def evaluate(
    subject: Any,
    data: Any,
    metrics: str | Sequence[str] | None = None,
    *,
    n: int | None = None,
    seed: int = 0,
    split: Split | None = None,
    training: Any = None,
    extractor: str | os.PathLike[str] | Extractor | None = None,
    options: Mapping[str, Any] | None = None,
    data_options: Mapping[str, Any] | None = None,
    samples_options: Mapping[str, Any] | None = None,
    noise: bool = False,
    truncation: float | None = None,
    batch_size: int = 256,
    device: str = "auto",
    cache: bool = True,
    strict: bool = True,
    name: str = "",
    progress: bool | None = None,
) -> Report:
    """Measure what a model makes against data, every metric from the same samples and features.

    In processes of one job (torchrun, srun, ``--devices``), all of them sample and extract features, process 0
    measures, and every one gets the report (its pictures only process 0); the numbers are those of one process.

    Args:
        subject: a model; what `genzoo.load` takes; or samples in its place: an ``.npz`` or ``.npy`` file, a folder of
            images, an array or tensor, a pair of those and the labels they were asked to have, or a `Data`.
        data: a `Data`, or what `genzoo.load_data` takes.
        metrics: names, or tags such as ``fidelity``, in a sequence or comma-separated; ``all`` for all that there are.
            None takes those with the tag ``default`` that fit model and data.
        n: samples to draw, and the most observations of the data to use; None takes as many as there are data, up to
            10,000, or what the data's protocol says, and all of samples and data where samples are given.
        seed: of sampling and of every other random choice.
        split: of the data, where it is a name or a path: ``train``, ``test`` or ``all``. None takes ``test`` where the
            data have splits of their own, or the model was trained on them, and otherwise all.
        training: the data that the model was trained on, for memorization, probes and fitted classifiers; None takes
            the train split where ``data`` is a name or a path, and all where all is judged.
        extractor: name of an extractor, an ``.onnx`` or ``.pt2`` file, or an `Extractor`; None takes the one that fits.
        options: of metrics by dotted name: ``{"log-likelihood.samples": 500}``.
        data_options: of the data set by name: ``{"binarize": "static"}``.
        samples_options: of samples in files or arrays, ``{"size": "32", "mode": "grey"}``; by default they are brought
            to the data's colours, and to ``data_options["size"]``.
        noise: draw samples from the likelihood instead of giving its mean.
        truncation: keep codes within ± this many standard deviations.
        batch_size: observations at a time.
        device: where networks run.
        cache: whether to keep features of data on disk, and use those that are there.
        strict: whether a metric that was asked for by its own name and cannot be measured is an error; otherwise it
            is listed in ``absent``, as those of a tag always are.
        name: what to call the subject in the report; default goes by what it is.
        progress: show a bar on stderr; None shows it where somebody can see it, at a terminal or in a notebook.

    Raises:
        UsageError: for a name that does not exist, or a metric named that cannot be measured here; says why.
    """
    how = Protocol(n, seed, split, noise, truncation, extractor, batch_size, device, cache)
    return measure(subject, data, metrics, how, training=training, options=options, data_options=data_options,
                   samples_options=samples_options, strict=strict, name=name, progress=visible(progress))  # fmt: skip


def measure(
    subject: Any,
    data: Any,
    metrics: str | Sequence[str] | None,
    how: Protocol,
    *,
    training: Any = None,
    options: Mapping[str, Any] | None = None,
    data_options: Mapping[str, Any] | None = None,
    samples_options: Mapping[str, Any] | None = None,
    strict: bool = True,
    name: str = "",
    progress: bool = False,
    draws: int | None = None,
    say: Say = lambda data: None,
) -> Report:
    """Do what `evaluate` does, by a protocol; the other arguments are its.

    ``draws`` is how many samples a model makes, against all of the data, where the protocol says no number. ``say`` is
    told what was read of the data, and of samples in files.
    """
    registry = the_registry()
    entries, named = choose(registry, metrics)
    measures = _metrics(registry, entries, options or {})
    runtime = init_runtime(pick_device(how.device))
    where, progress = runtime.device, progress and runtime.first
    opened, trained = open_reference(registry, data, how.split, training, data_options, [subject])
    read, of_samples = [opened], options_of_samples(samples_options, data_options)
    model, given, title = open_subject(subject, opened.spec, where, of_samples, read.append)
    if model is not None:
        check_fits(model, opened.spec)
        if samples_options:
            raise UsageError(f"{title} is a model: samples.{next(iter(samples_options))} is of samples in its place")
    samples = None if given is None else as_floats(given)
    count = _count(how.n or draws, samples, opened)
    chosen = opened if how.n is None and (samples is not None or draws) else subset(opened, count)
    ready = how.extractor if isinstance(how.extractor, Extractor) else None
    if ready is None and (how.extractor is not None or any("features" in e.data["needs"] for e in entries)):
        ready = open_extractor(registry, how.extractor or default_extractor(opened.spec), opened.spec)
    why = "" if ready is not None else "no extractor is needed"

    if given is not None:
        asked, strange = among_data(given.y, given.spec, opened.spec)
    else:
        assert model is not None
        every = torch.arange(model.classes) if model.classes else None
        asked, strange = among_data(every, model.spec, opened.spec)

    def draw() -> tuple[Tensor, Tensor | None]:
        if samples is not None:
            return samples[:count], None if asked is None else asked[:count]
        assert model is not None
        x, y = draw_samples(model, count, how, progress, runtime, like=chosen)
        return x, None if asked is None or y is None else asked[y]

    evidence = Evidence(
        chosen, draw, n_fake=count, model=model, asked=asked is not None, strange=strange,
        training=trained, has_training=trained is not no_data, extractor=ready, why_no_extractor=why,
        cache=FeatureCache() if how.cache else None, seed=how.seed, device=where, batch_size=how.batch_size,
        runtime=runtime,
    )  # fmt: skip
    absent = _absences(entries, measures, evidence, named if strict else set(), everything=metrics is not None)
    for some in read:
        say(some)
    start = time.perf_counter()
    missing = {a.metric for a in absent}
    todo = [(e, m) for e, m in zip(entries, measures, strict=True) if e.name not in missing]

    def judge() -> Report:
        results = []
        bar = tqdm(todo, desc="measuring", unit="metric", disable=not progress, leave=False)
        for entry, metric in bar:
            bar.set_postfix_str(entry.name)
            try:
                results.append(_measured(entry, metric, evidence, opened, how.words()))
            except GenzooError as e:  # what only shows in the numbers costs that metric, not all of them
                if strict and entry.name in named:
                    raise
                absent.append(Absent(entry.name, str(e)))
        record = {
            "data": opened.name or "data",
            "split": opened.split,
            "read": was_read(opened),
            "fingerprint": opened.fingerprint(),
            "real": len(chosen),
            "fake": count,
            "seed": how.seed,
            "extractor": ready.name if ready is not None else "",
            "seconds": round(time.perf_counter() - start, 3),
            "genzoo": version("genzoo"),
            "torch": torch.__version__,
        }
        return Report(name or title, tuple(results), tuple(a for a in absent if a.reason), record)

    if runtime.size == 1:
        return judge()
    reports: list[Report] = []

    def told() -> dict[str, Any]:
        reports.append(judge())
        return reports[0].to_dict()

    with runtime.failing_together():
        evidence.share_out({need for entry, _ in todo for need in entry.data["needs"]})
        plain = runtime.on_rank_zero(told)
    return reports[0] if reports else Report.from_dict(plain)


def _metrics(registry: Registry, entries: Sequence[Entry], given: Mapping[str, Any]) -> list[Metric]:
    """Build metrics with their options."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in given.items():
        metric, dot, option = key.rpartition(".")
        if not dot or metric not in {e.name for e in entries}:
            hint = did_you_mean(metric, {e.name for e in entries}) if metric else meant_of_data(registry, key, value)
            raise UsageError(f"{key!r} is no option of a metric that is measured here: write METRIC.OPTION{hint}")
        groups.setdefault(metric, {})[option] = value
    made = []
    for entry in entries:
        cls = registry.load(entry, Metric)
        chosen = coerce_all(registry.options(entry), groups.get(entry.name, {}), entry.name)
        made.append(cls(cls.Options(**chosen)))  # type: ignore[attr-defined]
    return made


def _count(n: int | None, samples: Tensor | None, data: Data) -> int:
    if n is not None and n < 2:
        raise UsageError(f"the number of samples must be at least 2, not {n}")
    if samples is not None:
        if n is not None and n > len(samples):
            raise UsageError(f"there are {len(samples)} samples, fewer than {n}")
        return n or len(samples)
    if n is not None:
        return n
    if data.modes is not None and data.modes.centres:
        return data.modes.samples
    return max(min(len(data), data.modes.samples if data.modes is not None else MOST), 2)


def default_extractor(spec: DataSpec) -> str:
    """The extractor that fits data and needs nothing that does not ship: one that names the data set, else any."""
    named = (e.address for e in the_registry().entries("extractor") if spec.name in e.data["default_for"])
    return next(named, of(spec).extractor(spec))


def open_extractor(registry: Registry, wanted: str | os.PathLike[str], spec: DataSpec) -> Extractor:
    """Get an extractor ready by its name or its file."""
    text = os.fspath(wanted)
    file = not isinstance(wanted, str) or looks_like_path(text) or text.lower().endswith((".onnx", ".pt2"))
    found: Any = registry.load(registry.get("extractor", "file" if file else text), Extractor)
    ready: Extractor = found.open(spec, Path(text).expanduser()) if file else found.open(spec)
    return ready


def _absences(
    entries: Sequence[Entry], metrics: Sequence[Metric], evidence: Evidence, named: set[str], *, everything: bool
) -> list[Absent]:
    """What cannot be measured, before anything is computed; with an empty reason what nobody would expect."""
    found = []
    for entry, metric in zip(entries, metrics, strict=True):
        fits = entry.fits(evidence.spec.modality, of(evidence.spec).like)
        reason = why_absent(metric, tuple(entry.data["needs"]), evidence)
        if not fits:
            reason = f"it is of {' and '.join(entry.modalities)} data, and this is {evidence.spec.modality} data"
        if not reason:
            continue
        if entry.name in named:
            raise UsageError(f"{entry.name} cannot be measured here: {reason}")
        lacking = {need for need in entry.data["needs"] if need in MOST_ABOUT_DATA and evidence.lacks(need)}
        about_data = bool(lacking - ({"conditional"} if evidence.strange else set()))
        quiet = not everything and (not fits or about_data or metric.niche)
        found.append(Absent(entry.name, "" if quiet else in_words(reason, "data_options")))
    return found


def _measured(entry: Entry, metric: Metric, evidence: Evidence, data: Data, how: Sequence[str]) -> Result:
    """One result, with its protocol."""
    found = metric.measure(evidence)
    measured = found if isinstance(found, Measured) else Measured(found)
    needs = entry.data["needs"]
    own = evidence.extractor if "features" in needs else None
    n_real = (len(evidence.data) if "data" in needs else 0) if measured.n_real is None else measured.n_real
    n_fake = (evidence.n_fake if "samples" in needs else 0) if measured.n_fake is None else measured.n_fake
    words = [f"metric={entry.name}/{metric.version}"]
    words += [f"{k}={v}".replace(" ", "") for k, v in metric.options.__dict__.items() if k not in metric.silent]
    words += [f"extractor={own.name}@{own.sha256()[:12]}"] if own is not None else []
    words += [f"data={(data.name or 'data').replace(' ', '_')}:{data.split}@{data.fingerprint()[:12]}"]
    words += [f"real={n_real}"] if n_real else []
    words += [f"fake={n_fake}", *how] if n_fake else []
    words += ["pixels=8bit"] if n_fake and of(data.spec).pixels else []
    return Result(
        entry.name, measured.estimate.value, _interval(measured.estimate, measured.why, metric.covers),
        n_real, n_fake, evidence.seed,
        metric.title(evidence), own.name if own is not None else "", own.sha256() if own is not None else "",
        entry.data["unit"], entry.data["direction"], " ".join(words), measured.details, measured.pictures,
    )  # fmt: skip


def _interval(e: Estimate, why: str, covers: str) -> Interval:
    if e.low != e.low or e.high != e.high:  # NaN: none was made
        return Interval(how=why or e.interval or "none was asked for", level=e.confidence)
    return Interval(e.low, e.high, e.confidence, e.interval, covers)


def report_path(out: str | os.PathLike[str]) -> Path:
    """Where a report can be written; refuses anything but a ``.json`` file and a folder."""
    path = given_path(out)
    if path.suffix.lower() != ".json" and not path.is_dir() and (path.suffix or path.exists()):
        raise UsageError(f"a report is written to a .json file or a folder, not to {path.name!r}")
    return path


def save_report(report: Report, out: str | os.PathLike[str]) -> Path:
    """Write a report: ``report.json`` and the pictures of its results to a folder, or JSON alone to a .json file."""
    path = report_path(out)
    if path.suffix.lower() == ".json":
        write_json(path, report.to_dict())
        return path
    path.mkdir(parents=True, exist_ok=True)
    for result in report:
        for name, x in result.pictures.items():
            columns = len(x) // 2 if len(x) > 1 and len(x) % 2 == 0 else len(x)
            pictures.save(pictures.grid(x, columns), path / f"{result.metric}-{name}.png")
    write_json(path / "report.json", report.to_dict())
    return path


def read_report(path: str | os.PathLike[str]) -> Report:
    """Read what `save_report` wrote: a ``.json`` file, or the folder with one; raises `GenzooError`."""
    file = given_path(path)
    file = file / "report.json" if file.is_dir() else file
    try:
        return Report.from_dict(json.loads(regular(file).read_bytes()))
    except OSError as e:
        raise GenzooError(f"cannot read {file}: {(e.strerror or str(e)).lower()}") from None
    except (ValueError, UsageError):
        raise GenzooError(f"{file} is no report of an evaluation") from None
