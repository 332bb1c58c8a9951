"""Arrays in .npy and .npz files, read row by row as they are needed."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.strict import one_line, regular
from genzoo.core.units import free_bytes, size_text

_BLOCK = 2**22  # bytes that are read at once at most, where rows lie close together
_SEEK = 4096  # bytes that are read in the time that one more call takes


class FileArray:
    """An array in a file. Rows are read, not mapped: a file that shrinks is an error and not a crash, and what
    was read takes no memory afterwards.

    Args:
        path: of the file, which must not change while the array is in use.
        offset: of the first number, in bytes.
        shape: of the whole array, stored row after row.
        dtype: of its numbers.

    Raises:
        GenzooError: if the file is too short.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.offset, self.shape, self.dtype = path, offset, shape, dtype
        self._row = math.prod(shape[1:]) * dtype.itemsize
        self._stamp = _stamp(os.stat(path))
        if self._stamp[0] < offset + shape[0] * self._row:
            raise GenzooError(f"{path} is damaged, truncated or no NumPy file (it ends too early)")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Rows by a slice without a step, or by an array of whole numbers."""
        whole = isinstance(index, slice)
        numbers = range(len(self))[index] if isinstance(index, slice) else index
        out = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        try:
            # Opened anew: no position is shared with other processes or threads.
            with open(self.path, "rb", buffering=0) as file:
                if _stamp(os.fstat(file.fileno())) != self._stamp:
                    raise GenzooError(f"{self.path} was changed while it was being used as data: leave it as it is")
                if whole:
                    self._read(file, numbers[0] if len(numbers) else 0, out)
                else:
                    self._gather(file, np.asarray(numbers), out)
        except OSError as e:
            raise GenzooError(f"{self.path} cannot be read: {e.strerror}") from None
        return out

    def _gather(self, file: BinaryIO, index: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read chosen rows in the order of the file: what lies close together at once, the others one by one."""
        order = np.argsort(index, kind="stable")
        rows = index[order]
        blocks = rows // max(_BLOCK // max(self._row, 1), 1)
        for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(blocks)) + 1):
            if not len(part):
                continue
            first, last = int(rows[part[0]]), int(rows[part[-1]])
            if (last - first + 1) * self._row <= len(part) * _SEEK:
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
            n = file.readinto(view)
            if not n:
                raise GenzooError(f"{self.path} ends too early: it was cut off while it was being used as data")
            view = view[n:]


def _stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


class PackedArray:
    """A compressed array of an ``.npz`` file, unpacked as it is read from front to back; going back begins anew.

    Args:
        path: of the archive.
        member: the array's file in it.
        shape: of the whole array, as its header says, stored row after row.
        dtype: of its numbers.
    """

    def __init__(self, path: Path, member: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.member, self.shape, self.dtype = path, member, shape, dtype
        self._row = math.prod(shape[1:]) * dtype.itemsize
        self._file: IO[bytes] | None = None
        self._next = 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Rows by a slice without a step, or by an array of whole numbers."""
        if isinstance(index, slice):
            numbers = range(len(self))[index]
            return self._rows(numbers.start, len(numbers))
        if not len(index):
            return np.empty((0, *self.shape[1:]), self.dtype)
        first = int(index.min())
        found: NDArray[Any] = self._rows(first, int(index.max()) - first + 1)[index - first]
        return found

    def _rows(self, first: int, count: int) -> NDArray[Any]:
        try:
            if self._file is None or first < self._next:
                self.close()
                self._archive = zipfile.ZipFile(regular(self.path))
                self._file, self._next = self._archive.open(self.member), 0
                _header(self._file, self.path)
            left = (first - self._next) * self._row
            while left:
                left -= len(self._file.read(min(left, 2**18)) or self._torn())
            out = np.empty((count, *self.shape[1:]), self.dtype)
            view = memoryview(out.reshape(-1).view(np.uint8).data)
            while view:
                block = self._file.read(min(len(view), 2**18)) or self._torn()
                view[: len(block)] = block
                view = view[len(block) :]
            self._next = first + count
            if self._next == len(self) and self._file.read(1):  # which also compares the checksum
                raise GenzooError(f"{self.path} is damaged: {self.member} is longer than it says")
            return out
        except GenzooError:
            raise
        except Exception as e:  # zipfile and zlib raise a dozen kinds
            raise GenzooError(f"{self.path} is damaged, truncated or no NumPy file ({e})") from None

    def _torn(self) -> bytes:
        raise GenzooError(f"{self.path} is damaged: {self.member} ends too early")

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._archive.close()
            self._file = None


class Archive:
    """The arrays of a ``.npy`` file (one, called ``arr_0``) or of an ``.npz`` file, opened and not read.

    Raises:
        GenzooError: if the file is a pipe or a device, damaged, or no NumPy file.
    """

    def __init__(self, path: Path) -> None:
        self.path = regular(path)
        if path.suffix.lower() == ".npy":
            self.files = ["arr_0"]
            return
        with zipfile.ZipFile(path) as archive:
            self.files = [name.removesuffix(".npy") for name in archive.namelist()]

    def __getitem__(self, key: str) -> FileArray | PackedArray | NDArray[Any]:
        """An array by its name: rows are read as they are indexed; what must be unpacked has to fit into memory.

        Raises:
            UsageError: if it needs more memory than is free, or holds Python objects.
        """
        if self.path.suffix.lower() == ".npy":
            return npy_array(self.path) or self._whole(None)
        return npz_array(self.path, key) or self._packed(key)

    def _packed(self, key: str) -> PackedArray | NDArray[Any]:
        with zipfile.ZipFile(self.path) as archive:
            member = key if key in archive.namelist() else f"{key}.npy"
            with archive.open(member) as file:
                shape, fortran, dtype = _header(file, self.path)
        self._require_memory(key, shape, dtype)
        if dtype.hasobject or dtype.names or dtype.itemsize == 0 or not shape or (fortran and len(shape) > 1):
            return self._whole(member)
        return PackedArray(self.path, member, shape, dtype)

    def _whole(self, member: str | None) -> NDArray[Any]:
        """An array that cannot be read row by row."""
        if member is None:
            with open(self.path, "rb") as plain:
                self._require_memory(self.path.stem, *_header(plain, self.path)[::2])
                plain.seek(0)
                return npy.read_array(plain, allow_pickle=False)
        with zipfile.ZipFile(self.path) as archive, archive.open(member) as file:
            return npy.read_array(file, allow_pickle=False)

    def _require_memory(self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        needed, free = math.prod(shape) * dtype.itemsize, free_bytes()
        if needed > free:
            raise UsageError(
                f"{self.path}: the array {key!r} has {size_text(needed)} when it is unpacked, and {size_text(free)} of "
                "memory are free: save it with np.savez, which does not compress, and it is read as it is needed"
            )


def npy_array(path: Path) -> FileArray | None:
    """Open the array in a .npy file; None if its layout is not row after row, or not of plain numbers.

    Raises:
        GenzooError: if the file is too short, no regular file, or says an impossible shape.
        ValueError: if it is no .npy file (or OSError, EOFError).
    """
    with open(regular(path), "rb") as file:
        return _array(file, path)


def npz_array(path: Path, key: str) -> FileArray | None:
    """Open an array of a .npz file; None if it is compressed, or not of plain numbers row after row.

    Raises:
        GenzooError: if its checksum is wrong.
        KeyError: if there is no such array.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        info = archive.getinfo(key if key in names else f"{key}.npy")
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        return None
    with open(path, "rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)  # of this member: its name and an extra field follow, then its bytes
        name, extra = struct.unpack("<HH", header[26:30])
        start = info.header_offset + 30 + name + extra
        file.seek(start)
        left, crc = info.file_size, 0
        while left and (block := file.read(min(left, 2**20))):
            left, crc = left - len(block), zlib.crc32(block, crc)
        if left or crc != info.CRC:
            raise GenzooError(f"{path} is damaged: the checksum of {key} does not fit its bytes")
        file.seek(start)
        return _array(file, path)


def _array(file: BinaryIO, path: Path) -> FileArray | None:
    shape, fortran, dtype = _header(file, path)
    if dtype.hasobject or dtype.names or dtype.itemsize == 0 or not shape or (fortran and len(shape) > 1):
        return None
    return FileArray(path, file.tell(), shape, dtype)


def _header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type that an array's header says; the file is then at its first number.

    Raises:
        GenzooError: for a shape that no array has.
    """
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise GenzooError(f"{path} is a NumPy file of version {'.'.join(map(str, version))}: save it by np.save")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) * max(dtype.itemsize, 1) >= 2**62:
        raise GenzooError(f"{path} says that its array has the shape {one_line(str(shape), 80)}, which no array has")
    return tuple(shape), bool(fortran), dtype
