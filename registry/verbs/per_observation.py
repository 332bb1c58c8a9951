"""Results with a row for each observation, in the order of their files' names, and with these."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genzoo.core.data import Data
from genzoo.core.storage.files import write_bytes


def by_name(data: Data) -> Data:
    """The same observations in the order of their files' names, where they are of files."""
    if data.read.files is None:
        return data
    order = np.argsort(data.read.files.astype(str), kind="stable")
    return data if (order == np.arange(len(order))).all() else data.take(order.tolist())


def named(data: Data, n: int | None = None) -> dict[str, NDArray[Any]]:
    """Names of the first ``n`` observations: ``files``, or else ``rows``, which count from 0."""
    if data.read.files is None:
        return {"rows": np.arange(len(data))[:n]}
    return {"files": data.read.files[:n].astype(str)}


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """Write columns of equal length as a ``.csv`` file with a header, whole or not at all."""
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows(zip(*(c.tolist() if isinstance(c, np.ndarray) else c for c in columns.values()), strict=True))
    write_bytes(path, text.getvalue().encode(errors="replace"))
