"""How a table is read: the kinds of its columns, and what holds in every row; as options or a .toml file say."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.storage.strict import regular
from genzoo.plugins.modalities.columns import BINS, Column, identifier, infer
from genzoo.plugins.modalities.csv_files import WRITTEN, meant, notes_of, texts_of
from genzoo.plugins.modalities.rules import Rule, broken, combinations, following, ordered, rule
from genzoo.plugins.modalities.table_files import declared, named, taken
from genzoo.plugins.modalities.truth import values_of

KINDS = ("category", "number", "id", "constant", "drop")
VIOLATIONS = ("auto", "refuse", "drop", "keep")
MOST_BROKEN = 0.01  # share of rows that break a rule, above which that is an error


@dataclass(frozen=True)
class Plan:
    """What people say of a table."""

    kinds: Mapping[str, str] = field(default_factory=dict)  # of columns whose kind is not to be found
    bins: int = BINS
    rules: tuple[str, ...] = ()
    violations: str = "auto"  # refuse, drop or keep rows that break a rule; auto drops at most one in a hundred
    labels: str = ""
    file: Path | None = None

    @property
    def dropped(self) -> list[str]:
        """Columns that are left out."""
        return [name for name, kind in self.kinds.items() if kind == "drop"]


@dataclass(frozen=True)
class Planned:
    """A table whose rows keep the rules, and what its columns are."""

    table: Any
    columns: list[Column]
    rules: tuple[str, ...] = ()  # that samples are tested by
    seen: tuple[tuple[str, ...], ...] = ()  # columns that go together, "", and their combinations
    notes: tuple[str, ...] = ()
    split: tuple[Any, ...] | None = None  # numbers of the training rows and of the test rows


def read_plan(path: Path) -> Plan:
    """Read a .toml file that says how a table is read."""
    try:
        said = tomllib.loads(regular(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise UsageError(f"{path} cannot be read ({e.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"{path} is no TOML ({e})") from None
    known = {"file": str, "labels": str, "bins": int, "violations": str, "constraints": list, "columns": dict}
    for key, value in said.items():
        if key not in known:
            raise UsageError(f"{path} says {key!r}, which is not known{did_you_mean(key, known)}")
        if not isinstance(value, known[key]):
            raise UsageError(f"{path}: {key} is of the wrong type")
    kinds, rules = said.get("columns", {}), said.get("constraints", [])
    for name, kind in kinds.items():
        if kind not in KINDS:
            raise UsageError(f"{path}: column {name!r} is to be {kind!r}; it can be {', '.join(KINDS)}")
    if (way := said.get("violations", "auto")) not in VIOLATIONS:
        raise UsageError(f"{path}: violations can be {', '.join(VIOLATIONS)}, not {way!r}")
    if isinstance(bins := said.get("bins", BINS), bool) or not 1 <= bins <= 4096:
        raise UsageError(f"{path}: bins is a number from 1 to 4096, not {bins!r}")
    if "file" not in said or not all(isinstance(r, str) for r in rules):
        raise UsageError(f'{path} needs file = "…", and constraints as a list of texts')
    return Plan(kinds, bins, tuple(rules), way, said.get("labels", ""),
                path.parent / Path(said["file"]).expanduser())  # fmt: skip


def is_plan(path: Path) -> bool:
    """Whether a .toml file says how a table is read."""
    try:
        return re.search(r"^file\s*=", regular(path).read_text(encoding="utf-8"), re.MULTILINE) is not None
    except (OSError, UnicodeDecodeError, UsageError):
        return False


def planned(table: Any, what: str, plan: Plan, parts: Any = None) -> Planned:
    """Find the columns of an Arrow table; ``parts`` gives the training rows of so many, None takes all."""
    named(table, what)
    for name, kind in plan.kinds.items():
        if kind != "drop" or name not in table.column_names:  # what is left out need not be readable
            taken(table, name, what)
    table = named(table.drop_columns(plan.dropped), what)
    raw = {name: taken(table, name, what) for name in table.column_names}
    frame = {name: (values, missing) for name, (values, missing, _) in raw.items()}
    rough = [Column(n, "category" if v.dtype == object else "number", dtype) for n, (v, _, dtype) in raw.items()]
    frame = {c.name: (values_of(c, frame[c.name][0]), frame[c.name][1]) for c in rough}
    rules, notes = ordered([rule(text, rough) for text in plan.rules]), notes_of(table, what)
    bad = np.zeros(len(table), bool)
    for r in rules:
        wrong = broken(r, frame)
        if not wrong.any():
            continue
        share = wrong.mean()
        said = f"{int(wrong.sum()):,} of {len(table):,} rows of {what} ({share:.2%}) break {r.text}"
        if plan.violations == "refuse" or (plan.violations == "auto" and share > MOST_BROKEN):
            raise UsageError(f"{said}: --set data.violations=drop leaves them out, and keep keeps them")
        if plan.violations != "keep":
            bad |= wrong
        notes.append(f"{said}: {'kept' if plan.violations == 'keep' else 'left out'}")
    split = None if parts is None else parts(len(table))
    if bad.any():
        if split is not None:  # cut before rows were left out, so that a published split stays one
            place_of = np.cumsum(~bad) - 1
            split = tuple(None if part is None else place_of[part[~bad[part]]] for part in split)
            if any(part is not None and not len(part) for part in split):
                raise UsageError(f"{what} has no rows to train on, or to test, without those that break its rules")
        table = table.filter(~bad)
        raw = {name: (v[~bad], gone[~bad], dtype) for name, (v, gone, dtype) in raw.items()}
        frame = {name: (v[~bad], gone[~bad]) for name, (v, gone) in frame.items()}
        named(table, f"{what} without the rows that break its rules")
    train = slice(None) if split is None else split[0]
    found = [_kind(name, *raw[name], plan, train) for name in table.column_names]
    found = [replace(c, declared=held) if c.kind == "category" and set(held := declared(table, c.name)) >= set(c.names)
             else c for c in found]  # fmt: skip
    for c in found:
        if c.kind == "id" and c.name not in plan.kinds and (seems := meant(texts_of(*raw[c.name][:2]))):
            notes.append(f"column {c.name!r} of {what} differs in every row and is taken for an identifier, though it "
                         f"seems to hold {seems}: {WRITTEN[seems]}")  # fmt: skip
    seen = {name: (v[train], gone[train]) for name, (v, gone) in frame.items()}
    place = {c.name: i for i, c in enumerate(found)}
    for r in rules:
        for name in r.names[r.kind in ("computed", "looked-up") :]:
            if found[place[name]].kind == "id":
                raise UsageError(f"the rule {r.text!r} is about column {name!r}, which identifies rows and is not "
                                 "learnt: leave the rule out, or say the column's kind")  # fmt: skip
    for r in rules:
        if r.kind in ("computed", "looked-up"):
            source = frame if r.kind == "looked-up" else seen
            found[place[r.names[0]]] = following(r, found[place[r.names[0]]], source)
    tests = tuple(r.text for r in rules if r.kind in ("test", "unique"))
    together = tuple((*r.names, "", *combinations(r, seen)) for r in rules if r.kind == "together")
    return Planned(table, found, tests, together, tuple(notes), split)


def _kind(name: str, values: Any, missing: Any, dtype: str, plan: Plan, train: Any) -> Column:
    kind = plan.kinds.get(name, "")
    if kind == "id":
        return identifier(name, dtype, values[train][~missing[train]], "said so")
    if kind == "number" and values.dtype == object:
        raise UsageError(f"column {name!r} holds texts: it cannot be a number")
    category = kind == "category" or (not kind and dtype.startswith("dictionary"))
    return infer(name, values[train], missing[train], dtype, category=category, bins=plan.bins,
                 nullable=bool(missing.any()), key=kind != "number")  # fmt: skip


def rules_of(texts: tuple[str, ...], columns: list[Column]) -> list[Rule]:
    """Rules that samples are tested by."""
    return [rule(text, columns) for text in texts]
