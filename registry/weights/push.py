"""Trained models to the Hub: checked first, with a card, in one commit and under a tag that never moves."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.core.arguments import checked
from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.modality import of
from genzoo.core.notebook import visible
from genzoo.core.record import TrainingRecord, read_record
from genzoo.core.storage.files import MANIFEST
from genzoo.core.storage.strict import parse_json, read_plain
from genzoo.registry import the_registry
from genzoo.registry.weights import Located, resolve
from genzoo.registry.weights.base import CARD, RECORD, SAMPLES, check
from genzoo.registry.weights.bundled import license_of
from genzoo.registry.weights.hub import check_repository, check_revision, endpoint_of, offline
from genzoo.registry.weights.space import space_files
from genzoo.registry.weights.upload import File, committed, here, holds, opened

if TYPE_CHECKING:
    from genzoo.core.config import Config
    from genzoo.core.evaluation.report import Report
    from genzoo.registry.weights.client import Client


@dataclass(frozen=True)
class Pushed:
    """What was pushed, and what became of it."""

    repository: str  # org/name
    files: tuple[File, ...]
    card: str
    commit: str = ""  # on the Hub; empty if this was a rehearsal
    tag: str = ""  # of that commit; of a rehearsal, the one that was asked for
    changed: bool = False  # whether anything on the Hub is now different
    created: bool = False  # whether the repository is new
    url: str = ""  # to look at it
    space: Pushed | None = None  # the page to play with it, where that was pushed too

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        files = [{"name": f.name, "size": f.size, "sha256": f.sha256} for f in self.files]
        space = {} if self.space is None else {"space": self.space.to_dict()}
        return {**self.__dict__, "files": files} | space


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
    space: bool = False,
    dry_run: bool = False,
    progress: bool | None = None,
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
        space: push a Space of the same name, too: the page of `genzoo.explore` with these weights.
        dry_run: only say what would be pushed; the Hub is not asked.
        progress: show a bar on stderr; None shows it where somebody sees it (terminal, notebook).

    Raises:
        UsageError: if something is missing, all of it at once; nothing was sent.
        GenzooError: in one sentence, whatever else goes wrong.
    """
    from genzoo.core.storage import card
    from genzoo.core.storage.weights import read_config
    from genzoo.registry.verbs.load import load

    check_tag(tag)
    repository = check_repository(repository.removeprefix("hf:"))
    found, record, chosen, problems = ready(weights, license, unfinished)
    there = check(found.folder, found.within)
    config = read_config(found.folder, within=found.within)
    if data_license:
        record = replace(record, data=replace(record.data, license=data_license))
    record = with_evaluation(record, metrics)
    problems += _missing(weights, config, record)
    if problems:
        raise UsageError(f"{weights} is not ready to be pushed: {'; '.join(problems)}")
    load(weights, verbose=False)  # nobody else should be the first to try
    picture = next((name for name in SAMPLES if name in there), "")
    text = card.card(config, record, picture=picture, name=f"hf:{repository}", license=chosen)
    files = {n: File(n, (found.folder / n).resolve(), said["size"], said["sha256"]) for n, said in there.items()}
    files |= {CARD: File.of(CARD, text.encode()), RECORD: File.of(RECORD, record.text().encode())}
    listed = {n: {"size": f.size, "sha256": f.sha256} for n, f in sorted(files.items()) if n != MANIFEST}
    manifest = json.dumps({"format": 1, "files": listed}, indent=1, ensure_ascii=False) + "\n"
    files[MANIFEST] = File.of(MANIFEST, manifest.encode())
    told = Pushed(repository, tuple(files.values()), text, tag=tag)
    message = message or f"{card.title(config, record)}{f' ({tag})' if tag else ''}"
    how: dict[str, Any] = {"private": private, "endpoint": endpoint, "progress": visible(progress)}
    if not dry_run:
        told = publish(told, message=message, **how)
    if space:
        shown = space_files(repository, told.tag, card.title(config, record), chosen, of(config.data).needs, private)
        page = Pushed(repository, shown, next(f for f in shown if f.name == CARD).text)
        told = replace(told, space=page if dry_run else publish_space(page, **how))
    return told


def publish_all(
    organization: str,
    *,
    names: Sequence[str] = (),
    license: str = "",
    private: bool = False,
    endpoint: str | None = None,
    dry_run: bool = False,
    progress: bool | None = None,
) -> list[Pushed | GenzooError]:
    """Publish the zoo's own weights that ship inside the package, or only ``names``, each in a repository of its own.

    Version 2 of ``wgan-gp/fashion-mnist`` becomes the tag ``v2`` of ``ORGANIZATION/wgan-gp-fashion-mnist``. The
    license is for weights whose card names none; by default the package's own, Apache-2.0.

    Returns:
        For each version of each, what became of it, or what went wrong; one that fails stops no others.

    Raises:
        UsageError: if there is no such name, or nothing to publish.
    """
    entries = {e.name: e for e in the_registry().entries("weights") if e.distribution == "genzoo"}
    for name in names:
        if name not in entries:
            raise UsageError(f"the package has no weights {name!r}{did_you_mean(name, entries)}")
    done = list[Pushed | GenzooError]()
    for name, entry in entries.items():
        versions = entry.data["versions"] if not names or name in names else {}
        for version, said in versions.items():
            if not said["target"]:
                continue  # it is on the Hub alone
            try:  # unfinished, since the best of a run is one that stopped early
                done.append(push(
                    f"{name}@{version}", f"{organization}/{name.replace('/', '-')}", tag=f"v{version}",
                    license=said.get("license") or license or "apache-2.0", private=private, unfinished=True,
                    endpoint=endpoint, dry_run=dry_run, progress=progress,
                ))  # fmt: skip
            except GenzooError as e:
                done.append(GenzooError(f"{name}@{version}: {e}"))
    if not done:
        raise UsageError("this package ships no weights to publish")
    return done


def ready(
    weights: str | os.PathLike[str], license: str, unfinished: bool
) -> tuple[Located, TrainingRecord, str, list[str]]:
    """Find weights to publish: their record, less what tells about this machine, and license; and what is missing.

    Raises:
        GenzooError: if they are no finished weights with a record.
    """
    from genzoo.core.training.runs import checkpoints

    found = resolve(weights)
    if not (found.folder / MANIFEST).exists() and checkpoints(found.folder):
        raise UsageError(f"the run in {found.folder} was interrupted: finish it with --resume first")
    record = read_record(found.folder, found.within)
    if record is None:
        raise UsageError(f"{found.folder} has no {RECORD}, so nobody knows what it was trained on: give the folder "
                         "that 'genzoo train' wrote")  # fmt: skip
    plain = record.to_dict()
    record = TrainingRecord.from_dict(plain | {"called with": _nameless(plain["called with"])})
    if not license:
        with suppress(OSError, ValueError, GenzooError):
            license = license_of(found.folder, found.within)
    name, problems = license.strip().lower(), list[str]()
    if not name:
        problems.append("its license is not known (--license mit, for example)")
    if record.steps < record.of and not unfinished:
        problems.append(f"it stopped after {record.steps:,} of {record.of:,} steps (go on with --resume, or say "
                        "--unfinished)")  # fmt: skip
    return found, record, name, problems


def with_evaluation(record: TrainingRecord, metrics: Report | str | os.PathLike[str] | None) -> TrainingRecord:
    """A training record with a report of metrics, or what ``genzoo eval --out`` wrote of one."""
    from genzoo.core.evaluation.report import Report

    if metrics is None:
        return record
    if not isinstance(metrics, Report):
        path = Path(metrics)
        try:
            metrics = Report.from_dict(parse_json(read_plain(path)))
        except (OSError, ValueError, GenzooError) as e:
            raise UsageError(f"{path} holds no metrics ({e}): give what 'genzoo eval --out' wrote") from None
    return replace(record, evaluation=metrics.to_dict())


def _nameless(value: Any) -> Any:
    """Plain data in which absolute paths are told by their last part."""
    if isinstance(value, Mapping):
        return {k: _nameless(v) for k, v in value.items()}
    return Path(value).name if isinstance(value, str) and os.path.isabs(os.path.expanduser(value)) else value


def _missing(weights: object, config: Config, record: TrainingRecord) -> list[str]:
    """What a card must say and cannot."""
    from genzoo.core.storage.card import results

    data = record.data
    measure = f"measure some: 'genzoo eval {weights} --data {data.name or 'DATA'} --out eval.json'"
    needed = {
        "its recipe is not recorded": config.recipe,
        "its data has no name (train on a data set, a folder or a file)": data.name,
        f"the license of its data ({data.name or 'unnamed'}) is not known (--data-license)": data.license,
        f"it has no metrics ({measure}, and give --metrics eval.json)": results(record),
    }
    return [what for what, there in needed.items() if not there]


def check_tag(tag: str) -> str:
    """Return a valid tag (or nothing), or raise `UsageError`."""
    if tag in ("main", "HEAD") or re.fullmatch(r"[0-9a-f]{7,40}", tag):
        raise UsageError(f"{tag!r} cannot be a tag: it means something else; name versions v1, v2, …")
    return check_revision(tag)


def publish(told: Pushed, *, private: bool, endpoint: str | None, message: str, progress: bool) -> Pushed:
    """Make a repository's ``main`` hold these files, and give that commit a tag.

    Files of a weights folder that are there and not among these are deleted; others are left alone. Without a tag it
    is the one that the commit has, or the next of ``v1``, ``v2``, ….

    Raises:
        UsageError: if the tag names other files already.
        GenzooError: in one sentence, whatever goes wrong; what the Hub's users see is whole at any time.
    """
    from huggingface_hub import get_token

    from genzoo.registry.weights.client import LOGIN, Client, quiet

    client = Client(endpoint_of(endpoint), told.repository, pushing=True)
    if offline():
        raise GenzooError("HF_HUB_OFFLINE forbids to ask the Hub: unset it to push")
    if not get_token():
        raise GenzooError(f"pushing to {client.endpoint} needs a token that may write: {LOGIN}")
    with quiet(client.endpoint, progress):
        created = opened(client, private)
        tags = _tags(client)
        done = replace(told, created=created, url=f"{client.endpoint}/{told.repository}")
        if told.tag in tags:
            if not holds(client.listing(tags[told.tag]), told.files):
                other = f"other files (commit {tags[told.tag][:12]}), and tags never move"
                raise UsageError(f"the tag {told.tag!r} of {here(client)} names {other}: nothing was pushed; give "
                                 "another --tag")  # fmt: skip
            return replace(done, commit=tags[told.tag])
        there = client.listing()
        same = holds(there, told.files)
        commit = there.commit if same else committed(client, there, told.files, message)
        named = next((name for name, at in reversed(tags.items()) if at == commit), "") if not told.tag else ""
        tag = named or _tagged(client, told.tag, commit, tags)
    return replace(done, commit=commit, tag=tag, changed=not (same and named))


def publish_space(told: Pushed, *, private: bool, endpoint: str | None, progress: bool) -> Pushed:
    """Make a Space's ``main`` hold these files; others in it are left alone."""
    from genzoo.registry.weights.client import Client, quiet

    client = Client(endpoint_of(endpoint), told.repository, pushing=True, kind="space")
    with quiet(client.endpoint, progress):
        created = opened(client, private)
        there = client.listing()
        commit = committed(client, there, told.files, "Explore these weights", whole=False)
    url = f"{client.endpoint}/spaces/{told.repository}"
    return replace(told, created=created, commit=commit, changed=commit != there.commit, url=url)


def _tags(client: Client) -> dict[str, str]:
    """Names of tags and the commits that they are on."""
    refs = client.ask(lambda: client.api.list_repo_refs(client.repository))
    return {ref.name: ref.target_commit for ref in refs.tags}


def _tagged(client: Client, wanted: str, commit: str, tags: dict[str, str]) -> str:
    """Put a tag on a commit; its name."""
    api, name = client.api, client.repository
    numbers = [int(tag[1:]) for tag in tags if re.fullmatch(r"v[0-9]{1,9}", tag)]
    tag = wanted or f"v{max(numbers, default=0) + 1}"
    try:
        client.ask(lambda: api.create_tag(name, tag=tag, revision=commit, exist_ok=True))
        if _tags(client).get(tag) == commit:
            return tag
        why = "somebody else gave it just now"
    except GenzooError as e:
        why = str(e)
    raise GenzooError(f"{here(client)} has the files, and no tag {tag!r} ({why}): run the same command again")
