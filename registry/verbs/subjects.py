"""What is judged, and what it is judged against: models, files of samples, data sets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from genzoo.core.data import Data, DataSource, Split, from_arrays
from genzoo.core.data.labels import are_numbers, labels, names_in, renumbered
from genzoo.core.data.npy import Archive
from genzoo.core.distributed.runtime import Runtime
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.protocol import Protocol
from genzoo.core.spec import DataSpec
from genzoo.core.storage.files import given_path
from genzoo.registry import Registry
from genzoo.registry.verbs.data import entry_for, open_data
from genzoo.registry.verbs.load import load
from genzoo.registry.weights.history import history_of

Say = Callable[[Data], object]


def open_reference(
    registry: Registry,
    data: Any,
    split: Split | None,
    training: Any,
    options: Mapping[str, Any] | None,
    subjects: Sequence[Any] = (),
    like: Sequence[Any] = (),
) -> tuple[Data, Callable[[], Data | None]]:
    """The data to judge ``subjects`` against, and how to get at the training split when it is needed.

    Files that are of another form than the first model, of ``subjects`` or else of ``like``, or of several, are
    brought to its form (the size and colours of pictures), unless the options say one.
    """
    if isinstance(data, Data) and callable(training):
        return data, training  # both were found before

    def known(source: DataSource, whole: Data) -> bool:
        return any(trained_on(s, source, whole) for s in subjects)

    opened = _open(registry, data, options, split, [*subjects, *like], known)
    if opened.split == "all" and training is None:
        return opened, lambda: opened
    if training is not None:
        return opened, lambda: _open(registry, training, options, "train", [opened.spec])
    if isinstance(data, (str, os.PathLike)):
        return opened, lambda: opened if split == "train" else _open(registry, data, options, "train", [opened.spec])
    if isinstance(data, Data) and data.split == "train":
        return opened, lambda: opened
    return opened, no_data


def _open(
    registry: Registry,
    data: Any,
    options: Mapping[str, Any] | None,
    split: Split | None,
    like: Sequence[Any],
    known: Callable[[DataSource, Data], bool] = lambda source, whole: False,
) -> Data:
    """Data as they are, or files brought to the form of the first model or spec of ``like`` where they need it."""
    form = _form(registry, data, options or {}, like)
    try:
        spec = _spec(like)
        kinds = () if spec is None else (spec.modality,)
        opened = open_data(registry, data, options, split=split, trained_on=known, kinds=kinds)
        if form.items() <= of(opened.spec).reading(opened.spec).items():
            return _known(opened, like)
    except UsageError:
        if not form:
            raise
    opened = open_data(registry, data, {**(options or {}), **form}, split=split, trained_on=known)
    said = " ".join(f"--set data.{k}={v}" for k, v in form.items())
    opened = replace(opened, read=opened.read.noting(f"brought to the form that the model knows ({said})"))
    return _known(opened, like)


def _known(data: Data, like: Sequence[Any]) -> Data:
    """Data as the first model or spec of ``like`` writes them, where it is of their kind."""
    spec, kind = _spec(like), of(data.spec)
    return kind.as_known(data, spec) if spec is not None and of(spec) is kind else data


def _spec(like: Sequence[Any]) -> DataSpec | None:
    """The spec of the first of these that has one: a model, weights, or itself one."""
    for subject in like:
        if isinstance(subject, (Model, DataSpec)):
            return subject.spec if isinstance(subject, Model) else subject
        if isinstance(subject, (str, os.PathLike)):
            with suppress(GenzooError):
                if (config := history_of(subject).config) is not None:
                    return config.data
    return None


def _form(registry: Registry, data: Any, options: Mapping[str, Any], like: Sequence[Any]) -> dict[str, Any]:
    """The options that bring files to the form of the first model or spec of ``like``, without those that are given."""
    if not isinstance(data, (str, os.PathLike)):
        return {}
    entry, implied = entry_for(registry, data)
    if "path" not in implied:
        return {}
    known = {i.name for i in registry.options(entry)} - {k.removeprefix("data.") for k in options}
    spec = _spec(like)
    if spec is not None:
        return {k: v for k, v in of(spec).reading(spec).items() if k in known}
    return {}


def trained_on(subject: Any, source: DataSource, whole: Data) -> bool:
    """Whether a model was trained on a part of data without splits of their own, as far as it tells."""
    if isinstance(subject, Model):
        return bool(whole.name) and subject.spec.name == whole.name
    if not isinstance(subject, (str, os.PathLike)):
        return False
    with suppress(GenzooError):
        found = history_of(subject)
        if found.record is None or found.config is None:
            return found.config is not None and found.config.data.name == whole.name
        said = found.record.data
        if said.name == whole.name:
            return True
        rest = len(whole) - said.observations - said.held_out  # what a test split would be
        if 0 < rest <= max(len(whole) // 10, 1):
            from genzoo.registry.verbs.fit import _split

            return _split(source.load("train"), found.config, found.record.seed)[0].fingerprint() == said.fingerprint
    return False


def data_of(registry: Registry, weights: str | os.PathLike[str], split: Split | None) -> Data | None:
    """A split of the data set that weights say they were trained on; None where it has no name."""
    record = history_of(weights).record
    source = "" if record is None else record.called.source
    if record is None or source.rpartition(":")[2] not in {e.name for e in registry.entries("dataset")}:
        return None
    return open_data(registry, source, dict(record.called.data), split=split)


def no_data() -> Data | None:
    """The training data of what came without any."""
    return None


def subset(data: Data, n: int) -> Data:
    """At most ``n`` observations, by a shuffle that is the same for every seed, so that references stay the same."""
    if n >= len(data):
        return data
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    return data.take(order[:n].sort().values)


def open_subject(
    subject: Any,
    spec: DataSpec,
    device: torch.device,
    options: Mapping[str, Any] | None = None,
    say: Say = lambda data: None,
) -> tuple[Model | None, Data | None, str]:
    """A model, or samples, whose labels are what they were asked to be; and what to call it.

    ``options`` are of samples alone: ``size`` and ``mode`` of images, by which they are brought to the data's. ``say``
    is told what was read of samples.
    """
    if isinstance(subject, Model):
        return subject.to(device), None, (subject.config and subject.config.recipe) or "model"
    given: Any = subject
    title = "samples"
    if isinstance(subject, (str, os.PathLike)):
        path, title = given_path(subject), os.fspath(subject)
        own = path.suffix.lower() in (".npz", ".npy", *of(spec).suffixes)
        own = own or (path.is_file() and bool(of(spec).opens(path)))
        if not (own or (path.is_dir() and not _holds_weights(path))):
            return load(subject, device=device), None, title
        given = _read_samples(path, spec, options or {})
    elif isinstance(subject, Data):
        title = subject.name or title
    elif isinstance(subject, (tuple, list)) and len(subject) == 2 and hasattr(subject[0], "shape"):
        given = _of_array(subject[0], subject[1], "the samples", spec)
    elif hasattr(subject, "shape") or of(spec).takes(subject):
        given = _of_array(subject, None, "the samples", spec)
    else:
        raise UsageError(
            "what is judged is a model, a weights folder, or samples: a file, a folder of images or an array, "
            f"not {type(subject).__name__}"
        )
    if isinstance(subject, (str, os.PathLike)):
        say(given)
    if isinstance(given, Data):
        given = of(spec).brought(given, spec, options or {})
    if not of(spec).alike(spec, given.spec):
        ours, theirs = ("×".join(map(str, s.shape)) for s in (given.spec, spec))
        raise UsageError(
            f"the samples are {of(given.spec).many} of {ours} and the data {of(spec).many} of {theirs}"
            f"{of(spec).advice(given.spec, spec)}"
        )
    return None, given, title


def among_data(y: Tensor | None, own: DataSpec, data: DataSpec) -> tuple[Tensor | None, str]:
    """Classes ``(N,)`` that samples were asked to be of, as the data number them; None if one is none of these.

    And what it is called, if others are among them.
    """
    if y is None:
        return None, ""
    found = renumbered(y, own, data)
    if not (strange := found < 0).any():
        return found, ""
    return None, own.classes_called[int(y[strange][0])] if (~strange).any() else ""


def options_of_samples(given: Mapping[str, Any] | None, of_data: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of samples: those given, and the size that the data are brought to."""
    return {k: v for k, v in (of_data or {}).items() if k == "size" and v != "none"} | dict(given or {})


def _holds_weights(folder: Path) -> bool:
    return any((folder / name).exists() for name in ("manifest.json", "config.json", "checkpoints"))


def _of_array(x: Any, y: Any, name: str, spec: DataSpec, names: tuple[str, ...] = ()) -> Data:
    """Samples and labels in arrays: names of classes, or numbers of those of ``names``, or else of the data's."""
    called = [int(word) for word in spec.class_names if word.isdecimal()]  # by names that are numbers, rather
    if not names and are_numbers(y, range(spec.classes), name) and not are_numbers(y, called, name):
        names = spec.classes_called
    found = of(spec).samples(x, name, spec)
    if found is None:
        return from_arrays(x, y, name=name, modality=spec.modality, standardize=False, class_names=names)
    told = labels(y, len(found), names, name)
    return replace(found, y=told.y, spec=replace(found.spec, classes=told.classes, class_names=told.names))


def _read_samples(path: Path, spec: DataSpec, options: Mapping[str, Any]) -> Data:
    """All samples of a file or a folder: nothing is held out of them."""
    if not path.exists():
        raise UsageError(f"there is no file {str(path)!r}")
    if path.is_dir() or path.suffix.lower() not in (".npz", ".npy"):
        return of(spec).read_samples(path, spec, **options)
    found = Archive(path)
    keys = found.files
    known = [k for k in ("samples", "x", "images", "data", "arr_0") if k in keys] + (keys if len(keys) == 1 else [])
    if not known:
        raise UsageError(f"{path} has the arrays {', '.join(keys)}: call the samples 'samples'")
    x, y = found[known[0]], next((found[k][:] for k in ("labels", "y", "arr_1") if k in keys), None)
    names = names_in(found, y, path.name)
    return _of_array(x, y, path.name, spec, names)


def draw_samples(
    model: Model, n: int, how: Protocol, progress: bool, runtime: Runtime | None = None, like: Data | None = None
) -> tuple[Tensor, Tensor | None]:
    """Samples as they are kept, 8-bit for images, and the labels that they were asked to have.

    All processes make them, and every one gets all. A model that is conditioned on numbers is told those of ``like``,
    over and over, so that samples differ from data by what the model does and not by what it was asked.
    """
    runtime, told = runtime or Runtime(), dict[str, Any]()
    if model.conditions and like is not None and like.condition is not None:
        told = like.take(torch.arange(n) % len(like)).told(model)
    own = model.sample_batches(n, seed=how.seed, noise=how.noise, truncation=how.truncation, batch_size=how.batch_size,
                               share=(runtime.rank, runtime.size), **told)  # fmt: skip
    kept = ((of(model.spec).to_storage(model.spec, x), y) for x, y in own)  # 8-bit at once: a quarter of the memory
    parts, labels = [], []
    with tqdm(total=n, unit="sample", desc="sampling", disable=not progress, delay=1, leave=False) as bar:
        for x, y in runtime.to_all(kept, model.batches_of(n, how.batch_size)):
            parts.append(x)
            labels += [] if y is None else [y.cpu()]
            bar.update(len(x))
    return torch.cat(parts), torch.cat(labels) if labels else None
