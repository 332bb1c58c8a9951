"""Files to a repository of the Hub: one commit, a tag that never moves, and nothing at all if it is all there."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from logging import ERROR
from pathlib import Path
from typing import Any, TypeVar

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.strict import one_line
from genzoo.registry.weights.client import (
    HUGGING_FACE,
    LOGIN,
    Client,
    OutOfReach,
    endpoint_of,
    library,
    offline,
    retried,
)
from genzoo.registry.weights.hub import check_repository, check_revision
from genzoo.registry.weights.layout import LIMITS, git_id

Result = TypeVar("Result")
_AGAIN = "run the same command again: it goes on where this ended"
_XET = "HF_HUB_DISABLE_XET"
_SMALL = 16 * 2**20  # bytes of what is read again to compare it
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
        if isinstance(self.content, Path):
            return git_id(self.content)
        return hashlib.sha1(b"blob %d\0" % self.size + self.content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Published:
    """What became of it.

    Attributes:
        repository: ``org/name``.
        commit: where the files are.
        tag: that names this commit.
        changed: whether anything on the Hub is now different.
        created: whether the repository is new.
        url: to look at it.
    """

    repository: str
    commit: str
    tag: str
    changed: bool
    created: bool
    url: str


def publish(
    repository: str,
    files: Sequence[File],
    *,
    tag: str = "",
    private: bool = False,
    endpoint: str | None = None,
    message: str = "",
    progress: bool = False,
) -> Published:
    """Make a repository's ``main`` hold these files, and tag that commit.

    Files of a weights folder that are there and not among these are deleted; others are left alone.

    Args:
        repository: ``org/name``; it is made if it is not there.
        files: what it shall hold.
        tag: for this commit; by default the one that it has, or the next of ``v1``, ``v2``, ….
        private: whether a repository that is made is private.
        endpoint: the Hub's address; default ``HF_ENDPOINT``, or Hugging Face.
        message: of the commit.
        progress: show bars on stderr.

    Raises:
        UsageError: if the tag names other files already.
        GenzooError: in one sentence, whatever goes wrong; what the Hub's users see is whole at any time.
    """
    hub = Publisher(Client(endpoint_of(endpoint)), check_repository(repository))
    with _settings(hub.client.endpoint, progress):
        return hub.publish(files, check_tag(tag), private, message or f"Upload {repository} with genzoo")


def check_tag(tag: str) -> str:
    """Return a valid tag (or nothing), or raise `UsageError`."""
    if tag in ("main", "HEAD") or re.fullmatch(r"[0-9a-f]{7,40}", tag):
        raise UsageError(f"{tag!r} cannot be a tag: it means something else; name versions v1, v2, …")
    return check_revision(tag)


class Publisher:
    """One repository that is written to."""

    def __init__(self, client: Client, repository: str) -> None:
        self.client, self.repository = client, repository
        self.here = f"{repository} on {client.endpoint}"

    def publish(self, files: Sequence[File], tag: str, private: bool, message: str) -> Published:
        """Do what the function `publish` says."""
        self._may_push()
        info, created = self._opened(private)
        tags = self._tags()
        url = f"{self.client.endpoint}/{self.repository}"
        if tag in tags:
            self._agrees(tag, tags[tag], files)
            return Published(self.repository, tags[tag], tag, False, created, url)
        commit, changed = info.sha, False
        if not self._holds(info, files):
            commit, changed = self._committed(info, files, message), True
            if not self._holds(self._info(commit), files):
                raise GenzooError(f"{self.here} holds something else than was sent, at commit {commit[:12]}: {_AGAIN}")
        named = next((name for name, at in reversed(tags.items()) if at == commit), "") if not tag else ""
        if not named:
            named = self._tagged(tag, commit, files, tags)
            changed = True
        return Published(self.repository, commit, named, changed, created, url)

    def _may_push(self) -> None:
        """Refuse what cannot work before anything is sent."""
        from huggingface_hub import get_token

        if offline():
            raise GenzooError("HF_HUB_OFFLINE forbids to ask the Hub: unset it to push")
        if not get_token():
            raise GenzooError(f"pushing to {self.client.endpoint} needs a token that may write: {LOGIN}")
        who = self._do(lambda: self.client.api.whoami())
        spaces = [str(who.get("name", "")), *(str(org.get("name", "")) for org in who.get("orgs") or ())]
        namespace = self.repository.partition("/")[0]
        if who.get("orgs") is not None and namespace.lower() not in (space.lower() for space in spaces):
            raise GenzooError(
                f"your token is {spaces[0]}'s, who may not write to {namespace!r}: push to {' or '.join(spaces)}, or "
                "use a token of an account that may"
            )
        access = (who.get("auth") or {}).get("accessToken") or {}
        if access.get("role") == "read":
            raise GenzooError(
                f"your token for {self.client.endpoint} may only read: make one that may write, and {LOGIN}"
            )

    def _opened(self, private: bool) -> tuple[Any, bool]:
        """The repository as it is; made, if it is not there."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info, created = retried(lambda: self.client.api.model_info(self.repository, files_metadata=True)), False
        except RepositoryNotFoundError:
            self._do(lambda: self.client.api.create_repo(self.repository, private=private, exist_ok=True))
            info, created = self._info(None), True
        if private and not created and info.private is False:
            raise UsageError(f"{self.here} is public: make it private in its settings, or leave out --private")
        return info, created

    def _info(self, revision: str | None) -> Any:
        return self._do(lambda: self.client.api.model_info(self.repository, revision=revision, files_metadata=True))

    def _tags(self) -> dict[str, str]:
        """Names of tags and the commits that they are on."""
        refs = self._do(lambda: self.client.api.list_repo_refs(self.repository))
        return {ref.name: ref.target_commit for ref in refs.tags}

    def _agrees(self, tag: str, commit: str, files: Sequence[File]) -> None:
        if not self._holds(self._info(commit), files):
            raise UsageError(
                f"the tag {tag!r} of {self.here} names other files (commit {commit[:12]}), and tags never move: "
                "nothing was pushed; give another --tag"
            )

    def _committed(self, info: Any, files: Sequence[File], message: str) -> str:
        """Commit what differs, on top of what was seen; the new commit."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        there = {s.rfilename: s for s in info.siblings or ()}
        names = {file.name for file in files}
        for left in reversed(range(_TRIES)):
            changes: list[Any] = [
                CommitOperationAdd(f.name, f.content) for f in files if not self._is_at(f, there.get(f.name), info.sha)
            ]  # an operation cannot be used twice
            changes += [CommitOperationDelete(name) for name in there if name in LIMITS and name not in names]
            try:
                done = retried(
                    lambda changes=changes: self.client.api.create_commit(  # type: ignore[misc]
                        self.repository, changes, commit_message=message, parent_commit=info.sha
                    ),
                    again=False,
                )
                return str(done.oid)
            except Exception as e:
                error = self._explained(e)
                now = self._after(error)
                if now is not None and now.sha != info.sha and self._holds(now, files):
                    return str(now.sha)  # it came through, and only the answer was lost
                if not isinstance(error, OutOfReach) or now is None or not left:
                    raise error from e
                if now.sha != info.sha:
                    raise self._moved() from e
        raise AssertionError

    def _holds(self, info: Any, files: Sequence[File]) -> bool:
        """Whether a commit holds these files, and no others of a weights folder."""
        there = {s.rfilename: s for s in info.siblings or ()}
        names = {file.name for file in files}
        if any(name in LIMITS and name not in names for name in there):
            return False
        return all(self._is_at(f, there.get(f.name), info.sha) for f in files)

    def _is_at(self, file: File, sibling: Any, commit: str) -> bool:
        """Whether a file that the Hub lists has this content."""
        if sibling is None:
            return False
        if sibling.lfs is not None:
            return bool(sibling.lfs.sha256 == file.sha256)
        if sibling.blob_id == file.git_id:
            return True
        if sibling.size not in (None, file.size) or file.size > _SMALL:
            return False
        return self._do(lambda: self._read(file.name, commit)) == file.sha256  # not every Hub names content as git does

    def _read(self, name: str, commit: str) -> str:
        """The sha256 of a small file at a commit; empty if it cannot be read."""
        from huggingface_hub import hf_hub_url

        hub = library("utils")
        url = hf_hub_url(self.repository, name, revision=commit, endpoint=self.client.endpoint)
        digest, size = hashlib.sha256(), 0
        with hub.get_session().stream("GET", url, headers=hub.build_hf_headers(), follow_redirects=True) as response:
            if response.status_code != 200:
                return ""
            for piece in response.iter_bytes():
                digest.update(piece)
                size += len(piece)
                if size > _SMALL:
                    return ""
        return digest.hexdigest()

    def _after(self, error: GenzooError) -> Any:
        """The repository after a commit that failed, None if that does not matter or cannot be told."""
        try:
            return self._info(None) if isinstance(error, OutOfReach) else None
        except GenzooError:
            return None

    def _tagged(self, wanted: str, commit: str, files: Sequence[File], tags: Mapping[str, str]) -> str:
        """Put a tag on a commit; its name."""
        from huggingface_hub.errors import HfHubHTTPError

        known = dict(tags)
        for _ in range(_TRIES):
            numbers = [int(name[1:]) for name in known if re.fullmatch(r"v[0-9]{1,9}", name)]
            tag = wanted or f"v{max(numbers, default=0) + 1}"
            try:
                retried(lambda tag=tag: self.client.api.create_tag(self.repository, tag=tag, revision=commit))  # type: ignore[misc]
                return tag
            except HfHubHTTPError as e:
                if getattr(e.response, "status_code", 0) != 409:
                    why = str(self._explained(e))
                    raise GenzooError(f"{self.here} has the files, and no tag {tag!r} ({why}): {_AGAIN}") from e
                known = self._tags()  # somebody else made it just now, or the answer to a first try was lost
                if known.get(tag) == commit:
                    return tag
                if wanted:
                    self._agrees(tag, known.get(tag, commit), files)
                    return tag
            except GenzooError as e:
                raise GenzooError(f"{self.here} has the files, and no tag {tag!r} ({e}): {_AGAIN}") from e
        raise GenzooError(f"{self.here} is pushed to by several at once: {_AGAIN}")

    def _do(self, ask: Callable[[], Result]) -> Result:
        """Ask the Hub; failures are sentences about pushing."""
        try:
            return retried(ask)
        except GenzooError:
            raise
        except Exception as e:
            raise self._explained(e) from e

    def _explained(self, error: BaseException) -> GenzooError:
        """One sentence for a failure of the client while writing."""
        while isinstance(error, RuntimeError) and error.__cause__ is not None:  # "Error while uploading …"
            error = error.__cause__
        if isinstance(error, GenzooError):
            return error
        status = getattr(getattr(error, "response", None), "status_code", 0)
        if status == 401:
            return GenzooError(f"{self.client.endpoint} does not accept your token: {LOGIN} anew")
        if status == 403:
            return GenzooError(
                f"your token may not write to {self.here}: use one that may, or push to a name of your own"
            )
        if status == 412:
            return self._moved()
        if status in (402, 413):
            return GenzooError(
                f"{self.client.endpoint} has no room for {self.repository} ({status}): look at its limits"
            )
        if status in (400, 409, 422):
            why = one_line(str(getattr(error, "server_message", None) or error), 200)
            return GenzooError(f"{self.client.endpoint} refuses the push to {self.repository} ({status}): {why}")
        if isinstance(error, ValueError) and not isinstance(error, OSError) and "metadata" in str(error):
            why = one_line(str(error).partition("\n")[2] or str(error), 200)
            return GenzooError(f"{self.client.endpoint} does not accept the card's metadata: {why}")
        assert isinstance(error, Exception), error
        return self.client.explained(error, self.repository, None)

    def _moved(self) -> GenzooError:
        return GenzooError(
            f"somebody else pushed to {self.here} meanwhile: nothing of yours was; look what is there, and push again"
        )


@contextmanager
def _settings(endpoint: str, progress: bool) -> Iterator[None]:
    """The client's own bars and warnings, or silence; and plain uploads to Hubs that are not Hugging Face's."""
    plain = endpoint != HUGGING_FACE
    if plain:
        os.environ.setdefault(_XET, "1")  # read when it is imported, which may have happened
    constants, utils = library("constants"), library("utils")
    logging = utils.logging
    verbosity, silence = logging.get_verbosity(), not (progress or utils.are_progress_bars_disabled())
    xet = getattr(constants, _XET, False)
    logging.set_verbosity(ERROR)  # what it warns of is tried again, or told in one sentence
    if silence:
        utils.disable_progress_bars()
    if plain:
        setattr(constants, _XET, True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of how the client uses its own libraries
            yield
    finally:
        setattr(constants, _XET, xet)
        logging.set_verbosity(verbosity)
        if silence:
            utils.enable_progress_bars()
