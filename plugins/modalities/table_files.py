"""Tables in and out through Arrow: the only file that imports pyarrow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.errors import GenzooError, MissingPackage, UsageError, did_you_mean
from genzoo.core.storage.files import replacing
from genzoo.core.storage.strict import regular
from genzoo.plugins.modalities.columns import MOST_PLAIN, Column, keys_of
from genzoo.plugins.modalities.csv_files import form, read_csv
from genzoo.plugins.modalities.rules import values_by_name

PART = 16_384  # rows that are written at a time
SUFFIXES = (".csv", ".gz", ".parquet", ".arrow")  # .gz is of .csv.gz


def arrow(what: str) -> Any:
    """Import pyarrow, or say how to install it."""
    try:
        import pyarrow
    except ImportError:
        raise MissingPackage(f"{what} needs pyarrow: pip install 'genzoo[tables]'") from None
    return pyarrow


def read_table(path: Path, types: dict[str, str] | None = None) -> Any:
    """Read a .csv, .parquet or .arrow file as an Arrow table; ``types`` are those of columns of a CSV file."""
    pa = arrow(str(path))
    try:
        regular(path)
        if path.suffix.lower() == ".parquet":
            from pyarrow import parquet

            return without_views(parquet.read_table(path))
        if path.suffix.lower() == ".arrow":
            with pa.OSFile(str(path)) as file:
                return without_views(pa.ipc.open_file(file).read_all())
        known = {name: type_named(text) for name, text in (types or {}).items()}
        return read_csv(path, known, form(path, any(map(pa.types.is_floating, known.values()))))
    except GenzooError:
        raise
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}") from None
    except Exception as e:  # pyarrow raises its own kinds
        raise GenzooError(f"{path} cannot be read as a table ({str(e).splitlines()[0]})") from None


def frame_table(frame: Any, what: str) -> Any:
    """Anything that speaks Arrow's interface as an Arrow table; raises `UsageError` where Arrow cannot read it."""
    try:
        return without_views(arrow(what).table(frame))
    except GenzooError:
        raise
    except Exception as e:  # of the library that the frame is of: cells of several kinds, names that occur twice
        why = " ".join(" ".join(map(str, e.args)).split())
        raise UsageError(f"{what} cannot be read as an Arrow table: {why or type(e).__name__}") from None


def without_views(table: Any) -> Any:
    """The same with texts in place of views of texts, as polars hands them over and few of Arrow's functions take.

    Raises errors of pyarrow's own, where a column of views is damaged.
    """
    import pyarrow as pa

    def kind(given: Any) -> Any:
        if pa.types.is_dictionary(given):
            return pa.dictionary(given.index_type, kind(given.value_type), given.ordered)
        return pa.large_string() if str(given) == "string_view" else given

    kinds = [kind(field.type) for field in table.schema]
    return table.cast(pa.schema([f.with_type(k) for f, k in zip(table.schema, kinds, strict=True)]))


def parsed(content: bytes, what: str) -> Any:
    """The content of a .csv file of commas as an Arrow table."""
    arrow(what)
    from io import BytesIO

    return read_csv(BytesIO(content))


def type_named(text: str) -> Any:
    """The Arrow type that ``str(type)`` names; raises `UsageError` for types that no column has."""
    pa = arrow("a table")
    if found := re.fullmatch(r"dictionary<values=(\w+), indices=(\w+), ordered=([01])>", text):
        return pa.dictionary(type_named(found[2]), type_named(found[1]), found[3] == "1")
    if found := re.fullmatch(r"timestamp\[(s|ms|us|ns), tz=([\w/+:-]{1,64})\]", text):
        return pa.timestamp(found[1], found[2])
    if found := re.fullmatch(r"decimal128\((\d{1,2}), (-?\d{1,2})\)", text):
        return pa.decimal128(int(found[1]), int(found[2]))
    try:
        return pa.type_for_alias(text)
    except ValueError:
        raise UsageError(f"a column's type {text!r} is not one of a table") from None


def named(table: Any, what: str) -> Any:
    """Check the names of a table's columns."""
    names = table.column_names
    if not names or not len(table):
        raise UsageError(f"{what} has no {'rows' if names else 'columns'}")
    if "" in names:
        raise UsageError(f"{what} has a column without a name, number {names.index('') + 1} of {len(names)} (an index "
                         "that pandas or R wrote?): name it, or leave it out")  # fmt: skip
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{what} has two columns of one name, {name!r}: leave one out, or rename it")
        if name != name.strip() or len(name.splitlines()) > 1:
            raise UsageError(f"the name of a column is one line without blanks at its ends, and {what} has {name!r}: "
                             "rename it")  # fmt: skip
    return table


def taken(table: Any, name: str, what: str, like: str = "") -> tuple[Any, Any, str]:
    """Texts (objects) or float64 numbers of a column, where they are missing, and Arrow's name of the type.

    Whole numbers are texts where some lie beyond 2⁵³, which float64 does not tell from their neighbours.
    Times are counted in the unit of the type ``like``, where that is named and one of times.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if name not in table.column_names:
        raise UsageError(f"{what} has no column {name!r}{did_you_mean(name, table.column_names)}")
    if table.column_names.count(name) > 1:
        raise UsageError(f"{what} has two columns {name!r}: leave one out, or rename it")
    column = table.column(name).combine_chunks()
    if like and pa.types.is_timestamp(column.type) and pa.types.is_timestamp(type_named(like)):
        column = column.cast(pa.timestamp(type_named(like).unit, column.type.tz), safe=False)
    text, kind = str(column.type), column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view":
        missing = pc.is_null(column).to_numpy(zero_copy_only=False)
        return np.array([v or "" for v in column.to_pylist()], object), missing, text
    if pa.types.is_boolean(kind):
        missing = pc.is_null(column).to_numpy(zero_copy_only=False)
        return np.array(["true" if v else "false" for v in column.to_pylist()], object), missing, text
    if pa.types.is_null(kind):
        return np.zeros(len(column)), np.ones(len(column), bool), text
    if pa.types.is_integer(kind) and not _exact(column):
        missing = pc.is_null(column).to_numpy(zero_copy_only=False)
        return np.array(["" if v is None else str(v) for v in column.to_pylist()], object), missing, text
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_temporal(kind):
        column = column.cast(pa.int64())
    try:
        missing = pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)
        return column.cast(pa.float64(), safe=False).fill_null(0).to_numpy(zero_copy_only=False), missing, text
    except pa.ArrowException:
        raise UsageError(
            f"column {name!r} of {what} is of type {text}, which is no number, text or time: --set data.drop={name}"
        ) from None


def _exact(column: Any) -> bool:
    """Whether float64 holds all whole numbers of an array."""
    import pyarrow.compute as pc

    ends = pc.min_max(column).as_py()
    return ends["min"] is None or -(2**53) <= ends["min"] <= ends["max"] <= 2**53


def declared(table: Any, name: str) -> tuple[str, ...]:
    """The levels of a dictionary of texts in their own order, if they are few and plain; else ()."""
    import pyarrow as pa

    kind = table.schema.field(name).type
    if not pa.types.is_dictionary(kind) or not _is_text(kind.value_type):
        return ()
    whole = table.column(name).unify_dictionaries()
    levels = [str(v) for v in whole.chunk(0).dictionary.to_pylist() if v is not None] if whole.num_chunks else []
    plain = len(levels) <= MOST_PLAIN and len(set(levels)) == len(levels) and all(v.isprintable() for v in levels)
    return tuple(levels) if plain else ()


def given_back(columns: Sequence[Column], codes: Any, start: int = 0) -> Any:
    """An Arrow table of rows ``(N, S)`` of codes, in the types that the training rows had."""
    pa = arrow("showing rows")
    arrays, n, values_of = {}, len(codes), values_by_name(columns, codes)
    for c in columns:
        kind = type_named(c.dtype)
        if c.kind == "id":
            values, missing = keys_of(c, start, n), np.zeros(n, bool)
            if _is_text(kind) and values.dtype != object:
                values = values.astype(str).astype(object)
        else:
            values, missing = values_of[c.name]
        try:
            arrays[c.name] = typed(values, missing, kind, c.declared or c.names)
        except pa.ArrowInvalid:
            if c.kind != "id":
                raise
            raise GenzooError(f"column {c.name!r} of type {c.dtype} has no more keys than it had: "
                              "draw fewer rows, or leave it out") from None  # fmt: skip
    return pa.table(arrays)


def _is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def typed(values: Any, missing: Any, kind: Any, levels: Sequence[str] = ()) -> Any:
    """Texts (objects) or float64 numbers, some missing, as an array of an Arrow type; ``levels`` are a dictionary's."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return pa.nulls(len(values))
    if pa.types.is_dictionary(kind):
        place = {name: i for i, name in enumerate(levels)}  # the same in every part of a file
        index = pa.array([place.get(v, 0) for v in values.tolist()], kind.index_type, mask=missing)
        held = typed(np.array(levels, object), np.zeros(len(levels), bool), kind.value_type)
        return pa.DictionaryArray.from_arrays(index, held, ordered=kind.ordered)
    if pa.types.is_boolean(kind):
        return pa.array([v == "true" for v in values.tolist()], pa.bool_(), mask=missing)
    if values.dtype.kind == "O" and _is_text(kind):
        return pa.array(values, pa.string(), mask=missing).cast(kind)
    if values.dtype.kind == "O" and pa.types.is_integer(kind):
        return pa.array([int(v or 0) for v in values.tolist()], kind, mask=missing)
    if values.dtype.kind == "O":  # numbers that are categories
        values = np.array([float(v or 0) for v in values.tolist()])
    if pa.types.is_floating(kind):
        return pa.array(values.astype(np.float64), pa.float64(), mask=missing).cast(kind, safe=False)
    if pa.types.is_decimal(kind):
        from decimal import Decimal

        rounded = [round(Decimal(repr(v)), kind.scale) for v in values.astype(float).tolist()]
        return pa.array(rounded, kind, mask=missing)
    whole = pa.array(np.round(values).astype(np.int64), pa.int64(), mask=missing)
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        whole = whole.cast(pa.int32())
    return whole.cast(kind)


def _parts(batches: Iterable[Any]) -> Iterator[Any]:
    """The same rows in parts of some thousands: a part costs what it costs however few rows it has."""
    held, n = [], 0
    for codes in batches:
        held.append(codes)
        n += len(codes)
        if n >= PART:
            yield np.concatenate(held)
            held, n = [], 0
    if held:
        yield np.concatenate(held)


def write_table(path: Path, columns: Sequence[Column], batches: Iterable[Any]) -> None:
    """Write rows of codes ``(N, S)`` as they come, whole or not at all."""
    pa = arrow(str(path))
    schema = pa.schema([(c.name, type_named(c.dtype)) for c in columns])
    plain = [(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in schema]
    suffix, start = path.suffix.lower(), 0
    schema = pa.schema(plain) if suffix in (".csv", ".gz") else schema
    with replacing(path) as temporary, table_writer(suffix, temporary, schema) as out:
        for codes in _parts(batches):
            table = given_back(columns, codes, start)
            out.write_table(table.cast(schema))
            start += len(codes)


def write_arrow(path: Path, table: Any) -> None:
    """Write a whole Arrow table."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".gz"):
        import pyarrow as pa

        plain = [(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in table.schema]
        table = table.cast(pa.schema(plain))
    with replacing(path) as temporary, table_writer(suffix, temporary, table.schema) as out:
        out.write_table(table)


def table_writer(suffix: str, path: Path, schema: Any) -> Any:
    """What writes parts of a table to a file."""
    import pyarrow as pa

    if suffix == ".parquet":
        from pyarrow import parquet

        return parquet.ParquetWriter(path, schema)
    if suffix == ".arrow":
        return pa.ipc.new_file(str(path), schema)
    return _csv_writer(path, schema, suffix == ".gz")


@contextmanager
def _csv_writer(path: Path, schema: Any, packed: bool) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import csv

    with (
        pa.CompressedOutputStream(str(path), "gzip") if packed else pa.OSFile(str(path), "wb") as file,
        csv.CSVWriter(file, schema) as out,
    ):
        yield out


def has_pictures(path: Path) -> bool:
    """Whether a .parquet file is another kind's: it holds a column of pictures, or cannot be looked at."""
    try:
        import pyarrow as pa
        from pyarrow import parquet

        return any(pa.types.is_struct(f.type) or pa.types.is_binary(f.type) for f in parquet.read_schema(regular(path)))
    except Exception:  # pyarrow raises its own kinds; the reader of pictures says what is wrong
        return True
