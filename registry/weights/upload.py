"""Files to a repository of the Hub in one commit: what is there already is not sent."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.registry.weights.base import LIMITS, Listing, Remote, git_id

if TYPE_CHECKING:
    from genzoo.registry.weights.client import Client


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

    @property
    def text(self) -> str:
        """The content, of a file of text."""
        return (self.content if isinstance(self.content, bytes) else self.content.read_bytes()).decode()

    @cached_property
    def git_id(self) -> str:
        """What git, and so the Hub, calls the content."""
        return git_id(self.content if isinstance(self.content, bytes) else self.content.read_bytes())


def here(client: Client) -> str:
    """A repository in words."""
    return f"{client.repository} on {client.endpoint}"


def opened(client: Client, private: bool) -> bool:
    """Make the repository, if it is not there; whether it was made."""
    api, name = client.api, client.repository
    if not client.ask(lambda: api.repo_exists(name, repo_type=client.kind)):
        client.ask(lambda: api.create_repo(name, private=private, exist_ok=True, **client.made))
        return True
    if private and client.info().private is False:
        raise UsageError(f"{here(client)} is public: make it private in its settings, or leave out --private")
    return False


def holds(there: Listing, files: Sequence[File]) -> bool:
    """Whether a commit holds these files, and no others of a weights folder."""
    return {f.name for f in files} == {n for n in there.files if n in LIMITS} and not new_files(there, files)


def new_files(there: Listing, files: Sequence[File]) -> list[File]:
    """The files that a commit does not hold, or with other content."""
    found = [(f, there.files.get(f.name, Remote(0))) for f in files]
    return [f for f, at in found if (at.sha256 != f.sha256 if at.sha256 else at.git_id != f.git_id)]


def committed(client: Client, there: Listing, files: Sequence[File], message: str, *, whole: bool = True) -> str:
    """Commit what differs, on top of what was seen; the new commit, or the old one if nothing does.

    Of a ``whole`` weights folder what is there and not among the files is deleted.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    gone = [n for n in there.files if whole and n in LIMITS and n not in {f.name for f in files}]
    if not gone and not new_files(there, files):
        return there.commit

    def commit() -> Any:  # an operation cannot be used twice
        changes: list[Any] = [CommitOperationAdd(f.name, f.content) for f in new_files(there, files)]
        changes += map(CommitOperationDelete, gone)
        return client.api.create_commit(client.repository, changes, commit_message=message, repo_type=client.kind,
                                        parent_commit=there.commit)  # fmt: skip

    try:
        return str(client.ask(commit).oid)
    except GenzooError:
        now = client.listing()
        if new_files(now, files) or (whole and not holds(now, files)):
            raise
        return now.commit  # it came through, and only the answer was lost
