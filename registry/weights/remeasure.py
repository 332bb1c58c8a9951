"""Metrics that a card states, measured again, and whether both numbers agree."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from genzoo.core.config import Config
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.report import Report, Result, differences
from genzoo.core.record import TrainingRecord
from genzoo.core.storage.card import results
from genzoo.registry import the_registry

if TYPE_CHECKING:
    from genzoo.core.data import Data
    from genzoo.core.model import Model

Rule = Literal["inside", "overlap"]
# Numbers without an interval may differ by this share: of the same weights by rounding, of new ones by training.
SLACK: Mapping[str, float] = {"inside": 0.002, "overlap": 0.05}


@dataclass(frozen=True)
class Remeasured:
    """One metric of a card beside the number that was measured now.

    Attributes:
        metric: its name.
        recorded: what the card says.
        now: what was measured, None if it could not be.
        agrees: whether they agree, which they do not if there is nothing to compare with; None if nobody could tell.
        why: in words.
    """

    metric: str
    recorded: Result
    now: Result | None
    agrees: bool | None
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        found = {"metric": self.metric, "agrees": self.agrees, "why": self.why, "recorded": self.recorded.to_dict()}
        return {**found, "now": None if self.now is None else self.now.to_dict()}


def training_data(record: TrainingRecord, source: Any = None) -> Data:
    """Open the data that a record says a model was trained on, all of its training split.

    Args:
        record: of the run.
        source: where it is, if it is no data set of the zoo; anything that `genzoo.load_data` takes.

    Raises:
        GenzooError: if it is not here, or needs to be named.
    """
    from genzoo.registry.verbs.load import load_data

    options = dict(record.called.data)
    return load_data(source_of(record, source), options=options)


def source_of(record: TrainingRecord, source: Any = None) -> Any:
    """What to open: what was given, or the data set that a record names.

    Raises:
        GenzooError: if there is none of that name; says what to give.
    """
    if source is not None:
        return source
    name = record.data.name
    said = record.called.source or name
    if said.rpartition(":")[2] not in {e.name for e in the_registry().entries("dataset")}:
        what = f"{name!r}, which is no data set of the zoo or its plugins here" if name else "data without a name"
        raise UsageError(f"it was trained on {what}: say where that is with --source, or install its plugin")
    return said


def split_of(config: Config, record: TrainingRecord, source: Any = None) -> tuple[Data, Data | None]:
    """The data that a model was trained on, and what was held out of it, checked against the recorded fingerprint.

    Raises:
        GenzooError: if it is not here, or is other data.
    """
    from genzoo.registry.verbs.fit import _split

    data = training_data(record, source)
    train, held_out = _split(data, config, record.seed)
    said = record.data
    if len(train) != said.observations:
        raise GenzooError(
            f"this is not the data that it was trained on: {len(train):,} observations, not {said.observations:,}"
        )
    if train.fingerprint() != said.fingerprint:
        raise GenzooError(
            f"this is not the data that it was trained on: fingerprint {train.fingerprint()[:12]}…, "
            f"not {said.fingerprint[:12]}…"
        )
    return train, held_out


def measure_again(
    model: Model,
    config: Config,
    record: TrainingRecord,
    *,
    rule: Rule,
    source: Any = None,
    device: str = "auto",
    progress: bool = False,
) -> Iterator[Remeasured]:
    """Measure every metric of a record again on a model, by the protocol it was measured by, and compare.

    Args:
        model: which is measured.
        config: of the model that the record is of.
        record: of the run.
        rule: ``inside``: the number must lie in the recorded interval (the same weights); ``overlap``: both intervals
            must have a point in common (a training that was repeated).
        source: the data, if it is no data set of the zoo.
        device: where networks run.
        progress: show a bar on stderr.
    """
    evaluated = {r.metric for r in _report(record)}
    yield from _evaluated(model, record, rule, source, device, progress)
    stated = [r for r in results(record) if r.metric not in evaluated]
    if not stated:
        return
    now, why = _at_the_end(model, config, record, source)
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
    a, b = recorded.interval, now.interval
    numbers = f"{now.text()}, recorded {recorded.text()}"
    close = _close(now.value, recorded.value, SLACK[rule])
    if recorded.metric == "active units":  # one more or less is a matter of rounding
        close = close or abs(now.value - recorded.value) <= 1
    if a.low is None or a.high is None or (rule == "overlap" and (b.low is None or b.high is None)):
        return Remeasured(recorded.metric, recorded, now, close, f"{numbers}; may differ by {SLACK[rule]:.1%}")
    if rule == "inside":
        good = a.low <= now.value <= a.high or _close(now.value, recorded.value, 1e-6)
        return Remeasured(recorded.metric, recorded, now, good, f"{numbers}{'' if good else ': outside'}")
    assert b.low is not None
    assert b.high is not None
    good = a.low <= b.high and b.low <= a.high
    return Remeasured(recorded.metric, recorded, now, good, f"{numbers}{'' if good else ': apart'}")


def _close(a: float, b: float, share: float) -> bool:
    if not (math.isfinite(a) and math.isfinite(b)):
        return a == b or (a != a and b != b)
    return abs(a - b) <= share * max(abs(a), abs(b))


def _report(record: TrainingRecord) -> Report:
    said = record.evaluation
    return Report.from_dict(said) if said else Report("")


def _evaluated(
    model: Model, record: TrainingRecord, rule: Rule, source: Any, device: str, progress: bool
) -> Iterator[Remeasured]:
    """The metrics of an evaluation; those that were measured alike are measured together."""
    from genzoo.registry.verbs.evaluate import evaluate

    report = _report(record)
    known = {e.name for e in the_registry().entries("metric")}
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in report:
        if result.metric not in known:
            yield Remeasured(result.metric, result, None, False, "not measured: no plugin here has this metric")
            continue
        words = dict(w.partition("=")[::2] for w in result.protocol.split())
        how = (result.seed, words.get("draw") == "noise", words.get("truncation"))
        groups.setdefault(how, []).append(result)
    about = report.record
    for (seed, noise, truncation), members in groups.items():
        n = max((int(about.get(k) or 0) for k in ("fake", "real")), default=0)
        try:
            data = _reference(record, about, source)
            again = evaluate(
                model, data, [r.metric for r in members], n=n or None, seed=seed, split=data.split,  # type: ignore[arg-type]
                training=_training(record, source, data), extractor=str(about.get("extractor") or "") or None,
                options=_options(members), noise=noise, truncation=None if truncation is None else float(truncation),
                device=device, strict=False, progress=progress,
            )  # fmt: skip
        except (GenzooError, ValueError) as e:
            yield from (Remeasured(r.metric, r, None, False, f"not measured: {e}") for r in members)
            continue
        missing = {a.metric: a.reason for a in again.absent}
        for result in members:
            if result.metric in again:
                yield compared(result, again[result.metric], rule)
            else:
                why = f"not measured: {missing.get(result.metric, 'unknown')}"
                yield Remeasured(result.metric, result, None, False, why)


def _reference(record: TrainingRecord, about: Mapping[str, Any], source: Any) -> Data:
    """The data of an evaluation: with the options of training if that gives what it was, else with none."""
    from genzoo.registry.verbs.load import load_data

    name, split = about.get("data"), about.get("split", "test")
    where: Any = source_of(record, source) if source is not None or name == record.data.name else name
    options = dict(record.called.data)
    data = load_data(where, split=split, options=options)
    if options and data.fingerprint() != about.get("fingerprint"):
        with_none = load_data(where, split=split)
        data = with_none if with_none.fingerprint() == about.get("fingerprint") else data
    return data


def _training(record: TrainingRecord, source: Any, data: Data) -> Any:
    """The training split for metrics that need one."""
    where = source_of(record, source)
    return where if isinstance(where, (str, os.PathLike)) else data


def _options(members: list[Result]) -> dict[str, str]:
    """Options of metrics, as their protocols tell them."""
    registry, found = the_registry(), {}
    for result in members:
        names = {o.name for o in registry.options(registry.get("metric", result.metric))}
        for word in result.protocol.split():
            key, equals, value = word.partition("=")
            if equals and key in names:
                found[f"{result.metric}.{key}"] = value
    return found


def _at_the_end(model: Model, config: Config, record: TrainingRecord, source: Any) -> tuple[dict[str, float], str]:
    """What training noted at its end: held-out loss and active units; and why there is nothing, if so."""
    from genzoo.core.training.observers import final_metrics
    from genzoo.core.training.trainer import Trainer
    from genzoo.registry.verbs.initialize import initialize

    try:
        train, held_out = split_of(config, record, source)
        objective, nets = initialize(config, record.seed)
        nets.model.load_state_dict(model.state_dict())
        options = replace(config.train, average=0.0)
        trainer = Trainer(objective, nets, train, options, held_out=held_out, seed=record.seed)
        if nets.critics:
            return {}, "it takes critics to measure it, which weights do not keep"
        trainer.step = 1
        loss = trainer.validate()
        found = final_metrics(trainer)
    except GenzooError as e:
        return {}, f"not measured: {e}"
    if loss is not None:
        found["held-out loss"] = loss
    return {k: float(v) for k, v in found.items()}, ""


__all__ = ["Remeasured", "compared", "measure_again", "source_of", "split_of", "training_data"]
