"""Tables as codes that a model codes, and what these lose: places in bins, identifiers, values that are new."""

from __future__ import annotations

import io
import lzma
import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genzoo.core.coding.whole import Whole, from_mixed_radix, mixed_radix, mixed_radix_bytes
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.columns import Column, columns, encode, rounded
from genzoo.plugins.modalities.table_files import (
    arrow,
    frame_table,
    given_back,
    named,
    read_table,
    taken,
    type_named,
    typed,
    write_arrow,
)

_MOST = 2**28  # bytes of cells that a model does not know, of a stranger's file too
_DAMAGED = "this file holds something else than the cells of its model's table"


def whole(spec: DataSpec, given: Any) -> Whole:
    """A path, anything that speaks Arrow's interface, or `Data`."""
    arrow("a table")
    found = _from_one(columns(spec))
    if isinstance(given, Path):
        types = {c.name: c.dtype for c in found}
        table, what = read_table(given, types), given.name
    elif hasattr(given, "spec"):
        table, what = given_back(columns(given.spec), given.x.float().cpu().numpy()), given.name or "the data"
    elif hasattr(given, "__arrow_c_stream__"):
        table, what = frame_table(given, "the table"), "the table"
    else:
        table, what = given_back(found, np.asarray(given, np.float32)), "the rows"
    table = _fitting(named(table, what), found, what)
    codes = [encode(c, *taken(table, c.name, what)[:2]) for c in found if c.size]
    levels = np.floor(np.stack(codes, 1)).astype(np.int64)
    digits, sizes = _places(found, table, levels, what)
    base = _table(found, levels, digits)
    other = _exceptions(base, table)
    rest = mixed_radix(digits, sizes) + other
    return Whole(torch.from_numpy(levels + np.float32(0.5)), rest, len(table), "row")


def _from_one(found: list[Column]) -> list[Column]:
    """The same with keys that begin at 1, as those of a whole table mostly do."""
    return [replace(c, values=()) if c.kind == "id" else c for c in found]


def _fitting(table: Any, found: Sequence[Column], what: str) -> Any:
    """The same with the model's columns, in their types; refused where there are others."""
    import pyarrow as pa

    names = [c.name for c in found]
    if more := [n for n in table.column_names if n not in names]:
        raise UsageError(f"{what} has a column {more[0]!r} that the model's data did not have: leave it out first")
    for c in found:
        taken(table, c.name, what)  # names it, if it is not there
    try:
        return table.select(names).cast(pa.schema([(c.name, type_named(c.dtype)) for c in found])).combine_chunks()
    except (pa.ArrowException, ValueError) as e:
        raise UsageError(
            f"{what} has columns of other types than the model's data ({str(e).splitlines()[0]})"
        ) from None


def _grid(c: Column) -> tuple[list[int], list[int]]:
    """The first of the whole numbers that stand for values in each bin, and how many there are."""
    edges = np.array(c.edges)
    if c.step:
        first = np.round((edges[:-1] + c.step / 2) / c.step)
        last = np.round((edges[1:] + c.step / 2) / c.step)
    else:
        first, last = _ordered(edges[:-1], c), _ordered(edges[1:], c)
    low = [int(v) for v in first]
    return low, [max(int(b) - a, 1) for a, b in zip(low, last, strict=True)]


def _ordered(values: Any, c: Column) -> Any:
    """Numbers of floating point as whole ones in the same order, one for each."""
    real, whole, top = (np.float32, np.int32, 2**31) if c.dtype == "float" else (np.float64, np.int64, 2**63)
    bits = np.asarray(values, real).view(whole).astype(object)
    return np.array([int(b) if b >= 0 else -(int(b) + top) for b in bits.tolist()], object)


def _unordered(number: int, c: Column) -> float:
    real, whole, top = (np.float32, np.int32, 2**31) if c.dtype == "float" else (np.float64, np.int64, 2**63)
    bits = number if number >= 0 else -number - top
    return float(np.array([bits], whole).view(real)[0])


def _places(found: Sequence[Column], table: Any, levels: Any, what: str) -> tuple[list[int], list[int]]:
    """Which of its bin's values each number is, column after column, and how many there are."""
    digits, sizes = list[int](), list[int]()
    for s, c in enumerate(c for c in found if c.size):
        if not c.edges:
            continue
        low, many = _grid(c)
        inside = levels[:, s] >= c.first_bin
        values, at = taken(table, c.name, what)[0][inside], levels[inside, s] - c.first_bin
        numbers = np.round(values / c.step) if c.step else _ordered(values, c)
        for number, bin in zip(numbers.tolist(), at.tolist(), strict=True):
            digits.append(min(max(int(number) - low[bin], 0), many[bin] - 1))
            sizes.append(many[bin])
    return digits, sizes


def _sizes(found: Sequence[Column], levels: Any) -> list[int]:
    sizes = list[int]()
    for s, c in enumerate(c for c in found if c.size):
        if c.edges:
            many = _grid(c)[1]
            sizes += [many[k - c.first_bin] for k in levels[:, s].tolist() if k >= c.first_bin]
    return sizes


def _table(found: Sequence[Column], levels: Any, digits: Sequence[int]) -> Any:
    """An Arrow table of levels and places."""
    table, start = given_back(found, levels + 0.5), 0
    for s, c in enumerate(c for c in found if c.size):
        if not c.edges:
            continue
        low, _ = _grid(c)
        at = np.nonzero(levels[:, s] >= c.first_bin)[0]
        own = [low[b - c.first_bin] + d for b, d in zip(levels[at, s].tolist(), digits[start:], strict=False)]
        start += len(at)
        if c.step:
            made = rounded(np.array(own, float) * c.step, c.step)
        else:
            made = np.array([_unordered(n, c) for n in own], float)
        table = _patched(table, c.name, at, typed(made, np.zeros(len(made), bool), type_named(c.dtype)))
    return table


def _plain(column: Any) -> Any:
    """A column as one array of values, a dictionary's too."""
    import pyarrow as pa

    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _patched(table: Any, name: str, at: Any, values: Any) -> Any:
    """The same with other values at some rows of a column."""
    import pyarrow as pa

    if not len(at):
        return table
    column, kind = _plain(table.column(name)), table.schema.field(name).type
    order = np.arange(len(column))
    order[at] = len(column) + np.arange(len(at))
    mixed = pa.concat_arrays([column, _plain(values).cast(column.type)]).take(pa.array(order))
    place = table.column_names.index(name)
    return table.set_column(place, table.schema.field(name), mixed.dictionary_encode().cast(kind)
                            if pa.types.is_dictionary(kind) else mixed)  # fmt: skip


def _exceptions(base: Any, table: Any) -> bytes:
    """Cells that differ from those of another table, compressed; b"" if there are none."""
    import pyarrow as pa

    out = io.BytesIO()
    for place, name in enumerate(table.column_names):
        mine, theirs = _plain(table.column(name)), _plain(base.column(name))
        at = np.nonzero(_differ(mine, theirs))[0]
        if len(at):
            batch = pa.record_batch([pa.array(at, pa.int32()), mine.take(pa.array(at))], ["at", "value"])
            with pa.ipc.new_stream(held := io.BytesIO(), batch.schema) as writer:
                writer.write_batch(batch)
            out.write(struct.pack("<HI", place, held.tell()) + held.getvalue())
    if out.tell() > _MOST:
        raise UsageError(f"the cells that the model does not know take {out.tell():,} bytes, more than {_MOST:,}")
    return lzma.compress(out.getvalue(), preset=9) if out.tell() else b""


def _differ(a: Any, b: Any) -> Any:
    """Which cells of two arrays of one type are not the same, to the bit."""
    import pyarrow as pa
    import pyarrow.compute as pc

    gone = [pc.is_null(v).to_numpy(zero_copy_only=False) for v in (a, b)]
    if pa.types.is_null(a.type):
        return gone[0] != gone[1]
    if pa.types.is_floating(a.type):
        a, b = (v.fill_null(0).to_numpy(zero_copy_only=False) for v in (a, b))
        other = a.view(f"i{a.itemsize}") != b.view(f"i{b.itemsize}")
    else:
        other = pc.fill_null(pc.not_equal(a, b), False).to_numpy(zero_copy_only=False)
    return (gone[0] != gone[1]) | (other & ~gone[0] & ~gone[1])


def table_of(spec: DataSpec, held: Whole) -> Any:
    """The Arrow table."""
    pa = arrow("a table")
    found, levels = _from_one(columns(spec)), np.floor(held.rows.numpy()).astype(np.int64)
    try:
        sizes = _sizes(found, levels)
        digits, other = from_mixed_radix(held.rest, sizes), held.rest[mixed_radix_bytes(sizes) :]
        table = _table(found, levels, digits)
        reader, at = lzma.LZMADecompressor(memlimit=2**28), 0
        content = reader.decompress(other, _MOST) if other else b""
        if other and not reader.eof:
            raise GenzooError(_DAMAGED)
        while at < len(content):
            place, length = struct.unpack_from("<HI", content, at)
            batch = pa.ipc.open_stream(content[at + 6 : at + 6 + length]).read_all()
            where = batch.column(0).to_numpy()
            if len(where) and not 0 <= where.min() <= where.max() < len(table):
                raise GenzooError(_DAMAGED)
            table = _patched(table, table.column_names[place], where, batch.column(1))
            at += 6 + length
    except (struct.error, lzma.LZMAError, pa.ArrowException, IndexError, ValueError, MemoryError):
        raise GenzooError(_DAMAGED) from None
    return table


def write(path: Path, spec: DataSpec, held: Whole) -> None:
    """Write it to a ``.csv``, ``.parquet`` or ``.arrow`` file."""
    write_arrow(path, table_of(spec, held))
