"""A user's own table: .csv, .parquet or .arrow."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.columns import BINS, Column, columns, encode, infer, learnt, spec_of
from genzoo.plugins.modalities.table_files import named, read_table, taken
from genzoo.registry import declare


class TableSource(DataSource):
    """Rows of a table; kinds of columns, levels and bins are those of the training rows.

    In the test split a category that the training rows do not have counts as the rarest, and a number beyond their
    range as of the outermost bin. A column may be the class label of a row, beside its place in the row.
    """

    label: ClassVar[str] = ""  # the column that is the label where nobody says which
    license: ClassVar[str] = ""

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        drop: tuple[str, ...] = option((), "columns to leave out")
        category: tuple[str, ...] = option((), "columns of numbers that are categories")
        bins: int = option(100, "quantile bins of a number of many values", low=1, high=4096)

    options: Options

    @abstractmethod
    def table(self) -> tuple[Any, str]:
        """All rows as an Arrow table, and what to call it."""

    def parts(self, n: int) -> tuple[Any, Any]:
        """Numbers of the training rows and of the test rows, of ``n``: a tenth of them is held out with seed 0."""
        order, held = np.random.default_rng(0).permutation(n), n // 10
        train = np.sort(order[held:])
        return train, np.sort(order[:held]) if held else train

    def read(self, split: Split) -> Data:
        """Read a split; columns are those of the train split."""
        o, (whole, what) = self.options, self.table()
        table, called = named(whole, what), Path(what).stem
        for name in (*o.drop, *o.category):
            taken(table, name, what)
        table = named(table.drop_columns(list(o.drop)), what)
        train, test = self.parts(len(table))
        label = {"auto": self.label if self.label not in o.drop else "", "none": ""}.get(o.labels, o.labels)
        data = data_of(table, called, train, o.category, o.bins, label)
        return replace(data.take(torch.from_numpy(train if split == "train" else test)), split=split,
                       license=self.license)  # fmt: skip


@declare.dataset("table-file", summary="your .csv, .parquet or .arrow file", modalities=("table",), tags=("own",))
class TableFile(TableSource):
    """Rows of a .csv, .parquet or .arrow file; the test split is a tenth of them, held out with seed 0.

    ``labels=income`` makes a column the class of a row, which a conditional model is told.
    """

    @dataclass(frozen=True)
    class Options(TableSource.Options):
        path: str = option("", "the file")

    options: Options

    def table(self) -> tuple[Any, str]:
        if not self.options.path:
            raise UsageError("the data set 'table-file' needs a path to a .csv, .parquet or .arrow file")
        path = Path(self.options.path).expanduser()
        return read_table(path), path.name


def data_of(
    table: Any,
    what: str,
    train: Any = None,
    category: tuple[str, ...] = (),
    bins: int = BINS,
    label: str = "",
) -> Data:
    """Data of an Arrow table, whose columns are found by the rows ``train``, or by all; ``label`` is one of them."""
    found = kinds(named(table, what), what, train, category, bins)
    if not any(c.size for c in found):
        raise UsageError(f"{what} has no column to learn: all are constant, or identify rows")
    classes: tuple[str, ...] = ()
    if label:
        found = [replace(c, label=c.name == label) for c in found]
        classes = _classes(found, label, what)
    data = encoded(table, spec_of(found, what, len(classes), classes), what)
    if not label:
        return data
    place = [c.label for c in learnt(data.spec)].index(True)
    return replace(data, y=data.x[:, place].floor().long())


def _classes(found: list[Column], label: str, what: str) -> tuple[str, ...]:
    """Names of the classes that a column's levels are."""
    column = next((c for c in found if c.name == label), None)
    if column is None:
        raise UsageError(f"{what} has no column {label!r}{did_you_mean(label, [c.name for c in found])}")
    if not column.size or column.edges or column.size > 10_000:
        why = "numbers of many values" if column.edges else column.why or "one value"
        raise UsageError(f"column {label!r} of {what} is no class of a row ({why}): --set data.labels=none")
    return column.texts


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
