"""Tables from .csv files: what separates the cells, decimal commas, and digits that are no number."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError

NULLS = ["", "NA", "N/A", "NaN", "nan", "null", "None", "?"]
_HEAD = 2**16  # bytes that are looked at
_COMMA, _THOUSANDS = re.compile(r"[+-]?\d+,\d+"), re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
NOTE = b"genzoo.note"  # in the metadata of a table


_FORMS = {
    "dates": re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}( .*)?|\d{1,2}\.? ?[A-Za-z]{3,9}\.? ?\d{2,4}"),
    "numbers": re.compile(r"[$€£¥] ?-?\d[\d.,']*|-?\d[\d.,']* ?[%$€£¥]|-?\d{1,3}([.,' ]\d{3})+([.,]\d+)?|-?\d+,\d+"),
}
WRITTEN = {
    "dates": "write them as 2024-02-29",
    "numbers": "write them as 1234.5, without other signs",
}


@dataclass(frozen=True)
class Form:
    """How a .csv file is written."""

    between: str = ","
    several: bool = True  # columns; of one column, an empty line is an empty cell
    decimal: str = "."
    unsure: str = ""  # a number whose comma can be of thousands as well, where no other says which

    def parsing(self) -> Any:
        """Options of Arrow's parser; cells in quotes may hold line breaks."""
        from pyarrow.csv import ParseOptions

        return ParseOptions(delimiter=self.between, ignore_empty_lines=self.several, newlines_in_values=True)


def form(path: Path, decimals: bool = False) -> Form:
    """Look at the head of a .csv or .csv.gz file.

    Cells are separated by what the first line has most often of comma, semicolon, tab and bar, outside of quotes. Where
    that is no comma, a comma is the decimal sign if numbers have one and none has a point; but where every such number
    of the file can as well be one of thousands, 12,500, it is not, unless ``decimals`` are known to be there.

    Raises:
        GenzooError: for UTF-16.
    """
    unpack: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with unpack(path, "rb") as file:
        content = file.read(_HEAD)
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise GenzooError(f"{path} is text in UTF-16: save it in UTF-8")
    text = content.decode("utf-8", "replace").lstrip("\ufeff\r\n")
    if len(content) == _HEAD:
        text = text[: text.rfind("\n") + 1] or text  # a cell that is cut off is another number
    line = re.sub(r'"[^"]*"', "", text).partition("\n")[0]
    between = max((",", ";", "\t", "|"), key=line.count)
    cells = [cell.strip() for row in csv.reader(text.splitlines(), delimiter=between) for cell in row]
    commas, points = (sum(bool(re.fullmatch(rf"[+-]?\d+{p}\d+", c)) for c in cells) for p in (",", r"\."))
    if between == "," or not commas or points:
        return Form(between, between in line)
    if decimals:
        return Form(between, between in line, ",")
    unsure = next(c for c in cells if _COMMA.fullmatch(c))
    for cell in cells if len(content) < _HEAD else _cells(path, between):
        if _COMMA.fullmatch(cell) and not _THOUSANDS.fullmatch(cell):
            return Form(between, between in line, ",")
    return Form(between, between in line, unsure=unsure)


def _cells(path: Path, between: str) -> Iterator[str]:
    """All cells of a file, as far as its lines and what separates them tell."""
    unpack: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with unpack(path, "rt", encoding="utf-8", errors="replace") as file:
        for line in file:
            yield from (cell.strip(' "\n') for cell in line.split(between))


def read_csv(source: Any, types: dict[str, Any] | None = None, how: Form | None = None) -> Any:
    """An Arrow table of a file, or of a stream; ``types`` are those of columns that are known.

    Blanks at the ends of texts and of names are left out. Digits stay text where they are no number: 00501, or more of
    them than a number of eight bytes has.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    how = how or Form()
    known = {k: t.value_type if pa.types.is_dictionary(t) else t for k, t in (types or {}).items()}
    table = _read(source, how, column_types=known)
    names = [name.strip() for name in table.column_names]
    whole = [n for n, c in zip(table.column_names, table.columns, strict=True) if n not in known and _digits(c)]
    if whole and len(set(table.column_names)) == len(names):
        if hasattr(source, "seek"):
            source.seek(0)
        raw = _read(source, how, include_columns=whole, column_types=dict.fromkeys(whole, pa.string()))
        for name in whole:
            cells = pc.utf8_trim_whitespace(raw[name])
            digits = r"^[+-]?\d{19,}$" if pa.types.is_floating(table[name].type) else r"^[+-]?0\d+$"
            if pc.any(pc.match_substring_regex(cells, digits)).as_py():
                table = table.set_column(table.column_names.index(name), name, cells)
    for i, column in enumerate(table.columns):
        if pa.types.is_binary(column.type) and names[i] not in known:
            raise GenzooError(f"{source}: column {names[i]!r} is not in UTF-8: save the file in UTF-8")
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            table = table.set_column(i, table.schema.field(i), pc.utf8_trim_whitespace(column))
    table = table.rename_columns(names)
    return table.replace_schema_metadata({NOTE: how.unsure}) if how.unsure else table


def notes_of(table: Any, what: str) -> list[str]:
    """What was not clear where a file was read as this table."""
    number = ((table.schema.metadata or {}).get(NOTE) or b"").decode()
    if not number:
        return []
    ways = f"{number.replace(',', '')} or {number.replace(',', '.')}"
    return [f"numbers of {what} like {number} can be thousands or decimals, and none says which, so they stay texts: "
            f"write {ways}"]  # fmt: skip


def _read(source: Any, how: Form, **more: Any) -> Any:
    from pyarrow import csv as arrow_csv

    convert = arrow_csv.ConvertOptions(null_values=NULLS, strings_can_be_null=True, decimal_point=how.decimal, **more)
    return arrow_csv.read_csv(source, convert_options=convert, parse_options=how.parsing())


def _digits(column: Any) -> bool:
    """Whether a column was read as whole numbers, or as real ones that could have been."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_floating(column.type):
        return bool(pa.types.is_integer(column.type))
    return bool((pc.max(pc.abs(column)).as_py() or 0) >= 2**63)


def meant(some: Sequence[str]) -> str:
    """What texts seem to be that are read as such: ``numbers`` with signs beside them, ``dates``, or ""."""
    for what, form in _FORMS.items():
        if some and sum(bool(form.fullmatch(v)) for v in some) >= 0.99 * len(some):
            return what
    return ""


def texts_of(values: Any, missing: Any) -> list[str]:
    """The first texts of a column; none of one of numbers."""
    return list(values[~missing][:1000]) if values.dtype == object else []
