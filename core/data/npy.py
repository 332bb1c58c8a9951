"""Arrays in .npy files and in .npz files that are not compressed, read row by row as they are needed."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from genzoo.core.errors import GenzooError

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


def npy_array(path: Path) -> FileArray | None:
    """Open the array in a .npy file; None if its layout is not row after row, or not of plain numbers.

    Raises:
        GenzooError: if the file is too short.
        ValueError: if it is no .npy file (or OSError, EOFError).
    """
    with open(path, "rb") as file:
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
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        return None
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject or dtype.names or dtype.itemsize == 0 or not shape or (fortran and len(shape) > 1):
        return None
    return FileArray(path, file.tell(), tuple(shape), dtype)
