"""The copies of genzoo's models in the caches: what is there, whether it is right, and how to be rid of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.storage.files import MANIFEST, discard
from genzoo.core.storage.strict import read_json
from genzoo.registry.weights.client import hub_cache
from genzoo.registry.weights.download import PARTIAL
from genzoo.registry.weights.layout import CONFIG, LIMITS, TENSORS, blob_names, cache_home, check


@dataclass(frozen=True)
class Cached:
    """One version of a model in a cache.

    Attributes:
        name: ``hf:org/name``, or ``STORE:NAME``.
        commit: which; empty for a download that was not finished.
        revisions: branches and tags that were this commit when last asked.
        bytes: of its files; those that commits share are counted for each.
        used: when it was last used, in seconds since 1970.
        folder: where it is.
        within: where its links lead, None if it has none.
    """

    name: str
    commit: str
    revisions: tuple[str, ...]
    bytes: int
    used: float
    folder: str
    within: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def cached() -> list[Cached]:
    """Every copy, the newest use first; models in huggingface_hub's cache that are not genzoo's are left out."""
    found = [*_of_the_hub(hub_cache()), *_of_stores(cache_home() / "stores")]
    return sorted(found, key=lambda c: (-c.used, c.name, c.commit))


def chosen(names: Sequence[str]) -> list[Cached]:
    """The copies that names mean, ``hf:org/name`` or ``hf:org/name@REVISION`` (a commit may be shortened); none: all.

    Raises:
        UsageError: if one means none.
    """
    everything = cached()
    if not names:
        return everything
    picked: dict[str, Cached] = {}
    for name in names:
        bare, _, revision = name.partition("@")
        bare = bare if ":" in bare else f"hf:{bare}"
        some = [c for c in everything if c.name == bare and _is(c, revision)]
        if not some:
            raise UsageError(f"there is no copy of {name!r}{did_you_mean(bare, {c.name for c in everything})}; "
                             "'genzoo cache ls' shows what there is")  # fmt: skip
        picked |= {c.folder: c for c in some}
    return list(picked.values())


def _is(copy: Cached, revision: str) -> bool:
    return not revision or revision in copy.revisions or (len(revision) > 3 and copy.commit.startswith(revision))


def fault(copy: Cached) -> str:
    """Hash every file of a copy; what is wrong with it, or an empty string."""
    if not copy.commit:
        return "it was not downloaded to the end"
    try:
        check(
            Path(copy.folder),
            Path(copy.within) if copy.within else None,
            edited=blob_names(Path(copy.folder)),
            trust=False,
        )
    except (GenzooError, OSError) as e:
        return str(e)
    return ""


def remove(copies: Iterable[Cached]) -> int:
    """Delete copies, and what they alone need; return the bytes that were freed."""
    freed = 0
    commits: dict[Path, set[str]] = {}
    for copy in copies:
        if copy.within is None and copy.commit:
            freed += copy.bytes
            discard(Path(copy.folder))
            with suppress(OSError):
                Path(copy.folder).parent.rmdir()
        else:
            root = Path(copy.folder) if not copy.commit else Path(copy.folder).parent.parent
            begun = [s.name for s in root.glob("snapshots/*") if not os.path.lexists(s / TENSORS)]
            commits.setdefault(root, set()).update([copy.commit] if copy.commit else begun)
    for root, some in commits.items():
        freed += sum(_delete(p) for p in root.glob(f"blobs/*{PARTIAL}"))
        freed += _remove_commits(root, some)
    return freed


def _remove_commits(root: Path, commits: set[str]) -> int:
    """Delete snapshots of a repository, the blobs that no other snapshot links to, and refs to them."""
    gone = [root / "snapshots" / c for c in commits]
    linked = {os.path.realpath(p) for s in gone for p in s.rglob("*")}
    for snapshot in gone:  # first what is found by name, so that a half-removed model is not taken for a whole one
        discard(snapshot)
    for ref in (root / "refs").rglob("*"):
        with suppress(OSError):
            if ref.is_file() and ref.read_text().strip() in commits:
                ref.unlink()
    others = {os.path.realpath(p) for p in (root / "snapshots").rglob("*")}
    freed = sum(_delete(Path(p)) for p in linked - others if Path(p).parent == (root / "blobs").resolve())
    if not any((root / "snapshots").glob("*")):
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(root.parent / ".locks" / root.name, ignore_errors=True)
    return freed


def _delete(path: Path) -> int:
    try:
        size = path.stat().st_size
        path.unlink()
    except OSError:
        return 0
    return size


def _of_the_hub(cache: Path) -> Iterable[Cached]:
    for root in cache.glob("models--*--*"):
        name = "hf:" + root.name.removeprefix("models--").replace("--", "/")
        refs: dict[str, list[str]] = {}
        for ref in (root / "refs").rglob("*"):
            with suppress(OSError, ValueError):
                if ref.is_file() and not ref.name.startswith("."):
                    refs.setdefault(ref.read_text().strip(), []).append(ref.relative_to(root / "refs").as_posix())
        whole = False
        for snapshot in (root / "snapshots").glob("*"):
            found = _one(name, snapshot, snapshot.name, tuple(sorted(refs.get(snapshot.name, ()))), root / "blobs")
            whole = whole or found is not None
            if found is not None:
                yield found
        partial = [] if whole else list(root.glob(f"blobs/*{PARTIAL}"))
        if partial:
            with suppress(OSError):
                sizes, times = zip(*((p.stat().st_size, p.stat().st_mtime) for p in partial), strict=True)
                yield Cached(name, "", (), sum(sizes), max(times), str(root), str(root / "blobs"))


def _of_stores(root: Path) -> Iterable[Cached]:
    for folder in root.glob("*/*/*"):
        prefix, name, commit = (unquote(p) for p in folder.relative_to(root).parts)
        found = _one(f"{prefix}:{name}", folder, commit, (), None)
        if found is not None:
            yield found


def _one(name: str, folder: Path, commit: str, revisions: tuple[str, ...], within: Path | None) -> Cached | None:
    """A snapshot, if it is a model of genzoo's: of others nothing is shown and nothing removed."""
    try:
        config = read_json(folder / CONFIG, limit=LIMITS[CONFIG], within=within)
        if not isinstance(config, dict) or not {"format", "recipe", "latent"} <= set(config):
            return None
        if not os.path.lexists(folder / TENSORS):
            return None  # the tensors come last
        sizes = [(folder / n).stat().st_size for n in LIMITS if (folder / n).exists()]
        used = os.stat(folder / MANIFEST).st_atime
    except (GenzooError, OSError):
        return None
    return Cached(name, commit, revisions, sum(sizes), used, str(folder), None if within is None else str(within))
