"""Whether weights are what they say they are: files, config, tensors, what they make, and what their card claims."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genzoo.core.arguments import checked
from genzoo.core.errors import GenzooError
from genzoo.core.record import TrainingRecord, read_record
from genzoo.core.storage.files import MANIFEST
from genzoo.core.storage.strict import one_line
from genzoo.registry import the_registry
from genzoo.registry.weights import Located, resolve
from genzoo.registry.weights.layout import RECORD, check

if TYPE_CHECKING:
    from genzoo.core.config import Config
    from genzoo.core.model import Model
    from genzoo.registry.weights.remeasure import Remeasured

Verdict = Literal["good", "bad", "unknown"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        verdict: ``unknown`` where nothing was recorded, or it could not be looked at for a reason that says nothing
            against the weights.
        detail: in words.
        found: what else is known, as plain data.
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
    """All that was looked at.

    Attributes:
        weights: the name that was given.
        folder: where they are.
        checks: in order.
    """

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


@checked
def verify(
    weights: str | os.PathLike[str],
    *,
    metrics: bool = False,
    data: bool = False,
    source: Any = None,
    endpoint: str | None = None,
    device: str = "cpu",
    progress: bool = False,
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
        progress: show bars on stderr.
        on_check: told of each check when it is done.

    Returns:
        One `Check` for ``files``, ``config``, ``versions``, ``tensors``, ``samples``, ``reconstructions`` (of a model
        with an encoder), ``data`` and each metric. After one that is bad, what rests on it is not looked at.

    Raises:
        GenzooError: if there are no such weights, or they cannot be had.
    """
    found = _located(resolve(weights, endpoint=endpoint, progress=progress, again=True))
    checks = list[Check]()
    for done in _checks(found, metrics, data, source, device, progress):
        checks.append(done)
        if on_check is not None:
            on_check(done)
    return Verification(os.fspath(weights), found.folder, tuple(checks))


def _located(found: Located) -> Located:
    """The weights folder itself: of a run that was not finished, its newest whole checkpoint."""
    from dataclasses import replace

    from genzoo.core.training.runs import checkpoints, from_newest, verified

    if (found.folder / MANIFEST).exists() or not checkpoints(found.folder):
        return found
    return replace(found, folder=from_newest(found.folder, verified)[0], origin="checkpoint")


def _checks(found: Located, metrics: bool, data: bool, source: Any, device: str, progress: bool) -> Iterator[Check]:
    """The checks one after the other, to the end or to the first that the rest needs."""
    from genzoo.registry.verbs.initialize import pick_device

    where = pick_device(device)  # a mistake in it is none of the weights'
    try:
        yield _files(found)
    except GenzooError as e:
        yield Check("files", "bad", str(e))
        return
    try:
        config, said = _config(found)
    except GenzooError as e:
        yield Check("config", "bad", str(e))
        return
    yield said
    yield from _versions(config)
    try:
        model, said = _tensors(found, config)
    except GenzooError as e:
        yield Check("tensors", "bad", str(e))
        return
    yield said
    try:
        record = read_record(found.folder, found.within)
    except GenzooError as e:
        yield Check("record", "bad", str(e))
        return
    yield from _fingerprint(model.to(where), record)
    if data:
        yield _data(config, record, source)
    if metrics:
        from genzoo.registry.weights.remeasure import measure_again

        if record is None:
            yield Check("metrics", "unknown", f"it has no {RECORD} that would state any")
            return
        stated = False
        for one in measure_again(model, config, record, rule="inside", source=source, device=device, progress=progress):
            stated = True
            yield _metric(one)
        if not stated:
            yield Check("metrics", "unknown", "its record states none")


def _files(found: Located) -> Check:
    if found.origin == "checkpoint":  # every file of it was hashed when it was found
        return Check(
            "files", "good", f"{found.folder.name} of a run that was not finished: every file is its manifest's"
        )
    files = check(found.folder, found.within, trust=False)
    size = sum(f["size"] for f in files.values())
    text = f"{len(files)} files, {size:,} bytes, from {found.origin}: each has the sha256 of the manifest"
    return Check("files", "good", text, {"files": files, "commit": found.commit})


def _config(found: Located) -> tuple[Config, Check]:
    from genzoo.core.storage.strict import check_options
    from genzoo.core.storage.weights import read_config
    from genzoo.registry.recipes.compose import resolver

    config = read_config(found.folder, within=found.within)
    find = resolver(the_registry(), config)
    for kind, part in config.components():
        check_options(find(kind, part.name), part.options, kind)
    shape = "×".join(map(str, config.data.shape))
    parts = ", ".join(f"{kind} {part.name}" for kind, part in config.components() if kind != "critic")
    conditional = f", {config.classes} classes" if config.conditional else ""
    what = f"{config.recipe}: {parts}; {config.data.modality} {shape}{conditional}, codes of {config.latent.text}"
    return config, Check("config", "good", f"{what}; every option is one that its part has")


def _versions(config: Config) -> Iterator[Check]:
    """What made the weights is another version than what is here: no fault, but worth knowing."""
    others = version_differences(config)
    if others:
        yield Check("versions", "unknown", f"not the versions that made it: {'; '.join(others)}")


def version_differences(config: Config) -> list[str]:
    """Where what is installed is another version than what a config says: ``genzoo 2.0 here, 1.0 then``."""
    found = dict[str, None]()
    for kind, part in config.components():
        here = the_registry().get(kind, part.name, prefer=(part.plugin, part.distribution))
        if part.version and here.version != part.version:
            found[f"{here.distribution} {here.version} here, {part.version} then"] = None
    return list(found)


def _tensors(found: Located, config: Config) -> tuple[Model, Check]:
    from genzoo.core.storage.load_model import load_model
    from genzoo.core.storage.weights import TENSORS, TensorFile
    from genzoo.registry.recipes.compose import resolver

    model = load_model(found.folder, resolver(the_registry(), config), within=found.within)
    with TensorFile(found.folder / TENSORS, found.within) as file:
        file.check_numbers()
        kinds = sorted({info.dtype for info in file.infos.values()})
        count, numbers = len(file.infos), sum(info.numel for info in file.infos.values())
    text = f"{count} tensors, {numbers:,} numbers ({', '.join(kinds)}), all finite: names and shapes are the networks'"
    return model, Check("tensors", "good", text)


def _fingerprint(model: Model, record: TrainingRecord | None) -> Iterator[Check]:
    from genzoo.core.storage.fingerprint import NEAR, compare, hardware

    recorded = None if record is None else record.fingerprint
    if recorded is None:
        yield Check("samples", "unknown", "no fingerprint was recorded when these weights were written")
        return
    try:
        compared = compare(recorded, model)
    except GenzooError as e:
        yield Check("samples", "bad", str(e))
        return
    then, now = recorded.get("made on"), hardware(model.device)
    for one in compared:
        about = f"{recorded['n']} from seed {recorded['seed']}" if one.what == "samples" else "of those samples"
        text, found = f"{one.verdict} as recorded ({about})", {"comparison": one.verdict, "distance": one.distance}
        if one.verdict != "same bytes":
            text = f"{one.verdict} ({about}): {one.distance:.2g} apart in model space, where {NEAR:g} is allowed"
            others = [f"{k} {now[k]}, not {then.get(k)}" for k in now if then.get(k) != now[k]] \
                if isinstance(then, dict) else []  # fmt: skip
            text += f"; here {one_line(', '.join(others), 200)}" if others else ""
        if one.verdict == "different":
            text += ": these are not the weights that the record is of"
        yield Check(one.what, "bad" if one.verdict == "different" else "good", text, found)


def _data(config: Config, record: TrainingRecord | None, source: Any) -> Check:
    from genzoo.registry.weights.remeasure import split_of

    if record is None:
        return Check("data", "unknown", f"it has no {RECORD} that would say what it was trained on")
    try:
        train, held_out = split_of(config, record, source)
    except GenzooError as e:
        return Check("data", "bad", str(e))  # that it is asked for and not here is no success either
    held = f", {len(held_out):,} held out" if held_out is not None else ""
    return Check("data", "good", f"{record.data.name}: the same {len(train):,} observations{held}, by sha256")


def _metric(one: Remeasured) -> Check:
    verdict: Verdict = "unknown" if one.agrees is None else "good" if one.agrees else "bad"
    return Check(one.metric, verdict, one.why, {"comparison": one.to_dict()})


__all__ = ["Check", "Verification", "verify", "version_differences"]
