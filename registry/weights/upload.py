"""Files to a repository of the Hub: one commit, a tag that never moves, and nothing at all if it is all there."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.registry.weights.base import Listing, OutOfReach
from genzoo.registry.weights.hub import check_revision, endpoint_of, offline
from genzoo.registry.weights.layout import LIMITS, git_id

if TYPE_CHECKING:
    from genzoo.registry.weights.client import Client

_AGAIN = "run the same command again: it goes on where this ended"
_TRIES = 3  # of a commit whose fate is unknown


@dataclass(frozen=True)
class File:
    """A file to publish: what it is called there, its content (a path, or bytes), size and sha256."""

    name: str
    content: Path | bytes
    size: int
    sha256: str

    @classmethod
    def of(cls, name: str, content: bytes) -> File:
        """A file whose content is at hand."""
        return cls(name, content, len(content), hashlib.sha256(content).hexdigest())

    @cached_property
    def git_id(self) -> str:
        """What git, and so the Hub, calls the content."""
        return git_id(self.content if isinstance(self.content, bytes) else self.content.read_bytes())


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
        created = _opened(client, private)
        tags = _tags(client)
        done = replace(told, created=created, url=f"{client.endpoint}/{told.repository}")
        if told.tag in tags:
            if not _holds(client.listing(tags[told.tag]), told.files):
                other = f"other files (commit {tags[told.tag][:12]}), and tags never move"
                raise UsageError(f"the tag {told.tag!r} of {_here(client)} names {other}: nothing was pushed; give "
                                 "another --tag")  # fmt: skip
            return replace(done, commit=tags[told.tag])
        there = client.listing()
        same = _holds(there, told.files)
        commit = there.commit if same else _committed(client, there, told.files, message)
        named = next((name for name, at in reversed(tags.items()) if at == commit), "") if not told.tag else ""
        tag = named or _tagged(client, told.tag, commit, tags)
    return replace(done, commit=commit, tag=tag, changed=not (same and named))


def _here(client: Client) -> str:
    return f"{client.repository} on {client.endpoint}"


def _opened(client: Client, private: bool) -> bool:
    """Make the repository, if it is not there; whether it was made."""
    api, name = client.api, client.repository
    if not client.ask(lambda: api.repo_exists(name)):
        client.ask(lambda: api.create_repo(name, private=private, exist_ok=True))
        return True
    if private and client.info().private is False:
        raise UsageError(f"{_here(client)} is public: make it private in its settings, or leave out --private")
    return False


def _tags(client: Client) -> dict[str, str]:
    """Names of tags and the commits that they are on."""
    refs = client.ask(lambda: client.api.list_repo_refs(client.repository))
    return {ref.name: ref.target_commit for ref in refs.tags}


def _holds(there: Listing, files: Sequence[File]) -> bool:
    """Whether a commit holds these files, and no others of a weights folder."""
    return {f.name for f in files} == {n for n in there.files if n in LIMITS} and not _new(there, files)


def _new(there: Listing, files: Sequence[File]) -> list[File]:
    """The files that a commit does not hold, or with other content."""
    called = {n: remote.sha256 or remote.git_id for n, remote in there.files.items()}
    return [f for f in files if called.get(f.name) not in (f.sha256, f.git_id)]


def _committed(client: Client, there: Listing, files: Sequence[File], message: str) -> str:
    """Commit what differs, on top of what was seen; the new commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    gone = [n for n in there.files if n in LIMITS and n not in {f.name for f in files}]
    for left in reversed(range(_TRIES)):
        # An operation cannot be used twice.
        changes: list[Any] = [CommitOperationAdd(f.name, f.content) for f in _new(there, files)]
        changes += map(CommitOperationDelete, gone)
        try:
            done = client.api.create_commit(
                client.repository, changes, commit_message=message, parent_commit=there.commit
            )
            return str(done.oid)
        except Exception as e:
            error = client.explained(e)
            if not isinstance(error, OutOfReach) or not left:
                raise error from e
        now = client.listing()
        if _holds(now, files):
            return now.commit  # it came through, and only the answer was lost
    raise AssertionError


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
    raise GenzooError(f"{_here(client)} has the files, and no tag {tag!r} ({why}): {_AGAIN}")
