"""A user's own table: .csv, .parquet or .arrow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.columns import BINS, Column, columns, encode, infer, spec_of
from genzoo.plugins.modalities.table_files import named, read_table, taken
from genzoo.registry import declare


@declare.dataset("table-file", summary="your .csv, .parquet or .arrow file", modalities=("table",), tags=("own",))
class TableFile(DataSource):
    """Rows of a .csv, .parquet or .arrow file; the test split is a tenth of them, held out with seed 0.

    Kinds of columns, levels and bins are those of the training rows. In the test split a category that the training
    rows do not have counts as the rarest, and a number beyond their range as of the outermost bin.
    """

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        path: str = option("", "the file")
        drop: tuple[str, ...] = option((), "columns to leave out")
        category: tuple[str, ...] = option((), "columns of numbers that are categories")
        bins: int = option(100, "quantile bins of a number of many values", low=1, high=4096)

    options: Options

    def read(self, split: Split) -> Data:
        """Read a split; columns are those of the train split."""
        o = self.options
        if not o.path:
            raise UsageError("the data set 'table-file' needs a path to a .csv, .parquet or .arrow file")
        path = Path(o.path).expanduser()
        table = named(read_table(path), path.name)
        for name in (*o.drop, *o.category):
            taken(table, name, path.name)
        table = named(table.drop_columns(list(o.drop)), path.name)
        n = len(table)
        order = np.random.default_rng(0).permutation(n)
        held = n // 10
        train = np.sort(order[held:])
        data = data_of(table, path.stem, train, o.category, o.bins)
        rows = train if split == "train" or not held else np.sort(order[:held])
        return replace(data, rows=data.x[torch.from_numpy(rows)], split=split)


def data_of(table: Any, what: str, train: Any = None, category: tuple[str, ...] = (), bins: int = BINS) -> Data:
    """Data of an Arrow table, whose columns are found by the rows ``train``, or by all."""
    found = kinds(named(table, what), what, train, category, bins)
    if not any(c.size for c in found):
        raise UsageError(f"{what} has no column to learn: all are constant, or identify rows")
    return encoded(table, spec_of(found, what), what)


def kinds(table: Any, what: str, train: Any = None, category: tuple[str, ...] = (), bins: int = BINS) -> list[Column]:
    """Columns of an Arrow table, in its order."""
    found = []
    for name in table.column_names:
        values, missing, dtype = taken(table, name, what)
        gaps, at = bool(missing.any()), slice(None) if train is None else train
        found.append(
            infer(
                name,
                values[at],
                missing[at],
                dtype,
                category=name in category or dtype.startswith("dictionary"),
                bins=bins,
                nullable=gaps,
            )
        )
    return found


def encoded(table: Any, spec: DataSpec, what: str) -> Data:
    """Rows of an Arrow table as codes of a spec's columns."""
    codes = [encode(c, *taken(table, c.name, what)[:2]) for c in columns(spec) if c.size]
    return Data(spec, torch.from_numpy(np.stack(codes, 1)), None, what)
