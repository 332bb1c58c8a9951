"""A user's own table: .csv, .parquet or .arrow."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.data.summary import Read
from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.core.storage.strict import one_line
from genzoo.core.units import size_text
from genzoo.plugins.modalities.columns import BINS, Column, columns, encode, learnt, spec_of, unknown
from genzoo.plugins.modalities.table_files import frame_table, read_table, taken
from genzoo.plugins.modalities.table_plan import Plan, Planned, planned, read_plan
from genzoo.registry import declare

FEW = 1000  # rows below which a warning is given
WIDE, MOST_WIDE = 20_000, 2**20  # numbers of a row from which on that is said, and refused


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
        constraints: str = option("", "what holds in every row: start <= end; c = a + b; code determines name")
        violations: Literal["auto", "refuse", "drop", "keep"] = option(
            "auto", "rows that break a constraint; auto drops at most one in a hundred"
        )

    options: Options

    def plan(self) -> Plan:
        """What the options say of columns and rows."""
        o = self.options
        given = dict.fromkeys(o.category, "category") | dict.fromkeys(o.drop, "drop")
        rules = tuple(text for text in o.constraints.split(";") if text.strip())
        return Plan(given, o.bins, rules, o.violations)

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
        plan, (table, what) = self.plan(), self.table()
        found, called = planned(table, what, plan, self.parts), Path(what).name.split(".")[0]
        train, test = found.split or self.parts(len(found.table))
        label, labels = plan.labels or self.label, self.options.labels
        label = {"auto": label if label not in plan.dropped else "", "none": ""}.get(labels, labels)
        data = planned_data(found, called, label)
        read = replace(data.read, again=self._again)
        if not self.own_splits() and split != "all":
            held = () if split == "test" else (("held out", len(test)),)
            read = replace(read, total=len(found.table), splits="held out", others=held)
        chosen = slice(None) if split == "all" else torch.from_numpy(train if split == "train" else test)
        return replace(replace(data, read=read).take(chosen), split=split, license=self.license)

    def _again(self, spec: DataSpec, *chosen: Any) -> Data:
        """Rows that are kept and then chosen, as codes of another spec's columns."""
        table, what = self.table()
        return _written(planned(table, what, self.plan(), self.parts).table, what, spec, *chosen)


@declare.dataset("table-file", summary="your .csv, .parquet or .arrow file", modalities=("table",), tags=("own",))
class TableFile(TableSource):
    """Rows of a .csv, .csv.gz, .parquet or .arrow file; the test split is a tenth of them, held out with seed 0.

    A DataFrame in memory is read as a whole, with the same options.

    A .toml file that names one says the kinds of its columns and what holds in every row; `genzoo data inspect` writes
    it.

    ``labels=income`` makes a column the class of a row, which a conditional model is told.
    """

    @dataclass(frozen=True)
    class Options(TableSource.Options):
        path: str = option("", "the file")

    options: Options

    def own_splits(self) -> bool:
        return self.held is not None

    def parts(self, n: int) -> tuple[Any, Any]:
        return super().parts(n) if self.held is None else (np.arange(n), np.arange(n))

    def table(self) -> tuple[Any, str]:
        if self.held is not None:
            return frame_table(self.held, "the table"), "the table"
        if not self.options.path:
            raise UsageError(
                "the data set 'table-file' needs a path to a .csv, .csv.gz, .parquet or .arrow file, or a .toml"
            )
        path = self.plan().file or Path(self.options.path).expanduser()
        return read_table(path), path.name

    def plan(self) -> Plan:
        said, path = super().plan(), Path(self.options.path).expanduser()
        if path.suffix.lower() != ".toml":
            return said
        read = read_plan(path)
        return replace(
            read,
            kinds={**read.kinds, **said.kinds},
            bins=read.bins if said.bins == BINS else said.bins,
            rules=read.rules + said.rules,
            violations=read.violations if said.violations == "auto" else said.violations,
        )


def data_of(
    table: Any,
    what: str,
    train: Any = None,
    category: tuple[str, ...] = (),
    bins: int = BINS,
    label: str = "",
) -> Data:
    """Data of an Arrow table, whose columns are found by the rows ``train``, or by all; ``label`` is one of them."""
    plan = planned(table, what, Plan(dict.fromkeys(category, "category"), bins), _always(train))
    data = planned_data(plan, what, label)
    return replace(data, read=replace(data.read, again=partial(_written, plan.table, what)))


def planned_data(plan: Planned, what: str, label: str = "") -> Data:
    """Data of a table whose columns are known."""
    found = plan.columns
    if not any(c.size for c in found):
        raise UsageError(f"{what} has no column to learn: all are constant, or identify rows")
    classes: tuple[str, ...] = ()
    if label:
        found = [replace(c, label=c.name == label) for c in found]
        classes = _classes(found, label, what)
    spec = spec_of(found, what, len(classes), classes, rules=plan.rules, seen=plan.seen)
    width, widest = spec.size, sorted(found, key=lambda c: sum(c.slots), reverse=True)[:5]
    said = f"a row of {what} is {width:,} numbers wide as networks see it"
    if width > MOST_WIDE:
        names = ", ".join(f"{c.name} ({sum(c.slots):,})" for c in widest)
        raise UsageError(f"{said}, more than {MOST_WIDE:,}; the widest columns are {names}: fewer bins of numbers, "
                         "--set data.bins=10, or leave columns out, --set data.drop=…")  # fmt: skip
    data = encoded(plan.table, spec, what)
    if width > WIDE:
        data = replace(data, read=data.read.noting(f"{said}: {size_text(4 * width)} of memory for each in a batch"))
    few = len(plan.table) < FEW
    said = f"{len(plan.table):,} rows are few, and can be learnt by heart: the metrics row-copies and repeats see that"
    for note in (*plan.notes, *[said] * few):
        data = replace(data, read=data.read.noting(note))
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
    return planned(table, what, Plan(dict.fromkeys(category, "category"), bins), _always(train)).columns


def _always(train: Any) -> Any:
    return None if train is None else lambda n: (train, None)


def _written(table: Any, what: str, spec: DataSpec, *chosen: Any) -> Data:
    rows = np.arange(len(table))
    for choice in chosen:
        rows = rows[choice]
    return encoded(table.take(rows) if chosen else table, spec, what, "the model")


def encoded(table: Any, spec: DataSpec, what: str, by: str = "") -> Data:
    """Rows of an Arrow table as codes of a spec's columns; a note says which cells are unknown to whom it is ``by``."""
    codes, notes = [], []
    for column in (c for c in columns(spec) if c.size):
        values, missing = taken(table, column.name, what, column.dtype)[:2]
        codes.append(encode(column, values, missing))
        if by and (strange := unknown(column, values, missing)):
            n, first = strange.total(), one_line(strange.most_common(1)[0][0], 40)
            said = f"{n:,} values of column {column.name!r}, such as {first!r}, are"
            said = f"a value of column {column.name!r}, {first!r}, is" if n == 1 else said
            notes.append(f"{said} unknown to {by} and taken for its rarest")
    return Data(spec, torch.from_numpy(np.stack(codes, 1)), None, what, read=Read().noting(*notes))
