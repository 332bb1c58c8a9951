"""Files that are whole or not there: written aside, synced, renamed, and listed with their sha256."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError

MANIFEST = "manifest.json"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write to ``path`` into one sentence."""
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise GenzooError(f"no space left to write {path}: free some and run again; nothing was lost") from e
        raise GenzooError(f"cannot write {path}: {e.strerror or e}") from e


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to; rename it into place if nothing went wrong.

    Raises:
        GenzooError: if it cannot be written; the old file is untouched and nothing is left behind.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The name keeps its ending, since writers of pictures choose their format by it.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _sync(temporary)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    with open(path, "rb") as f:
        os.fsync(f.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write a whole JSON file, readable and with sorted-as-given keys."""
    write_bytes(path, (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def sha256(path: Path) -> str:
    """Hash a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def manifest_of(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Size and sha256 of files in a folder."""
    files = {n: {"size": (folder / n).stat().st_size, "sha256": sha256(folder / n)} for n in sorted(names)}
    return {"format": 1, "files": files}


Writer = Callable[[Path], None]


@contextmanager
def creating_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; rename it to ``folder`` if nothing went wrong, as one instant.

    Args:
        folder: must not exist, or be empty.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            yield temporary
            os.chmod(temporary, 0o777 & ~_umask())
            sync_folder(temporary)
            os.rename(temporary, folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_folder(folder: Path, files: Mapping[str, Writer]) -> None:
    """Write a new folder with its manifest, as one instant.

    Args:
        folder: must not exist.
        files: name to a function that writes the file at the path it is given.
    """
    with creating_folder(folder) as temporary:
        for name, write in files.items():
            write(temporary / name)
            _sync(temporary / name)
        write_json(temporary / MANIFEST, manifest_of(temporary, files))


def update_folder(folder: Path, files: Mapping[str, Writer]) -> None:
    """Write files into a folder that may hold an earlier version of them.

    Everything is written aside first. The manifest, which is what makes the folder valid, goes before the
    first file is replaced and comes back after the last: in between the folder is plainly incomplete,
    never a mixture.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
        try:
            for name, write in files.items():
                write(temporary / name)
                _sync(temporary / name)
            kept = set()
            if (folder / MANIFEST).exists():
                kept = {n for n in read_manifest(folder) if n not in files and (folder / n).is_file()}
            (folder / MANIFEST).unlink(missing_ok=True)
            for name in files:
                os.replace(temporary / name, folder / name)
            write_json(folder / MANIFEST, manifest_of(folder, kept | set(files)))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Names of a folder's files with their size and sha256.

    Raises:
        GenzooError: if there is no manifest or it makes no sense.
    """
    path = folder / MANIFEST
    try:
        files = json.loads(path.read_bytes())["files"]
        if not all(isinstance(v["size"], int) and isinstance(v["sha256"], str) for v in files.values()):
            raise TypeError
        if any(Path(n).name != n or n in ("", ".", "..") for n in files):
            raise ValueError
    except FileNotFoundError:
        raise GenzooError(f"{folder} holds no finished weights: it has no {MANIFEST}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise GenzooError(f"{path} is damaged: it is no list of files") from None
    return dict(files)


def verify(folder: Path, names: Iterable[str]) -> None:
    """Check files against the manifest's sizes and hashes.

    Raises:
        GenzooError: naming the first file that is missing or differs.
    """
    files = read_manifest(folder)
    for name in names:
        path = folder / name
        if name not in files:
            raise GenzooError(f"{folder} holds no {name}")
        if path.is_symlink() or not path.is_file():
            raise GenzooError(f"{path} is missing")
        if path.stat().st_size != files[name]["size"] or sha256(path) != files[name]["sha256"]:
            raise GenzooError(f"{path} is damaged: its content does not match {MANIFEST}")
