"""Files that are whole or not there: written aside, synced, renamed, and listed with their sha256."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError, UsageError

MANIFEST = "manifest.json"
_FORMAT = 1  # of the manifest
_ASIDE = ".writing-"


def given_path(path: str | os.PathLike[str]) -> Path:
    """A path as a user gave it, with ``~`` expanded; raises `UsageError` if it is empty."""
    if not os.fspath(path):
        raise UsageError("an empty path was given: say where")
    return Path(path).expanduser()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write to ``path`` into one sentence."""
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise GenzooError(
                f"no space left to write {path}: free some and run again; what was there before is untouched"
            ) from e
        why = (e.strerror or str(e)).lower()
        for above in path.parents:
            if os.path.exists(above) and not os.path.isdir(above):
                why = f"{above} is a file, not a folder"
        raise GenzooError(f"cannot write {path}: {why}; choose another place") from e


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Make a folder and what is missing above it; if something goes wrong, take away again what was made."""
    missing = [p for p in (folder, *folder.parents) if not os.path.exists(p)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for made in missing:
            with suppress(OSError):  # never made, or by now somebody else's files are in it
                made.rmdir()
        raise


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
    with writing(path), _inside(path.parent):
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
    return {"format": _FORMAT, "files": files}


Writer = Callable[[Path], None]


def text_file(content: str) -> Writer:
    """A writer of text."""

    def write(path: Path) -> None:
        path.write_text(content, encoding="utf-8")

    return write


@contextmanager
def creating_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; rename it to ``folder`` if nothing went wrong, as one instant.

    Args:
        folder: must not exist, or be empty.
    """
    with writing(folder), _inside(folder.parent):
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

    Everything, the new manifest too, is written aside first: where that fails, the earlier version stands. The
    old manifest, which is what makes the folder valid, goes before the first file is replaced and the new one
    comes after the last: in between the folder is plainly incomplete, never a mixture.
    """
    with writing(folder), _inside(folder):
        for left in folder.glob(f"{_ASIDE}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=folder))
        try:
            for name, write in files.items():
                write(temporary / name)
                _sync(temporary / name)
            manifest = manifest_of(temporary, files)
            with suppress(GenzooError):  # there is none yet, or it is damaged
                kept = {n: v for n, v in read_manifest(folder).items() if n not in files and (folder / n).is_file()}
                manifest["files"] = dict(sorted((manifest["files"] | kept).items()))
            write_json(temporary / MANIFEST, manifest)
            (folder / MANIFEST).unlink(missing_ok=True)
            sync_folder(folder)
            for name in files:
                os.replace(temporary / name, folder / name)
            sync_folder(folder)
            os.replace(temporary / MANIFEST, folder / MANIFEST)
            sync_folder(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Names of a folder's files with their size and sha256.

    Raises:
        GenzooError: if there is no manifest or it makes no sense.
    """
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_bytes())
        if raw["format"] > _FORMAT:
            raise GenzooError(f"{path} has format {raw['format']}, and this genzoo reads up to {_FORMAT}: upgrade it")
        files = raw["files"]
        if not all(isinstance(v["size"], int) and isinstance(v["sha256"], str) for v in files.values()):
            raise TypeError
        if any(Path(n).name != n or n in ("", ".", "..") for n in files):
            raise ValueError
    except FileNotFoundError:
        raise GenzooError(f"{folder} holds no finished weights: it has no {MANIFEST}") from None
    except OSError as e:
        raise GenzooError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise GenzooError(f"{path} is damaged: it is no list of files; get the folder anew") from None
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
            raise GenzooError(f"{path} is missing, or no plain file: get the folder anew")
        try:
            whole = path.stat().st_size == files[name]["size"] and sha256(path) == files[name]["sha256"]
        except OSError as e:
            raise GenzooError(f"cannot read {path}: {(e.strerror or str(e)).lower()}") from None
        if not whole:
            raise GenzooError(f"{path} is damaged: its content does not match {MANIFEST}; get the folder anew")
