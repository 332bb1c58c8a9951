"""Conditions on rows: whether they hold of rows, and which levels and bins of a column can meet them. NumPy only.

A comparison with a missing value is neither true nor false, as in SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genzoo.plugins.modalities.columns import Column, decode

Frame = Mapping[str, tuple[Any, Any]]  # values and where they are missing, by column
Truth = tuple[Any, Any]  # where a condition is true (or can be), and where it is false
SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "=": np.equal, "<>": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip


@dataclass(frozen=True)
class Term:
    """Literals and columns, ``const + Σ factor · column`` for numbers, or one text, date or column."""

    columns: tuple[tuple[str, float], ...] = ()
    constant: Any = 0.0

    @property
    def plain(self) -> str:
        """The column's name, where it is one and nothing else."""
        return self.columns[0][0] if len(self.columns) == 1 and self.columns[0][1] == 1 and self.constant == 0 else ""

    def of(self, frame: Frame) -> tuple[Any, Any]:
        """Its values, and where they are missing."""
        if self.plain:
            return frame[self.plain]
        gone: Any = False
        total: Any = self.constant
        for name, factor in self.columns:
            values, missing = frame[name]
            total, gone = total + factor * values, gone | missing
        return total, gone


@dataclass(frozen=True)
class Node:
    """One condition: ``and``, ``or`` and ``not`` of others, or a comparison, ``in`` or ``null`` of values."""

    kind: str
    parts: tuple[Node, ...] = ()
    left: Term = Term()
    right: Term = Term()
    among: tuple[Any, ...] = ()

    def columns(self) -> set[str]:
        """Names of the columns that it is about."""
        own = {name for term in (self.left, self.right) for name, _ in term.columns}
        return own.union(*(p.columns() for p in self.parts))

    def truth(self, atom: Callable[[Node], Truth]) -> Truth:
        """Three-valued logic over what ``atom`` says of comparisons."""
        if self.kind == "not":
            true, false = self.parts[0].truth(atom)
            return false, true
        if self.kind not in ("and", "or"):
            return atom(self)
        both = [p.truth(atom) for p in self.parts]
        all_, any_ = np.logical_and.reduce, np.logical_or.reduce
        join, other = (all_, any_) if self.kind == "and" else (any_, all_)
        return join([t for t, _ in both]), other([f for _, f in both])


def on_rows(node: Node, frame: Frame) -> Truth:
    """Where a condition is true of rows, and where it is false; neither where it asks a missing value."""

    def atom(of: Node) -> Truth:
        a, gone = of.left.of(frame)
        if of.kind == "null":
            return gone, ~np.asarray(gone)
        if of.kind == "in":
            found = np.isin(a, np.array(of.among, a.dtype)) if a.dtype != object else _within(a, of.among)
            return found & ~gone, ~found & ~gone
        b, other = of.right.of(frame)
        there = ~(np.asarray(gone) | other)
        found = np.asarray(SIGNS[of.kind](a, b), bool)
        return found & there, ~found & there

    return node.truth(atom)


def _within(values: Any, among: Sequence[Any]) -> Any:
    wanted = set(among)
    return np.fromiter((v in wanted for v in values.tolist()), bool, len(values))


def on_levels(node: Node, column: Column) -> Truth:
    """Of each level and bin of a column: whether a row that has it can meet a condition, and can break it.

    Wider than the truth at most: what a condition asks of other columns may be anything.
    """
    size, low, high, gone = levels(column)
    single = {column.name: (low, gone)}
    bins = np.arange(size) >= column.first_bin

    def atom(of: Node) -> Truth:
        either = np.ones(size, bool)
        if of.columns() != {column.name}:
            return either, either
        true, false = on_rows(of, single)
        if not bins.any():
            return true, false
        wide_true, wide_false = either, either
        if of.left.plain and of.kind in ("<", "<=", ">", ">=") and not of.right.columns:
            ends = [on_rows(of, {column.name: (v, gone)}) for v in (low, high)]
            wide_true, wide_false = ends[0][0] | ends[1][0], ends[0][1] | ends[1][1]
        elif of.left.plain and of.kind in ("=", "in") and not of.right.columns:
            among = of.among if of.kind == "in" else (of.right.constant,)
            wide_true = np.logical_or.reduce([(low <= v) & (v <= high) for v in among])
        elif of.kind == "null":
            wide_true = ~either
        return np.where(bins, wide_true, true), np.where(bins, wide_false, false)

    return node.truth(atom)


def levels(column: Column) -> tuple[int, Any, Any, Any]:
    """How many levels and bins, their least and greatest value, and which is missing."""
    low, gone = decode(column, np.arange(column.size) + np.where(np.arange(column.size) < column.first_bin, 0.5, 0.0))
    low, high = values_of(column, low), values_of(column, low)
    if column.edges:
        edges, first = np.array(column.edges), column.first_bin
        low[first:], high[first:] = edges[:-1] - column.step, edges[1:] + column.step
    return column.size, low, high, gone


def values_of(column: Column, values: Any) -> Any:
    """Values as they are written: numbers that are categories as numbers, and no finer than their type."""
    kind = domain(column)
    if kind in ("text", "bool"):
        return values
    if values.dtype == object:
        values = np.array([float(v) if v else 0.0 for v in values.tolist()])
    if column.dtype in ("float", "halffloat"):
        return values.astype({"float": np.float32, "halffloat": np.float16}[column.dtype]).astype(np.float64)
    return values.astype(np.float64) if column.dtype.startswith(("double", "decimal")) else np.round(values)


def domain(column: Column) -> str:
    """What can be compared with a column: text, bool, number, date, time or duration."""
    kind = column.dtype.partition("values=")[2].partition(",")[0] or column.dtype
    if kind in ("string", "large_string", "string_view"):
        return "text"
    for start, found in (("bool", "bool"), ("date", "date"), ("timestamp", "date"), ("time", "time")):
        if kind.startswith(start):
            return found
    return "number"
