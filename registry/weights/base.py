"""What a store is: it says which files weights consist of, and hands them out; the rest is the same for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from genzoo.core.errors import GenzooError
from genzoo.core.storage import user_cache
from genzoo.core.storage.files import creating_folder, discard
from genzoo.core.text import one_line
from genzoo.registry.weights.layout import LIMITS, NEEDED, Damage, Files, check


@dataclass(frozen=True)
class Located:
    """Weights on this machine, with every file checked.

    Attributes:
        name: what was asked for.
        folder: the weights folder.
        within: where links in it may lead (the ``blobs`` of a Hugging Face cache), None if it holds none.
        origin: in words: ``the Hub's zoo/gan at v1 (commit 0123456)``, ``package genzoo 1.0``, ``folder``.
        commit: of the Hub, or what a store calls an unchanging version; empty for folders and packages.
        version: of weights that have a name in the zoo, else 0.
        files: name to size and sha256; empty for a folder that is no finished weights folder (a run that goes on).
    """

    name: str
    folder: Path
    within: Path | None = None
    origin: str = "folder"
    commit: str = ""
    version: int = 0
    files: Files = field(default_factory=dict, hash=False)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(f["size"] for f in self.files.values())


@dataclass(frozen=True)
class Fetch:
    """How weights are brought here.

    Attributes:
        pins: name of a file to the sha256 that it must have.
        endpoint: address of the Hub or store, where it has one.
        progress: show a bar on stderr.
        say: what to tell the user with.
        again: hash every file, even if it is known to be good.
    """

    pins: Mapping[str, str] = field(default_factory=dict)
    endpoint: str | None = None
    progress: bool = False
    say: Callable[[str], object] = lambda text: None
    again: bool = False


@dataclass(frozen=True)
class Remote:
    """One file that a store has: its size in bytes, and its sha256 or git's id of it, where the store knows them."""

    size: int
    sha256: str = ""
    git_id: str = ""


@dataclass(frozen=True)
class Listing:
    """Which files make up one unchanging version of weights.

    Attributes:
        commit: the version's identity: what it names never changes.
        files: by name.
    """

    commit: str
    files: Mapping[str, Remote]


class OutOfReach(GenzooError):
    """A store could not be asked, or had no sensible answer: what is cached may do."""


class Store(ABC):
    """Where weights live, for ``registry.store("s3", "my_pkg.s3:S3")``: then ``s3:NAME@REVISION`` is a name.

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
            files = check(folder, pins=pins, trust=not fetch.again)
            return Located(full, folder, None, f"{full} ({one_line(listing.commit, 80)})", listing.commit, files=files)

        try:
            return here()
        except Damage:
            discard(folder)
        for last in (False, True):
            try:
                with creating_folder(folder) as temporary:
                    for file in filter(listing.files.get, LIMITS):
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
