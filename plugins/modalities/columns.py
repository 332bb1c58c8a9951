"""Columns of a table: how kinds are found, and how values become codes and come back. NumPy only.

A row is one number per learnt column, its code: the whole part is a level, or a bin of a number, and the fraction the
place within the bin, ½ for levels. Level 0 is "missing" in columns that have missing cells. Networks see levels as
one-hot blocks (`genzoo.plugins.modalities.one_hot`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import uuid
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np

from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec

SPIKE, EXACT, BINS, LONGEST = 0.005, 256, 100, 200
MOST_LEVELS, MOST_NAMES = 10**6, 8 * 2**20  # of a category, and characters of their names, which `config.json` holds
MOST_PLAIN, _PIECE = 5000, 1000  # levels that are not packed, and characters of a piece of packed ones
UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
KEY = re.compile(r"(?:^|_|\b)(?:id|key|uuid|guid|number)$", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """One column as plain data; ``config.json`` holds these fields, a list for each."""

    name: str
    kind: str  # category, number, constant, id, or what follows from others: computed, looked-up
    dtype: str  # Arrow's name of the type
    missing: bool = False  # level 0 is "missing"
    step: float = 0.0  # to which numbers are rounded: 1, .01; 0 is none
    names: tuple[str, ...] = ()  # levels of a category, by falling frequency; the value of a constant
    values: tuple[float, ...] = ()  # numbers that are levels of their own, in order
    edges: tuple[float, ...] = ()  # of the bins of the other numbers
    shares: tuple[float, ...] = ()  # of each value of its slots among the training rows: of each level, or digit
    why: str = ""  # the reason for its kind
    label: bool = False  # it is the class of a row
    declared: tuple[str, ...] = ()  # a dictionary's levels in their own order, also those that no row has

    @property
    def size(self) -> int:
        """How many levels and bins there are; 0 for a column that is not learnt."""
        if not self.shares:
            return 0
        return int(self.missing) + len(self.names) + len(self.values) + max(len(self.edges) - 1, 0)

    @property
    def base(self) -> int:
        """Of the two digits that a category of many levels is told by; 0 for one that is told by its level."""
        return math.ceil(math.sqrt(self.size)) if self.kind == "category" and self.size > EXACT else 0

    @property
    def slots(self) -> tuple[int, ...]:
        """Values of each of its slots: one for a column, two where it has digits."""
        return (-(-self.size // self.base), self.base) if self.base else (self.size,) if self.size else ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Its levels as words, for a column without bins; a missing one is called ``missing``."""
        names = self.names or tuple(number_text(v) for v in self.values)
        return ("missing",) * self.missing + names

    @property
    def first_bin(self) -> int:
        """Index of the first bin with a place inside."""
        return self.size - max(len(self.edges) - 1, 0)


FIELDS = tuple(f.name for f in fields(Column) if f.name not in ("why", "declared"))


def facts(columns: Sequence[Column]) -> dict[str, Any]:
    """Columns as `DataSpec.facts` holds them: names that are many, of lines, or end in blanks are packed."""
    found = {name: tuple(getattr(c, name) for c in columns) for name in FIELDS}
    wide = [len(c.names) > MOST_PLAIN or any(not n.isprintable() or n != n.strip() for n in c.names) for c in columns]
    packed = tuple(pack(c.names) if w else () for c, w in zip(columns, wide, strict=True))
    declared = tuple(c.declared for c in columns)
    return found | {"names": tuple(() if w else c.names for c, w in zip(columns, wide, strict=True)), "packed": packed,
                    "declared": declared if any(declared) else ()}  # fmt: skip


def columns(spec: DataSpec) -> list[Column]:
    """Columns of a spec."""
    rows = zip(*(spec.facts[name] for name in FIELDS), strict=True)
    found = [Column(**dict(zip(FIELDS, row, strict=True))) for row in rows]
    packed, declared = (spec.facts[name] or ((),) * len(found) for name in ("packed", "declared"))
    found = [replace(c, names=unpack(p)) if p else c for c, p in zip(found, packed, strict=True)]
    return [replace(c, declared=d) if d else c for c, d in zip(found, declared, strict=True)]


def pack(names: Sequence[str]) -> tuple[str, ...]:
    """Names as compressed text, in pieces."""
    text = base64.b64encode(zlib.compress(json.dumps(list(names), ensure_ascii=False).encode(), 9)).decode()
    return tuple(text[i : i + _PIECE] for i in range(0, len(text), _PIECE))


@lru_cache(maxsize=64)
def unpack(pieces: tuple[str, ...]) -> tuple[str, ...]:
    """The names; raises `UsageError` if there are none in it, or more than a column may have."""
    try:
        reader = zlib.decompressobj()
        content = reader.decompress(base64.b64decode("".join(pieces), validate=True), 6 * MOST_NAMES)
        names = json.loads(content) if reader.eof else None
    except (ValueError, zlib.error):
        names = None
    if not isinstance(names, list) or len(names) > MOST_LEVELS or not all(isinstance(n, str) for n in names):
        raise UsageError("the packed names of a column's levels are damaged")
    return tuple(names)


def learnt(spec: DataSpec) -> list[Column]:
    """Columns that have a code."""
    return [c for c in columns(spec) if c.size]


def spec_of(
    found: Sequence[Column], name: str = "", classes: int = 0, class_names: tuple[str, ...] = (), **rules: Any
) -> DataSpec:
    """The spec of rows of such columns; ``rules`` and ``seen`` are what `genzoo.plugins.modalities.rules` tests."""
    size = sum(sum(c.slots) + bool(c.edges) for c in found)
    held = facts(found) | {k: v for k, v in rules.items() if v}
    return DataSpec("table", (size,), classes=classes, class_names=class_names, name=name, facts=held)


def infer(
    name: str,
    values: Any,
    missing: Any,
    dtype: str,
    *,
    category: bool = False,
    bins: int = BINS,
    nullable: bool = False,
    key: bool = True,
) -> Column:
    """Find the kind of a column from the training rows: texts (objects) or float64 numbers, and where they miss."""
    present = values[~missing]
    gaps, text = bool(missing.any()) or nullable, values.dtype.kind == "O"
    if not len(present):
        return Column(name, "constant", dtype, True, why="nothing but missing")
    if text or category:
        present = present if text else np.array([number_text(v) for v in present.tolist()], object)
        counts = Counter(present.tolist())
        kinds = len(counts)
        if kinds == 1 and not gaps:
            return Column(name, "constant", dtype, names=(present[0],), why="one value")
        if key and text and not category and len(present) >= 50 and kinds >= 0.99 * len(present):
            if max(map(len, counts)) > 30 and not all(map(UUID.fullmatch, counts)):
                raise UsageError(f"column {name!r} is free text, which is not learnt: --set data.drop={name}")
            return identifier(name, dtype, present, "all values differ")
        longest, characters = max(map(len, counts)), sum(map(len, counts))
        if kinds > MOST_LEVELS or longest > LONGEST or characters > MOST_NAMES:
            raise UsageError(
                f"column {name!r} has {kinds:,} categories of up to {longest:,} characters, {characters:,} in all; at "
                f"most {MOST_LEVELS:,} of {LONGEST} are learnt, {MOST_NAMES:,} in all: --set data.drop={name}"
            )
        levels = sorted(counts, key=lambda k: (-counts[k], k))
        held = [counts[k] for k in levels]
        found = Column(name, "category", dtype, gaps, 0, tuple(levels), (), (), (1.0,), why=f"{kinds:,} categories")
        return replace(found, shares=_by_digit(found, _shares(gaps, missing, held)))
    if not np.isfinite(present).all():
        raise UsageError(f"column {name!r} has infinite values: make them missing, or --set data.drop={name}")
    distinct, tally = np.unique(present, return_counts=True)
    if len(distinct) == 1 and not gaps:
        return Column(name, "constant", dtype, values=(float(distinct[0]),), why="one value")
    whole = dtype.startswith(("int", "uint"))
    if key and whole and len(distinct) == len(present) >= 50:
        run = len(distinct) >= 0.85 * (distinct[-1] - distinct[0] + 1)  # of which a tenth may be held out
        if run or KEY.search(name):
            why = "make a run" if run else "by its name"
            return identifier(name, dtype, present, f"all values differ, and {why}")
    step = step_of(distinct)
    if len(distinct) <= EXACT:
        share = _shares(gaps, missing, tally.tolist())
        why = f"{len(distinct)} different numbers"
        return Column(name, "number", dtype, gaps, step, (), tuple(distinct.tolist()), (), share, why=why)
    spiked, step = tally >= SPIKE * len(values), common_step(distinct)
    rest = np.repeat(distinct[~spiked], tally[~spiked])
    edges = _edges(rest, bins, step)
    inside = np.histogram(rest, edges)[0]
    share = _shares(gaps, missing, [*tally[spiked].tolist(), *inside.tolist()])
    spikes = tuple(distinct[spiked].tolist())
    why = f"{len(distinct):,} different numbers" + (f", {len(spikes)} frequent" if spikes else "")
    why += f", multiples of {step:g}" if step != step_of(distinct) else ""
    return Column(name, "number", dtype, gaps, step, (), spikes, tuple(edges.tolist()), share, why=why)


def identifier(name: str, dtype: str, present: Any, why: str) -> Column:
    """A column that identifies rows: how its keys are written, and from which number on there are none.

    ``names`` is what stands before the number, how many digits it has at least, and what stands behind it; or ``uuid``.
    """
    if present.dtype.kind != "O":
        return Column(name, "id", dtype, values=(float(present.max()),) if len(present) else (), why=why)
    if len(present) and all(map(UUID.fullmatch, present.tolist())):
        return Column(name, "id", dtype, names=("uuid",), why=f"{why}: UUIDs")
    keys = present.tolist()
    front = re.sub(r"\d+$", "", _beginning(keys))
    back = re.sub(r"^\d+", "", _beginning([v[len(front) :][::-1] for v in keys])[::-1])
    inner = [v[len(front) : len(v) - len(back)] for v in keys]
    digits = [v for v in inner if v.isascii() and v.isdigit() and len(v) <= 15]
    if len(digits) < len(present):  # of no form: none is a number alone from here on
        digits, front, back = [v for v in keys if v.isascii() and v.isdigit() and len(v) <= 15], "", ""
    width = min(map(len, digits), default=0)
    top = max(map(int, digits), default=0)
    said = f"{front}{'#' * width}{back}" if front or back else ""
    return Column(name, "id", dtype, names=(front, str(width), back), values=(float(top),),
                  why=f"{why}: {said}" if said else why)  # fmt: skip


def _beginning(texts: Sequence[str]) -> str:
    """What all begin with."""
    a, b = min(texts, default=""), max(texts, default="")
    return a[: next((i for i, (p, q) in enumerate(zip(a, b, strict=False)) if p != q), min(len(a), len(b)))]


def keys_of(column: Column, start: int, n: int) -> Any:
    """Keys of rows that were made, from a place on, none of which is a training row's: texts, or whole numbers."""
    numbers = int(column.values[0]) if column.values else 0
    if column.names == ("uuid",):
        made = (hashlib.sha256(f"genzoo {start + i}".encode()).digest()[:16] for i in range(n))
        return np.array([str(uuid.UUID(bytes=key, version=4)) for key in made], object)
    found = numbers + start + 1 + np.arange(n, dtype=np.int64)
    if not column.names:
        return found
    front, width, back = column.names
    return np.array([f"{front}{number:0{int(width) or 1}d}{back}" for number in found.tolist()], object)


def _by_digit(column: Column, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Shares of a category's levels, or of its first digits and then of its second ones."""
    if not column.base:
        return shares
    first, second = column.slots
    flat = np.zeros(first * second)
    flat[: len(shares)] = shares
    table = flat.reshape(first, second)
    return tuple(round(s, 9) or 1e-9 for s in [*table.sum(1).tolist(), *table.sum(0).tolist()])


def number_text(value: float) -> str:
    """A number as the name of a level."""
    return str(int(value)) if math.isfinite(value) and value == int(value) and abs(value) < 2**53 else repr(value)


def _shares(gaps: bool, missing: Any, tally: Sequence[int]) -> tuple[float, ...]:
    counts = [int(missing.sum())] * gaps + list(tally)
    total = sum(counts) + 0.5 * len(counts)  # half a row for each, so that none is impossible
    return tuple(round((c + 0.5) / total, 9) or 1e-9 for c in counts)


def step_of(values: Any) -> float:
    """The power of ten to which all are rounded, from 1 to a millionth, or 0."""
    for digits in range(7):
        if np.abs(values).max() < 2**52 / 10**digits and (np.round(values, digits) == values).all():
            return float(10.0**-digits)
    return 0.0


def common_step(values: Any) -> float:
    """The greatest step, such as .25 or 5, of which all are multiples; as `step_of`, 0 is none."""
    if not (step := step_of(values)):
        return 0.0
    whole = np.round(values / step).astype(np.int64)
    return float(round(int(np.gcd.reduce(np.abs(whole))) * Decimal(repr(step)), 6)) or step


def rounded(values: Any, step: float) -> Any:
    """Whole multiples of a step, as they are written."""
    return np.round(np.round(values / step) * step, max(0, -int(Decimal(repr(step)).normalize().as_tuple().exponent)))


def _edges(rest: Any, bins: int, step: float) -> Any:
    """Quantiles, halfway between numbers that are rounded, so that a bin holds whole steps."""
    marks = np.quantile(rest, np.linspace(0, 1, bins + 1), method="nearest")
    if not step:
        marks[-1] = np.nextafter(marks[-1], np.inf)
        found = np.unique(marks)
        return found if len(found) > 1 else np.array([found[0], np.nextafter(found[0], np.inf)])
    return np.unique(np.append(marks[:-1] - step / 2, marks[-1] + step / 2))


def unknown(column: Column, values: Any, missing: Any) -> Counter[str]:
    """The texts of a category that are none of its levels, and how often."""
    if column.kind != "category":
        return Counter()
    present = values[~missing].tolist()
    times = Counter(present if values.dtype.kind == "O" else map(number_text, present))
    return times - Counter(dict.fromkeys(column.names, len(values)))


def encode(column: Column, values: Any, missing: Any) -> Any:
    """Codes, float32 ``(N,)``; what the training rows did not have goes to the rarest level or the outermost bin."""
    code, first = np.empty(len(values)), int(column.missing)
    if column.kind == "category":
        where = {name: i for i, name in enumerate(column.names)}
        texts = values.tolist() if values.dtype.kind == "O" else [number_text(v) for v in values.tolist()]
        code[:] = [where.get(t, len(where) - 1) + first + 0.5 for t in texts]
    else:
        if values.dtype.kind == "O":
            raise UsageError(f"column {column.name!r} holds texts, and the model's holds numbers")
        values = np.where(missing, 0.0, values)
        levels, edges = np.array(column.values), np.array(column.edges)
        if len(levels):
            after = np.searchsorted(levels, values).clip(max=len(levels) - 1)
            before = (after - 1).clip(min=0)
            near = np.where(np.abs(levels[before] - values) < np.abs(levels[after] - values), before, after)
            code[:] = near + first + 0.5
        if len(edges):
            at = (np.searchsorted(edges, values, side="right") - 1).clip(0, len(edges) - 2)
            place = (values - edges[at]) / (edges[at + 1] - edges[at])
            binned = column.first_bin + at + place.clip(0, 1 - 2**-14)
            code = np.where(levels[near] == values, code, binned) if len(levels) else binned
    if column.missing:
        code[missing] = 0.5
    return code.astype(np.float32)


def decode(column: Column, code: Any) -> tuple[Any, Any]:
    """Values, as `encode` takes them, and where they are missing."""
    code = np.nan_to_num(code.astype(np.float64)).clip(0, column.size - 2**-14)
    level = np.floor(code).astype(np.int64)
    missing = (level == 0) if column.missing else np.zeros(len(code), bool)
    index = (level - int(column.missing)).clip(min=0)
    if column.kind == "category":
        names = np.array(column.names or ("",), object)
        return names[index.clip(max=len(names) - 1)], missing
    found = np.zeros(len(code))
    if column.values:
        found = np.array(column.values)[index.clip(max=len(column.values) - 1)]
    if column.edges:
        edges = np.array(column.edges)
        at = (level - column.first_bin).clip(0, len(edges) - 2)
        inside = edges[at] + (code - level) * (edges[at + 1] - edges[at])
        if column.step:
            low, high = edges[0] + column.step / 2, edges[-1] - column.step / 2
            inside = rounded(rounded(inside, column.step).clip(low, high), column.step)
        found = np.where(level >= column.first_bin, inside, found)
    return found, missing
