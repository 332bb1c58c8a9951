"""The Hugging Face Hub, or another that speaks its language: weights in huggingface_hub's own cache, checked."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import MANIFEST
from genzoo.registry.weights import base
from genzoo.registry.weights.base import TENSORS, Damage, Fetch, Listing, Located, OutOfReach, Store

if TYPE_CHECKING:
    from genzoo.registry.weights.client import Client

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}")


class Hub(Store):
    """``hf:org/name@revision``: the only kind of name that is ever looked up on the Hub."""

    prefix = "hf"

    def listing(self, name: str, revision: str) -> Listing:
        from genzoo.registry.weights.client import Client

        return Client(endpoint_of(), check_repository(name)).listing(revision)

    def read(self, name: str, commit: str, file: str) -> Iterator[bytes]:
        with open(self.locate(name, commit, Fetch()).folder / file, "rb") as content:
            while piece := content.read(2**20):
                yield piece

    def locate(self, name: str, revision: str, fetch: Fetch) -> Located:
        """Bring a repository's weights into huggingface_hub's cache, checked; see `Store.locate`.

        The revision is resolved once, and everything comes from that commit. What is in the cache and right is not
        asked for again; a full commit that is there needs no network at all.
        """
        return _Repository(name, revision, fetch).located()


class _Repository:
    """A repository in the cache: ``blobs`` called by their content, ``snapshots`` of links to them, and ``refs``."""

    def __init__(self, name: str, revision: str, fetch: Fetch) -> None:
        self.name, self.revision, self.fetch = check_repository(name), check_revision(revision), fetch
        self.full = f"hf:{name}" + (f"@{revision}" if revision else "")
        self.endpoint = endpoint_of(fetch.endpoint)
        cache, folder = base.hub_cache(), f"models--{name.replace('/', '--')}"
        self.root, self.locks = cache / folder, cache / ".locks" / folder
        self.blobs, self.ref = self.root / "blobs", self.root / "refs" / (revision or "main")
        self.is_commit = base.COMMIT.fullmatch(revision) is not None

    def snapshot(self, commit: str) -> Path:
        return self.root / "snapshots" / commit

    def located(self) -> Located:
        if self.is_commit:
            with suppress(GenzooError, OSError):
                return self._checked(self.revision)
        if offline():
            return self._copy_of_before("HF_HUB_OFFLINE is set")
        from genzoo.registry.weights.client import Client

        client = Client(self.endpoint, self.name)
        try:
            listing = client.listing(self.revision)
        except OutOfReach as e:
            return self._copy_of_before(str(e))
        if not self.is_commit:
            with suppress(OSError):  # that it cannot be noted what a branch or tag is, is no reason to fail
                self.ref.parent.mkdir(parents=True, exist_ok=True)
                aside = self.ref.with_name(f".{self.ref.name}.{os.getpid()}")
                aside.write_text(listing.commit)
                os.replace(aside, self.ref)
            with suppress(GenzooError, OSError):
                return self._checked(listing.commit)
        base.check_listing(self.full, listing)
        try:
            return self._downloaded(client, listing)
        except OSError as e:
            raise client.explained(e) from e

    def _checked(self, commit: str) -> Located:
        """The copy of a commit, if it is whole and right."""
        snapshot = self.snapshot(commit)
        files = base.check(snapshot, self.blobs, pins=self.fetch.pins)
        with suppress(OSError):  # so that 'genzoo cache ls' knows the last use
            changed = os.stat(snapshot / MANIFEST).st_mtime_ns
            os.utime(snapshot / MANIFEST, ns=(time.time_ns(), changed))
        at = f"at {self.revision} " if self.revision and not self.is_commit else ""
        origin = f"{self.name} {at}on the Hub (commit {commit[:12]})"
        return Located(self.full, snapshot, self.blobs, origin, commit, files=files)

    def _copy_of_before(self, why: str) -> Located:
        """Use the cached copy instead of asking, and say so."""
        commit = self.revision
        if not self.is_commit:
            with suppress(OSError, ValueError):
                commit = self.ref.read_text().strip()
        snapshot = self.snapshot(commit)
        if not base.COMMIT.fullmatch(commit) or not snapshot.is_dir():
            raise GenzooError(f"{why}; {self.full} is not in the cache: 'genzoo pull {self.full}' brings it there")
        try:
            found = self._checked(commit)
        except (GenzooError, OSError) as e:
            raise GenzooError(f"{why}; {e}") from None
        day = time.strftime("%Y-%m-%d", time.localtime(snapshot.stat().st_mtime))
        self.fetch.say(f"{why}; using the copy of {self.full} that was pulled on {day}, commit {commit[:12]}")
        return found

    def _downloaded(self, client: Client, listing: Listing) -> Located:
        """Bring all files of a commit, the tensors last; get what is wrong once more."""
        wanted = [n for n in base.LIMITS if n in listing.files]
        again, mended = set[str](), set[str]()
        while True:
            try:
                for file in wanted:
                    self._bring(client, listing, file, anew=file in again)
                    if file == MANIFEST:
                        self._agree(listing)
                return self._checked(listing.commit)
            except Damage as e:
                if e.file in mended or e.file not in wanted:
                    raise GenzooError(base.refusal(self.full, e)) from None
                self.fetch.say(f"{e}: getting it again")
                again = {e.file, MANIFEST} - mended
                mended |= again

    def _agree(self, listing: Listing) -> None:
        """Before anything large is fetched: manifest, Hub and pins say the same of the tensors."""
        said, remote = base.manifest_of(self.snapshot(listing.commit), self.blobs)[TENSORS], listing.files[TENSORS]
        if said["size"] != remote.size or remote.sha256 not in ("", said["sha256"]):
            raise Damage(MANIFEST, f"{MANIFEST} tells of another {TENSORS} than the Hub has")
        pin = self.fetch.pins.get(TENSORS, said["sha256"])
        if pin != said["sha256"]:
            raise Damage(MANIFEST, f"its {TENSORS} is not what is pinned: sha256 {said['sha256'][:12]}…, not "
                         f"{pin[:12]}…")  # fmt: skip

    def _bring(self, client: Client, listing: Listing, file: str, *, anew: bool) -> None:
        """Bring a file into the cache, whatever is there of it; of several processes one does, and the others wait."""
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

        remote, pointer = listing.files[file], self.snapshot(listing.commit) / file
        key = remote.sha256 or remote.git_id
        blob, partial = self.blobs / key, self.blobs / f"{key}{base.PARTIAL}"
        for folder in (self.blobs, self.locks, pointer.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(self.locks / f"{key}.genzoo.lock"):
            if anew:
                partial.unlink(missing_ok=True)
            elif _has(pointer, remote.size):
                return
            if anew or not _has(blob, remote.size):
                try:
                    with open(partial, "ab") as into:
                        client.download(listing.commit, file, remote.size, into, progress=self.fetch.progress)
                        into.flush()
                        os.fsync(into.fileno())
                finally:
                    if _has(partial, 0) and remote.size:
                        partial.unlink()
                if _called(partial, large=bool(remote.sha256)) != key:
                    partial.unlink()
                    raise Damage(file, f"{file} is damaged: what came is not what the Hub says")
                os.replace(partial, blob)
            aside = pointer.with_name(f".{file}.{os.getpid()}")
            aside.unlink(missing_ok=True)
            try:
                os.symlink(os.path.relpath(blob, pointer.parent), aside)
            except OSError:  # a system without links
                shutil.copyfile(blob, aside)
            os.replace(aside, pointer)


def _has(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _called(path: Path, *, large: bool) -> str:
    """What the Hub calls a file's content: sha256 of large files, git's id of others."""
    if not large:
        return base.git_id(path.read_bytes())
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_ALONE = ContextVar("_ALONE", default=False)


@contextmanager
def without_asking() -> Iterator[None]:
    """What is wanted of the Hub meanwhile is had only if it is here already."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def offline() -> bool:
    """Whether the environment forbids to ask the Hub, as huggingface_hub reads it, or `without_asking` does."""
    if _ALONE.get():
        return True
    said = (os.environ.get(name, "").upper() for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(word in ("1", "ON", "YES", "TRUE") for word in said)


def endpoint_of(given: str | None = None) -> str:
    """The Hub's address: what is given, ``HF_ENDPOINT``, or Hugging Face."""
    endpoint = (given or os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    if not re.fullmatch("https?://.+", endpoint):
        raise UsageError(f"the Hub's endpoint must be a URL such as https://huggingface.co, not {endpoint!r}")
    return endpoint


def check_repository(name: str) -> str:
    """Return a valid ``org/name``, or raise `UsageError`."""
    if not _REPOSITORY.fullmatch(name) or "--" in name or ".." in name:
        raise UsageError(f"a model on the Hub is written hf:org/name or hf:org/name@revision, not {f'hf:{name}'!r}")
    return name


def check_revision(revision: str) -> str:
    """Return a valid branch, tag or commit (or nothing), or raise `UsageError`."""
    odd = ".." in revision or "//" in revision or revision.endswith(("/", ".lock"))
    if revision and (odd or not _REVISION.fullmatch(revision)):
        raise UsageError(f"a revision on the Hub is a branch, a tag or a commit, not {revision!r}")
    return revision
