"""Archives of arrays (``.npz``), also larger than memory."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from torch import Tensor

from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.core.storage.files import replacing

Batches = Iterator[tuple[Tensor, Tensor | None]]


def write_samples(path: Path, spec: DataSpec, n: int, batches: Batches) -> None:
    """Stream observations in data units, and their labels, with the names of classes, into an uncompressed ``.npz``."""
    from concurrent.futures import Future, ThreadPoolExecutor  # here, since it takes long to import

    kind, pending = of(spec), Future[None]()
    pending.set_result(None)
    with (
        replacing(path) as temporary,
        tempfile.TemporaryFile() as labels,  # which come with the batches, and belong behind all of them
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        with archive.open("samples.npy", "w", force_zip64=True) as f, ThreadPoolExecutor(1) as thread:
            _npy_header(f, (n, *kind.unit_shape(spec)), np.dtype(kind.array_dtype(spec)))

            def put(x: Tensor, y: Tensor | None) -> None:
                f.write(np.ascontiguousarray(kind.to_array(spec, x, spare=True)).data)
                if y is not None:
                    labels.write(y.contiguous().cpu().numpy().data)

            for batch in batches:
                pending.result()
                pending = thread.submit(put, *batch)
            pending.result()
        if labels.tell():
            labels.seek(0)
            with archive.open("labels.npy", "w", force_zip64=True) as f:
                _npy_header(f, (n,), np.dtype("int64"))
                shutil.copyfileobj(labels, f)
            if spec.class_names:
                with archive.open("class_names.npy", "w") as f:
                    npy.write_array(f, np.array(spec.class_names), version=(2, 0))


def _npy_header(f: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    about = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_2_0(f, about)


def write_arrays(path: Path, **arrays: np.ndarray[Any, Any]) -> None:
    """Write arrays by name as an ``.npz``, whole or not at all."""
    with replacing(path) as temporary, open(temporary, "wb") as f:  # to a name, NumPy would add an ending
        np.savez(f, **arrays)  # type: ignore[arg-type]
