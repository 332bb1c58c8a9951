"""The model card, README.md of every weights folder: for people, and with the metadata that the Hub reads."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genzoo.core.config import Config
from genzoo.core.evaluation.report import Report, Result
from genzoo.core.modality import of
from genzoo.core.record import TrainingRecord
from genzoo.core.text import lines as printable
from genzoo.core.text import markdown, shell
from genzoo.core.units import duration_text

HERE = "path/to/this/folder"
_ARXIV = r"arXiv:(\d{4}\.\d{4,5})"
_NO_METRIC = "latent size"  # a number that a run notes beside its metrics
_EXPLAINED = {
    "held-out loss": "mean per observation of what training minimized, on data it never saw",
    "active units": "dimensions of the code whose posterior mean varies with the data",
}


def card(config: Config, record: TrainingRecord, *, picture: str = "", name: str = "", license: str = "") -> str:
    """Write a model card: Markdown with YAML metadata; equal arguments give equal text.

    ``picture`` is a file of samples beside it, ``name`` what the model is loaded by (``hf:org/name``; else a path is
    asked for), ``license`` that of the weights, as the Hub calls it (``mit``).
    """
    # Not at the top: whoever loads a model imports this file, and writes no card.
    import yaml  # type: ignore[import-untyped]

    from genzoo.core.templates import render

    about = metadata(config, record, license)
    head = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
    if head != printable(head):
        head = yaml.safe_dump(about, sort_keys=False)  # what cannot be printed is escaped
    found = results(record)
    seen = record.seen
    content = {
        "config": config,
        "record": record,
        "kind": of(config.data),
        "title": title(config, record),
        "picture": picture,
        "name": name or HERE,
        "here": HERE,
        "license": license,
        "packages": _packages(config),
        "passes": "" if seen is None else f"{seen / max(record.data.observations, 1):,.3g}",
        "precision": record.called.precision,
        "took": duration_text(record.seconds or 0.0),
        "metrics": Report("", tuple(found)).rows() if found else [],
        "notes": _notes(record, found),
        "untested": not any("memor" in r.metric or "duplicate" in r.metric for r in found),
        "read": [line for line in (record.data.read or {}).get("said", ()) if isinstance(line, str)],
        "linked": _linked,
        "course": _course,
    }
    return f"---\n{head}---\n" + render(Path(__file__).with_name("card.md.j2"), content)


def metadata(config: Config, record: TrainingRecord, license: str = "") -> dict[str, Any]:
    """What the Hub reads: library, license, data, task, tags, and the metrics as ``model-index``."""
    about, data, task = record.about, record.data.name, of(config.data).task
    tags = ["genzoo", config.recipe, config.parts["objective"].name, *about.get("tags", ()), config.data.modality]
    tags += ["class-conditional"] if config.conditional else []
    tags += [f"arxiv:{found}" for found in re.findall(_ARXIV, about.get("paper", ""))]
    groups = []
    for on, measured in _measured(record):
        metrics = [_indexed(result) for result in measured if math.isfinite(result.value)]
        if metrics:
            kind = {"type": task or f"{config.data.modality}-generation"}
            groups.append({"task": kind, "dataset": on, "metrics": metrics})
    found = {
        "library_name": "genzoo",
        "license": license,
        "datasets": [data] if data else [],
        "pipeline_tag": task,
        "tags": list(dict.fromkeys(tags)),
        "model-index": [{"name": title(config, record), "results": groups}] if groups else [],
    }
    return {key: value for key, value in found.items() if value}


def title(config: Config, record: TrainingRecord) -> str:
    """What the model is called: ``wgan-gp on fashion-mnist``; of two stages, by the first one's recipe."""
    first = config.parts["objective"].options.get("first")
    return f"{f'{first} with a fitted prior' if first else config.recipe} on {record.data.name or 'unnamed data'}"


def results(record: TrainingRecord) -> list[Result]:
    """All metrics of a record: those of its evaluation, then the numbers that training ended with."""
    return [result for _, measured in _measured(record) for result in measured]


def _measured(record: TrainingRecord) -> list[tuple[dict[str, str], list[Result]]]:
    """Data and results: of an evaluation, and of training's end, where there are no newer ones."""
    found, name, held = list[tuple[dict[str, str], list[Result]]](), record.data.name or "unnamed", record.data.held_out
    if record.evaluation:
        report = Report.from_dict(record.evaluation)
        data, split = str(report.record.get("data") or name), str(report.record.get("split", "test"))
        found.append(({"type": data, "name": data, "split": split}, list(report.results)))
    known = {_NO_METRIC, *(r.metric for _, measured in found for r in measured)}
    ended = [
        Result(metric, float(value), n_real=held if metric == "held-out loss" else 0, seed=record.seed)
        for metric, value in record.metrics.items()
        if metric not in known and type(value) in (int, float)
    ]
    return [*found, ({"type": name, "name": name, "split": "held-out" if held else "train"}, ended)]


def _packages(config: Config) -> list[str]:
    """Packages that the model's parts come from, genzoo first."""
    made = {part.distribution or "genzoo": part.version for _, part in config.components()}
    extras = ",".join(of(config.data).needs)
    others = (shell(f"{n}=={v}" if v else n) for n, v in made.items() if n != "genzoo")
    return [shell(f"genzoo[{extras}]") if extras else "genzoo", *others]


def _notes(record: TrainingRecord, found: Sequence[Result]) -> list[str]:
    """What is to know of the metrics, a sentence each."""
    notes = [f"*{r.metric}*: {_EXPLAINED[r.metric]}." for r in found if r.metric in _EXPLAINED]
    made = dict.fromkeys(f"{r.interval.level:.0%} ({markdown(r.interval.how)})" for r in found if r.interval.known)
    notes += [f"Intervals: {', '.join(made)}."] if made else []
    judged = _measured(record)[0][0]
    notes += [markdown(f"Evaluated on {judged['name']} ({judged['split']}).")] if record.evaluation else []
    reasons: dict[str, list[str]] = {}
    for missing in (record.evaluation or {}).get("absent", ()):
        reasons.setdefault(markdown(missing["reason"]).rstrip("."), []).append(f"*{markdown(missing['metric'])}*")
    notes += [f"Not measured: {', '.join(names)} ({reason})." for reason, names in reasons.items()]
    if any(r.extractor for r in found):
        notes.append("Numbers made of other features, or from other counts, do not compare.")
    return notes


def _indexed(r: Result) -> dict[str, Any]:
    """A metric as ``model-index`` has it."""
    args: dict[str, Any] = {"n_real": r.n_real or None, "n_fake": r.n_fake or None, "extractor": r.extractor or None}
    if r.interval.known:
        args |= {"low": r.interval.low, "high": r.interval.high, "level": r.interval.level}
    args = {k: v for k, v in args.items() if v is not None}
    found = {
        "type": re.sub(r"[^a-z0-9]+", "-", r.metric.lower()).strip("-"),
        "name": r.title or r.metric,
        "value": int(r.value) if r.value == int(r.value) and abs(r.value) < 1e15 else r.value,
    }
    return {**found, "args": {**args, "seed": r.seed}} if args else found


def _linked(paper: str) -> str:
    return re.sub(_ARXIV, r"[arXiv:\1](https://arxiv.org/abs/\1)", markdown(paper))


def _course(value: float | tuple[float, float], form: str) -> str:
    """A number, or what it goes from and to."""
    return " to ".join(format(v, form) for v in value) if isinstance(value, tuple) else format(value, form)
