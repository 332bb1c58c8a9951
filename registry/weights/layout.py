"""What a weights folder may hold, and how it is checked before anything of it is used."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage import user_cache
from genzoo.core.storage.files import MANIFEST
from genzoo.core.storage.strict import open_plain, read_json
from genzoo.core.storage.user_cache import Seen, recall, remember, same_file

MIB = 2**20
CONFIG, TENSORS, RECORD, CARD = "config.json", "model.safetensors", "training.json", "README.md"
SAMPLES = ("samples.png", "samples.wav", "samples.txt", "samples.csv")
# Nothing else is ever taken from a stranger: the name, and the most bytes that it may have.
LIMITS = {
    MANIFEST: MIB,
    CONFIG: MIB,
    RECORD: 64 * MIB,
    CARD: 4 * MIB,
    **dict.fromkeys(SAMPLES, 64 * MIB),
    TENSORS: 64 * 2**30,
}
NEEDED = (MANIFEST, CONFIG, TENSORS)
_SHA256 = re.compile(r"[0-9a-f]{64}")

Files = dict[str, dict[str, Any]]  # what a manifest says: name to size and sha256


class Damage(GenzooError):
    """A file that is not what it should be: getting it anew may help.

    Args:
        file: its name.
        why: one sentence.
    """

    def __init__(self, file: str, why: str) -> None:
        super().__init__(why)
        self.file = file


def cache_home() -> Path:
    """``genzoo`` in the user's cache folder (``$XDG_CACHE_HOME``, else ``~/.cache``)."""
    return Path(user_cache.place() or "~/.cache/genzoo").expanduser()


def sha256_of(path: Path, within: Path | None = None, *, trust: bool = True) -> str:
    """Hash a plain file; one that was hashed before and has not changed since is not read again.

    Args:
        path: of the file.
        within: see `genzoo.core.storage.strict.open_plain`.
        trust: whether to believe what is remembered.

    Raises:
        GenzooError: if it is no plain file.
        OSError: if it cannot be read.
    """
    with open_plain(path, within) as file:
        before = os.fstat(file.fileno())
        seen = recall(before) if trust else None
        if seen is not None:
            return seen.sha256
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # BinaryIO says too little
        if same_file(before, os.fstat(file.fileno())) and recall(before) is None:
            remember(before, Seen(digest))
        return digest


def git_id(path: Path, within: Path | None = None) -> str:
    """What git, and so the Hub, calls a file's content."""
    with open_plain(path, within) as file:
        content = file.read()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def blob_names(snapshot: Path) -> dict[str, str]:
    """What the files of a snapshot in a Hugging Face cache are called there: the names tell of their content."""
    return {n: Path(os.path.realpath(snapshot / n)).name for n in LIMITS if (snapshot / n).is_symlink()}


def manifest_of(folder: Path, within: Path | None = None) -> Files:
    """Read a folder's manifest: name to size and sha256.

    Raises:
        Damage: if it makes no sense.
        GenzooError: if there is none.
    """
    path = folder / MANIFEST
    try:
        raw = read_json(path, limit=LIMITS[MANIFEST], within=within)
    except FileNotFoundError:
        raise GenzooError(f"{folder} holds no finished weights: it has no {MANIFEST}") from None
    except GenzooError as e:
        raise Damage(MANIFEST, str(e)) from None
    try:
        if raw["format"] > 1:
            raise GenzooError(f"{path} has format {raw['format']}, and this genzoo reads up to 1: upgrade it")
        files = {
            str(name): {"size": said["size"], "sha256": said["sha256"]}
            for name, said in raw["files"].items()
            if isinstance(said["size"], int) and _SHA256.fullmatch(said["sha256"]) and Path(name).name == name
        }
        if len(files) != len(raw["files"]):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damage(MANIFEST, f"{path} is damaged: it is no list of files") from None
    missing = [n for n in (CONFIG, TENSORS) if n not in files]
    if missing:
        raise Damage(MANIFEST, f"{folder} holds no finished weights: its {MANIFEST} lists no {missing[0]}")
    return files


def check(
    folder: Path,
    within: Path | None = None,
    *,
    pins: Mapping[str, str] | None = None,
    edited: Mapping[str, str] | None = None,
    trust: bool = True,
) -> Files:
    """Check the files of a weights folder against its manifest, and against what somebody else said of them.

    Args:
        folder: which.
        within: where its links may lead.
        pins: name to sha256 that the file must have, whatever the manifest says.
        edited: name to what the Hub calls the file's content (git's id, or sha256): people edit cards on the Hub's
            pages, so that a file which only describes need not be what the manifest says, if it is what the Hub says.
        trust: whether to believe that a file which has not changed is still good.

    Returns:
        What is there: name to size and sha256, the manifest included.

    Raises:
        Damage: naming the first file that is missing or differs.
    """
    listed = manifest_of(folder, within)
    manifest = sha256_of(folder / MANIFEST, within, trust=trust)
    found: Files = {MANIFEST: {"size": (folder / MANIFEST).stat().st_size, "sha256": manifest}}
    for name, said in listed.items():
        path = folder / name
        if name not in LIMITS or (name not in NEEDED and not os.path.lexists(path)):
            continue
        try:
            size, digest = path.stat().st_size, sha256_of(path, within, trust=trust)
            good = digest == said["sha256"] and size == said["size"]
            if not good and name not in NEEDED and name in (edited or {}):
                good = (edited or {})[name] in (digest, git_id(path, within))
        except FileNotFoundError:
            raise Damage(name, f"{path} is missing") from None
        except OSError as e:
            raise Damage(name, f"cannot read {path}: {(e.strerror or str(e)).lower()}") from None
        except GenzooError as e:
            raise Damage(name, str(e)) from None
        if not good:
            raise Damage(name, f"{path} is damaged: its content does not match {MANIFEST}")
        found[name] = {"size": size, "sha256": digest}
    for name, digest in (pins or {}).items():
        if name not in found:
            raise Damage(name, f"{folder / name} is missing, and its content is pinned")
        if found[name]["sha256"] != digest:
            raise Damage(
                name, f"{folder / name} is not what is pinned: sha256 {found[name]['sha256'][:12]}…, not {digest[:12]}…"
            )
    return found


def check_pins(where: str, files: Mapping[str, Any] | None) -> dict[str, str]:
    """Return pins, name to sha256, as somebody wrote them down; raise `UsageError` if they make no sense."""
    for name, digest in (files or {}).items():
        if name not in LIMITS:
            raise UsageError(f"{where}: {name!r} is no file of a weights folder; there are {', '.join(LIMITS)}")
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise UsageError(f"{where}: {name} takes a sha256 of 64 hexadecimal digits, not {digest!r}")
    return dict(files or {})
