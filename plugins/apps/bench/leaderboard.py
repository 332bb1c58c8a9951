"""Every recipe under one budget, judged by one protocol: ``genzoo bench zoo``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.report import Report, Result
from genzoo.core.units import parse_duration
from genzoo.plugins.apps.bench.bench_report import Cell, Effort, Table, folder_for, keep, machine, train_for
from genzoo.plugins.apps.compare.compare import Compared
from genzoo.plugins.apps.compare.comparison import Candidate
from genzoo.registry import the_registry
from genzoo.registry.defaults import choose
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.evaluate import MOST, evaluate
from genzoo.registry.verbs.load import load, load_data
from genzoo.registry.verbs.subjects import subset
from genzoo.registry.weights.history import history_of

# Of samples first; a model without an encoder is honestly absent from the last two.
METRICS = (
    *("frechet", "kid", "precision", "recall", "density", "coverage"),
    *("classes", "diversity", "elbo", "psnr"),
)
REAL = "real data"


@dataclass(frozen=True)
class Line:
    """One recipe on the board, with its report or, if training broke down, why there is none.

    ``parameters`` are those of what is kept, without critics; ``was_there`` says that an earlier call had trained it.
    """

    recipe: str
    seconds: float = 0.0
    steps: int = 0
    parameters: int = 0
    report: Report | None = None
    why: str = ""
    folder: Path | None = None
    was_there: bool = field(default=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = {k: getattr(self, k) for k in ("recipe", "seconds", "steps", "parameters", "why")}
        return {**plain, "report": None if self.report is None else self.report.to_dict()}


@dataclass(frozen=True)
class Board:
    """A leaderboard, best first, by the first metric that has a direction.

    ``real`` is what real data score in place of samples: nobody can be expected to do better. ``left_out`` has recipes
    that do not fit these data, with the reason; ``compared`` is the same for a page, None if nothing was judged.
    """

    data: str
    effort: Effort
    lines: tuple[Line, ...]
    real: Report
    left_out: Mapping[str, str]
    compared: Compared | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        best = {} if self.compared is None else self.compared.to_dict()["best"]
        return {
            "data": self.data, "budget": asdict(self.effort), "best": best, "real": self.real.to_dict(),
            "lines": [line.to_dict() for line in self.lines], "left out": dict(self.left_out),
        }  # fmt: skip


@dataclass(frozen=True)
class Contest:
    """What is the same for every recipe: what it is trained on, for how long, and how it is judged."""

    data: str
    test: Data
    effort: Effort
    options: Mapping[str, Any]
    metrics: Sequence[str]
    how: Mapping[str, Any]  # further arguments of `evaluate`
    folder: Path | None
    reading: Mapping[str, Any] = field(default_factory=dict)  # options of the data

    def line(self, recipe: str, config: Config, bar: Any) -> Line:
        """Train and judge one recipe, or read what an earlier call found."""
        seed = self.how["seed"]
        settings = {"data": self.data, "effort": asdict(self.effort), "seed": seed, "config": config.flat()}
        cell = Cell(self.folder, recipe, settings)
        bar.set_description_str(recipe)
        found: Any = cell.get()
        model: Any = cell.run
        was_there = found is not None
        if not was_there:
            tell = self.effort.on(bar, recipe)
            try:
                run = train_for(
                    recipe, self.data, self.effort, seed=seed, options=self.options, folder=cell.run, tell=tell
                )
            except UsageError:
                raise
            except GenzooError as e:  # one that breaks down costs its own line, not the table
                found = {"why": str(e)}
            else:
                model, parameters = run.model, sum(p.numel() for p in run.model.parameters())
                found = {"seconds": round(run.seconds, 1), "steps": run.steps, "parameters": parameters}
            cell.put(found)
        line = Line(recipe, **found, was_there=was_there)
        if line.why:
            return line
        bar.set_description_str(f"{recipe}: measuring")
        report = self.judge(replace(cell, name=f"{recipe} judged"), model, recipe)
        return replace(line, report=report, folder=cell.run)

    def real(self) -> Report:
        """Judge as many real observations of the train split."""
        train = load_data(self.data, split="train", options=self.reading)
        count = min(self.how["n"] or min(len(self.test), MOST), len(train))
        own = replace(self, how={**self.how, "n": count})
        return own.judge(Cell(self.folder, REAL, {"data": self.data}), subset(train, count), REAL)

    def judge(self, of: Cell, subject: Any, name: str) -> Report:
        """Measure a model, a run's folder or samples, or read what an earlier call measured."""
        more = {"metrics": list(self.metrics), "how": dict(self.how), "test": self.test.fingerprint()}
        cell = replace(of, settings={**of.settings, **more})
        if (kept := cell.get()) is not None:
            return Report.from_dict(kept)
        training = load_data(self.data, split="train", options=self.reading) if self.reading else self.data
        report = evaluate(subject, self.test, self.metrics, training=training, name=name, strict=False, **self.how)
        cell.put(report.to_dict())
        return report

    def rank(self, line: Line) -> tuple[bool, float, str]:
        """Best first; those without the metric that ranks last."""
        for metric in self.metrics:
            for result in line.report or ():
                if result.metric == metric and result.direction != "none":
                    return False, -result.value if result.direction == "higher" else result.value, line.recipe
        return True, 0.0, line.recipe

    def compared(self, lines: Sequence[Line]) -> Compared | None:
        """What the page is made of: the reports side by side with the models."""
        judged = [line for line in lines if line.report is not None]
        if not judged:
            return None
        sides = tuple(
            Candidate(line.recipe, str(f), load(f), history=history_of(f))
            if (f := line.folder) is not None
            else Candidate(line.recipe, line.recipe)
            for line in judged
        )
        return Compared.of(
            [line.report for line in judged if line.report is not None], [line.recipe for line in judged], sides=sides,
            data=self.test, training=partial(load_data, self.data), seed=self.how["seed"],
            extractor=self.how["extractor"],
        )  # fmt: skip


def zoo(
    data: str = "fashion-mnist",
    *,
    budget: float | str = "10min",
    recipes: Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    n: int | None = None,
    seed: int = 0,
    steps: int | None = None,
    options: Mapping[str, Any] | None = None,
    threads: int | None = None,
    device: str = "auto",
    extractor: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = "leaderboard",
    progress: bool = False,
) -> Board:
    """Train recipes under one budget, judge all by one protocol, and rank them by the first metric with a direction.

    The arguments are the options of ``genzoo bench zoo``: ``metrics`` are `METRICS` by default, ``n`` as many as the
    test split has, up to 10,000, and ``options`` are those of all recipes (``{"train.batch_size": 128}``). The folder
    ``out`` gets the table (``leaderboard.md``), the page (``leaderboard.html``), the numbers (``leaderboard.json``) and
    every run; it keeps what is done: a killed call that is made again goes on, in the middle of a training too. None
    writes nothing.

    Raises:
        UsageError: for an unknown recipe, metric or budget, or if no recipe fits the data.
        GenzooError: if data cannot be read or results cannot be written.
    """
    effort = Effort(None if steps else parse_duration(budget), steps, threads, device)
    wanted = [e.name for e in choose(the_registry(), METRICS if metrics is None else metrics)[0]]
    test = load_data(data, split="test")
    configs, left_out = _composed(test, recipes, options or {})
    where = None if extractor is None else os.fspath(extractor)
    how = {"n": n, "seed": seed, "device": device, "extractor": where}
    contest = Contest(data, test, effort, options or {}, wanted, how, folder_for(out))
    with tqdm(configs.items(), unit="recipe", disable=not progress) as bar:
        lines = [contest.line(recipe, config, bar) for recipe, config in bar]
    real = contest.real()
    lines.sort(key=contest.rank)
    board = Board(data, effort, tuple(lines), real, left_out, contest.compared(lines))
    if contest.folder is not None:
        keep(contest.folder, "leaderboard", board.to_dict(), board_text(board), machine(device, threads))
        if board.compared is not None:
            title = f"{data}: {effort.text()} of training each"
            board.compared.save(contest.folder / "leaderboard.html", title=title)
    return board


def _composed(
    test: Data, recipes: Sequence[str] | None, options: Mapping[str, Any]
) -> tuple[dict[str, Config], dict[str, str]]:
    """Recipes with all their options, and those that do not fit the data."""
    registry = the_registry()
    fit, left_out = dict[str, Config](), dict[str, str]()
    for name in dict.fromkeys(recipes or [e.name for e in registry.entries("recipe")]):
        try:
            fit[name] = compose(registry, test.spec, name, options)
        except UsageError as e:
            if recipes:
                raise
            left_out[name] = str(e)
    if not fit:
        raise UsageError(f"no recipe fits {test.name}: {'; '.join(left_out.values())}")
    return fit, left_out


def board_table(board: Board, *, brief: bool = False) -> Table:
    """A row a recipe, best first, below what real data score; the winner of a column is bold.

    With ``brief``, for a terminal, without intervals, and with a star in place of bold.
    """

    def said(result: Result | None, best: bool = False) -> str:
        if result is None:
            return "–"
        if brief:
            return f"{result.value:.4g}{' *' * best}"
        return f"**{result.text()}**" if best else result.text()

    rows = () if board.compared is None else board.compared.rows
    real = {r.metric: r for r in board.real}
    table = [("", REAL, *(said(real.get(row.metric)) for row in rows), "", "")]
    place = 0
    for line in board.lines:
        if line.report is None:
            table.append(("–", line.recipe, *("–" for _ in rows), "", ""))
            continue
        cells = [said(row.results[place], row.best == place) for row in rows]
        place += 1
        table.append((str(place), line.recipe, *cells, f"{line.steps:,}", f"{line.parameters:,}"))
    return Table(("", "recipe", *(row.title for row in rows), "steps", "parameters"), table)


def board_text(board: Board) -> str:
    """The table in Markdown, with how to read it and what is missing."""
    record = board.real.record
    parts = [
        f"Trained on `{board.data}` for {board.effort.text()} each, judged by {record['fake']:,} samples against "
        f"{record['real']:,} observations of its test split; seed {record['seed']}"
        + (f", features of `{record['extractor']}`." if record.get("extractor") else "."),
        "Bold: better than every other recipe, its interval of 95 % having no point in common with theirs.",
        "",
        board_table(board).markdown(),
    ]
    broken = [f"`{line.recipe}`: {line.why}" for line in board.lines if line.why]
    missing = [f"`{name}`: {why}" for name, why in board.left_out.items()]
    for title, several in (("Broke down", broken), ("Left out", missing)):
        parts += ["", f"{title}: {'; '.join(several)}."] if several else []
    return "\n".join(parts) + "\n"
