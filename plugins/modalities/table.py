"""Tables: rows of named columns of mixed types, one number for each learnt column, one-hot blocks in model space."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from genzoo.core.errors import MissingPackage, UsageError
from genzoo.core.modality import Fragment, Modality, Reading
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

if TYPE_CHECKING:
    from torch import Tensor

    from genzoo.core.coding.whole import Whole
    from genzoo.core.data import Data
    from genzoo.core.selection import Selection
    from genzoo.plugins.modalities.columns import Column

SHOWN = 12  # rows of a table's head
PLAIN = re.compile(r"(large_)?string|bool|u?int\d+|float|double")  # Arrow's types whose values are shown without it


@declare.modality("table")
class Table(Modality):
    """Rows of named columns of mixed types: levels, bins of numbers, and missing cells."""

    name: ClassVar[str] = "table"
    one: ClassVar[str] = "row"
    many: ClassVar[str] = "rows"
    needs: ClassVar[tuple[str, ...]] = ("tables",)
    preview: ClassVar[int] = SHOWN
    gives: ClassVar[str] = "an Arrow table"
    held: ClassVar[str] = "table-file"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".parquet", ".arrow", ".gz")
    units: ClassVar[str] = "one number for each learnt column: the level or bin, and the place within it"

    @dataclass(frozen=True)
    class Facts:
        """The columns, a list for each of their properties."""

        name: tuple[str, ...] = option((), "names")
        kind: tuple[str, ...] = option((), "category, number, constant or id")
        dtype: tuple[str, ...] = option((), "Arrow's names of types")
        missing: tuple[bool, ...] = option((), "whether level 0 is missing")
        step: tuple[float, ...] = option((), "to which numbers are rounded")
        names: tuple[tuple[str, ...], ...] = option((), "levels of categories")
        packed: tuple[tuple[str, ...], ...] = option((), "the same, compressed, where they are very many")
        declared: tuple[tuple[str, ...], ...] = option((), "levels of dictionaries in their own order")
        values: tuple[tuple[float, ...], ...] = option((), "numbers that are levels")
        edges: tuple[tuple[float, ...], ...] = option((), "edges of bins")
        shares: tuple[tuple[float, ...], ...] = option((), "share of each level and bin")
        label: tuple[bool, ...] = option((), "whether it is the class of a row")
        rules: tuple[str, ...] = option((), "what holds in every row, and samples are tested by")
        seen: tuple[tuple[str, ...], ...] = option((), "columns of which only these combinations occur")

    def check(self, spec: DataSpec) -> None:
        from genzoo.plugins.modalities.columns import learnt

        loose = {"rules", "seen"} | {name for name in ("packed", "declared") if not spec.facts[name]}
        if len({len(held) for name, held in spec.facts.items() if name not in loose}) != 1:
            raise UsageError("the columns of a table have one entry in each list of facts")
        found = learnt(spec)
        if spec.shape != (size := sum(sum(c.slots) + bool(c.edges) for c in found),):
            raise UsageError(f"columns of {size} levels, bins and places do not go with rows of shape {spec.shape}")
        for c in found:
            if (
                len(c.shares) != sum(c.slots)
                or min(c.shares) <= 0
                or any(b <= a for a, b in zip(c.edges, c.edges[1:], strict=False))
            ):
                raise UsageError(
                    f"column {c.name!r} has {len(c.shares)} shares for {c.size} levels and bins, or edges out of order"
                )

    def describe(self, spec: DataSpec) -> str:
        n, found = len(spec.facts["name"]), self.unit_shape(spec)[0]
        return f"rows of {n} columns" + (f", {n - found} of them not learnt" if n > found else "")

    def unit_shape(self, spec: DataSpec) -> tuple[int, ...]:
        return (sum(bool(shares) for shares in spec.facts["shares"]),)

    def alike(self, spec: DataSpec, other: DataSpec) -> bool:
        """Whatever their shares, rows of the same columns, levels and bins are the same in data units."""
        kept = ("name", "kind", "missing", "names", "packed", "values", "edges")
        return spec.modality == other.modality and all(spec.facts[k] == other.facts[k] for k in kept)

    def as_known(self, data: Data, spec: DataSpec) -> Data:
        """Rows by the columns, levels and bins of a model, whatever their own file would say."""
        if self.alike(spec, data.spec) or data.read.again is None:
            return data
        from dataclasses import replace

        from genzoo.plugins.modalities.columns import learnt

        again, labels = data.read.again(spec), [c.label for c in learnt(spec)]
        y = again.x[:, labels.index(True)].floor().long() if any(labels) else None
        return replace(again, y=y, name=data.name, split=data.split, license=data.license,
                       read=replace(data.read, again=None).noting(*again.read.notes))  # fmt: skip

    def samples(self, x: Any, name: str, spec: DataSpec) -> Data | None:
        from genzoo.plugins.datasets.table_file import encoded
        from genzoo.plugins.modalities.table_files import frame_table

        return encoded(frame_table(x, name), spec, name, "the data") if self.takes(x) else None

    def told(self, spec: DataSpec, x: Tensor, y: Tensor | None) -> Tensor:
        from genzoo.plugins.modalities.columns import learnt

        if y is not None and any(spec.facts["label"]):
            x[:, [c.label for c in learnt(spec)].index(True)] = y.to(x) + 0.5
        return x

    # Codes, one-hot blocks.

    def from_rows(self, spec: DataSpec, rows: Tensor) -> Tensor:
        from genzoo.plugins.modalities.one_hot import layout

        return layout(spec).opened(rows.float())

    def to_model(self, spec: DataSpec, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.unit_shape(spec):
            raise UsageError(f"rows of shape {tuple(x.shape[1:])} given where the model takes {self.unit_shape(spec)}")
        return self.from_rows(spec, x)

    def to_units(self, spec: DataSpec, x: Tensor) -> Tensor:
        from genzoo.plugins.modalities.one_hot import layout

        return layout(spec).closed(x.float())

    def squash(self, spec: DataSpec, x: Tensor) -> Tensor:
        from genzoo.plugins.modalities.one_hot import layout

        return layout(spec).hardened(x)

    def opens(self, path: Path) -> str:
        if path.suffix.lower() == ".parquet" and path.is_file():
            from genzoo.plugins.modalities.table_files import has_pictures

            return "" if has_pictures(path) else "table-file"
        if path.suffix.lower() == ".toml":
            from genzoo.plugins.modalities.table_plan import is_plan

            return "table-file" if is_plan(path) else ""
        known = path.name.lower().endswith((".csv", ".csv.gz", ".arrow"))
        return "table-file" if known and path.is_file() else ""

    def takes(self, x: Any) -> bool:
        return hasattr(x, "__arrow_c_stream__")

    def read(self, x: Any, y: Any, about: Reading) -> Data:
        from genzoo.plugins.datasets.table_file import data_of
        from genzoo.plugins.modalities.table_files import frame_table

        what = about.name or "the table"
        if not self.takes(x) or y is not None:
            raise UsageError(f"{what}: give rows as a DataFrame or an Arrow table, with labels as one of its columns")
        return data_of(frame_table(x, what), what)

    def read_samples(self, path: Path, spec: DataSpec, **options: Any) -> Data:
        from genzoo.plugins.datasets.table_file import encoded
        from genzoo.plugins.modalities.table_files import read_table

        types = dict(zip(spec.facts["name"], spec.facts["dtype"], strict=True))
        return encoded(read_table(path, types), spec, path.name, "the data")

    def given(self, spec: DataSpec, x: Any) -> Any:
        from genzoo.plugins.datasets.table_file import encoded
        from genzoo.plugins.modalities.table_files import frame_table

        if not self.takes(x):
            return x
        return self.from_storage(spec, encoded(frame_table(x, "reading rows"), spec, "the table").x[:])

    def presented(self, spec: DataSpec, x: Tensor) -> Any:
        """Arrow tables, in lists of as many dimensions as there are before a table's own two."""
        from genzoo.plugins.modalities.columns import columns
        from genzoo.plugins.modalities.table_files import given_back

        if x.dim() > 2:
            return [self.presented(spec, part) for part in x]
        return given_back(columns(spec), x.float().cpu().numpy())

    def selection(self, spec: DataSpec, where: str | None = None) -> Selection | None:
        from genzoo.plugins.modalities.wanted import wanted

        return wanted(spec, where)

    def write(self, path: Path, spec: DataSpec, n: int, batches: Iterator[tuple[Tensor, Tensor | None]]) -> None:
        from genzoo.plugins.modalities.columns import columns
        from genzoo.plugins.modalities.table_files import write_table

        write_table(path, columns(spec), (x.float().cpu().numpy() for x, _ in batches))

    def undrawn(self, spec: DataSpec, n: int) -> str:
        return "there is no picture of rows: write them to a .csv or .parquet file"

    def lines(self, spec: DataSpec, x: Tensor) -> list[str]:
        from genzoo.core.text import one_line

        head, cells = self._cells(spec, x)
        columns = [[one_line(v, 40) for v in (name, *values)] for name, values in zip(head, cells, strict=True)]
        widths = [max(map(len, column)) for column in columns]
        rows = zip(*columns, strict=True)
        return ["  ".join(v.ljust(w) for v, w in zip(row, widths, strict=True)).rstrip() for row in rows]

    def fragment(
        self, spec: DataSpec, x: Tensor, columns: int | None = None, behind: Tensor | None = None
    ) -> Fragment | None:
        from html import escape

        head, cells = self._cells(spec, x[:SHOWN])
        names = "".join(f"<th>{escape(name)}</th>" for name in head)
        rows = ("".join(f"<td>{escape(v)}</td>" for v in row) for row in zip(*cells, strict=True))
        return Fragment(f"<table><tr>{names}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>", "")

    def _cells(self, spec: DataSpec, x: Tensor) -> tuple[list[str], list[list[str]]]:
        """Names of all columns, and what stands in the cells of each, "" where it is missing."""
        from genzoo.plugins.modalities.columns import columns
        from genzoo.plugins.modalities.table_files import given_back

        known, codes = columns(spec), x.float().cpu().numpy()
        try:
            found = given_back(known, codes)
        except MissingPackage:
            if not all(PLAIN.fullmatch(c.dtype) for c in known):
                raise
            return [c.name for c in known], _plain_cells(known, codes)
        cells = [["" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v) for v in c.to_pylist()]
                 for c in found.columns]  # fmt: skip
        return list(found.column_names), cells

    # What is compressed.

    def lossless(self, spec: DataSpec, given: Any) -> Whole:
        from genzoo.plugins.modalities import whole_tables

        return whole_tables.whole(spec, given)

    def restored(self, spec: DataSpec, whole: Whole) -> Any:
        from genzoo.plugins.modalities import whole_tables

        return whole_tables.table_of(spec, whole)

    def write_whole(self, path: Path, spec: DataSpec, whole: Whole) -> None:
        from genzoo.plugins.modalities import whole_tables

        whole_tables.write(path, spec, whole)

    def likelihood(self, spec: DataSpec) -> str:
        return "table"

    def shares(self, spec: DataSpec) -> Sequence[float]:
        """Those of the training rows: samples of a conditional model then have the margins of the data."""
        from genzoo.plugins.modalities.columns import learnt

        found = next((c for c in learnt(spec) if c.label), None)
        return () if found is None or found.base else found.shares

    def examples(self, classes: int = 0) -> Sequence[DataSpec]:
        from genzoo.plugins.modalities.columns import Column, spec_of

        colour = Column("colour", "category", "string", True, 0, ("red", "blue"), (), (), (0.2, 0.5, 0.3))
        age = Column("age", "number", "int64", False, 1, (), (0.0,), (0.5, 10.5, 40.5, 60.5), (0.4, 0.3, 0.2, 0.1))
        size = Column("size", "number", "double", True, 0, (), (), (-1.0, 0.5, 2.0), (0.1, 0.6, 0.3))
        return (spec_of([colour, age, size], classes=classes), spec_of([colour], classes=classes))

    def random(self, spec: DataSpec, n: int, seed: int = 0, *, units: bool = False) -> Tensor:
        import torch

        from genzoo.plugins.modalities.columns import decode, encode, learnt

        g, parts = torch.Generator().manual_seed(seed), []
        for c in learnt(spec):
            code = torch.randint(c.size, (n,), generator=g) + torch.rand(n, generator=g) * 0.99
            parts.append(torch.from_numpy(encode(c, *decode(c, code.numpy()))))
        x = self.from_rows(spec, torch.stack(parts, 1))
        return self.to_units(spec, x) if units else x


def _plain_cells(known: Sequence[Column], codes: Any) -> list[list[str]]:
    """What stands in the cells of columns of `PLAIN` types, for rows of codes ``(N, S)``, without Arrow."""
    from genzoo.plugins.modalities.columns import keys_of
    from genzoo.plugins.modalities.rules import values_by_name

    values_of, cells = values_by_name(known, codes), list[list[str]]()
    for c in known:
        values, missing = (keys_of(c, 0, len(codes)), [False] * len(codes)) if c.kind == "id" else values_of[c.name]
        if c.dtype == "bool":
            texts = [str(v).capitalize() for v in values.tolist()]
        elif c.dtype.endswith("string"):
            texts = [str(v) for v in values.tolist()]
        elif "int" in c.dtype:
            texts = [str(round(float(v or 0)) if isinstance(v, float) else int(v or 0)) for v in values.tolist()]
        else:
            texts = [f"{float(v if v != '' else 0):.6g}" for v in values.tolist()]
        cells.append(["" if gone else text for text, gone in zip(texts, missing, strict=True)])
    return cells
