"""Arrays in .npy and .npz files, read row by row as they are needed."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.strict import one_line, regular
from genzoo.core.units import free_bytes, size_text

_BLOCK = 2**22  # bytes that are read at once at most, where rows lie close together
_SEEK = 4096  # bytes that are read in the time that one more call takes


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say in a sentence what is wrong with a file."""
    try:
        yield
    except GenzooError:
        raise
    except MemoryError:
        raise GenzooError(f"{path} does not fit into memory") from None
    except Exception as e:  # zipfile, zlib, struct and numpy raise a dozen kinds, for damage and for pickles alike
        if "Object arrays" in str(e) or "Python objects" in str(e):
            raise UsageError(f"{path} holds Python objects, which are not read: save arrays of numbers") from None
        # numpy takes whatever it does not know for a pickle: that would mislead.
        detail = "" if "pickle" in str(e) or not str(e) else f" ({str(e).splitlines()[0]})"
        raise GenzooError(f"{path} is damaged, truncated or no NumPy file{detail}") from None


class FileArray:
    """An array in a file. Rows are read, not mapped: a file that shrinks is an error and not a crash, and what
    was read takes no memory afterwards. What is compressed is unpacked from front to back; going back begins anew.

    The file must not change while the array is in use; its first number is at ``offset``, in bytes. ``member`` is the
    compressed file of an .npz file in which all that is; it is open until `close`.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], member: str = "") -> None:
        self.path, self.offset, self.shape, self.dtype, self.member = path, offset, shape, dtype, member
        self._row = math.prod(shape[1:]) * dtype.itemsize
        self._stamp = _stamp(os.stat(path))
        self._unpacked: IO[bytes] | None = None
        if not member and self._stamp[0] < offset + shape[0] * self._row:
            raise GenzooError(f"{path} is damaged, truncated or no NumPy file (it ends too early)")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Rows by a slice without a step, or by an array of whole numbers."""
        numbers = range(len(self))[index] if isinstance(index, slice) else index
        out = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        try:
            with self._open() as file:
                if isinstance(numbers, range):
                    self._read(file, numbers.start, out)
                else:
                    self._gather(file, np.asarray(numbers), out)
        except OSError as e:
            raise GenzooError(f"{self.path} cannot be read: {e.strerror}") from None
        return out

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        if self.member:
            with _reading(self.path):
                if self._unpacked is None:
                    archive = zipfile.ZipFile(regular(self.path))  # which what it opens keeps open
                    self._unpacked = archive.open(self.member)
                yield self._unpacked
            return
        # Opened anew: no position is shared with other processes or threads.
        with open(self.path, "rb", buffering=0) as file:
            if _stamp(os.fstat(file.fileno())) != self._stamp:
                raise GenzooError(f"{self.path} was changed while it was being used as data: leave it as it is")
            yield file

    def _gather(self, file: IO[bytes], index: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read chosen rows in the order of the file: what lies close together at once, the others one by one."""
        order = np.argsort(index, kind="stable")
        rows = index[order]
        blocks = rows // max(_BLOCK // max(self._row, 1), 1)
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(blocks)) + 1):
            if not len(part):
                continue
            first, last = int(rows[part[0]]), int(rows[part[-1]])
            if self.member or (last - first + 1) * self._row <= len(part) * _SEEK:
                span = np.empty((last - first + 1, *self.shape[1:]), self.dtype)
                self._read(file, first, span)
                out[order[part]] = span[rows[part] - first]
            else:
                for i, row in zip(order[part].tolist(), rows[part].tolist(), strict=True):
                    self._read(file, row, out[i : i + 1])

    def _read(self, file: Any, first: int, out: NDArray[Any]) -> None:
        """Fill ``out`` with the rows from number ``first`` on."""
        file.seek(self.offset + first * self._row)
        view = memoryview(out.reshape(-1).view(np.uint8).data)
        while view:
            n = file.readinto(view[: 2**18] if self.member else view)
            if not n:
                raise GenzooError(
                    f"{self.path} ends too early: it is damaged, or was cut off while it was used as data"
                )
            view = view[n:]
        if self.member and first + len(out) == len(self) and file.read(1):  # which also compares the checksum
            raise GenzooError(f"{self.path} is damaged: {self.member} is longer than it says")

    def close(self) -> None:
        """Let go of the file."""
        if self._unpacked is not None:
            self._unpacked.close()
            self._unpacked = None


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


class Archive:
    """The arrays of a ``.npy`` file (one, called ``arr_0``) or of an ``.npz`` file, opened and not read.

    Raises:
        GenzooError: if the file is a pipe or a device, damaged, or no NumPy file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.files = regular(path), ["arr_0"]
        if path.suffix.lower() != ".npy":
            with _reading(path), zipfile.ZipFile(path) as archive:
                self.files = [name.removesuffix(".npy") for name in archive.namelist()]

    def __getitem__(self, key: str) -> FileArray | NDArray[Any]:
        """An array by its name, read as it is indexed; one that is not stored row after row is read whole.

        What must be unpacked and needs more memory than is free is refused before, and so are Python objects.
        """
        with _reading(self.path), open(self.path, "rb") as file:
            if self.path.suffix.lower() == ".npy":
                return self._array(file, key)
            with zipfile.ZipFile(file) as archive:
                info = archive.getinfo(key if key in archive.namelist() else f"{key}.npy")
                if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                    with archive.open(info) as unpacked:
                        return self._array(unpacked, key, info.filename)
                file.seek(info.header_offset)
                header = file.read(30)  # of this member: its name and an extra field follow, then its bytes
                start = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
                file.seek(start)
                left, crc = info.file_size, 0
                while left and (block := file.read(min(left, 2**20))):
                    left, crc = left - len(block), zlib.crc32(block, crc)
                if left or crc != info.CRC:
                    raise GenzooError(f"{self.path} is damaged: the checksum of {key} does not fit its bytes")
                file.seek(start)
                return self._array(file, key)

    def _array(self, file: IO[bytes], key: str, member: str = "") -> FileArray | NDArray[Any]:
        start = file.tell()
        shape, fortran, dtype = _header(file, self.path)
        other = dtype.hasobject or dtype.names or dtype.itemsize == 0 or not shape or (fortran and len(shape) > 1)
        needed, free = math.prod(shape) * dtype.itemsize, free_bytes()
        if (other or member) and needed > free:
            raise UsageError(
                f"{self.path}: the array {key!r} has {size_text(needed)} when it is unpacked, and {size_text(free)} of "
                "memory are free: save it with np.savez, which does not compress, and it is read as it is needed"
            )
        if not other:
            return FileArray(self.path, file.tell(), shape, dtype, member)
        file.seek(start)
        return npy.read_array(file, allow_pickle=False)


def _header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type that an array's header says; the file is then at its first number."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise GenzooError(f"{path} is a NumPy file of version {'.'.join(map(str, version))}: save it by np.save")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) * max(dtype.itemsize, 1) >= 2**62:
        raise GenzooError(f"{path} says that its array has the shape {one_line(str(shape), 80)}, which no array has")
    return tuple(shape), bool(fortran), dtype
