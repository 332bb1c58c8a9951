"""Recipes for tables side by side, with lines to hold against them and other libraries: ``genzoo bench tables``."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import smaller
from genzoo.core.modality import of
from genzoo.plugins.apps.bench.bench_report import Cell, Effort, Table, folder_for, keep, machine, train_for
from genzoo.plugins.metrics.closeness import ClosestRecord, Nearer, RowCopies
from genzoo.plugins.metrics.margins import LevelsLost, column_errors, pair_errors
from genzoo.plugins.metrics.rows import Bins, is_category, sklearn, values
from genzoo.plugins.metrics.utility import Detection, Utility
from genzoo.plugins.modalities.columns import Column, learnt
from genzoo.plugins.modalities.table_files import write_table
from genzoo.registry.verbs.load import load, load_data

RECIPES = ("copula", "table-ar", "table-ar any order", "table-vae", "table-gan")
ANY_ORDER = {"likelihood.any_order": True, "train.lr": 2e-3, "train.batch_size": 256, "train.epochs": 12}
VARIANTS = {"table-ar any order": ("table-ar", ANY_ORDER)}
LINES = ("training rows", "bootstrap of them", "columns shuffled")
PEERS = {"CTGAN": 300, "TVAE": 300}  # with their own epochs
SHOWN = ("auc", "f1", "ap", "r2", "detection", "column", "pair", "copies", "nearer", "dcr", "lost", "nats", "attack")
ROUNDS = 200  # of the trees that judge
NUMBERS: dict[str, Metric] = {
    "copies": RowCopies(),
    "nearer": Nearer(Nearer.Options(limit=4000)),
    "dcr": ClosestRecord(ClosestRecord.Options(limit=4000)),
    "lost": LevelsLost(),
}
PROTOCOL = """As many rows as there are to train on, by one seed. auc, f1, ap (r2 of numbers): trees that learned from
these rows tell the column `{target}` of unseen ones. detection: trees tell them from unseen rows, .5 is ideal. column:
mean distance of the columns' distributions; pair: of all two-way tables, numbers in tenths, of a category its 50
commonest levels. copies: rows equal to a
training row; nearer: share of rows nearer to training rows than to as many unseen ones, a half is ideal; dcr: median
distance to the nearest training row. lost: levels of at least 20 training rows that do not occur. nats: -log p of an
unseen row; attack: AUC of telling training rows from unseen ones by log p. cpu: seconds of the processor to train."""


@dataclass(frozen=True)
class TableLine:
    """A line of the table: what it is, and its numbers; or why there are none."""

    name: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    why: str = ""
    was_there: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class TableBoard:
    """All lines, for a data set and a target."""

    data: str
    target: str
    lines: tuple[TableLine, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        lines = [{"name": v.name, "why": v.why, **v.numbers} for v in self.lines]
        return {"data": self.data, "target": self.target, "lines": lines}


def tables(
    data: str = "adult",
    *,
    target: str | None = None,
    recipes: Sequence[str] | None = None,
    peers: str | os.PathLike[str] | None = None,
    epochs: Mapping[str, int] | None = None,
    seed: int = 0,
    steps: int | None = None,
    options: Mapping[str, Any] | None = None,
    threads: int | None = None,
    device: str = "auto",
    out: str | os.PathLike[str] | None = "tables",
    progress: bool = False,
) -> TableBoard:
    """Train recipes for tables by their defaults and judge all by one protocol, beside lines to hold against them.

    The arguments are the options of ``genzoo bench tables``; ``peers`` is a Python in which the package ctgan is
    installed, whose CTGAN and TVAE (or those that ``epochs`` names) are trained and judged alike. The folder
    ``out`` keeps what is done, and gets ``tables.md`` and ``tables.json``; None writes nothing.

    Raises:
        UsageError: for data that are no table, an unknown target, or a recipe that does not fit.
        GenzooError: if data cannot be read, or the peers cannot be run.
    """
    sklearn("judging rows by trees")
    if peers and not shutil.which(peers):
        raise UsageError(f"there is no Python to run at {os.fspath(peers)!r}: name one that has the package ctgan")
    train, unseen = (load_data(data, split=split) for split in ("train", "test"))
    if "dtype" not in train.spec.facts:  # of its columns
        raise UsageError(f"{data} is {train.spec.modality} data: genzoo bench tables takes a table, such as adult")
    contest = _Contest(data, train, unseen, target, seed, Effort(None, steps, threads, device), folder_for(out))
    lines = []
    with tqdm(
        [*LINES, *(recipes or RECIPES), *((epochs or PEERS) if peers else ())], unit="line", disable=not progress
    ) as bar:
        for name in bar:
            bar.set_description_str(name)
            if name in LINES:
                lines.append(contest.judged(name, {}, lambda name=name: (contest.reference(name), {})))
            elif name in PEERS:
                asked = {"model": name, "epochs": (epochs or PEERS).get(name, PEERS[name])}
                lines.append(contest.judged(f"{name} {asked['epochs']} epochs", asked,
                                            lambda asked=asked: contest.peer(str(peers), asked)))  # fmt: skip
            else:
                lines.append(contest.trained(name, options or {}))
    board = TableBoard(data, contest.columns[contest.target].name, tuple(lines))
    if contest.folder is not None:
        text = f"{PROTOCOL.format(target=board.target)}\n\n{board_table(board).markdown()}"
        keep(contest.folder, "tables", board.to_dict(), text, machine(device, threads))
    return board


class _Contest:
    """What is the same for every line."""

    def __init__(self, data: str, train: Data, unseen: Data, target: str | None, seed: int, effort: Effort,
                 folder: Path | None) -> None:  # fmt: skip
        self.data, self.train, self.seed, self.effort, self.folder = data, train, seed, effort, folder
        self.columns: list[Column] = learnt(train.spec)
        names = [c.name for c in self.columns]
        said = target or next((c.name for c in self.columns if c.label), names[-1])
        if said not in names:
            raise UsageError(f"{data} has no learnt column {said!r}{did_you_mean(said, names)}")
        self.target, self.unseen = names.index(said), unseen
        self.x, self.z = train.x.numpy(), unseen.x.numpy()

    def judged(self, name: str, settings: Mapping[str, Any], made: Any) -> TableLine:
        """The line of rows that ``made()`` gives as codes ``(N, S)``, with further numbers; or what was kept of it."""
        known = {"data": self.train.fingerprint(), "unseen": self.unseen.fingerprint(), "seed": self.seed,
                 "by": "metrics"}  # fmt: skip
        cell = Cell(self.folder, name, {**known, "target": self.columns[self.target].name, **settings})
        found = cell.get()
        if found is not None and found["why"]:  # of an older version, which kept what broke down
            found = None
        if (was_there := found is not None) is False:
            try:
                rows, more = made()
                numbers = judge(self.train, self.unseen, rows, self.columns[self.target].name)
                found = {"numbers": numbers | more, "why": ""}
            except UsageError:
                raise
            except GenzooError as e:  # one that breaks down costs its own line, and is tried again by another call
                return TableLine(name, why=str(e))
            cell.put(found)
        return TableLine(name, found["numbers"], found["why"], was_there)

    def reference(self, name: str) -> Any:
        """Rows of no model."""
        r, (n, s) = np.random.default_rng(self.seed), self.x.shape
        if name == LINES[0]:
            return self.x
        if name == LINES[1]:
            return self.x[r.integers(n, size=n)]
        return np.stack([r.permutation(self.x[:, i]) for i in range(s)], 1)

    def trained(self, name: str, options: Mapping[str, Any]) -> TableLine:
        """A recipe's line; ``options`` are those of all."""
        recipe, own = VARIANTS.get(name, (name, {}))
        given = {**own, **options}
        settings = {"recipe": recipe, "options": given, "steps": self.effort.steps}
        folder = Cell(self.folder, name, {**settings, "data": self.data, "seed": self.seed}).run

        def made() -> tuple[Any, dict[str, float]]:
            cpu = time.process_time()
            run = train_for(recipe, self.data, self.effort, seed=self.seed, options=given, folder=folder)
            more = {"seconds": run.seconds, "cpu": time.process_time() - cpu}
            model = run.model if folder is None else load(str(folder))
            begun = time.process_time()
            rows = model.sample(len(self.x), seed=self.seed, batch_size=4096, numbers=True).cpu().numpy()
            more["sampling"] = time.process_time() - begun
            if model.exact and model.likelihood.normalized:
                log_p = [model.log_likelihood(torch.from_numpy(part)).values.cpu() for part in self._parts()]
                more |= {"nats": -float(log_p[1].mean()), "attack": smaller(log_p[1], log_p[0]).value}
            return rows, more

        return self.judged(name, settings, made)

    def _parts(self) -> tuple[Any, Any]:
        """Training rows, as many as are looked at, and unseen ones."""
        chosen = np.random.default_rng(self.seed).permutation(len(self.x))[: len(self.z)]
        return self.x[chosen], self.z

    def peer(self, python: str, asked: Mapping[str, Any]) -> tuple[Any, dict[str, float]]:
        """Rows of another library's model, in an interpreter of the user's."""
        script = Path(__file__).with_name("table_peers.py")
        discrete = [c.name for c in self.columns if c.kind == "category"]
        more = {"seed": self.seed, "n": len(self.x), "discrete": discrete, "threads": self.effort.threads or 1}
        with tempfile.TemporaryDirectory() as folder:
            write_table(Path(folder) / "train.csv", self.columns, iter([self.x]))
            asked = {"options": {}, **asked, **more}
            command = [os.fspath(python), "-I", os.fspath(script), folder, json.dumps(asked)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
                if done.returncode < 0:
                    why = f"it was ended by signal {-done.returncode} ({signal.strsignal(-done.returncode)})"
                raise GenzooError(f"{asked['model']} cannot be run by {python}: {why}")
            made = of(self.train.spec).read_samples(Path(folder) / "rows.csv", self.train.spec)
        return made.x.numpy(), json.loads(done.stdout.strip().splitlines()[-1])


def judge(train: Data, unseen: Data, made: Any, target: str) -> dict[str, float]:
    """All numbers of rows of codes, by the metrics of tables; columns and pairs beside the training rows."""
    spec = train.spec
    evidence = Evidence(unseen, lambda: (torch.from_numpy(made), None), n_fake=len(made), training=lambda: train,
                        has_training=True)  # fmt: skip
    fake, real, known = values(spec, evidence.samples), values(spec, evidence.real), values(spec, train.x)
    category, bins = [is_category(c) for c in learnt(spec)], Bins.of(spec, known)
    pairs = list(itertools.combinations(range(len(category)), 2))
    use = Utility(Utility.Options(target=target, rounds=ROUNDS))
    with import_module("threadpoolctl").threadpool_limits(torch.get_num_threads()):
        taught, more = use.taught(evidence, fake, real)
        apart = Detection(Detection.Options(rounds=ROUNDS)).told_apart(evidence, fake, real, 0)
    classes = {"auc": taught.value, "f1": more.get("F1", 0.0), "ap": more.get("average precision", 0.0)}
    return {
        **(classes if more else {"r2": taught.value}),
        "detection": apart.value,
        "column": float(column_errors(fake, known, category).mean()),
        "pair": float(pair_errors(bins(fake), bins(known), bins.sizes, pairs).mean()) if pairs else 0.0,
        **{name: _number(metric, evidence) for name, metric in NUMBERS.items()},
    }


def _number(metric: Metric, evidence: Evidence) -> float:
    found = metric.measure(evidence)
    return (found.estimate if isinstance(found, Measured) else found).value


def board_table(board: TableBoard) -> Table:
    """A row a line."""
    there = [k for k in (*SHOWN, "cpu") if any(k in line.numbers for line in board.lines)]

    def said(key: str, line: TableLine) -> str:
        if key not in line.numbers:
            return line.why if key == there[0] and line.why else ""
        value = line.numbers[key]
        if key in ("lost", "cpu"):
            return f"{value:,.0f}" if value >= 10 or key == "lost" else f"{value:.1f}"
        return f"{value:.2%}" if key == "copies" else f"{value:.2f}" if key == "nats" else f"{value:.4f}"

    return Table(("rows", *there), [(line.name, *(said(k, line) for k in there)) for line in board.lines])
