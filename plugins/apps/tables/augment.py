"""More rows of a rare class, and whether they help: ``genzoo augment``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from genzoo.core.arguments import checked
from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.modality import of
from genzoo.core.storage.files import given_path
from genzoo.plugins.apps.tables import treatments as ways
from genzoo.plugins.apps.tables.treatments import Making
from genzoo.plugins.apps.tables.verdict import FEWEST, LINEAR, TREES, Fold, Made, Verdict, halves, inner_part, judged
from genzoo.plugins.datasets.table_file import planned_data
from genzoo.plugins.metrics.rows import MOST_CATEGORIES, is_category, sklearn, values
from genzoo.plugins.modalities.columns import Column, columns, learnt
from genzoo.plugins.modalities.raw_tables import check_out
from genzoo.plugins.modalities.table_files import arrow, frame_table, given_back, read_table, taken, write_arrow
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
    making: Making
    where: str | None
    classless: int = 0  # rows that were left out because they have no class

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
        return planned_data(found, self.what, self.target if self.making.options.get("conditional") else "")

    def level(self, spec: Any) -> tuple[int, int, Column]:
        """Places of the target among the learnt columns and of the rare level in it, and the column."""
        found = learnt(spec)
        at = next((s for s, c in enumerate(found) if c.name == self.target), None)
        if at is None or self.rare not in found[at].texts:
            raise GenzooError(f"a part of {self.what} has no row of {self.target} = {self.rare}")
        return at, found[at].texts.index(self.rare), found[at]

    def drawn(self, data: Any, n: int, seed: int, alone: bool = False) -> Any:
        """Codes of generated rows, of a model of the rows, or of rare ones ``alone``."""
        _, level, column = self.level(data.spec)
        return ways.drawn(self.making.model(data, seed), n, seed, None if alone else column, level, self.where)


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
        steps: of each training; default 600 for tables of less than 50,000 rows, which `table-ar` then learns at a rate
            of 2e-3, else the recipe's own.
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
        if recipe in ways.NO_MODELS:
            raise UsageError(f"{recipe} is of rows: name a recipe for pictures, such as --with cvae")
        making = Making("cvae" if recipe == "table-ar" else recipe, {"conditional": True, **(options or {})}, seed,
                        steps, threads, device)  # fmt: skip
        return _pictures(data, path, rare, making, drop_to, each, repeats, judge, tell)
    check_out(path, data)
    task = _task(data, target, rare, to, Making(recipe, dict(options or {}), seed, steps, threads, device), where)
    if task.classless:
        tell(f"{task.classless:,} rows of {task.what} without {task.target} are left out")
    count, n = int(task.y.sum()), task.more(task.y)
    if n < 1:
        raise UsageError(f"{task.what} has {count:,} rows of {task.target} = {task.rare}, not fewer than --to {to} "
                         "asks for: nothing to add")  # fmt: skip
    verdict, why = None, "not judged"
    if judge and count < 2 * FEWEST:
        why = (f"{count} rows of {task.target} = {task.rare} are too few to find out whether more of them help: "
               f"half of them are to judge by, {FEWEST} at least")  # fmt: skip
    elif judge:
        made = (ALL, ALONE, HALF) if task.making.trains else ()
        splits = list(halves(task.y, repeats, seed))
        verdict = judged(folds(task, splits, tell), kinds(task), seed=seed, generated=made)
    tell(f"{n:,} rows of {task.target} = {task.rare} to add")
    whole = task.data(np.arange(len(task.y)), None)
    added = _added(task, whole, n)
    _write(path, task, columns(whole.spec), added, each)
    return Augmented(path, task.target, task.rare, len(task.y), count, n, count / (count + n * each), verdict,
                     "" if verdict else why)  # fmt: skip


def _pictures(data: Any, path: Path, rare: str | None, making: Making, drop_to: int, each: float, repeats: int,
              judge: bool, tell: Callable[[str], object]) -> Augmented:  # fmt: skip
    from genzoo.plugins.apps.tables.augment_pictures import opened, pictures_verdict, write_pictures

    if path.suffix.lower() != ".npz":
        raise UsageError(f"pictures are written to an .npz file, not to {path.name!r}")
    if drop_to < 10:
        raise UsageError(
            f"at least 10 pictures of the class stay, not {drop_to}: settings are chosen by a fifth of them"
        )
    task = opened(data, rare, drop_to, making)
    verdict = pictures_verdict(task, drop_to, repeats, tell) if judge else None
    real, added = write_pictures(path, task, drop_to, each)
    return Augmented(path, "label", str(rare), real, drop_to, added, drop_to / (drop_to + added * each), verdict,
                     "" if verdict else "not judged")  # fmt: skip


def kinds(task: _Task) -> dict[str, list[bool]]:
    """Which columns each classifier takes as categories: trees take few levels."""
    found = [c for c in learnt(task.data(np.arange(len(task.y)), None).spec) if c.name != task.target]
    category = [is_category(c) for c in found]
    return {LINEAR: category, TREES: [k and c.size <= MOST_CATEGORIES for k, c in zip(category, found, strict=True)]}


def folds(
    task: _Task, splits: Sequence[tuple[Any, Any]], tell: Callable[[str], object] = lambda line: None
) -> Iterator[Fold]:
    """Rows to learn from and rows to judge by; what is made comes from the former without their inner part alone."""
    for i, (train, test) in enumerate(splits):
        tell(f"split {i + 1} of {len(splits)}")
        data, y, seed = task.data(train, test), task.y[train], task.making.seed
        inner, seed = inner_part(y, seed + i), seed + 1000 + i
        at = task.level(data.spec)[0]
        rows = np.delete(values(data.spec, data.x), at, 1)
        category = [is_category(c) for s, c in enumerate(learnt(data.spec)) if s != at]
        learn, n = train[~inner], max(task.more(y[~inner]), 1)
        rare = learn[task.y[learn]]
        made = {
            COPIES: Made(ways.copies(rows[rare], n, np.random.default_rng(seed))),
            SMOTE: Made(ways.smote(rows[rare], category, n, np.random.default_rng(seed))),
        }
        if task.making.trains:
            all_of, alone = (
                np.delete(values(data.spec, _tensor(task.drawn(_part(data, some), n, seed, few))), at, 1)
                for some, few in ((learn, False), (rare, True))
            )
            made |= {ALL: Made(all_of), ALONE: Made(alone), HALF: Made(all_of, 0.5)}
        yield Fold(rows[train], y, inner, rows[test], task.y[test], made)


def _tensor(codes: Any) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(codes))


def _part(data: Any, rows: Any) -> Any:
    return data.take(torch.from_numpy(rows))


def _added(task: _Task, whole: Any, n: int) -> Any:
    """Codes of the rows that are written."""
    at, level, _ = task.level(whole.spec)
    if task.making.trains:
        return task.drawn(whole, n, task.making.seed)
    rows = np.delete(values(whole.spec, whole.x), at, 1)[task.y]
    random = np.random.default_rng(task.making.seed)
    if task.making.recipe == "copies":
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


def _task(data: Any, target: str | None, rare: str | None, to: str, making: Making, where: str | None) -> _Task:
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", to):
        raise UsageError(f"--to is 1:1, 1:4, or a number of rows to add, not {to!r}")
    if where is not None and not making.trains:
        raise UsageError(f"{making.recipe} is no model: it takes no condition")
    table, what, plan, label = _read(data)
    if mine := [n for n in (FLAG, WEIGHT) if n in table.column_names]:
        raise UsageError(f"{what} has a column {mine[0]!r} already: it was augmented before; give the rows that it "
                         "was made from")  # fmt: skip
    name, there = target or plan.labels or label, [n for n in table.column_names if n not in plan.dropped]
    if not name:
        raise UsageError(f"name the column that is the class with --target: {what} has {', '.join(there)}")
    if name not in there:
        raise UsageError(f"{what} has no column {name!r}{did_you_mean(name, there)}")
    gone = taken(table, name, what)[1]
    table = table.filter(~gone) if gone.any() and not gone.all() else table
    base = planned(table, what, plan)
    column = next(c for c in base.columns if c.name == name)
    if not column.size or column.edges or column.size < 2 or column.size > 1000:
        raise UsageError(f"column {name!r} of {what} is no class of a row ({column.why or 'many values'})")
    spec_data = planned_data(base, what)
    at = [c.name for c in learnt(spec_data.spec)].index(name)
    level = spec_data.x[:, at].floor().long().numpy()
    counts, names = np.bincount(level, minlength=column.size), column.texts
    if rare is None:
        rare = names[int(counts.argmin())]
    elif rare not in names:
        raise UsageError(f"no row of {what} has {name} = {rare}{did_you_mean(rare, names)}")
    if len(learnt(spec_data.spec)) < 2:
        raise UsageError(f"{what} has no other column to tell {name} by")
    task = _Task(base.table, what, plan, name, rare, level == names.index(rare), int(counts.max()), to, making, where,
                 int(gone.sum()))  # fmt: skip
    data = task.data(np.arange(len(level)), None)
    making.check(data.spec)
    if where is not None and (wanted := of(data.spec).selection(data.spec, where)) is not None:
        wanted.allowed()
        if not wanted.keeps(data.x[task.y]).any():
            raise UsageError(f"no row of {what} with {name} = {rare} meets {where}: there is nothing to learn from")
    return task


def _read(data: Any) -> tuple[Any, str, Plan, str]:
    """A table, what it is called, how it is read, and the column that is its class."""
    if hasattr(data, "__arrow_c_stream__"):
        return frame_table(data, "a table"), "the table", Plan(), ""
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
