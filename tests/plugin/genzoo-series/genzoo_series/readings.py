"""Time series in CSV files: a line for each step, ``series,step,CHANNEL,…[,label]``. No torch."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import replacing
from genzoo.core.storage.strict import regular

KIND, MOST = "series", 10_000_000  # the first column's name, and most numbers in a file


@dataclass(frozen=True)
class Table:
    """What a file holds: ``values`` float32 ``(N, channels, steps)``, labels ``(N,)`` or None, names of channels."""

    values: Any
    labels: Any
    channels: tuple[str, ...]


def is_ours(path: Path) -> bool:
    """Whether a file begins as such a file does."""
    start = f"{KIND},step,".encode()
    with open(regular(path), "rb") as file:
        return file.read(len(start)) == start


def read_csv(path: Path) -> Table:
    """Read a file whole.

    Raises:
        UsageError: if it is not there or holds something else; names the line.
        GenzooError: if it cannot be read.
    """
    try:
        with open(regular(path), newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file, strict=True))
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise GenzooError(f"{path} is no CSV file that can be read ({e})") from None
    if not rows or rows[0][:2] != [KIND, "step"] or len(rows[0]) * len(rows) > MOST:
        raise UsageError(f"{path} does not begin with {KIND},step,… or has more than {MOST:,} numbers")
    labelled = rows[0][-1] == "label"
    channels = tuple(rows[0][2 : -1 if labelled else None])
    if not channels or len(rows) == 1:
        raise UsageError(f"{path} has no channels or no lines")
    numbered = ((i, row) for i, row in enumerate(rows[1:], 2))
    series, labels = [], []
    for _, lines in groupby(numbered, key=lambda line: line[1][:1]):
        steps = [_numbers(path, i, row, len(rows[0])) for i, row in lines]
        if series and len(steps) != len(series[0]):
            raise UsageError(f"{path}: series {len(series)} has {len(steps)} steps and the first {len(series[0])}")
        series.append([s[1 : len(channels) + 1] for s in steps])
        labels.append(int(steps[0][-1]) if labelled else 0)
    values = np.asarray(series, np.float32).transpose(0, 2, 1)
    return Table(values, np.asarray(labels) if labelled else None, channels)


def _numbers(path: Path, line: int, row: Sequence[str], width: int) -> list[float]:
    try:
        found = [float(cell) for cell in row[1:]]
        if len(row) != width or not all(map(math.isfinite, found)):
            raise ValueError
    except ValueError:
        raise UsageError(f"{path}: line {line} is not {width} finite numbers") from None
    return found


def write_csv(path: Path, channels: Sequence[str], batches: Iterable[tuple[Any, Any]]) -> None:
    """Write batches of series as they come, whole or not at all."""
    n = 0
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        for x, y in batches:
            if n == 0:
                out.writerow([KIND, "step", *channels, *([] if y is None else ["label"])])
            for i, one in enumerate(x.float().cpu().numpy()):
                label = [] if y is None else [int(y[i])]
                out.writerows([n, t, *map(repr, map(float, step)), *label] for t, step in enumerate(one.T))
                n += 1
