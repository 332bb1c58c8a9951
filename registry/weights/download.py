"""Downloads one file into huggingface_hub's cache: bounded, checked by size, and going on where it was cut off.

The client itself begins a file anew when it was interrupted, and believes what the server says of sizes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from genzoo.core.errors import GenzooError
from genzoo.registry.weights.client import TRIES, Client, OutOfReach, library, patience

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
PARTIAL = ".genzoo-incomplete"
MOST_PARTS = 200  # of one file, each after a connection that broke


class Blobs:
    """One repository's folder in the cache: ``blobs`` by content, ``snapshots`` of links to them, ``refs``.

    Args:
        cache: huggingface_hub's.
        repository: ``org/name``.
    """

    def __init__(self, cache: Path, repository: str) -> None:
        name = "models--" + repository.replace("/", "--")
        self.root = cache / name
        self.blobs, self.locks = self.root / "blobs", cache / ".locks" / name

    def snapshot(self, commit: str) -> Path:
        """The folder of a commit."""
        return self.root / "snapshots" / commit

    def ref(self, revision: str) -> str:
        """The commit that a branch or tag was when last asked; empty if never."""
        try:
            found = (self.root / "refs" / revision).read_text().strip()
        except (OSError, ValueError):
            return ""
        return found if re.fullmatch(r"[0-9a-f]{40}", found) else ""

    def set_ref(self, revision: str, commit: str) -> None:
        """Note what a branch or tag is; that it cannot be written is no reason to fail."""
        path = self.root / "refs" / revision
        if self.ref(revision) == commit:
            return
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{os.getpid()}")
            aside.write_text(commit)
            os.replace(aside, path)

    def fetch(
        self, client: Client, repository: str, commit: str, file: str, size: int | None, limit: int, key: str,
        tick: Callable[[int], Any], *, anew: bool = False,
    ) -> None:  # fmt: skip
        """Bring a file of a commit into the cache, whatever is there of it.

        Several processes may do so at once: one downloads, the others wait for it.

        Args:
            client: the Hub.
            repository: ``org/name``.
            commit: which.
            file: its name.
            size: its size in bytes, if that is known.
            limit: bytes beyond which it is refused.
            key: what names an unfinished download, so that the same content is gone on with.
            tick: told how many bytes have come (less, where some must come again).
            anew: believe nothing that is there.
        """
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.locks.mkdir(parents=True, exist_ok=True)
        partial = self.blobs / f"{key}{PARTIAL}"
        with library("utils").WeakFileLock(self.locks / f"{key}.genzoo.lock"):
            if anew:
                partial.unlink(missing_ok=True)
            elif self.has(commit, file, size):
                tick(size or 0)
                return
            elif size is not None and (blob := self.blobs / key).is_file() and blob.stat().st_size == size:
                self._link(blob, commit, file)  # another commit has the same content
                tick(size)
                return
            try:
                with open(partial, "ab") as into:
                    _download(client, repository, commit, file, size, limit, into, tick)
                    into.flush()
                    os.fsync(into.fileno())
            except BaseException:
                if not partial.stat().st_size:
                    partial.unlink()
                raise
            blob = self.blobs / _content_name(partial, large=len(key) == 64)
            os.replace(partial, blob)
            self._link(blob, commit, file)

    def has(self, commit: str, file: str, size: int | None) -> bool:
        """Whether a snapshot has a file, of that size if it is known."""
        path = self.snapshot(commit) / file
        return path.is_file() and (size is None or path.stat().st_size == size)

    def _link(self, blob: Path, commit: str, file: str) -> None:
        """Make a snapshot's file a link to a blob, or another blob than before, in one instant."""
        pointer = self.snapshot(commit) / file
        pointer.parent.mkdir(parents=True, exist_ok=True)
        aside = pointer.with_name(f".{file}.{os.getpid()}")
        aside.unlink(missing_ok=True)
        try:
            os.symlink(os.path.relpath(blob, pointer.parent), aside)
        except OSError:  # a system without links
            shutil.copyfile(blob, aside)
        os.replace(aside, pointer)


def _content_name(path: Path, *, large: bool) -> str:
    """A file's content as the Hub and its client's cache name it: sha256 of large files, git's id of others."""
    with open(path, "rb") as file:
        if large:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size, usedforsecurity=False)
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def _download(
    client: Client, repository: str, commit: str, file: str, size: int | None, limit: int, into: BinaryIO,
    tick: Callable[[int], Any],
) -> None:  # fmt: skip
    """Append what is missing of a file, through failures that may pass."""
    most = limit if size is None else size
    failures = 0
    tick(into.tell())
    for _ in range(MOST_PARTS):
        before = into.tell()
        if before > most:  # of another content, or by another program
            tick(-_restart(into))
            before = 0
        try:
            if size is not None and before == size:
                return
            whole = _stream(client, repository, commit, file, most, into, tick)
            if whole if size is None else into.tell() == size:
                return
            error: Exception = OutOfReach(
                f"{client.endpoint} sent {into.tell():,} of the {size or 0:,} bytes of {repository}'s {file}: try again"
            )
            wait: float | None = 0.2
        except GenzooError:
            raise
        except Exception as e:
            error, wait = client.explained(e, repository, commit), patience(e, failures + 1)
        failures = 1 if into.tell() > before else failures + 1
        if wait is None or failures > TRIES:
            raise error
        time.sleep(wait)
    raise OutOfReach(f"the connection to {client.endpoint} breaks again and again: what has come is kept, try later")


def _stream(
    client: Client, repository: str, commit: str, file: str, most: int, into: BinaryIO, tick: Callable[[int], Any]
) -> bool:
    """Ask for the rest of a file once, and append what comes; whether that was all that the server had."""
    from huggingface_hub import hf_hub_url

    hub = library("utils")
    url = hf_hub_url(repository, file, revision=commit, endpoint=client.endpoint)
    headers = hub.build_hf_headers() | {"Accept-Encoding": "identity"}
    start = into.tell()
    if start:
        headers["Range"] = f"bytes={start}-"
    session = hub.get_session()
    with session.stream("GET", url, headers=headers, timeout=client.timeout, follow_redirects=True) as response:
        if response.status_code == 416:  # what is there is no beginning of it
            tick(-_restart(into))
            return False
        if response.status_code >= 400:
            response.read()
        hub.hf_raise_for_status(response)
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if start and (response.status_code != 206 or not found or int(found[1]) != start):
            tick(-_restart(into))
            if response.status_code == 206:
                return False
        for piece in response.iter_raw():
            if into.tell() + len(piece) > most:
                _restart(into)
                raise GenzooError(f"{repository}'s {file} is larger than it may be: {most:,} bytes were announced")
            into.write(piece)
            tick(len(piece))
    return True


def _restart(into: BinaryIO) -> int:
    """Throw away what was downloaded; how much that was."""
    had = into.tell()
    into.seek(0)
    into.truncate()
    return had
