"""What a weights folder may hold and how that is checked, and what a store is, which says and hands out what it has."""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from genzoo.core.errors import GenzooError
from genzoo.core.storage import user_cache
from genzoo.core.storage.files import MANIFEST, creating_folder, damaged, discard, read_manifest
from genzoo.core.storage.strict import open_plain, reading
from genzoo.core.storage.user_cache import Seen, recall, remember, same_file
from genzoo.core.text import one_line

MIB = 2**20
CONFIG, TENSORS, RECORD, CARD = "config.json", "model.safetensors", "training.json", "README.md"
SAMPLES = ("samples.png", "samples.wav", "samples.txt", "samples.csv")
# Nothing else is ever taken from a stranger: the name, and the most bytes that it may have; in order of fetching.
_LARGE = dict.fromkeys((RECORD, *SAMPLES), 64 * MIB)
LIMITS = {MANIFEST: MIB, CONFIG: 16 * MIB, CARD: 4 * MIB, **_LARGE, TENSORS: 64 * 2**30}
NEEDED = (MANIFEST, CONFIG, TENSORS)
COMMIT = re.compile(r"[0-9a-f]{40}")
PARTIAL = ".genzoo-incomplete"  # ends the name of a blob that is not here to its end

Files = dict[str, dict[str, Any]]  # what a manifest says: name to size and sha256


class Damage(GenzooError):
    """A file that is not what it should be: getting it anew may help. Its ``file`` is the name."""

    def __init__(self, file: str, why: str) -> None:
        super().__init__(why)
        self.file = file


def sha256_of(path: Path, within: Path | None = None, *, trust: bool = True) -> str:
    """Hash a plain file, see `open_plain`; with ``trust`` one that did not change since it was hashed is not read."""
    with open_plain(path, within) as file, reading(path):
        before = os.fstat(file.fileno())
        seen = recall(before) if trust else None
        if seen is not None:
            return seen.sha256
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # BinaryIO says too little
        if same_file(before, os.fstat(file.fileno())) and recall(before) is None:
            remember(before, Seen(digest))
        return digest


def git_id(content: bytes) -> str:
    """What git, and so the Hub, calls a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def hub_cache() -> Path:
    """The folder of huggingface_hub's cache, by the environment of this moment; the same that the client uses."""
    said = os.environ.get
    home = said("HF_HOME") or os.path.join(said("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    place = said("HF_HUB_CACHE") or said("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(os.path.expanduser(place)))


def manifest_of(folder: Path, within: Path | None = None) -> Files:
    """Read a folder's manifest: name to size and sha256; raises `Damage` if there is none that makes sense."""
    try:
        files = read_manifest(folder, within=within)
    except GenzooError as e:
        raise Damage(MANIFEST, str(e)) from None
    for name in (CONFIG, TENSORS):
        if name not in files:
            raise Damage(MANIFEST, f"{folder} holds no finished weights: its {MANIFEST} lists no {name}")
    return files


def check(
    folder: Path, within: Path | None = None, *, pins: Mapping[str, str] | None = None, trust: bool = True
) -> Files:
    """Check the files of a weights folder against its manifest and pins, which are sha256 by name; what is there.

    People edit cards on the Hub's pages: a file which only describes need not be what the manifest says, if it is
    what the Hub says, whose cache calls its blobs by their content: links may lead into these, ``within``. With
    ``trust`` a file which has not changed since it was hashed is still good.

    Raises:
        Damage: naming the first file that is missing or differs.
    """
    listed = manifest_of(folder, within)
    manifest = {"size": (folder / MANIFEST).stat().st_size, "sha256": sha256_of(folder / MANIFEST, within, trust=trust)}
    found: Files = {MANIFEST: manifest}
    for name, said in listed.items():
        path = folder / name
        if name not in LIMITS or (name not in NEEDED and not os.path.lexists(path)):
            continue
        try:
            found[name] = {"size": path.stat().st_size, "sha256": sha256_of(path, within, trust=trust)}
            good = found[name] == said
            if not good and name not in NEEDED and within is not None:
                content = path.resolve()
                good = content.name in (found[name]["sha256"], git_id(content.read_bytes()))
        except FileNotFoundError:
            raise Damage(name, f"{path} is missing") from None
        except (GenzooError, OSError) as e:
            raise Damage(name, str(e)) from None
        if not good:
            raise Damage(name, str(damaged(path)))
    for name, digest in (pins or {}).items():
        is_there = found.get(name, {"sha256": "missing"})["sha256"]
        if is_there != digest:
            raise Damage(name, f"{folder / name} is not what is pinned: sha256 {is_there[:12]}…, not {digest[:12]}…")
    return found


@dataclass(frozen=True)
class Located:
    """Weights on this machine, with every file checked."""

    name: str  # what was asked for
    folder: Path
    within: Path | None = None  # where links in it may lead (the blobs of a Hugging Face cache)
    origin: str = "folder"  # in words: zoo/gan at v1 on the Hub (commit 0123456), genzoo 1.0
    commit: str = ""  # of the Hub, or what a store calls an unchanging version
    version: int = 0  # of weights that have a name in the zoo
    # Name to size and sha256; empty for a folder that is no finished weights folder (a run that goes on).
    files: Files = field(default_factory=dict, hash=False)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(f["size"] for f in self.files.values())


@dataclass(frozen=True)
class Fetch:
    """How weights are brought here."""

    pins: Mapping[str, str] = field(default_factory=dict)  # name of a file to the sha256 that it must have
    endpoint: str | None = None  # of the Hub or store, where it has one
    progress: bool = False  # show a bar on stderr
    say: Callable[[str], object] = lambda text: None  # what to tell the user with


@dataclass(frozen=True)
class Remote:
    """One file that a store has: its size in bytes, and its sha256 or git's id of it, where the store knows them."""

    size: int
    sha256: str = ""
    git_id: str = ""


@dataclass(frozen=True)
class Listing:
    """Which files make up one unchanging version of weights."""

    commit: str  # the version's identity: what it names never changes
    files: Mapping[str, Remote]  # by name


class OutOfReach(GenzooError):
    """A store could not be asked, or had no sensible answer: what is cached may do."""


class Store(ABC):
    """Where weights live, for ``registry.store("shelf", "my_pkg.shelf:S")``: then ``shelf:NAME@REVISION`` is a name.

    It is made without arguments, so that settings come from the environment. What it hands out is never trusted:
    names, sizes and hashes are checked, files are kept in genzoo's cache, and come into being there all at once.
    """

    prefix = ""  # set to the name that it is registered under

    @abstractmethod
    def listing(self, name: str, revision: str) -> Listing:
        """Say which files a revision (empty: the newest) consists of.

        Raises:
            GenzooError: if there is no such name or revision, or the store cannot be reached.
        """

    @abstractmethod
    def read(self, name: str, commit: str, file: str) -> Iterator[bytes]:
        """Yield the content of one file of a version; raise `GenzooError` if that cannot be had."""

    def locate(self, name: str, revision: str, fetch: Fetch) -> Located:
        """Bring a revision (empty: the newest) to this machine, checked.

        Raises:
            GenzooError: in one sentence, whatever goes wrong; nothing half is left behind.
        """
        listing = self.listing(name, revision)
        full = f"{self.prefix}:{name}"
        folder = stores_cache() / self.prefix / _component(name) / _component(listing.commit)
        check_listing(full, listing)
        pins = {n: f.sha256 for n, f in listing.files.items() if n in LIMITS and f.sha256} | dict(fetch.pins)

        def here() -> Located:
            origin = f"{full} ({one_line(listing.commit, 80)})"
            return Located(full, folder, None, origin, listing.commit, files=check(folder, pins=pins))

        try:
            return here()
        except Damage:
            discard(folder)
        for last in (False, True):
            try:
                with creating_folder(folder) as temporary:
                    for file in (n for n in LIMITS if n in listing.files):
                        _write(temporary / file, self.read(name, listing.commit, file), listing.files[file].size)
                    check(temporary, pins=pins, trust=False)
                break
            except Damage as e:
                if last:
                    raise GenzooError(refusal(full, e)) from None
            except GenzooError:
                if not folder.is_dir():
                    raise
                break  # another process was faster
        return here()


def check_listing(name: str, listing: Listing) -> None:
    """Refuse what is no weights folder, or too large to be one, before anything of it is taken."""
    for file in (n for n in reversed(NEEDED) if n not in listing.files):
        odd = next((n for n in listing.files if n.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5"))), "")
        why = f" ({odd} is of a kind that genzoo never opens)" if odd else ""
        raise GenzooError(f"{name} holds no genzoo weights: it has no {file}{why}")
    for file, limit in LIMITS.items():
        if file in listing.files and listing.files[file].size > limit:
            size = listing.files[file].size
            raise GenzooError(f"{name} is refused: its {file} has {size:,} bytes, and {limit:,} are the most")


def refusal(name: str, damage: Damage) -> str:
    """Say that weights are not used, and why."""
    return f"{name} is refused: its {damage.file} was fetched twice, and is wrong ({damage})"


def stores_cache() -> Path:
    """Where copies from stores are, in the user's cache folder (``$XDG_CACHE_HOME``, else ``~/.cache``)."""
    return Path(user_cache.place("stores") or "~/.cache/genzoo/stores").expanduser()


def _component(text: str) -> str:
    """A stranger's text as one name of a folder."""
    if not text:
        raise GenzooError("a store named a version of weights by nothing")
    return quote(text, safe="").replace(".", "%2E")


def _write(path: Path, content: Iterator[bytes], size: int) -> None:
    """Write a file of a stated size; of one that goes on and on, one piece too much."""
    written = 0
    with open(path, "wb") as file:
        for piece in content:
            file.write(piece)
            written += len(piece)
            if written > size:
                break
