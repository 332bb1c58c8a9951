"""The copies of genzoo's models in the caches: what is there, whether it is right, and how to be rid of it."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.storage.files import MANIFEST, discard
from genzoo.core.storage.strict import read_json
from genzoo.registry.weights.base import CONFIG, LIMITS, PARTIAL, TENSORS, check, hub_cache, stores_cache


@dataclass(frozen=True)
class Cached:
    """One version of a model in a cache."""

    name: str  # hf:org/name, or STORE:NAME
    commit: str  # empty for a download that was not finished
    revisions: tuple[str, ...]  # branches and tags that were this commit when last asked
    bytes: int  # of its files; those that commits share are counted for each
    used: float  # when it was last used, in seconds since 1970
    folder: str
    within: str | None = None  # where its links lead

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def chosen(names: Sequence[str] = ()) -> list[Cached]:
    """The copies that names mean, the newest use first; none: all of genzoo's. Raises `UsageError` if one means none.

    A name is ``hf:org/name`` or ``hf:org/name@REVISION``, where a commit may be shortened.
    """
    found = [*_of_the_hub(hub_cache()), *_of_stores(stores_cache())]
    everything = sorted(found, key=lambda c: (-c.used, c.name, c.commit))
    if not names:
        return everything
    picked: dict[str, Cached] = {}
    for name in names:
        bare, _, revision = name.partition("@")
        bare = bare if ":" in bare else f"hf:{bare}"
        short = revision if len(revision) > 3 else "-"
        some = [c for c in everything if c.name == bare
                and (not revision or revision in c.revisions or c.commit.startswith(short))]  # fmt: skip
        if not some:
            raise UsageError(f"there is no copy of {name!r}{did_you_mean(bare, {c.name for c in everything})}; "
                             "'genzoo cache ls' shows what there is")  # fmt: skip
        picked |= {c.folder: c for c in some}
    return list(picked.values())


def fault(copy: Cached) -> str:
    """Hash every file of a copy; what is wrong with it, or an empty string."""
    if not copy.commit:
        return "it was not downloaded to the end"
    try:
        check(Path(copy.folder), Path(copy.within) if copy.within else None, trust=False)
    except (GenzooError, OSError) as e:
        return str(e)
    return ""


def remove(copies: Iterable[Cached]) -> int:
    """Delete copies, and what they alone need; return the bytes that were freed."""
    freed = 0
    of_the_hub: dict[Path, list[Path]] = defaultdict(list)
    for copy in copies:
        folder = Path(copy.folder)
        if copy.within is None:
            freed += copy.bytes
            discard(folder)
            with suppress(OSError):
                folder.parent.rmdir()
        elif copy.commit:
            of_the_hub[folder.parent.parent].append(folder)
        else:
            of_the_hub[folder] += [s for s in folder.glob("snapshots/*") if not os.path.lexists(s / TENSORS)]
    return freed + sum(_remove_snapshots(root, gone) for root, gone in of_the_hub.items())


def _remove_snapshots(root: Path, gone: Sequence[Path]) -> int:
    """Delete snapshots of a repository, the blobs that no other snapshot links to, and refs to them."""
    blobs = {p.resolve() for snapshot in gone for p in snapshot.rglob("*")}
    for snapshot in gone:  # first what is found by name, so that a half-removed model is not taken for a whole one
        discard(snapshot)
    commits = {snapshot.name for snapshot in gone}
    for ref in (root / "refs").rglob("*"):
        with suppress(OSError):
            if ref.is_file() and ref.read_text().strip() in commits:
                ref.unlink()
    blobs -= {p.resolve() for p in (root / "snapshots").rglob("*")}
    freed = 0
    for path in [p for p in blobs if p.parent == (root / "blobs").resolve()] + list(root.glob(f"blobs/*{PARTIAL}")):
        with suppress(OSError):
            size = path.stat().st_size
            path.unlink()
            freed += size
    if not any((root / "snapshots").glob("*")):
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(root.parent / ".locks" / root.name, ignore_errors=True)
    return freed


def _of_the_hub(cache: Path) -> Iterator[Cached]:
    for root in cache.glob("models--*--*"):
        name = "hf:" + root.name.removeprefix("models--").replace("--", "/")
        refs: dict[str, list[str]] = defaultdict(list)
        for ref in (root / "refs").rglob("*"):
            with suppress(OSError, ValueError):
                if ref.is_file() and not ref.name.startswith("."):
                    refs[ref.read_text().strip()].append(ref.relative_to(root / "refs").as_posix())
        whole = [
            c for s in (root / "snapshots").glob("*") if (c := _one(name, s, sorted(refs[s.name]), root / "blobs"))
        ]
        yield from whole
        partial = [] if whole else [p.stat() for p in root.glob(f"blobs/*{PARTIAL}")]
        if partial:
            size, used = sum(s.st_size for s in partial), max(s.st_mtime for s in partial)
            yield Cached(name, "", (), size, used, str(root), str(root / "blobs"))


def _of_stores(root: Path) -> Iterator[Cached]:
    for folder in root.glob("*/*/*"):
        prefix, name, _ = (unquote(p) for p in folder.relative_to(root).parts)
        if found := _one(f"{prefix}:{name}", folder, (), None):
            yield found


def _one(name: str, folder: Path, revisions: Sequence[str], within: Path | None) -> Cached | None:
    """A snapshot, if it is a whole model of genzoo's: of others nothing is shown and nothing removed."""
    try:
        config = read_json(folder / CONFIG, limit=LIMITS[CONFIG], within=within)
        if not isinstance(config, dict) or not {"format", "recipe", "latent"} <= set(config):
            return None
        if not os.path.lexists(folder / TENSORS):
            return None  # the tensors come last
        size = sum((folder / n).stat().st_size for n in LIMITS if (folder / n).exists())
        used = os.stat(folder / MANIFEST).st_atime
    except (GenzooError, OSError):
        return None
    where = None if within is None else str(within)
    return Cached(name, unquote(folder.name), tuple(revisions), size, used, str(folder), where)
