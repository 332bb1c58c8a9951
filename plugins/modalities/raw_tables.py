"""Tables with some cells changed: all others stay as they were, byte for byte."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.core.errors import UsageError
from genzoo.core.storage.files import replacing
from genzoo.plugins.modalities.csv_files import Form, form
from genzoo.plugins.modalities.table_files import SUFFIXES, arrow, table_writer

TEXTS = (".csv", ".gz")


def check_out(path: Path, source: Any = None) -> None:
    """Refuse a path that no table is written to, or that is the file ``source`` itself, which would be lost."""
    there = isinstance(source, (str, os.PathLike)) and path.exists() and os.path.exists(source)
    if there and os.path.samefile(path, source):
        raise UsageError(f"{path.name} is the file that is read: write to another one with --out")
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        raise UsageError(f"cannot tell what to write from {path.name!r}: use .csv, .csv.gz, .parquet or .arrow")


def write_like(source: Path, out: Path, table: Any, cells: Mapping[str, tuple[Any, Any]]) -> None:
    """Write a table that was read from a file, with new values where cells were empty (booleans), and new columns.

    From one .csv file to another the texts of the cells are taken over, and so are what separates them and the decimal
    sign.
    """
    pa = arrow(str(out))
    import pyarrow.compute as pc

    texts = out.suffix.lower() in TEXTS and source.suffix.lower() in TEXTS
    how = form(source, any(map(pa.types.is_floating, table.schema.types))) if texts else Form()
    old, head = _texts(source, how) if texts else (table, table.column_names)
    names = [*old.column_names, *(n for n in cells if n not in old.column_names)]
    columns = []
    for name in names:
        if name not in cells:
            columns.append(old[name])
            continue
        new, empty = cells[name]
        new = _written(new, how) if texts else new
        if name not in old.column_names:
            columns.append(new)
            continue
        was = old[name].combine_chunks()
        plain = pa.types.is_dictionary(was.type)
        was = was.cast(was.type.value_type) if plain else was
        columns.append(pc.if_else(pa.array(empty), _as(new, was.type), was))
    made = pa.table(dict(zip(names, columns, strict=True)))
    with replacing(out) as temporary:
        if texts:
            _write_texts(temporary, made, [*head, *names[len(head) :]], how.between, out.suffix.lower() == ".gz")
        else:
            with table_writer(out.suffix.lower(), temporary, made.schema) as file:
                file.write_table(made)


def _written(new: Any, how: Form) -> Any:
    """Values as the texts of a .csv file's cells."""
    import pyarrow as pa
    import pyarrow.compute as pc

    real = pa.types.is_floating(new.type) or pa.types.is_decimal(new.type)
    new = new.cast(pa.string())
    return pc.replace_substring(new, ".", how.decimal) if real else new


def _write_texts(path: Path, table: Any, head: list[str], between: str, packed: bool) -> None:
    """Write cells as they are; those that need it are quoted."""
    unpack: Any = gzip.open if packed else open
    with unpack(path, "wt", encoding="utf-8", newline="") as file:
        out = csv.writer(file, delimiter=between, lineterminator="\n")
        out.writerow(head)
        for part in table.to_batches(max_chunksize=65_536):
            out.writerows(zip(*(c.to_pylist() for c in part.columns), strict=True))


def _as(new: Any, kind: Any) -> Any:
    import pyarrow as pa

    new = new.combine_chunks() if hasattr(new, "combine_chunks") else new
    new = new.cast(new.type.value_type) if pa.types.is_dictionary(new.type) else new
    return new.cast(kind, safe=False)


def _texts(path: Path, how: Form) -> tuple[Any, list[str]]:
    """The cells of a .csv file as they are written there, by names without blanks at the ends, and its first line."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with arrow_csv.open_csv(path, parse_options=how.parsing()) as reader:
        head = reader.schema.names
    convert = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(head, pa.string()), null_values=[], strings_can_be_null=False
    )
    table = arrow_csv.read_csv(path, parse_options=how.parsing(), convert_options=convert)
    return table.rename_columns([name.strip() for name in head]), head
