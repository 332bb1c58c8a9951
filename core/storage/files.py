"""Files that are whole or not there: written aside, synced, renamed, and listed with their sha256; folders held."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.strict import open_plain, read_json, reading

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None  # type: ignore[assignment]

MANIFEST = "manifest.json"
_FORMAT = 1  # of the manifest
ASIDE = ".writing-"  # begins the name of everything that is not finished


def given_path(path: str | os.PathLike[str]) -> Path:
    """A path as a user gave it, with ``~`` expanded; raises `UsageError` if it is empty."""
    if not os.fspath(path):
        raise UsageError("an empty path was given: say where")
    return Path(path).expanduser()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write to ``path`` into one sentence."""
    path = next((p.parent for p in (path, *path.parents) if p.name.startswith(ASIDE)), path)  # what people know
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
        for made in missing:
            sync_folder(made.parent)
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
    except PermissionError:  # to read it, or a system that opens no folders
        return
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # it knows no such thing; others are failures
            raise
    finally:
        os.close(handle)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to; rename it into place if nothing went wrong.

    Otherwise the old file is untouched and nothing is left behind; GenzooError if it cannot be written.
    """
    with writing(path), _inside(path.parent):
        # The name keeps its ending, since writers of pictures choose their format by it.
        handle, name = tempfile.mkstemp(prefix=ASIDE, suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _finish(temporary)
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _finish(path: Path) -> None:
    """Give a file the permissions of any new one, whatever wrote it, and see it on disk."""
    os.chmod(path, 0o666 & ~_umask())  # safetensors writes through a name of its own, for its owner alone
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


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_json(path: Path, content: Any) -> None:
    """Write a whole JSON file, readable and with sorted-as-given keys."""
    write_bytes(path, _json(content))


def sha256(path: Path) -> str:
    """Hash a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def manifest_of(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Size and sha256 of files in a folder."""
    files = {n: {"size": (folder / n).stat().st_size, "sha256": sha256(folder / n)} for n in sorted(names)}
    return {"format": _FORMAT, "files": files}


Writer = Callable[[Path], object]


def text_file(content: str) -> Writer:
    """A writer of text."""
    return lambda path: path.write_text(content, encoding="utf-8")


@contextmanager
def creating_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to fill; rename it to ``folder``, which is new or empty, if nothing went wrong."""
    with writing(folder), _inside(folder.parent):
        temporary = Path(tempfile.mkdtemp(prefix=ASIDE, dir=folder.parent))
        try:
            yield temporary
            os.chmod(temporary, 0o777 & ~_umask())
            sync_folder(temporary)
            os.rename(temporary, folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _fill(temporary: Path, files: Mapping[str, Writer], kept: Mapping[str, Any] | None = None) -> None:
    """Write files, and a manifest of them and of what is ``kept``, into a temporary folder."""
    for name, write in files.items():
        write(temporary / name)
        _finish(temporary / name)
    listed = manifest_of(temporary, files)
    listed["files"] = dict(sorted({**(kept or {}), **listed["files"]}.items()))
    (temporary / MANIFEST).write_bytes(_json(listed))
    _finish(temporary / MANIFEST)


def write_folder(folder: Path, files: Mapping[str, Writer]) -> None:
    """Write a new folder with its manifest, as one instant: name to a function that writes the file at a path."""
    with creating_folder(folder) as temporary:
        _fill(temporary, files)


def update_folder(folder: Path, files: Mapping[str, Writer]) -> None:
    """Write files into a folder that may hold an earlier version of them.

    Everything, the new manifest too, is written aside first: where that fails, the earlier version stands. The
    old manifest, which is what makes the folder valid, goes before the first file is replaced and the new one
    comes after the last: in between the folder is plainly incomplete, never a mixture. If even a rename fails,
    the earlier version is put back.
    """
    with writing(folder), _inside(folder):
        tidy(folder)
        temporary = Path(tempfile.mkdtemp(prefix=ASIDE, dir=folder))
        try:
            kept = {}
            with suppress(GenzooError):  # there is none yet, or it is damaged
                kept = {n: v for n, v in read_manifest(folder).items() if n not in files and (folder / n).is_file()}
            _fill(temporary, files, kept)
            old = temporary / "old"
            old.mkdir()
            try:
                _move(folder / MANIFEST, old / MANIFEST)
                sync_folder(folder)
                for name in files:
                    _move(folder / name, old / name)
                    os.replace(temporary / name, folder / name)
                sync_folder(folder)
                os.replace(temporary / MANIFEST, folder / MANIFEST)
            except BaseException:
                for name in (*files, MANIFEST):
                    with suppress(OSError):
                        if not (temporary / name).exists():
                            (folder / name).unlink()
                        _move(old / name, folder / name)
                raise
            sync_folder(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _move(path: Path, to: Path) -> None:
    with suppress(FileNotFoundError):
        os.replace(path, to)


def discard(folder: Path) -> None:
    """Take a folder away as one instant: who lists or reads it finds all of it or nothing; OSError if it stays."""
    aside = folder.with_name(f"{ASIDE}{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    _move(folder, aside)
    shutil.rmtree(aside, ignore_errors=True)


def tidy(folder: Path) -> None:
    """Remove what processes that were killed had begun to write in a folder; none may be writing there now."""
    for left in folder.glob(f"{ASIDE}*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with suppress(OSError):
                left.unlink()


def read_manifest(folder: Path, *, within: Path | None = None) -> dict[str, dict[str, Any]]:
    """Names of a folder's files with their size and sha256; links may lead into ``within``, see `open_plain`.

    Raises:
        GenzooError: if there is no manifest or it makes no sense.
    """
    path = folder / MANIFEST
    try:
        raw = read_json(path, within=within)
        if raw["format"] > _FORMAT:
            raise GenzooError(f"{path} has format {raw['format']}, and this genzoo reads up to {_FORMAT}: upgrade it")
        files = raw["files"]
        if set(raw) != {"format", "files"} or type(raw["format"]) is not int or not isinstance(files, dict):
            raise TypeError
        for name, about in files.items():
            # No name that means a place elsewhere, here or on another system.
            if not name.isprintable() or name in ("", ".", "..") or set(name) & set("/\\:") or len(name) > 255:
                raise ValueError
            size, digest = about["size"], about["sha256"]
            if len(about) > 2 or type(size) is not int or size < 0 or not re.fullmatch("[0-9a-f]{64}", digest):
                raise ValueError
    except FileNotFoundError:
        raise GenzooError(f"{folder} holds no finished weights: it has no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise GenzooError(f"{path} is damaged: it is no list of files; get the folder anew") from None
    return dict(files)


def damaged(path: Path) -> GenzooError:
    """What is said of a file that is not what the manifest says."""
    return GenzooError(f"{path} is damaged: its content does not match {MANIFEST}; get the folder anew")


def verify(folder: Path, names: Iterable[str], *, within: Path | None = None) -> None:
    """Check files against the manifest; raises GenzooError, naming the first file that is missing or differs."""
    files = read_manifest(folder, within=within)
    for name in names:
        path = folder / name
        if name not in files:
            raise GenzooError(f"{folder} holds no {name}")
        try:
            open_plain(path, within).close()
        except (OSError, GenzooError):
            raise GenzooError(f"{path} is missing, or no plain file: get the folder anew") from None
        with reading(path):
            if files[name] != {"size": path.stat().st_size, "sha256": sha256(path)}:
                raise damaged(path)


# --- holding a folder against other processes: the end of a process frees it, and nothing is left in it --------------

_held = dict[int, tuple[int, int, int]]()  # handle to device, inode and thread


@contextmanager
def claimed(folder: Path, taken: str = "") -> Iterator[None]:
    """Hold a folder that exists; a thread that holds it already may claim it again.

    Raises:
        UsageError: saying ``taken``, if another process or thread holds it; without such words it is waited for.
    """
    stat = folder.stat()
    who = (stat.st_dev, stat.st_ino, threading.get_ident())
    if fcntl is None or who in _held.values() or not os.access(folder, os.R_OK):
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    _held[handle] = who
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if taken else 0))
        except BlockingIOError:
            raise UsageError(taken) from None
        except OSError:  # a file system without them
            pass
        yield
    finally:
        if _held.pop(handle, None):
            os.close(handle)


def _let_go() -> None:
    """In a process that was forked: it would hold its parent's claims for as long as it outlives it."""
    while _held:
        os.close(_held.popitem()[0])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
