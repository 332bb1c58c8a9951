"""What a weights folder may hold, and how it is checked before anything of it is used."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import MANIFEST, damaged, read_manifest
from genzoo.core.storage.strict import open_plain, reading
from genzoo.core.storage.user_cache import Seen, recall, remember, same_file

MIB = 2**20
CONFIG, TENSORS, RECORD, CARD = "config.json", "model.safetensors", "training.json", "README.md"
SAMPLES = ("samples.png", "samples.wav", "samples.txt", "samples.csv")
# Nothing else is ever taken from a stranger: the name, and the most bytes that it may have; in order of fetching.
LIMITS = {
    MANIFEST: MIB,
    CONFIG: MIB,
    RECORD: 64 * MIB,
    CARD: 4 * MIB,
    **dict.fromkeys(SAMPLES, 64 * MIB),
    TENSORS: 64 * 2**30,
}
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

    def place(name: str, default: str) -> str:
        return os.path.expandvars(os.path.expanduser(os.environ.get(name) or default))

    home = place("HF_HOME", os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"))
    return Path(place("HF_HUB_CACHE", place("HUGGINGFACE_HUB_CACHE", os.path.join(home, "hub"))))


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
    """Check the files of a weights folder against its manifest, and against what somebody else said of them.

    People edit cards on the Hub's pages: a file which only describes need not be what the manifest says, if it is
    what the Hub says, whose cache calls its blobs by their content.

    Args:
        folder: which.
        within: where its links may lead: the ``blobs`` of a Hugging Face cache.
        pins: name to sha256 that the file must have, whatever the manifest says.
        trust: whether to believe that a file which has not changed is still good.

    Returns:
        What is there: name to size and sha256, the manifest included.

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


def check_pins(where: str, files: Mapping[str, Any]) -> dict[str, str]:
    """Return pins, name to sha256, as somebody wrote them down; raise `UsageError` if they make no sense."""
    for name, digest in files.items():
        if name not in LIMITS:
            raise UsageError(f"{where}: {name!r} is no file of a weights folder; there are {', '.join(LIMITS)}")
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise UsageError(f"{where}: {name} takes a sha256 of 64 hexadecimal digits, not {digest!r}")
    return dict(files)
