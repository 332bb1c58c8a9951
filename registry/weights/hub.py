"""The Hugging Face Hub, or another that speaks its language, through huggingface_hub's client and cache."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import MANIFEST
from genzoo.registry.weights.base import Listing, Located, Remote, Say, Store, check_listing, refusal
from genzoo.registry.weights.client import Client, OutOfReach, endpoint_of, hub_cache, offline
from genzoo.registry.weights.download import Blobs
from genzoo.registry.weights.layout import LIMITS, NEEDED, TENSORS, Damage, Files, blob_names, check, manifest_of

COMMIT = re.compile(r"[0-9a-f]{40}")
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}")


class Hub(Store):
    """``hf:org/name@revision``: the only kind of name that is ever looked up on the Hub."""

    prefix = "hf"

    def listing(self, name: str, revision: str) -> Listing:
        """Ask the Hub for a revision's commit, files, sizes and, of large files, hashes."""
        info = Client(endpoint_of()).info(check_repository(name), revision or None)
        return Listing(info.sha, {n: Remote(s or 0, key if len(key) == 64 else "") for n, s, key in _files(info)})

    def read(self, name: str, commit: str, file: str) -> Iterator[bytes]:
        with open(self.locate(name, commit).folder / file, "rb") as content:
            while piece := content.read(2**20):
                yield piece

    def locate(
        self,
        name: str,
        revision: str = "",
        *,
        pins: Mapping[str, str] | None = None,
        endpoint: str | None = None,
        progress: bool = False,
        say: Say = lambda text: None,
        again: bool = False,
    ) -> Located:
        """Bring a repository's weights into huggingface_hub's cache, checked; see `Store.locate`.

        The revision is resolved once, and everything comes from that commit. What is in the cache and right is not
        asked for again; a full commit that is there needs no network at all.
        """
        return _Request(name, revision, dict(pins or {}), endpoint, progress, say, again).answer()


class _Request:
    """One repository at one revision, wanted here."""

    def __init__(
        self, name: str, revision: str, pins: dict[str, str], endpoint: str | None, progress: bool, say: Say,
        again: bool,
    ) -> None:  # fmt: skip
        self.repository, self.revision = check_repository(name), check_revision(revision)
        self.client, self.blobs = Client(endpoint_of(endpoint)), Blobs(hub_cache(), name)
        self.pins, self.progress, self.say, self.trust = pins, progress, say, not again
        self.full = f"hf:{name}" + (f"@{revision}" if revision else "")

    def answer(self) -> Located:
        pinned = COMMIT.fullmatch(self.revision) is not None
        if pinned and (here := self._cached(self.revision)):
            return here
        if offline():
            return self._fallback("HF_HUB_OFFLINE is set", quiet=True)
        try:
            info = self.client.info(self.repository, self.revision or None)
        except OutOfReach as e:
            return self._fallback(str(e))
        commit = str(info.sha or "")
        if not COMMIT.fullmatch(commit):
            raise GenzooError(f"{self.client.endpoint} named no commit of {self.repository}: it is no Hub")
        if not pinned:
            self.blobs.set_ref(self.revision or "main", commit)
            if here := self._cached(commit):
                return here
        return self._download(commit, {n: (s, key) for n, s, key in _files(info)})

    def _cached(self, commit: str) -> Located | None:
        """The commit as it is in the cache, if it is whole and right."""
        try:
            return self._located(commit, self._checked(commit))
        except (GenzooError, OSError):
            return None

    def _checked(self, commit: str) -> Files:
        snapshot = self.blobs.snapshot(commit)
        return check(snapshot, self.blobs.blobs, pins=self.pins, edited=blob_names(snapshot), trust=self.trust)

    def _fallback(self, why: str, quiet: bool = False) -> Located:
        """Use the cached copy instead of asking, and say so."""
        commit = self.revision if COMMIT.fullmatch(self.revision) else self.blobs.ref(self.revision or "main")
        snapshot = self.blobs.snapshot(commit or "-")
        try:
            if not commit or not snapshot.is_dir():
                raise GenzooError(f"{self.full} is not in the cache")
            files = self._checked(commit)
        except (GenzooError, OSError) as e:
            if quiet:
                why += f": unset it, or run 'genzoo pull {self.full}' while there is a network"
            raise GenzooError(f"{why}; {e}") from None
        day = time.strftime("%Y-%m-%d", time.localtime(snapshot.stat().st_mtime))
        if not quiet:
            self.say(f"{why}; using the copy of {self.full} that was pulled on {day}, commit {commit[:12]}")
        elif not COMMIT.fullmatch(self.revision):
            self.say(f"offline: using the copy of {self.full} that was pulled on {day}, commit {commit[:12]}")
        return self._located(commit, files)

    def _located(self, commit: str, files: Files) -> Located:
        snapshot = self.blobs.snapshot(commit)
        with suppress(OSError):  # so that 'genzoo cache ls' knows the last use
            listed = os.stat(snapshot / MANIFEST)
            os.utime(snapshot / MANIFEST, ns=(time.time_ns(), listed.st_mtime_ns))
        at = f"at {self.revision} " if self.revision and not COMMIT.fullmatch(self.revision) else ""
        origin = f"{self.repository} {at}on the Hub (commit {commit[:12]})"
        return Located(self.full, snapshot, self.blobs.blobs, origin, commit, files=files)

    def _download(self, commit: str, files: dict[str, tuple[int | None, str]]) -> Located:
        """Bring all files of a commit, the tensors last; check; get what is wrong once more; check again."""
        check_listing(self.full, {n: s for n, (s, _) in files.items()})
        wanted = {n: files[n] for n in LIMITS if n in files}
        self._room(sum(s or 0 for n, (s, _) in wanted.items() if not self.blobs.has(commit, n, s)))
        large = {n: key for n, (_, key) in wanted.items() if len(key) == 64}
        said = {n: key for n, (_, key) in wanted.items()}
        try:
            with _bar(self.full, sum(s or 0 for s, _ in wanted.values()), self.progress) as tick:
                for name in sorted(wanted, key=lambda n: n == TENSORS):
                    self._fetch(commit, name, *wanted[name], tick)
                    if name == MANIFEST:
                        self._agree(commit, wanted, tick)
            mended: set[str] = set()
            while True:
                try:
                    needed = {n: key for n, key in large.items() if n in NEEDED} | self.pins
                    return self._located(commit, check(self.blobs.snapshot(commit), self.blobs.blobs, pins=needed,
                                                       edited=said, trust=self.trust))  # fmt: skip
                except Damage as e:
                    self._mend(commit, e, mended, wanted)
        except OSError as e:
            raise self.client.explained(e, self.repository, self.revision) from e

    def _fetch(
        self, commit: str, name: str, size: int | None, key: str, tick: Callable[[int], Any], *, anew: bool = False
    ) -> None:
        key = key or f"{commit}-{name}"
        self.blobs.fetch(
            self.client, self.repository, commit, name, size, LIMITS[name], key, tick, anew=anew
        )  # fmt: skip

    def _agree(self, commit: str, wanted: dict[str, tuple[int | None, str]], tick: Callable[[int], Any]) -> None:
        """Before anything large is fetched: the manifest means something, and the Hub says the same of the tensors."""
        for last in (False, True):
            try:
                listed = manifest_of(self.blobs.snapshot(commit), self.blobs.blobs)
                size, key = wanted[TENSORS]
                says = listed[TENSORS]
                pin = self.pins.get(TENSORS)
                if (size not in (None, says["size"])) or (len(key) == 64 and key != says["sha256"]):
                    raise Damage(MANIFEST, f"{MANIFEST} tells of another {TENSORS} than the Hub has")
                if pin and pin != says["sha256"]:
                    raise Damage(MANIFEST, f"its {TENSORS} is not what is pinned: "
                                 f"sha256 {says['sha256'][:12]}…, not {pin[:12]}…")  # fmt: skip
                return
            except Damage as e:
                if last:
                    self._forget(commit, MANIFEST)
                    raise GenzooError(refusal(self.full, e)) from None
                self._fetch(commit, MANIFEST, *wanted[MANIFEST], lambda n: None, anew=True)

    def _mend(self, commit: str, damage: Damage, mended: set[str], wanted: dict[str, tuple[int | None, str]]) -> None:
        """Get a file again that is wrong, and once the manifest that says so; what is wrong twice is thrown away."""
        if damage.file in mended or damage.file not in wanted:
            self._forget(commit, damage.file)
            raise GenzooError(refusal(self.full, damage))
        self.say(f"{damage}: getting it again")
        for name in {damage.file} | ({MANIFEST} - mended):
            self._fetch(commit, name, *wanted[name], lambda n: None, anew=True)
            mended.add(name)

    def _forget(self, commit: str, name: str) -> None:
        with suppress(OSError):
            (self.blobs.snapshot(commit) / name).unlink()

    def _room(self, size: int) -> None:
        """Refuse to begin what will not fit."""
        place = next((p for p in (self.blobs.root, *self.blobs.root.parents) if p.is_dir()), Path("/"))
        free = shutil.disk_usage(place).free
        if size > free:
            raise GenzooError(
                f"{self.full} needs {size / 1e6:,.1f} MB, and {place} has {free / 1e6:,.1f} MB left: free some, or "
                "name another place with HF_HOME"
            )


def check_repository(name: str) -> str:
    """Return a valid ``org/name``, or raise `UsageError`."""
    if not _REPOSITORY.fullmatch(name) or "--" in name or ".." in name:
        raise UsageError(f"a model on the Hub is written hf:org/name or hf:org/name@revision, not {f'hf:{name}'!r}")
    return name


def check_revision(revision: str) -> str:
    """Return a valid branch, tag or commit, or raise `UsageError`."""
    if revision and (
        not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision or revision.endswith(("/", ".lock"))
    ):
        raise UsageError(f"a revision on the Hub is a branch, a tag or a commit, not {revision!r}")
    return revision


def _files(info: Any) -> list[tuple[str, int | None, str]]:
    """Name, size and content's name (sha256 of large files, git's id of others) of a model's files."""
    found = []
    for file in info.siblings or ():
        lfs = file.lfs
        size = file.size if lfs is None else lfs.size  # None where the server does not say
        found.append((file.rfilename, size, str((file.blob_id if lfs is None else lfs.sha256) or "")))
    return [(n, s, key if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", key) else "") for n, s, key in found]


@contextmanager
def _bar(name: str, size: int, progress: bool) -> Iterator[Callable[[int], Any]]:
    """A progress bar on a terminal, elsewhere nothing."""
    if not (progress and sys.stderr.isatty()):
        yield lambda n: None
        return
    from tqdm import tqdm

    with tqdm(desc=name, total=size, unit="B", unit_scale=True, unit_divisor=1000, leave=False) as bar:
        yield partial(bar.update)
