"""Archives of arrays (``.npz``), also larger than memory."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.lib import format as npy
from torch import Tensor

from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.core.storage.files import replacing

Batches = Iterator[tuple[Tensor, Tensor | None]]
Done = TypeVar("Done")
_DUE = 2**23  # bytes that are given to the disk at a time
_WAITING = 2  # batches that are written while more are made


def write_samples(path: Path, spec: DataSpec, n: int, batches: Batches) -> None:
    """Stream observations in data units, and their labels, into an uncompressed ``.npz``.

    Labels wait in a file of their own. Batches are written in a thread while the next ones are made.
    """
    conditional, kind = False, of(spec)
    with (
        replacing(path) as temporary,
        tempfile.TemporaryFile() as labels,
        open(temporary, "wb") as raw,
        zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as archive,
    ):
        with archive.open("samples.npy", "w", force_zip64=True) as f:
            _npy_header(f, (n, *spec.shape), np.dtype(kind.array_dtype(spec)))
            begun = 0

            def put(x: Tensor, y: Tensor | None) -> bool:
                nonlocal begun
                f.write(np.ascontiguousarray(kind.to_array(spec, x, spare=True)).data)
                begun = _on_its_way(raw, begun)
                if y is not None:
                    labels.write(y.contiguous().cpu().numpy().data)
                return y is not None

            for had_labels in _aside(put, batches):
                conditional = conditional or had_labels
        if conditional:
            labels.seek(0)
            with archive.open("labels.npy", "w", force_zip64=True) as f:
                _npy_header(f, (n,), np.dtype("int64"))
                shutil.copyfileobj(labels, f)


def _aside(work: Callable[..., Done], items: Iterable[tuple[Any, ...]]) -> Iterator[Done]:
    """Do ``work(*item)`` for each item in turn, in a thread, while the next ones are made; yield what it returns."""
    from concurrent.futures import Future, ThreadPoolExecutor  # here, since it takes long to import

    waiting: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(1) as thread:
        for item in items:
            waiting.append(thread.submit(work, *item))
            if len(waiting) > _WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _on_its_way(file: BinaryIO, begun: int) -> int:
    """Let the system write to the disk while more is computed, or all of it would be waited for at the end.

    Args:
        file: what is being written.
        begun: bytes at its start that are on their way.

    Returns:
        Bytes that are on their way now.
    """
    here = file.tell()
    if here - begun < _DUE or not hasattr(os, "posix_fadvise"):
        return begun
    os.posix_fadvise(file.fileno(), begun, here - begun, os.POSIX_FADV_DONTNEED)  # which begins to write them
    return here


def _npy_header(f: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    npy.write_array_header_2_0(
        f,
        {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape},
    )


def write_arrays(path: Path, **arrays: np.ndarray[Any, Any]) -> None:
    """Write arrays by name as an ``.npz``, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as f:  # to a name, NumPy would add an ending
        np.savez(f, **arrays)  # type: ignore[arg-type]
