"""More rows of a rare class, and whether they help: ``genzoo augment``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genzoo.core.arguments import checked
from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.storage.files import given_path
from genzoo.plugins.apps.tables import treatments as ways
from genzoo.plugins.apps.tables.verdict import FEWEST, LINEAR, TREES, Fold, Made, Verdict, halves, inner_part, judged
from genzoo.plugins.datasets.table_file import planned_data
from genzoo.plugins.metrics.rows import MOST_CATEGORIES, is_category, sklearn, values
from genzoo.plugins.modalities.columns import Column, columns, learnt
from genzoo.plugins.modalities.raw_tables import check_out
from genzoo.plugins.modalities.table_files import arrow, given_back, read_table, write_arrow
from genzoo.plugins.modalities.table_plan import Plan, planned, read_plan
from genzoo.registry.verbs.load import load_data

Out = str | os.PathLike[str]
COPIES, SMOTE = "copies", "SMOTE-NC"
ALL, ALONE, HALF = "generated", "generated from rare rows alone", "generated, half weight"
FLAG, WEIGHT = "genzoo_generated", "genzoo_weight"


@dataclass(frozen=True)
class Augmented:
    """What was written, and whether it helps."""

    path: Path
    target: str
    rare: str
    real: int  # rows
    rare_rows: int  # of the class, that were there
    added: int
    odds: float  # what the odds that a classifier of all rows gives are to be multiplied with
    verdict: Verdict | None
    why: str = ""  # there is no verdict

    @property
    def says(self) -> str:
        """The verdict's sentence, or why there is none."""
        return self.verdict.sentence if self.verdict else self.why

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "out": str(self.path), "target": self.target, "rare": self.rare, "rows": self.real,
            "rare rows": self.rare_rows, "added": self.added, "odds": self.odds, "why": self.why,
            "verdict": self.verdict.to_dict() if self.verdict else None,
        }  # fmt: skip


@dataclass(frozen=True)
class _Task:
    """A table, and which of its rows are rare."""

    table: Any
    what: str
    plan: Plan
    target: str
    rare: str
    y: Any  # of each row, whether it is
    commonest: int  # rows of the commonest class
    to: str
    recipe: str
    options: Mapping[str, Any]
    seed: int
    steps: int | None
    threads: int | None
    device: str
    where: str | None

    def more(self, y: Any) -> int:
        """Rows to add to those of which ``y`` says whether they are rare."""
        share = len(y) / len(self.y)
        if ":" not in self.to:
            return max(round(int(self.to) * share), 1)
        one, other = map(int, self.to.split(":"))
        return round(self.commonest * share * one / other) - int(y.sum())

    def data(self, train: Any, test: Any) -> Any:
        """All rows as codes of columns that the training rows alone decided."""
        found = planned(self.table, self.what, replace(self.plan, violations="keep"), lambda n: (train, test))
        return planned_data(found, self.what, self.target if self.options.get("conditional") else "")

    def level(self, spec: Any) -> tuple[int, int, Column]:
        """Places of the target among the learnt columns and of the rare level in it, and the column."""
        found = learnt(spec)
        at = next((s for s, c in enumerate(found) if c.name == self.target), None)
        if at is None or self.rare not in found[at].texts:
            raise GenzooError(f"a part of {self.what} has no row of {self.target} = {self.rare}")
        return at, found[at].texts.index(self.rare), found[at]

    def model(self, data: Any, seed: int) -> Any:
        return ways.learned(self.recipe, data, seed, self.steps, self.options, self.threads, self.device)

    def drawn(self, data: Any, n: int, seed: int, alone: bool = False) -> Any:
        """Codes of generated rows, of a model of the rows, or of rare ones ``alone``."""
        _, level, column = self.level(data.spec)
        return ways.drawn(self.model(data, seed), n, seed, None if alone else column, level, self.where)


@checked
def augment(
    data: Any,
    out: Out,
    *,
    target: str | None = None,
    rare: str | None = None,
    to: str = "1:1",
    recipe: str = "table-ar",
    weight: str = "full",
    where: str | None = None,
    drop_to: int | None = None,
    repeats: int = 5,
    judge: bool = True,
    seed: int = 0,
    steps: int | None = None,
    options: Mapping[str, Any] | None = None,
    threads: int | None = None,
    device: str = "auto",
    tell: Callable[[str], object] = lambda line: None,
) -> Augmented:
    """Write a table with more rows of a rare class, and judge whether they help a classifier of that class.

    The judging comes first: the rows are halved ``repeats`` times, everything (levels, bins, generators, mixtures) is
    fitted on one half, and classifiers that were tuned there are judged on the other half, which nothing was made
    from. Then a model of all rows makes those that are written.

    Args:
        data: a .csv, .csv.gz, .parquet, .arrow or .toml file, a data set's name, or anything that speaks Arrow.
        out: a .csv, .csv.gz, .parquet or .arrow file: all rows, then the new ones, with the columns
            ``genzoo_generated`` and ``genzoo_weight``.
        target: the column that is the class.
        rare: the class; default the one of fewest rows.
        to: rows of it for rows of the commonest class, ``1:1`` or ``1:4``, or a number of rows to add.
        recipe: what makes rows: a recipe for tables, ``smote`` or ``copies``.
        weight: what ``genzoo_weight`` says of a new row: 1, or ½.
        where: what new rows are to meet beside.
        drop_to: of a data set of pictures, how many of the class ``rare`` to keep; ``out`` is an .npz file then.
        repeats: times that the rows are halved.
        judge: whether it is judged at all.
        seed: the same one gives the same file.
        steps: of each training; default 600 for tables of less than 50,000 rows, else the recipe's own.
        options: the recipe's, by name.
        threads: of the processor.
        device: where to train.
        tell: is told how far it is.
    """
    path, each = given_path(out), 0.5 if weight == "half" else 1.0
    if weight not in ("full", "half"):
        raise UsageError(f"the weight of new rows is full or half, not {weight!r}")
    if judge:
        sklearn("judging whether rows help")
    if threads:
        torch.set_num_threads(threads)
    if drop_to is not None:
        if to != "1:1" or where is not None or target is not None:
            raise UsageError("of pictures (--drop-to) as many are added as the commonest class has more: "
                             "leave out --to, --where and --target")  # fmt: skip
        if recipe in ("smote", "copies"):
            raise UsageError(f"{recipe} is of rows: name a recipe for pictures, such as --with cvae")
        return _pictures(data, path, rare, "cvae" if recipe == "table-ar" else recipe, drop_to, each, repeats, judge,
                         seed, steps, options or {}, threads, device, tell)  # fmt: skip
    check_out(path, data)
    task = _task(data, target, rare, to, recipe, dict(options or {}), seed, steps, threads, device, where)
    count, n = int(task.y.sum()), task.more(task.y)
    if n < 1:
        raise UsageError(f"{task.what} has {count:,} rows of {task.target} = {task.rare}, not fewer than --to {to} "
                         "asks for: nothing to add")  # fmt: skip
    verdict, why = None, "not judged"
    if judge and count < 2 * FEWEST:
        why = (f"{count} rows of {task.target} = {task.rare} are too few to find out whether more of them help: "
               f"half of them are to judge by, {FEWEST} at least")  # fmt: skip
    elif judge:
        category = [is_category(c) for c in learnt(task.data(np.arange(len(task.y)), None).spec)
                    if c.name != task.target]  # fmt: skip
        made = (ALL, ALONE, HALF) if recipe not in ("smote", "copies") else ()
        verdict = judged(folds(task, repeats, tell), _kinds(task, category), seed=seed, generated=made)
    tell(f"{n:,} rows of {task.target} = {task.rare} to add")
    whole = task.data(np.arange(len(task.y)), None)
    added = _added(task, whole, n)
    _write(path, task, columns(whole.spec), added, each)
    return Augmented(path, task.target, task.rare, len(task.y), count, n, count / (count + n * each), verdict,
                     "" if verdict else why)  # fmt: skip


def _pictures(data: Any, path: Path, rare: str | None, recipe: str, drop_to: int, each: float, repeats: int,
              judge: bool, seed: int, steps: int | None, options: Mapping[str, Any], threads: int | None, device: str,
              tell: Callable[[str], object]) -> Augmented:  # fmt: skip
    from genzoo.plugins.apps.tables.augment_pictures import opened, pictures_verdict, write_pictures

    if path.suffix.lower() != ".npz":
        raise UsageError(f"pictures are written to an .npz file, not to {path.name!r}")
    if drop_to < 10:
        raise UsageError(
            f"at least 10 pictures of the class stay, not {drop_to}: settings are chosen by a fifth of them"
        )
    task = opened(data, rare, drop_to, recipe, options, seed, steps, threads, device)
    verdict = pictures_verdict(task, drop_to, repeats, tell) if judge else None
    real, added = write_pictures(path, task, drop_to, each)
    return Augmented(path, "label", str(rare), real, drop_to, added, drop_to / (drop_to + added * each), verdict,
                     "" if verdict else "not judged")  # fmt: skip


def _kinds(task: _Task, category: list[bool]) -> dict[str, list[bool]]:
    """Which columns each classifier takes as categories: trees take few levels."""
    sizes = [c.size for c in learnt(task.data(np.arange(len(task.y)), None).spec) if c.name != task.target]
    return {LINEAR: category, TREES: [k and n <= MOST_CATEGORIES for k, n in zip(category, sizes, strict=True)]}


def folds(task: _Task, repeats: int, tell: Callable[[str], object] = lambda line: None) -> Iterator[Fold]:
    """Halves of the rows, to learn from and to judge by; what is made comes from those to learn from alone."""
    for i, (train, test) in enumerate(halves(task.y, repeats, task.seed)):
        tell(f"split {i + 1} of {2 * repeats}")
        data, y = task.data(train, test), task.y[train]
        at = task.level(data.spec)[0]
        rows = np.delete(values(data.spec, data.x), at, 1)
        inner, seed = inner_part(y, task.seed + i), task.seed + 1000 + i
        category = [is_category(c) for s, c in enumerate(learnt(data.spec)) if s != at]
        x, n = rows[train], task.more(y)
        made: dict[str, Callable[[Any], Made]] = {
            COPIES: _of(x, y, partial(_copied, seed=seed), task),
            SMOTE: _of(x, y, partial(_mixed, category=category, seed=seed), task),
        }  # fmt: skip
        if task.recipe not in ("smote", "copies"):
            learn = train[~inner]
            one = np.delete(values(data.spec, _tensor(task.drawn(_part(data, learn), n, seed))), at, 1)
            two = np.delete(values(data.spec, _tensor(task.drawn(_part(data, learn[task.y[learn]]), n, seed, True))),
                            at, 1)  # fmt: skip
            made |= {ALL: _always(Made(one)), ALONE: _always(Made(two)), HALF: _always(Made(one, 0.5))}
        yield Fold(x, y, inner, rows[test], task.y[test], made)


def _tensor(codes: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(codes))


def _part(data: Any, rows: Any) -> Any:
    return data.take(torch.from_numpy(rows))


def _always(made: Made) -> Callable[[Any], Made]:
    return lambda mask: made


def _copied(some: Any, n: int, seed: int) -> Any:
    return ways.copies(some, n, np.random.default_rng(seed))


def _mixed(some: Any, n: int, category: list[bool], seed: int) -> Any:
    return ways.smote(some, category, n, np.random.default_rng(seed))


def _of(x: Any, y: Any, way: Callable[[Any, int], Any], task: _Task) -> Callable[[Any], Made]:
    """What a way makes of the rare rows that a mask holds."""
    return lambda mask: Made(way(x[mask & y], max(task.more(y[mask]), 1)))


def _added(task: _Task, whole: Any, n: int) -> Any:
    """Codes of the rows that are written."""
    at, level, _ = task.level(whole.spec)
    if task.recipe not in ("smote", "copies"):
        return task.drawn(whole, n, task.seed)
    rows, random = np.delete(values(whole.spec, whole.x), at, 1)[task.y], np.random.default_rng(task.seed)
    if task.recipe == "copies":
        return whole.x.numpy()[task.y][ways.copies(np.arange(len(rows)), n, random)]
    category = [is_category(c) for s, c in enumerate(learnt(whole.spec)) if s != at]
    return ways.codes_of(whole.spec, ways.smote(rows, category, n, random), at, level)


def _write(path: Path, task: _Task, found: list[Column], codes: Any, weight: float) -> None:
    """All rows and then the new ones, each with what it is and weighs."""
    pa = arrow(str(path))
    new = given_back(found, codes)
    parts = []
    for part, flag, w in ((task.table, False, 1.0), (new.select(task.table.column_names), True, weight)):
        part = part.replace_schema_metadata(None)
        part = part.append_column(FLAG, pa.array([flag] * len(part), pa.bool_()))
        parts.append(part.append_column(WEIGHT, pa.array([w] * len(part), pa.float64())))
    whole = pa.concat_tables([parts[0], parts[1].cast(parts[0].schema)]).unify_dictionaries()
    write_arrow(path, whole)


def _task(data: Any, target: str | None, rare: str | None, to: str, recipe: str, options: dict[str, Any], seed: int,
          steps: int | None, threads: int | None, device: str, where: str | None) -> _Task:  # fmt: skip
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", to):
        raise UsageError(f"--to is 1:1, 1:4, or a number of rows to add, not {to!r}")
    if recipe in ("smote", "copies") and (options or steps or where):
        raise UsageError(f"{recipe} is no model: it takes no options, steps or condition")
    table, what, plan, label = _read(data)
    if mine := [n for n in (FLAG, WEIGHT) if n in table.column_names]:
        raise UsageError(f"{what} has a column {mine[0]!r} already: it was augmented before; give the rows that it "
                         "was made from")  # fmt: skip
    base = planned(table, what, plan)
    name = target or plan.labels or label
    found = {c.name: c for c in base.columns}
    if not name:
        raise UsageError(f"name the column that is the class with --target: {what} has {', '.join(found)}")
    if name not in found:
        raise UsageError(f"{what} has no column {name!r}{did_you_mean(name, list(found))}")
    column = found[name]
    if not column.size or column.edges or column.size < 2 or column.size > 1000:
        raise UsageError(f"column {name!r} of {what} is no class of a row ({column.why or 'many values'})")
    spec_data = planned_data(base, what)
    at = [c.name for c in learnt(spec_data.spec)].index(name)
    level = spec_data.x[:, at].floor().long().numpy()
    counts, names = np.bincount(level, minlength=column.size), column.texts
    first = int(column.missing)  # rows without a class are not rare ones
    if rare is None:
        rare = names[first + int(counts[first:].argmin())]
    elif rare not in names:
        raise UsageError(f"no row of {what} has {name} = {rare}{did_you_mean(rare, names)}")
    if where is not None:
        from genzoo.plugins.modalities.where import parse

        parse(where, base.columns)
    if len(learnt(spec_data.spec)) < 2:
        raise UsageError(f"{what} has no other column to tell {name} by")
    return _Task(base.table, what, plan, name, rare, level == names.index(rare), int(counts[first:].max()), to,
                 recipe, options, seed, steps, threads, device, where)  # fmt: skip


def _read(data: Any) -> tuple[Any, str, Plan, str]:
    """A table, what it is called, how it is read, and the column that is its class."""
    if hasattr(data, "__arrow_c_stream__"):
        return arrow("a table").table(data), "the table", Plan(), ""
    path = given_path(data)
    if path.suffix.lower() == ".toml" and path.is_file():
        plan = read_plan(path)
        return read_table(plan.file or path), path.name, plan, plan.labels
    if path.name.lower().endswith((".csv", ".csv.gz", ".parquet", ".arrow")):
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        return read_table(path), path.name, Plan(), ""
    known = load_data(str(data))
    if "dtype" not in known.spec.facts:  # of columns
        raise UsageError(f"{data} is {known.spec.modality} data: augment adds rows to tables, and pictures of a class "
                         "that --rare names and --drop-to makes rare")  # fmt: skip
    found = columns(known.spec)
    label = next((c.name for c in found if c.label), "")
    return given_back(found, known.x.numpy()), str(data), Plan(), label
