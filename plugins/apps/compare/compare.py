"""Models side by side, all measured alike, as a table, as data, and as a page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from genzoo.core.arguments import checked
from genzoo.core.data import Data, Split
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import Extractor
from genzoo.core.evaluation.report import Report
from genzoo.core.model import Model
from genzoo.core.notebook import visible
from genzoo.core.protocol import Protocol
from genzoo.core.storage.files import given_path, write_bytes, write_json
from genzoo.core.storage.strict import one_line
from genzoo.plugins.apps.compare.comparison import Candidate, Comparison, distinct
from genzoo.plugins.apps.compare.page import page
from genzoo.registry import the_registry
from genzoo.registry.defaults import choose
from genzoo.registry.verbs.evaluate import measure, read_report
from genzoo.registry.verbs.initialize import pick_device
from genzoo.registry.verbs.sample import check_fits
from genzoo.registry.verbs.subjects import Say, open_reference, open_subject, options_of_samples
from genzoo.registry.weights.history import History, history_of

FORMATS = (".html", ".htm", ".json")


class Compared(Comparison):
    """What `compare` gives: a comparison that can be written."""

    def save(self, out: str | os.PathLike[str], *, title: str = "") -> Path:
        """Write the page (``.html``), under a title, or all as data (``.json``)."""
        path = comparison_path(out)
        if path.suffix.lower() == ".json":
            write_json(path, self.to_dict())
        else:
            write_bytes(path, page(self, title=title).encode())
        return path


def comparison_path(out: str | os.PathLike[str]) -> Path:
    """Where a comparison can be written; refuses anything but ``.html`` and ``.json``."""
    path = given_path(out)
    if path.suffix.lower() not in FORMATS or path.is_dir():
        raise UsageError(f"a comparison is written to an .html or a .json file, not to {path.name!r}")
    return path


@checked
def compare(
    subjects: Sequence[Any],
    data: Any = None,
    metrics: str | Sequence[str] | None = None,
    *,
    names: Sequence[str] | None = None,
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
    progress: bool | None = None,
    say: Say | None = None,
) -> Compared:
    """Measure models by one protocol: the same data, the same number of samples, the same seed.

    What is compared is what `genzoo.evaluate` takes, each; or reports of earlier evaluations: a `Report`, a
    ``report.json``, a folder with one. Between reports no data are needed. ``names`` says what to call each, by default
    what they are. Where samples are given and no ``n``, all of them are judged, and models draw as many as the fewest.
    ``say`` is told what was read of the data, and of samples in files. ``strict`` makes a metric that was asked for by
    its own name and that none of them has an error. All else is as for `genzoo.evaluate`.

    Raises:
        UsageError: for names that do not exist, and for numbers that were measured by different protocols.
        GenzooError: if something cannot be read.
    """
    registry = the_registry()
    asked_by_name = choose(registry, metrics)[1]
    if isinstance(subjects, (str, os.PathLike)) or not isinstance(subjects, Sequence):
        raise UsageError("what is compared is a list: of models, of weights, of files of samples")
    if names is not None and (len(names) != len(subjects) or len(set(names)) != len(names)):
        raise UsageError(f"{len(subjects)} different names are needed, one for each, not {', '.join(names) or 'none'}")
    done = [_report(s) for s in subjects]
    fresh = [s for s, report in zip(subjects, done, strict=True) if report is None]
    titles = list(names or distinct([_title(s, r) for s, r in zip(subjects, done, strict=True)]))
    if not fresh:
        reports = [r for r in done if r is not None]
        sides = tuple(Candidate(name, r.subject) for name, r in zip(titles, reports, strict=True))
        return Compared.of(reports, titles, sides=sides, seed=seed)
    if data is None:
        raise UsageError("name the data that all are measured against: a data set, a folder or a file")
    how = Protocol(n, seed, split, noise, truncation, extractor, batch_size, device, cache)
    where = pick_device(device)
    opened, trained = open_reference(registry, data, split, training, data_options, fresh)
    of_samples = options_of_samples(samples_options, data_options)
    say = say or (lambda data: None)
    say(opened)
    sides = ()
    for subject, report, name in zip(subjects, done, titles, strict=True):
        if report is not None:
            sides += (Candidate(name, report.subject),)
            continue
        model, samples, source = open_subject(subject, opened.spec, where, of_samples, say)
        if model is not None:
            check_fits(model, opened.spec)
        sides += (Candidate(name, source, model, samples, _history(subject, model)),)
    given = [len(s.samples) for s in sides if s.samples is not None]
    reports = []
    for side, report in zip(sides, done, strict=True):
        what: Any = side.model if side.samples is None else side.samples
        by = how if side.samples is None else replace(how, noise=False, truncation=None)
        reports.append(report or measure(
            what, opened, metrics, by, training=trained, options=options, strict=False, name=side.name,
            progress=visible(progress), draws=min(given) if given and side.model is not None else None,
        ))  # fmt: skip
    found = Compared.of(
        reports, titles, uneven=n is None, sides=sides, data=opened, training=trained, seed=seed, extractor=extractor
    )
    for reason, missing in found.absences().items() if strict else ():
        for metric in asked_by_name.intersection(missing):
            raise GenzooError(f"{metric} cannot be measured of any of them: {reason}")
    return found


def _report(subject: Any) -> Report | None:
    """A report that was given in place of what it is of."""
    if isinstance(subject, Report):
        return subject
    if not isinstance(subject, (str, os.PathLike)) or not os.fspath(subject):
        return None
    path = given_path(subject)
    weights = (path / "config.json").exists() or (path / "checkpoints").exists()
    if path.suffix.lower() == ".json" or (path.is_dir() and not weights and (path / "report.json").is_file()):
        return read_report(path)
    return None


def _title(subject: Any, report: Report | None) -> str:
    if isinstance(subject, (str, os.PathLike)):
        return os.fspath(subject)
    if report is not None:
        return one_line(report.subject)
    if isinstance(subject, Model):
        return (subject.config.recipe if subject.config else "") or "model"
    return (subject.name if isinstance(subject, Data) else "") or "samples"


def _history(subject: Any, model: Model | None) -> History:
    """How a model was made; of one without a folder only what it says itself."""
    if model is None:
        return History()
    known = history_of(subject) if isinstance(subject, (str, os.PathLike)) else History()
    return known if known.config is not None else replace(known, config=model.config)
