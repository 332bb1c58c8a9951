"""The model card, README.md of every weights folder: for people, and with the metadata that the Hub reads."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]

from genzoo.core.config import Config
from genzoo.core.evaluation.report import Report, Result
from genzoo.core.modality import of
from genzoo.core.record import TrainingRecord
from genzoo.core.text import code, markdown, python, shell
from genzoo.core.text import lines as printable

HERE = "path/to/this/folder"
_NO_METRIC = "latent size"  # a number that a run notes beside its metrics
_EXPLAINED = {
    "held-out loss": "mean per observation of what training minimized, on data it never saw",
    "active units": "dimensions of the code whose posterior mean varies with the data",
}


def card(config: Config, record: TrainingRecord, *, picture: str = "", name: str = "", license: str = "") -> str:
    """Write a model card.

    Args:
        config: what was built, and how it was trained.
        record: of the run, see `genzoo.core.record`.
        picture: file name of the samples beside the card, or "".
        name: what the model is loaded by, such as ``hf:org/name``; by default a path is asked for.
        license: of the weights, as the Hub calls it (``mit``).

    Returns:
        Markdown with YAML metadata; equal arguments give equal text.
    """
    sections = [
        _title(config, record, picture),
        _use(config, name or HERE, record),
        _training(config, record),
        _metrics(record),
        _limits(config, record),
        _rights(record, license),
        _citation(config, record),
    ]
    about = metadata(config, record, license)
    head = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
    if head != printable(head):
        head = yaml.safe_dump(about, sort_keys=False)  # what cannot be printed is escaped
    return f"---\n{head}---\n" + "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def metadata(config: Config, record: TrainingRecord, license: str = "") -> dict[str, Any]:
    """What the Hub reads: library, license, data, task, tags, and the metrics as ``model-index``."""
    about, data = record.about, record.data.name
    task = of(config.data).task
    tags = ["genzoo", config.recipe, config.parts["objective"].name, *about.get("tags", ()), config.data.modality]
    tags += ["class-conditional"] if config.conditional else []
    tags += [f"arxiv:{found}" for found in _arxiv(about.get("paper", ""))]
    found: dict[str, Any] = {"library_name": "genzoo"}
    if license:
        found["license"] = license
    if data:
        found["datasets"] = [data]
    if task:
        found["pipeline_tag"] = task
    found["tags"] = list(dict.fromkeys(tags))
    groups = []
    for on, measured in (_evaluated(record), _at_the_end(record)):
        metrics = [_indexed(result) for result in measured if math.isfinite(result.value)]
        if metrics:
            kind = {"type": task or f"{config.data.modality}-generation"}
            groups.append({"task": kind, "dataset": on, "metrics": metrics})
    if groups:
        found["model-index"] = [{"name": title(config, record), "results": groups}]
    return found


def title(config: Config, record: TrainingRecord) -> str:
    """What the model is called: ``wgan-gp on fashion-mnist``."""
    return f"{config.recipe} on {record.data.name or 'unnamed data'}"


def results(record: TrainingRecord) -> list[Result]:
    """All metrics of a record: those of its evaluation, then the numbers that training ended with."""
    return [*_evaluated(record)[1], *_at_the_end(record)[1]]


def _evaluated(record: TrainingRecord) -> tuple[dict[str, str], list[Result]]:
    """Data and results of an evaluation."""
    if not record.evaluation:
        return {}, []
    report = Report.from_dict(record.evaluation)
    data = str(report.record.get("data") or record.data.name or "unnamed")
    return {"type": data, "name": data, "split": str(report.record.get("split", "test"))}, list(report.results)


def _at_the_end(record: TrainingRecord) -> tuple[dict[str, str], list[Result]]:
    """Data and results of training's end, where there are no newer ones."""
    data, known, found = record.data.name or "unnamed", {r.metric for r in _evaluated(record)[1]}, list[Result]()
    for name, value in record.metrics.items():
        if name in {_NO_METRIC, *known} or isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        n = record.data.held_out if name == "held-out loss" else 0
        found.append(Result(name, float(value), n_real=n, seed=record.seed))
    split = "held-out" if record.data.held_out else "train"
    return {"type": data, "name": data, "split": split}, found


def _title(config: Config, record: TrainingRecord, picture: str) -> list[str]:
    about = record.about
    conditional = f", conditioned on one of {config.classes} classes" if config.conditional else ""
    lines = [f"# {markdown(title(config, record))}", ""]
    if picture:
        made = "Samples" if picture.endswith(".png") else "[Samples]"
        order = "; one column per class" if 2 <= config.classes <= 16 else ""
        lines += [f"![{made} from seed 0]({picture})" if made == "Samples" else f"{made}({picture}) from seed 0.", ""]
        lines += [f"*Samples from seed 0, not selected{order}.*", ""]
    summary = markdown(about.get("summary", ""))
    lines += [f"**{summary[0].upper()}{summary[1:].rstrip('.')}.**", ""] if summary else []
    lines += [
        f"A generative model of {markdown(of(config.data).describe(config.data))}{conditional}, made with "
        "[genzoo](https://pypi.org/project/genzoo/): "
        f"{', '.join(f'{kind} {code(part.name)}' for kind, part in config.components() if kind != 'critic')}, "
        f"codes of {config.latent.text} numbers"
        + (f", {record.parameters:,} parameters" if record.parameters else "")
        + "."
    ]
    if config.classes and config.data.class_names:
        names = [f"{i} {markdown(word)}" for i, word in enumerate(config.data.class_names)]
        lines += ["", f"Labels: {', '.join(names)}."] if len(names) <= 40 else []
    return lines


def _use(config: Config, name: str, record: TrainingRecord) -> list[str]:
    kind = of(config.data)
    made = kind.many if kind.renders and kind.many.isidentifier() else "samples"
    shape = ", ".join(map(str, config.data.shape))
    space = " in [{:g}, {:g}]".format(*kind.bounds) if kind.bounds else " in the data's units"
    script = [
        "import genzoo",
        "",
        f"model = genzoo.load({python(name)})",
        f"{made} = model.sample(64, seed=0)  # (64, {shape}){space}",
    ]
    if config.conditional:
        script += [f"of_one_class = model.sample(64, labels={config.classes - 1})"]
    data, where = record.data.name or "DATA", ""
    if "encoder" in config.parts:
        given = ", test.y[:8]" if config.conditional else ""
        script += [
            f'test = genzoo.load_data({python(data)}, split="test")',
            f"codes = model.encode(test.x[:8]{given})  # (8, {', '.join(map(str, config.latent.shape))})",
            f"again = model.reconstruct(test.x[:8]{given})",
        ]
        where = f" --data {shell(data)}"
    commands = [f"$ genzoo sample {shell(name)} -n {min(kind.preview, 1000)} "
             f"--out samples.{'npz' if kind.undrawn(config.data, 1) else 'png'}"]  # fmt: skip
    if where and kind.renders:
        commands += [f"$ genzoo reconstruct {shell(name)}{where} --out reconstructions.png"]
    install = f"$ pip install {' '.join(_packages(config))}"
    note = f"`{HERE}` is where this card lies."
    if name != HERE:
        note = f"With a tag or a commit, {code(f'{name}@TAG')}, it is one version for ever."
    note += " Loading runs no code from here: the weights are safetensors, and the networks are built from names in"
    shown = ["```console", install, *commands, "```", "", "```python", *script, "```"]
    return ["## Use", "", *shown, "", f"{note} genzoo's registry."]


def _packages(config: Config) -> list[str]:
    """Packages that the model's parts come from, genzoo first."""
    made = {part.distribution or "genzoo": part.version for _, part in config.components()}
    return ["genzoo", *(shell(f"{n}=={v}" if v else n) for n, v in made.items() if n != "genzoo")]


def _training(config: Config, record: TrainingRecord) -> list[str]:
    about, data, train = record.about, record.data, config.train
    held = f", {data.held_out:,} held out" if data.held_out else ""
    fingerprint = f", sha256 of the observations `{data.fingerprint[:16]}…`" if data.fingerprint else ""
    paper = f" ({_linked(about['data paper'])})" if about.get("data paper") else ""
    passes = f" ({(record.seen or 0) / max(data.observations, 1):,.3g} passes over the data)"
    passes = "" if record.seen is None else passes
    machine = record.hardware
    called, method = record.called, config.parts["objective"].name
    rows = [
        ("data", f"{markdown(data.name or 'unnamed')}{paper}: "
         f"{data.observations:,} observations{held}{fingerprint}"),
        ("method", code(method) + (f", {_linked(about['paper'])}" if about.get("paper") else "")),
        ("steps", f"{record.steps:,}" + (f" of {record.of:,}" if record.of != record.steps else "")
         + f" with batches of {train.batch_size}{passes}"),
        ("optimizer", f"{train.optimizer}, learning rate {_course(train.lr, 'g')}, {train.schedule}"
         + (f", moving average with a half-life of {_course(train.average, ',.0f')} observations"
            if train.average else "")),
        ("seed", str(record.seed)),
        ("precision", markdown(called.precision)),
        ("took", f"{_duration(record.seconds or 0)} on {markdown(_machine(machine))}"),
        ("versions", markdown((f"genzoo {config.parts['objective'].version or '?'}, "
                               if config.parts["objective"].distribution in ("", "genzoo") else "")
                              + f"torch {machine.get('torch', '?')}, Python {record.python or '?'}")),
    ]  # fmt: skip
    lines = ["## How it was trained", "", "| | |", "| --- | --- |", *(f"| {key} | {value} |" for key, value in rows)]
    command = about.get("command")
    if command:
        lines += ["", "The same again:", "", "```console", *_wrapped(command), "```"]
    return [*lines, "", "Every option by value is in `config.json`, the loss curves are in `training.json`."]


def _metrics(record: TrainingRecord) -> list[str]:
    found = results(record)
    if not found:
        return []
    lines = ["## Metrics", "", "| metric | value | interval | on |", "| --- | --- | --- | --- |"]
    for name, value, ends, unit, on in Report("", tuple(found)).rows():
        number = f"{value} {markdown(unit)}".rstrip()
        lines.append(f"| {markdown(name)} | {number} | {ends} | {markdown(on or '–')} |")
    notes = [f"*{r.metric}*: {_EXPLAINED[r.metric]}." for r in found if r.metric in _EXPLAINED]
    made = dict.fromkeys(f"{r.interval.level:.0%} ({markdown(r.interval.how)})" for r in found if r.interval.known)
    notes += [f"Intervals: {', '.join(made)}."] if made else []
    judged = _evaluated(record)[0]
    notes += [markdown(f"Evaluated on {judged['name']} ({judged['split']}).")] if judged else []
    reasons: dict[str, list[str]] = {}
    for missing in (record.evaluation or {}).get("absent", ()):
        reasons.setdefault(markdown(missing["reason"]).rstrip("."), []).append(f"*{markdown(missing['metric'])}*")
    notes += [f"Not measured: {', '.join(names)} ({reason})." for reason, names in reasons.items()]
    if any(r.extractor for r in found):
        notes.append("Numbers made of other features, or from other counts, do not compare.")
    return lines + (["", " ".join(notes)] if notes else [])


def _limits(config: Config, record: TrainingRecord) -> list[str]:
    data = markdown(record.data.name or "its training data")
    points = [f"It knows nothing but {data}: what is rare or one-sided there is so in its samples, or missing."]
    if "likelihood" in config.parts:
        points.append("Its samples are means of a likelihood, smoother than data; `--noise` draws from it instead.")
    else:
        points.append("It gives no likelihood, and a generator like this may leave out parts of the data's variety "
                      "(mode collapse): the metrics say how far that was looked for.")  # fmt: skip
    tested = {r.metric for r in results(record)}
    if not any("memor" in name or "duplicate" in name for name in tested):
        points.append("Whether it repeats observations of its training data was not tested.")
    if record.steps < record.of:
        points.append(f"This is its state after {record.steps:,} of {record.of:,} steps.")
    return ["## Limits", "", *(f"- {point}" for point in points)]


def _rights(record: TrainingRecord, license: str) -> list[str]:
    data = record.data
    lines = [f"- weights: {markdown(license)}"] if license else []
    if data.name or data.license:
        lines.append(f"- data ({markdown(data.name or 'unnamed')}): {markdown(data.license or 'unknown')}")
    return ["## License", "", *lines] if lines else []


def _citation(config: Config, record: TrainingRecord) -> list[str]:
    about = record.about
    method = code(config.parts["objective"].name)
    lines = [f"- the method, {method}: {_linked(about['paper'])}"] if about.get("paper") else []
    if about.get("data paper"):
        lines.append(f"- the data, {markdown(record.data.name)}: {_linked(about['data paper'])}")
    return ["## Citation", "", "If you use this model, please cite", "", *lines] if lines else []


def _indexed(r: Result) -> dict[str, Any]:
    """A metric as ``model-index`` has it."""
    args: dict[str, Any] = {"n_real": r.n_real or None, "n_fake": r.n_fake or None, "extractor": r.extractor or None}
    if r.interval.known:
        args |= {"low": r.interval.low, "high": r.interval.high, "level": r.interval.level}
    value = int(r.value) if r.value == int(r.value) and abs(r.value) < 1e15 else r.value
    found = {
        "type": re.sub(r"[^a-z0-9]+", "-", r.metric.lower()).strip("-"),
        "name": r.title or r.metric,
        "value": value,
    }
    args = {k: v for k, v in args.items() if v is not None}
    return {**found, "args": {**args, "seed": r.seed}} if args else found


def _arxiv(text: str) -> list[str]:
    return re.findall(r"arXiv:(\d{4}\.\d{4,5})", text)


def _linked(paper: str) -> str:
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", markdown(paper))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _machine(machine: Mapping[str, Any]) -> str:
    name = f"{machine.get('device', 'cpu')} ({machine.get('name', '?')})"
    return name if machine.get("device") == "cuda" else f"{name}, {machine.get('threads', '?')} threads"


def _wrapped(command: Sequence[str], width: int = 100) -> list[str]:
    """A command over several lines, as a shell takes it: no line is broken within an option and its value."""
    pieces, lines = list[str](), list[str]()
    for number, word in enumerate(command):
        value = number and command[number - 1].startswith("-") and not word.startswith("-")
        if value:
            pieces[-1] += f" {shell(word)}"
        else:
            pieces.append(shell(word))
    line = "$"
    for piece in pieces:
        if len(line) + len(piece) + 1 > width - 2:
            lines.append(f"{line} \\")
            line = "   "
        line += f" {piece}"
    return [*lines, line]


def _course(value: float | tuple[float, float], form: str) -> str:
    """A number, or what it goes from and to."""
    return " to ".join(format(v, form) for v in value) if isinstance(value, tuple) else format(value, form)
