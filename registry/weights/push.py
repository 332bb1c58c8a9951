"""Trained models to the Hub: checked first, with a card, in one commit and under a tag that never moves."""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.core.arguments import checked
from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.record import TrainingRecord, read_record
from genzoo.core.storage.files import MANIFEST
from genzoo.core.storage.strict import parse_json, read_plain
from genzoo.registry import the_registry
from genzoo.registry.weights import Located, resolve
from genzoo.registry.weights.layout import CARD, LIMITS, RECORD, SAMPLES, check
from genzoo.registry.weights.licenses import LICENSES

if TYPE_CHECKING:
    from genzoo.core.config import Config
    from genzoo.core.evaluation.report import Report
    from genzoo.registry.weights.upload import File


@dataclass(frozen=True)
class Upload:
    """What is about to be pushed.

    Attributes:
        folder: where it comes from.
        repository: ``org/name``.
        title: of the card.
        files: all of them, the card and the manifest included.
        card: its text.
    """

    folder: Path
    repository: str
    title: str
    files: tuple[File, ...]
    card: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        files = [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in self.files]
        return {"from": str(self.folder), "repository": self.repository, "files": files, "card": self.card}


@dataclass(frozen=True)
class Pushed:
    """What was pushed, and what became of it.

    Attributes:
        repository: ``org/name``.
        files: with size and sha256.
        card: its text.
        commit: on the Hub; empty if this was a rehearsal.
        tag: of that commit; of a rehearsal, the one that was asked for.
        changed: whether anything on the Hub is now different.
        created: whether the repository is new.
        url: to look at it.
    """

    repository: str
    files: tuple[File, ...]
    card: str
    commit: str = ""
    tag: str = ""
    changed: bool = False
    created: bool = False
    url: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        files = [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in self.files]
        return {**self.__dict__, "files": files}


@checked
def push(
    weights: str | os.PathLike[str],
    repository: str,
    *,
    license: str = "",
    data_license: str = "",
    metrics: Report | str | os.PathLike[str] | None = None,
    tag: str = "",
    private: bool = False,
    unfinished: bool = False,
    endpoint: str | None = None,
    message: str = "",
    dry_run: bool = False,
    progress: bool = False,
) -> Pushed:
    """Publish a trained model on the Hub: one commit, then a tag. The same again changes nothing.

    Only the files of a weights folder go there: config, tensors, manifest, card, training record and samples; no
    checkpoints, no logs. The card is written anew for its place, and the manifest with it.

    Args:
        weights: a run's folder, or whatever `genzoo.load` takes.
        repository: ``org/name``; it is made if it is not there.
        license: of the weights, as the Hub calls it (``mit``, ``cc-by-4.0``, …); default what their card says.
        data_license: of the training data, where the record does not know it.
        metrics: what `genzoo.evaluate` found, or the JSON file that ``genzoo eval --out`` wrote of it; by default those
            of the training record.
        tag: of this version; by default the next of ``v1``, ``v2``, …. A tag that names other files is never moved.
        private: whether a repository that is made is private.
        unfinished: whether to push a run that stopped before its last step (its ``best/`` is one, too).
        endpoint: the Hub's address; default ``HF_ENDPOINT``, or Hugging Face.
        message: of the commit.
        dry_run: only say what would be pushed; the Hub is not asked.
        progress: show bars on stderr.

    Raises:
        UsageError: if something is missing, all of it at once; nothing was sent.
        GenzooError: in one sentence, whatever else goes wrong.
    """
    from genzoo.registry.weights.upload import check_tag, publish

    check_tag(tag)
    parcel = pack(
        weights, repository, license=license, data_license=data_license, metrics=metrics, unfinished=unfinished
    )
    if dry_run:
        return Pushed(parcel.repository, parcel.files, parcel.card, tag=tag)
    done = publish(
        parcel.repository, parcel.files, tag=tag, private=private, endpoint=endpoint,
        message=message or f"{parcel.title}{f' ({tag})' if tag else ''}", progress=progress,
    )  # fmt: skip
    return Pushed(files=parcel.files, card=parcel.card, **done.__dict__)


def publish_all(
    organization: str,
    *,
    names: Sequence[str] = (),
    license: str = "",
    private: bool = False,
    endpoint: str | None = None,
    dry_run: bool = False,
    progress: bool = False,
) -> builtins.list[Pushed | GenzooError]:
    """Publish the zoo's own weights, those that ship inside the package, each in a repository of its own.

    Version 2 of ``wgan-gp/fashion-mnist`` becomes the tag ``v2`` of ``ORGANIZATION/wgan-gp-fashion-mnist``.

    Args:
        organization: whose repositories these are.
        names: only these weights; none means all.
        license: of the weights, where their card names none; by default the package's own, Apache-2.0.
        private: whether repositories that are made are private.
        endpoint: the Hub's address; default ``HF_ENDPOINT``, or Hugging Face.
        dry_run: only say what would be pushed.
        progress: show bars on stderr.

    Returns:
        For each version of each, what became of it, or what went wrong; one that fails stops no others.

    Raises:
        UsageError: if there is no such name, or nothing to publish.
    """
    entries = [e for e in the_registry().entries("weights") if e.distribution == "genzoo"]
    known = [e.name for e in entries]
    for name in names:
        if name not in known:
            raise UsageError(f"the package has no weights {name!r}{did_you_mean(name, known)}")
    done = builtins.list[Pushed | GenzooError]()
    for entry in entries:
        if names and entry.name not in names:
            continue
        for version, said in entry.data["versions"].items():
            if not said["target"]:
                continue  # it is on the Hub alone
            try:
                done.append(
                    push(
                        f"{entry.name}@{version}",
                        f"{organization}/{entry.name.replace('/', '-')}",
                        license=said.get("license") or license or "apache-2.0",
                        tag=f"v{version}",
                        private=private,
                        unfinished=True,  # the best of a run is one that stopped early
                        endpoint=endpoint,
                        dry_run=dry_run,
                        progress=progress,
                    )
                )
            except GenzooError as e:
                done.append(type(e)(f"{entry.name}@{version}: {e}"))
    if not done:
        raise UsageError("this package ships no weights to publish")
    return done


def pack(
    weights: str | os.PathLike[str],
    repository: str,
    *,
    license: str = "",
    data_license: str = "",
    metrics: Report | str | os.PathLike[str] | None = None,
    unfinished: bool = False,
) -> Upload:
    """Check a trained model, and get everything ready that `push` sends.

    Raises:
        UsageError: if something is missing, all of it at once.
        GenzooError: if files are damaged, or the model cannot be loaded.
    """
    from genzoo.core.storage import card
    from genzoo.core.storage.weights import read_config
    from genzoo.registry.verbs.load import load
    from genzoo.registry.weights.hub import check_repository
    from genzoo.registry.weights.upload import File

    repository = check_repository(repository.removeprefix("hf:"))
    found = resolve(weights)
    finished(found.folder)
    there = check(found.folder, found.within)
    config, record = read_config(found.folder, within=found.within), _record(found)
    record = _completed(record, data_license, metrics)
    chosen, problem = known_license(license, found)
    problems = [problem, *_missing(weights, config, record, unfinished)]
    if any(problems):
        raise UsageError(f"{weights} is not ready to be pushed: {'; '.join(filter(None, problems))}")
    load(weights, verbose=False)  # nobody else should be the first to try
    picture = next((name for name in SAMPLES if name in there), "")
    try:
        text = card.card(config, record, picture=picture, name=f"hf:{repository}", license=chosen)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise GenzooError(f"{found.folder / RECORD} is no training record ({type(e).__name__}: {e})") from e
    written = {CARD: text.encode(), RECORD: record.text().encode()}
    files = [
        File.of(n, written[n]) if n in written else File(n, (found.folder / n).resolve(), said["size"], said["sha256"])
        for n, said in sorted({**{n: {} for n in written}, **there}.items())
        if n != MANIFEST and n in LIMITS
    ]
    listed = {f.name: {"size": f.size, "sha256": f.sha256} for f in files}
    files.append(File.of(MANIFEST, _json({"format": 1, "files": listed})))
    return Upload(found.folder, repository, card.title(config, record), tuple(files), text)


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def finished(folder: Path) -> None:
    """Refuse a run that is no weights folder yet."""
    from genzoo.core.training.runs import checkpoints

    if not (folder / MANIFEST).exists() and checkpoints(folder):
        raise UsageError(f"the run in {folder} was interrupted: finish it with --resume, then push it")


def _record(found: Located) -> TrainingRecord:
    """A folder's training record; raises `GenzooError` if there is none."""
    record = read_record(found.folder, found.within)
    if record is None:
        raise UsageError(
            f"{found.folder} has no {RECORD}, so nobody knows what it was trained on: push the folder that 'genzoo "
            "train' wrote"
        )
    return record


def _completed(
    record: TrainingRecord, data_license: str, metrics: Report | str | os.PathLike[str] | None
) -> TrainingRecord:
    """A record with what was said now, and without what tells about this machine's folders."""
    if data_license:
        record = replace(record, data=replace(record.data, license=data_license))
    return with_evaluation(without_folders(record), metrics)


def without_folders(record: TrainingRecord) -> TrainingRecord:
    """A training record without what tells about this machine's folders."""
    plain = record.to_dict()
    return TrainingRecord.from_dict(plain | {"called with": _nameless(plain["called with"])})


def with_evaluation(record: TrainingRecord, metrics: Report | str | os.PathLike[str] | None) -> TrainingRecord:
    """A training record with a report of metrics, or what ``genzoo eval --out`` wrote of one."""
    from genzoo.core.evaluation.report import Report

    if metrics is not None:
        if not isinstance(metrics, Report):
            path = Path(metrics)
            try:
                metrics = Report.from_dict(parse_json(read_plain(path)))
            except OSError as e:
                raise UsageError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from None
            except GenzooError as e:
                raise UsageError(f"{path} holds no metrics ({e}): give what 'genzoo eval --out' wrote") from None
        return replace(record, evaluation=metrics.to_dict())
    return record


def _nameless(value: Any) -> Any:
    """Plain data in which absolute paths are told by their last part."""
    if isinstance(value, Mapping):
        return {k: _nameless(v) for k, v in value.items()}
    return Path(value).name if isinstance(value, str) and os.path.isabs(os.path.expanduser(value)) else value


def known_license(given: str, found: Located) -> tuple[str, str]:
    """The license as the Hub calls it; if there is none, what is wrong."""
    import yaml  # type: ignore[import-untyped]

    if not given:
        try:
            head = read_plain(found.folder / CARD, LIMITS[CARD], found.within).decode().split("---\n")[1]
            given = str((yaml.safe_load(head) or {}).get("license") or "")
        except (OSError, ValueError, IndexError, AttributeError, yaml.YAMLError, GenzooError):
            given = ""
    if not given:
        return "", "its license is not known (--license mit, for example)"
    name = given.strip().lower()
    if name not in LICENSES:
        return "", f"the Hub knows no license {given!r}{did_you_mean(name, LICENSES) or ' (say other)'}"
    return name, ""


def _missing(weights: object, config: Config, record: TrainingRecord, unfinished: bool) -> builtins.list[str]:
    """What a card must say and cannot."""
    from genzoo.core.storage.card import results

    data = record.data
    name, found = data.name or "unnamed", []
    if record.steps < record.of and not unfinished:
        found.append(f"it stopped after {record.steps:,} of {record.of:,} steps (go on with --resume, or say "
                     "--unfinished)")  # fmt: skip
    if not config.recipe:
        found.append("its recipe is not recorded")
    if not data.name:
        found.append("its data has no name (train on a data set, a folder or a file)")
    if not data.license:
        found.append(f"the license of its data ({name}) is not known (--data-license)")
    if not results(record):
        found.append(f"it has no metrics (measure some: 'genzoo eval {weights} --data {data.name or 'DATA'} --out "
                     "eval.json', and give --metrics eval.json)")  # fmt: skip
    return found


__all__ = ["Pushed", "Upload", "pack", "publish_all", "push"]
