"""Whether weights are what they say they are: files, config, tensors, what they make, and what their card claims."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from genzoo.core.arguments import checked
from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.report import Report, Result, differences
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.notebook import visible
from genzoo.core.record import TrainingRecord, read_record
from genzoo.core.storage import fingerprint
from genzoo.core.storage.card import results
from genzoo.core.storage.files import MANIFEST
from genzoo.core.storage.load_model import load_model
from genzoo.core.storage.strict import check_options, one_line
from genzoo.core.storage.weights import TENSORS, TensorFile, read_config
from genzoo.core.training.observers import final_metrics
from genzoo.core.training.runs import checkpoints, from_newest, verified
from genzoo.core.training.trainer import Trainer
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import resolver
from genzoo.registry.verbs.evaluate import evaluate
from genzoo.registry.verbs.fit import _split
from genzoo.registry.verbs.initialize import initialize, pick_device
from genzoo.registry.verbs.load import load_data
from genzoo.registry.weights import Located, resolve
from genzoo.registry.weights.base import RECORD, check

Verdict = Literal["good", "bad", "unknown"]
Rule = Literal["inside", "overlap"]
# Numbers without an interval may differ by this share: of the same weights by rounding, of new ones by training.
SLACK: Mapping[str, float] = {"inside": 0.002, "overlap": 0.05}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, in words, and what else is known of it as plain data.

    It is ``unknown`` where nothing was recorded, or it could not be looked at for a reason that says nothing against
    the weights.
    """

    name: str
    verdict: Verdict
    detail: str
    found: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"check": self.name, "verdict": self.verdict, "detail": self.detail, **self.found}


@dataclass(frozen=True)
class Verification:
    """All that was looked at, in order, in the weights of a name that are in a folder."""

    weights: str
    folder: Path
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(c.verdict != "bad" for c in self.checks)

    def __getitem__(self, name: str) -> Check:
        """A check by its name; raises KeyError if there was none."""
        return {c.name: c for c in self.checks}[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        checks = [c.to_dict() for c in self.checks]
        return {"weights": self.weights, "folder": str(self.folder), "ok": self.ok, "checks": checks}


@dataclass(frozen=True)
class Remeasured:
    """One metric of a card beside the number that was measured now."""

    metric: str
    recorded: Result
    now: Result | None  # None if it could not be measured
    agrees: bool | None  # not if there is nothing to compare with; None if nobody could tell
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        found = {"metric": self.metric, "agrees": self.agrees, "why": self.why, "recorded": self.recorded.to_dict()}
        return {**found, "now": None if self.now is None else self.now.to_dict()}


@checked
def verify(
    weights: str | os.PathLike[str],
    *,
    metrics: bool = False,
    data: bool = False,
    source: Any = None,
    endpoint: str | None = None,
    device: str = "cpu",
    progress: bool | None = None,
    on_check: Callable[[Check], None] | None = None,
) -> Verification:
    """Check weights thoroughly: everything is hashed and looked at again, whatever is remembered of it.

    Args:
        weights: what `genzoo.load` takes.
        metrics: measure again what their card states, and compare with its intervals.
        data: see whether the data here is what they were trained on.
        source: where that data is, if it is no data set of the zoo: anything that `genzoo.load_data` takes.
        endpoint: the Hub's address.
        device: where networks run.
        progress: show a bar on stderr; None shows it where somebody sees it (terminal, notebook).
        on_check: told of each check when it is done.

    Returns:
        One `Check` for ``files``, ``config``, ``versions``, ``tensors``, ``samples``, ``reconstructions`` (of a model
        with an encoder), ``data`` and each metric. After one that is bad, what rests on it is not looked at.

    Raises:
        GenzooError: if there are no such weights, or they cannot be had.
    """
    found = resolve(weights, endpoint=endpoint, progress=visible(progress))
    if not (found.folder / MANIFEST).exists() and checkpoints(found.folder):  # a run that was not finished
        found = replace(found, folder=from_newest(found.folder, verified)[0], origin="checkpoint")
    checks = list[Check]()
    for done in _checks(found, metrics, data, source, device, visible(progress)):
        checks.append(done)
        if on_check is not None:
            on_check(done)
    return Verification(os.fspath(weights), found.folder, tuple(checks))


def _checks(found: Located, metrics: bool, data: bool, source: Any, device: str, progress: bool) -> Iterator[Check]:
    """The checks one after the other, to the end or to the first that the rest needs."""
    where = pick_device(device)  # a mistake in it is none of the weights'
    name = "files"
    try:
        yield _files(found)
        name = "config"
        config = read_config(found.folder, within=found.within)
        yield _config(config)
        if others := version_differences(config):  # no fault, but worth knowing
            yield Check("versions", "unknown", f"not the versions that made it: {'; '.join(others)}")
        name = "tensors"
        model = load_model(found.folder, resolver(the_registry(), config), within=found.within)
        yield _tensors(found)
        name = "record"
        record = read_record(found.folder, found.within)
        name = "samples"
        yield from _fingerprint(model.to(where), record)
    except GenzooError as e:
        yield Check(name, "bad", str(e))
        return
    if record is None:
        for name, asked in {"data": data, "metrics": metrics}.items():
            if asked:
                yield Check(name, "unknown", f"it has no {RECORD} that would say")
        return
    if data:
        yield _data(config, record, source)
    if metrics:
        verdicts: dict[bool | None, Verdict] = {None: "unknown", True: "good", False: "bad"}
        one: Remeasured | None = None
        for one in measure_again(model, config, record, rule="inside", source=source, device=device, progress=progress):
            yield Check(one.metric, verdicts[one.agrees], one.why, {"comparison": one.to_dict()})
        if one is None:
            yield Check("metrics", "unknown", "its record states none")


def _files(found: Located) -> Check:
    if found.origin == "checkpoint":  # every file of it was hashed when it was found
        return Check("files", "good", f"{found.folder.name} of a run that was not finished: each is its manifest's")
    files = check(found.folder, found.within, trust=False)
    size = sum(f["size"] for f in files.values())
    what = f"{len(files)} files, {size:,} bytes, from {found.origin}: each has the sha256 of the manifest"
    return Check("files", "good", what, {"files": files, "commit": found.commit})


def _config(config: Config) -> Check:
    find = resolver(the_registry(), config)
    for kind, part in config.components():
        check_options(find(kind, part.name), part.options, kind)
    shape = "×".join(map(str, config.data.shape))
    parts = ", ".join(f"{kind} {part.name}" for kind, part in config.components() if kind != "critic")
    conditional = f", {config.classes} classes" if config.conditional else ""
    what = f"{config.recipe}: {parts}; {config.data.modality} {shape}{conditional}, codes of {config.latent.text}"
    return Check("config", "good", f"{what}; every option is one that its part has")


def version_differences(config: Config) -> list[str]:
    """Where what is installed is another version than what a config says: ``genzoo 2.0 here, 1.0 then``."""
    found = dict[str, None]()
    for kind, part in config.components():
        here = the_registry().get(kind, part.name, prefer=(part.plugin, part.distribution))
        if part.version and here.version != part.version:
            found[f"{here.distribution} {here.version} here, {part.version} then"] = None
    return list(found)


def _tensors(found: Located) -> Check:
    with TensorFile(found.folder / TENSORS, found.within) as file:
        file.check_numbers()
        kinds = sorted({info.dtype for info in file.infos.values()})
        count, numbers = len(file.infos), sum(info.numel for info in file.infos.values())
    text = f"{count} tensors, {numbers:,} numbers ({', '.join(kinds)}), all finite: names and shapes are the networks'"
    return Check("tensors", "good", text)


def _fingerprint(model: Model, record: TrainingRecord | None) -> Iterator[Check]:
    recorded = None if record is None else record.fingerprint
    if recorded is None:
        yield Check("samples", "unknown", "no fingerprint was recorded when these weights were written")
        return
    compared = fingerprint.compare(recorded, model)
    then, now = recorded.get("made on"), fingerprint.hardware(model.device)
    before = then if isinstance(then, dict) else now
    others = one_line(", ".join(f"{k} {now[k]}, not {before.get(k)}" for k in now if before.get(k) != now[k]), 200)
    given = "of those samples" if recorded["version"] == 1 else "of random numbers"
    for one in compared:
        about = f"{recorded['n']} from seed {recorded['seed']}" if one.what == "samples" else given
        text = f"{one.verdict} as recorded ({about})"
        if one.verdict != "same bytes":
            text = f"{one.verdict} ({about}): {one.distance:.2g} apart in model space, where {fingerprint.NEAR:g} is "
            text += f"allowed{f'; here {others}' if others else ''}"
        if one.verdict == "different":
            text += ": these are not the weights that the record is of"
        verdict: Verdict = "bad" if one.verdict == "different" else "good"
        yield Check(one.what, verdict, text, {"comparison": one.verdict, "distance": one.distance})


def _data(config: Config, record: TrainingRecord, source: Any) -> Check:
    try:
        train, held_out = split_of(config, record, source)
    except GenzooError as e:
        return Check("data", "bad", str(e))  # that it is asked for and not here is no success either
    held = f", {len(held_out):,} held out" if held_out is not None else ""
    return Check("data", "good", f"{record.data.name}: the same {len(train):,} observations{held}, by sha256")


def source_of(record: TrainingRecord, source: Any = None, given_by: str = "--source") -> Any:
    """What to open: what was given, or a record's data set; raises `UsageError`, with the option, if none is here."""
    if source is not None:
        return source
    name, said = record.data.name, record.called.source or record.data.name
    if said.rpartition(":")[2] not in {e.name for e in the_registry().entries("dataset")}:
        what = f"{name!r}, which is no data set of the zoo or its plugins here" if name else "data without a name"
        raise UsageError(f"it was trained on {what}: say where that is with {given_by}, or install its plugin")
    return said


def split_of(
    config: Config, record: TrainingRecord, source: Any = None, seen: bool = False
) -> tuple[Data, Data | None]:
    """What a model was trained on, and what was held out, as training saw it if ``seen``; GenzooError if not here."""
    if config.train.private:
        raise GenzooError("it was trained with differential privacy: no hash of its rows was kept to tell them by, and "
                          "what uses them once more is not covered by its ε")  # fmt: skip
    data, said, differs = load_data(source_of(record, source), options=dict(record.called.data)), record.data, ""
    train, held_out = _split(of(data.spec).recast(data, (config.data.modality,)) if seen else data, config, record.seed)
    if len(train) != said.observations:
        differs = f"{len(train):,} observations, not {said.observations:,}"
    elif train.fingerprint() != said.fingerprint:
        differs = f"fingerprint {train.fingerprint()[:12]}…, not {said.fingerprint[:12]}…"
    if differs:
        raise GenzooError(f"this is not the data that it was trained on: {differs}")
    return train, held_out


def measure_again(
    model: Model,
    config: Config,
    record: TrainingRecord,
    *,
    rule: Rule,
    source: Any = None,
    device: str = "auto",
    progress: bool | None = None,
) -> Iterator[Remeasured]:
    """Measure every metric of a record again on a model, by the protocol it was measured by, and compare.

    By rule ``inside`` the number must lie in the recorded interval (the same weights), by ``overlap`` both intervals
    must have a point in common (a training that was repeated).
    """
    report = Report.from_dict(record.evaluation) if record.evaluation else Report("")
    known = {e.name for e in the_registry().entries("metric")}
    groups: dict[tuple[Any, ...], list[Result]] = {}  # those that were measured alike are measured together
    for result in report:
        if result.metric not in known:
            yield Remeasured(result.metric, result, None, False, "not measured: no plugin here has this metric")
            continue
        words = dict(w.partition("=")[::2] for w in result.protocol.split())
        how = (result.seed, words.get("draw") == "noise", words.get("truncation"))
        groups.setdefault(how, []).append(result)
    for (seed, noise, truncation), members in groups.items():
        missing, why = {}, ""
        again: Mapping[str, Result] = {}
        try:
            found = _evaluated(model, record, report.record, members, source, seed=seed, noise=noise,
                               truncation=truncation, device=device, progress=progress)  # fmt: skip
            again, missing = {r.metric: r for r in found}, {a.metric: a.reason for a in found.absent}
        except (GenzooError, ValueError) as e:
            why = str(e)
        for result in members:
            if result.metric in again:
                yield compared(result, again[result.metric], rule)
            else:
                reason = f"not measured: {why or missing.get(result.metric, 'unknown')}"
                yield Remeasured(result.metric, result, None, False, reason)
    evaluated = {r.metric for r in report}
    stated = [r for r in results(record) if r.metric not in evaluated]
    now, why = _at_the_end(model, config, record, source) if stated else ({}, "")
    for result in stated:
        if result.metric in now:
            yield compared(result, replace(result, value=now[result.metric]), rule)
        else:
            agrees = False if why.startswith("not measured") else None
            yield Remeasured(result.metric, result, None, agrees, why or "it is nothing that can be measured again")


def compared(recorded: Result, now: Result, rule: Rule) -> Remeasured:
    """Say whether two numbers of one metric agree."""
    if recorded.protocol != now.protocol:
        why = f"measured by another protocol: {differences(recorded.protocol, now.protocol)}"
        return Remeasured(recorded.metric, recorded, now, False, why)
    why = f"{now.text()}, recorded {recorded.text()}"
    a, b = recorded.interval, now.interval
    low, high = (b.low, b.high) if rule == "overlap" else (now.value, now.value)
    if a.low is None or a.high is None or low is None or high is None:
        good = _close(now.value, recorded.value, SLACK[rule])
        if recorded.metric == "active units":  # one more or less is a matter of rounding
            good = good or abs(now.value - recorded.value) <= 1
        why += f"; may differ by {SLACK[rule]:.1%}"
    else:
        good = (a.low <= high and low <= a.high) or _close(now.value, recorded.value, 1e-6)
        why += "" if good else ": outside" if rule == "inside" else ": apart"
    return Remeasured(recorded.metric, recorded, now, good, why)


def _close(a: float, b: float, share: float) -> bool:
    return math.isclose(a, b, rel_tol=share) or (math.isnan(a) and math.isnan(b))


def _evaluated(
    model: Model, record: TrainingRecord, about: Mapping[str, Any], members: list[Result], source: Any, *,
    truncation: str | None, **how: Any,
) -> Report:  # fmt: skip
    """Measure what was measured alike, by its protocol, on the data of then."""
    registry, options = the_registry(), dict[str, str]()
    for result in members:
        names = {o.name for o in registry.options(registry.get("metric", result.metric))}
        words = (word.partition("=") for word in result.protocol.split())
        options |= {f"{result.metric}.{key}": value for key, _, value in words if key in names}
    data, trained_on = _reference(record, about, source), source_of(record, source)
    n = max((int(about.get(k) or 0) for k in ("fake", "real")), default=0)
    return evaluate(
        model, data, [r.metric for r in members], n=n or None, split=data.split,  # type: ignore[arg-type]
        training=trained_on if isinstance(trained_on, (str, os.PathLike)) else data,
        extractor=str(about.get("extractor") or "") or None, options=options,
        truncation=None if truncation is None else float(truncation), strict=False, **how,
    )  # fmt: skip


def _reference(record: TrainingRecord, about: Mapping[str, Any], source: Any) -> Data:
    """The data of an evaluation: with the options of training if that gives what it was, else with none."""
    name, split = about.get("data"), about.get("split", "test")
    where: Any = source_of(record, source) if source is not None or name == record.data.name else name
    options = dict(record.called.data)
    data = load_data(where, split=split, options=options)
    if options and data.fingerprint() != about.get("fingerprint"):
        with_none = load_data(where, split=split)
        data = with_none if with_none.fingerprint() == about.get("fingerprint") else data
    return data


def _at_the_end(model: Model, config: Config, record: TrainingRecord, source: Any) -> tuple[dict[str, float], str]:
    """What training noted at its end: held-out loss and active units; and why there is nothing, if so."""
    try:
        train, held_out = split_of(config, record, source, True)
        objective, nets = initialize(config, record.seed)
        nets.model.load_state_dict(model.state_dict())
        options = replace(config.train, average=0.0)
        trainer = Trainer(objective, nets, train, options, held_out=held_out, seed=record.seed)
        if nets.critics:
            return {}, "it takes critics to measure it, which weights do not keep"
        trainer.step = 1
        found = {"held-out loss": trainer.validate(), **final_metrics(trainer)}
    except GenzooError as e:
        return {}, f"not measured: {e}"
    return {k: float(v) for k, v in found.items() if v is not None}, ""
