"""What a file of rows holds: kinds of columns and why, and what seems to hold in every row. No torch."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import given_path, write_bytes
from genzoo.plugins.modalities.columns import Column, infer
from genzoo.plugins.modalities.csv_files import WRITTEN, meant, texts_of
from genzoo.plugins.modalities.rules import texts
from genzoo.plugins.modalities.table_files import named, read_table, taken
from genzoo.plugins.modalities.table_plan import Plan, planned, read_plan
from genzoo.plugins.modalities.truth import domain, values_of

FEWEST, MOST_NUMBERS, MOST_CATEGORIES = 30, 24, 40  # rows, and columns that are looked at in pairs and triples


@dataclass(frozen=True)
class Inspected:
    """What was found; nothing is imposed."""

    file: Path
    rows: int
    columns: list[Column]
    missing: dict[str, int]  # empty cells
    could: dict[str, str]  # what else a column could be
    refused: dict[str, str]  # columns that are not learnt as they are, and why
    candidates: list[str]  # rules that all rows keep
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        rows = [
            {"name": c.name, "kind": c.kind, "type": c.dtype, "missing": self.missing[c.name], "why": c.why,
             "could be": self.could.get(c.name, "")}
            for c in self.columns
        ]  # fmt: skip
        return {"file": str(self.file), "rows": self.rows, "columns": rows, "refused": self.refused,
                "candidates": self.candidates, "notes": list(self.notes)}  # fmt: skip

    def toml(self, beside: Path) -> str:
        """A description to edit, for a file in a folder."""
        lines = [
            f"# {self.rows:,} rows of {len(self.columns)} columns. Edit, then: genzoo train table-ar --data THIS",
            f"file = {_quoted(os.path.relpath(self.file.absolute(), beside.absolute()))}",
            'labels = ""  # the column that is the class of a row',
            "bins = 100",
            'violations = "auto"  # rows that break one: refuse, drop, keep; auto drops one in a hundred at most',
            "",
            "# Candidates: all rows keep them. Take away the # of those that must hold.",
            "constraints = [",
        ]
        lines += [f"#  {_quoted(text)}," for text in self.candidates]
        lines += ["]", "", "[columns]  # category, number, id, constant or drop"]
        for c in self.columns:
            note = c.why + (f"; could be {self.could[c.name]}" if c.name in self.could else "")
            lines.append(f"{_quoted(c.name)} = {_quoted(c.kind)}  # {note}".rstrip(" #"))
        return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False)


def inspect(file: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Inspected:
    """Look at a table without training anything; with ``out`` write a .toml file to edit."""
    path = given_path(file)
    if out is not None and given_path(out).suffix.lower() != ".toml":
        raise UsageError(f"a description is written to a .toml file, not to {given_path(out).name!r}")
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    if path.suffix.lower() not in (".csv", ".gz", ".parquet", ".arrow", ".toml"):
        raise UsageError(f"{path.name} is no table: give a .csv, .csv.gz, .parquet, .arrow or .toml file")
    plan = read_plan(path) if path.suffix.lower() == ".toml" else Plan()
    table = named(read_table(plan.file or path), path.name)
    found, refused = _columns(table, path.name, plan)
    made = planned(table.drop_columns(list(refused)), path.name, plan) if len(refused) < len(found) else None
    kept = {c.name: c for c in made.columns} if made else {}
    columns = [kept.get(c.name, c) for c in found]
    raw = {c.name: taken(table, c.name, path.name) for c in columns if c.kind != "drop"}
    missing = {c.name: int(raw[c.name][1].sum()) if c.name in raw else table[c.name].null_count for c in columns}
    frame = {c.name: (values_of(c, raw[c.name][0]), raw[c.name][1]) for c in columns if c.name in raw}
    known = set(plan.rules)
    rules = [r for r in candidates([c for c in columns if c.size], frame) if r not in known]
    could = {c.name: said for c in columns if c.name in raw and (said := _could(c, *raw[c.name][:2]))}
    result = Inspected(
        plan.file or path, len(table), columns, missing, could, refused, rules, made.notes if made else ()
    )
    if out is not None:
        write_bytes(given_path(out), result.toml(given_path(out).parent).encode())
    return result


def _columns(table: Any, what: str, plan: Plan) -> tuple[list[Column], dict[str, str]]:
    """Columns one by one, so that one that is refused hides no other."""
    found, refused = [], dict[str, str]()
    for name in table.column_names:
        try:
            kind = plan.kinds.get(name, "")
            if kind in ("id", "drop"):
                found.append(Column(name, kind, str(table.schema.field(name).type), why="said so"))
                continue
            values, missing, dtype = taken(table, name, what)
            category = kind == "category" or dtype.startswith("dictionary")
            found.append(infer(name, values, missing, dtype, category=category, bins=plan.bins, key=kind != "number"))
        except GenzooError as e:
            refused[name] = str(e)
            found.append(Column(name, "drop", str(table.schema.field(name).type), why="not learnt"))
    return found, refused


def _could(c: Column, values: Any, missing: Any) -> str:
    """What else a column could be taken for."""
    present = values[~missing]
    if c.kind == "number" and domain(c) == "number" and c.step == 1 and len(present):
        low, high = float(present.min()), float(present.max())
        if low >= 19_000_101 and high <= 21_001_231 and _dates(present):
            return "dates written as YYYYMMDD: write them as 2024-02-29 to have them as such"
        if 2 < c.size <= 50:
            return "category, if the numbers are codes"
    if c.kind == "id" and values.dtype != object:
        return "number"
    if c.kind in ("id", "category") and (seems := meant(texts_of(values, missing))):
        return f"{seems}: {WRITTEN[seems]}"
    if c.kind == "category" and c.size > 1000:
        return "id, or left out: it has many values"
    return ""


def _dates(values: Any) -> bool:
    day, month = values % 100, values // 100 % 100
    return bool(((day >= 1) & (day <= 31) & (month >= 1) & (month <= 12)).all())


def candidates(columns: list[Column], frame: Any) -> list[str]:
    """Rules that all rows keep and that chance would not."""
    n = len(next(iter(frame.values()))[0]) if frame else 0
    if n < FEWEST:
        return []
    numbers = [c for c in columns if c.kind == "number"][:MOST_NUMBERS]
    found, sums = [*_determined(columns, frame)], [*_sums(numbers, frame)]
    equal = {text.partition(" = ")[0] for text in sums}
    return [*sums, *(t for t in _ordered(numbers, frame) if not set(_words(t)) & equal), *found]


def _words(text: str) -> list[str]:
    return text.replace("<=", "<").split(" < ")


def _name(c: Column) -> str:
    plain = c.name.isidentifier() and c.name.lower() not in ("and", "or", "not", "in", "between", "is", "null")
    return c.name if plain else '"' + c.name.replace('"', '""') + '"'


def _ordered(numbers: list[Column], frame: Any) -> Iterator[str]:
    """``a < b`` where it holds in all rows and would not if the columns were shuffled."""
    random = np.random.default_rng(0)
    for a, b in itertools.permutations(numbers, 2):
        if domain(a) != domain(b):
            continue
        (x, gone), (y, other) = frame[a.name], frame[b.name]
        x, y = x[~(gone | other)], y[~(gone | other)]
        if len(x) < FEWEST or not (x <= y).all() or (x == y).all():
            continue
        if (x <= random.permutation(y)).mean() < 0.98:
            yield f"{_name(a)} {'<' if (x < y).all() else '<='} {_name(b)}"


def _sums(numbers: list[Column], frame: Any) -> Iterator[str]:
    """``c = a + b`` and ``c = a * k``."""
    plain = [c for c in numbers if domain(c) == "number"]
    told = set[str]()
    for c in plain:
        z, gone = frame[c.name]
        for a, b in itertools.combinations([p for p in plain if p is not c], 2):
            if {a.name, b.name} & told or c.name in told:
                continue
            (x, g1), (y, g2) = frame[a.name], frame[b.name]
            fit = ~(gone | g1 | g2)
            head = np.flatnonzero(fit)[:50]
            if len(head) < FEWEST or not np.allclose(
                x[head] + y[head], z[head], rtol=1e-9, atol=min(c.step, 1.0) / 2 + 1e-9
            ):
                continue
            if not (np.ptp(x[fit]) and np.ptp(y[fit]) and _same(x[fit] + y[fit], z[fit], min(c.step, 1.0))):
                continue
            told.add(c.name)
            yield f"{_name(c)} = {_name(a)} + {_name(b)}"
        for a in plain:
            x, g1 = frame[a.name]
            fit = ~(gone | g1) & (x != 0)
            if a is c or a.name in told or c.name in told or fit.sum() < FEWEST or not np.ptp(x[fit]):
                continue
            k = float(f"{np.median(z[fit] / x[fit]):.4g}")
            if k and _same(x[~(gone | g1)] * k, z[~(gone | g1)], c.step if c.step < 1 else 0.0):
                told.add(c.name)
                yield f"{_name(c)} = {_name(a)} * {k:g}" if k != 1 else f"{_name(a)} determines {_name(c)}"


def _same(a: Any, b: Any, step: float) -> bool:
    return bool(np.allclose(a, b, rtol=1e-9, atol=step * 0.501 + 1e-12))


def _determined(columns: list[Column], frame: Any) -> Iterator[str]:
    """``a determines b`` where each value of a, which come several times, goes with one of b."""
    few = [c for c in columns if not c.edges and c.size > 1][:MOST_CATEGORIES]
    values = {c.name: np.unique(np.array(texts(*frame[c.name])), return_inverse=True)[1] for c in few}
    told = set[str]()
    for a, b in itertools.permutations(few, 2):
        x, y = values[a.name], values[b.name]
        kinds = x.max() + 1
        if a.name in told or b.name in told or kinds > len(x) / 3 or y.max() < 1:
            continue
        if len(np.unique(x.astype(np.int64) * (y.max() + 1) + y)) == kinds:
            told.add(b.name)
            yield f"{_name(a)} determines {_name(b)}"
