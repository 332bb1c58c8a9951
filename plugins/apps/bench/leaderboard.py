"""Every recipe under one budget, or trained weights, judged by one protocol: ``genzoo bench zoo`` and ``weights``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import inf, isnan
from pathlib import Path
from typing import Any

from tqdm import tqdm

from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.report import Report
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.core.text import error_line
from genzoo.core.units import parse_duration
from genzoo.plugins.apps.bench.bench_report import Cell, Effort, folder_for, keep, machine, train_for
from genzoo.plugins.apps.bench.board import REAL, Board, Line, board_text, by_reason, side_by_side
from genzoo.plugins.apps.compare.compare import Compared
from genzoo.plugins.apps.compare.comparison import Candidate
from genzoo.registry import the_registry
from genzoo.registry.defaults import choose
from genzoo.registry.recipes.compose import compose
from genzoo.registry.recipes.read import find
from genzoo.registry.verbs.evaluate import MOST, evaluate
from genzoo.registry.verbs.initialize import initialize
from genzoo.registry.verbs.load import load, load_data
from genzoo.registry.verbs.starting import require_start
from genzoo.registry.verbs.subjects import subset
from genzoo.registry.weights import resolve
from genzoo.registry.weights.base import Located
from genzoo.registry.weights.history import history_of

# Of samples first; a model without an encoder is honestly absent from the last two.
METRICS = (
    *("frechet", "kid", "precision", "recall", "density", "coverage"),
    *("classes", "diversity", "elbo", "psnr"),
)
SHOWN = 12  # on the page, which draws, decodes and looks for copies: a hundred would take hours, and nobody reads them


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
            except Exception as e:  # one that breaks down costs its own line, not the table
                found = {"why": error_line(e)}
                if not isinstance(e, GenzooError) or isinstance(e, UsageError):
                    return Line(recipe, **found)  # what can be mended is tried again
            else:
                model, parameters = run.model, sum(p.numel() for p in run.model.parameters())
                found = {"seconds": round(run.seconds, 1), "steps": run.steps, "parameters": parameters}
            cell.put(found)
        line = Line(recipe, **found, was_there=was_there, folder=cell.run)
        return line if line.why else self.judged(line, cell, model, bar)

    def trained(self, name: str, found: Located, bar: Any) -> Line:
        """Judge weights as they are, or read what an earlier call found: other files by that name are judged anew."""
        known = history_of(found.folder).record
        cell = Cell(self.folder, name, {"data": self.data, "files": {k: dict(f) for k, f in found.files.items()}})
        line = Line(name, folder=found.folder)
        if known is not None:
            line = replace(line, seconds=known.seconds or 0.0, steps=known.steps or 0, parameters=known.parameters or 0)
        return self.judged(line, cell, found.folder, bar)

    def judged(self, line: Line, cell: Cell, subject: Any, bar: Any) -> Line:
        """The line with its report; a model that cannot be measured costs its own line too."""
        bar.set_description_str(f"{line.recipe}: measuring")
        try:
            return replace(line, report=self.judge(replace(cell, name=f"{cell.name} judged"), subject, line.recipe))
        except Exception as e:  # of a plugin's model, or of data that do not fit it
            return replace(line, why=error_line(e))

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

    def ranked(self, lines: Sequence[Line]) -> tuple[str, tuple[Line, ...]]:
        """The first metric with a direction that any line has, and the lines by it; those without a place come last.

        A likelihood of densities does not compare with one of probabilities: what most lines have is ranked, and
        probabilities where as many have each.
        """
        found = [{r.metric: r for r in line.report or ()} for line in lines]
        directed = (m for m in self.metrics if any(m in f and f[m].direction != "none" for f in found))
        by = next(directed, "")
        numbers = {line.recipe: f[by] for line, f in zip(lines, found, strict=True) if by in f}
        kinds = Counter(bool(r.details.get("density")) for r in numbers.values())
        density = kinds[True] > kinds[False]

        def key(line: Line) -> tuple[bool, float]:
            result = numbers.get(line.recipe)
            if result is None:
                return True, inf
            value = -result.value if result.direction == "higher" else result.value
            return isnan(value) or bool(result.details.get("density")) != density, value

        best_first = sorted(sorted(lines, key=lambda line: line.recipe), key=key)
        return by, tuple(
            replace(line, place=None if key(line)[0] else place) for place, line in enumerate(best_first, 1)
        )

    def page(self, lines: Sequence[Line]) -> Compared | None:
        """The reports side by side with the models, and what else a page shows."""
        sides = tuple(
            Candidate(line.recipe, str(f), load(f), history=history_of(f))
            if (f := line.folder) is not None
            else Candidate(line.recipe, line.recipe)
            for line in lines
        )
        return side_by_side(
            lines, sides=sides, data=self.test, training=partial(load_data, self.data), seed=self.how["seed"],
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
    test = load_data(data, split="test")
    configs, left_out = _composed(test, recipes, options or {})
    how = {"n": n, "seed": seed, "device": device, "extractor": extractor}
    contest = _contest(data, test, effort, options or {}, metrics, how, out)
    real = contest.real()  # first: what is asked wrongly shows before anything is trained
    with tqdm(configs.items(), unit="recipe", disable=not progress) as bar:
        lines = [contest.line(recipe, config, bar) for recipe, config in bar]
    return _finished(contest, lines, real, left_out, f"{effort.text()} of training each")


def weights(
    data: str = "fashion-mnist",
    names: Sequence[str] | None = None,
    *,
    metrics: str | Sequence[str] | None = None,
    n: int | None = None,
    seed: int = 0,
    device: str = "auto",
    extractor: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = "trained",
    progress: bool = False,
) -> Board:
    """Judge trained weights by the protocol of `zoo`, and rank them.

    ``names`` are of weights, or folders; None takes all in the zoo that were trained on these data. The folder ``out``
    gets what that of `zoo` does, but for the runs, and keeps what is done.

    Raises:
        UsageError: for unknown weights or an unknown metric, or if nothing in the zoo was trained on the data.
        GenzooError: if data or weights cannot be read or results cannot be written.
    """
    test = load_data(data, split="test")
    located = {name: resolve(name) for name in names or _trained_on(data)}
    how = {"n": n, "seed": seed, "device": device, "extractor": extractor}
    contest = _contest(data, test, Effort(), {}, metrics, how, out)
    real = contest.real()
    with tqdm(located.items(), unit="model", disable=not progress) as bar:
        lines = [contest.trained(name, found, bar) for name, found in bar]
    return _finished(contest, lines, real, {}, "trained weights")


def _trained_on(data: str) -> list[str]:
    """Names of the zoo's weights whose record says that they were trained on a data set."""
    names = [e.name for e in the_registry().entries("weights")]
    records = {name: history_of(name).record for name in names}
    if not (found := [name for name, record in records.items() if record is not None and record.data.name == data]):
        raise UsageError(f"no weights of the zoo were trained on {data!r}: name some; 'genzoo list weights' shows them")
    return found


def _contest(
    data: str,
    test: Data,
    effort: Effort,
    options: Mapping[str, Any],
    metrics: Any,
    how: dict[str, Any],
    out: Any,
) -> Contest:
    wanted = [e.name for e in choose(the_registry(), METRICS if metrics is None else metrics)[0]]
    how["extractor"] = None if how["extractor"] is None else os.fspath(how["extractor"])
    return Contest(data, test, effort, options, wanted, how, folder_for(out))


def _finished(contest: Contest, lines: Sequence[Line], real: Report, left_out: Mapping[str, str], what: str) -> Board:
    """Rank the lines, and write the table, the numbers and a page of the best."""
    by, ranked = contest.ranked(lines)
    judged = [line for line in ranked if line.report is not None]
    effort = None if contest.effort == Effort() else contest.effort
    board = Board(contest.data, effort, ranked, real, left_out, side_by_side(ranked), by)
    if contest.folder is not None:
        about = machine(contest.how["device"], contest.effort.threads)
        keep(contest.folder, "leaderboard", board.to_dict(), board_text(board), about)
        if (page := contest.page(judged[:SHOWN])) is not None:
            best = f", the best {SHOWN} of {len(judged)}" if len(judged) > SHOWN else ""
            page.save(contest.folder / "leaderboard.html", title=f"{contest.data}: {what}{best}")
    return board


def _composed(
    test: Data, recipes: Sequence[str] | None, options: Mapping[str, Any]
) -> tuple[dict[str, Config], dict[str, str]]:
    """Recipes with all their options, and those that do not fit the data or cannot be trained on them alone."""
    registry, kind = the_registry(), of(test.spec)
    fit, left_out = dict[str, Config](), dict[str, str]()
    specs = dict[tuple[str, ...], DataSpec]()  # of the kinds that a recipe is for: sounds as spectrograms
    for name in dict.fromkeys(recipes or [e.name for e in registry.entries("recipe")]):
        try:
            kinds = find(registry, name).modalities
            if kinds not in specs:
                specs[kinds] = kind.recast(test, kinds).spec
            config = compose(registry, specs[kinds], name, options)
            _require_trainable(config)
            fit[name] = config
        except UsageError as e:
            if recipes:
                raise
            left_out[name] = str(e)
    if not fit:
        raise UsageError(f"no recipe fits {test.name}: {'; '.join(by_reason(left_out))}")
    return fit, left_out


def _require_trainable(config: Config) -> None:
    """Build it; raises `UsageError` where it cannot be trained on these data, or only from weights."""
    try:
        objective, _ = initialize(config, 0)
    except UsageError:
        raise
    except Exception:  # breaks down when it is trained, too, and costs its own line
        return
    require_start(objective, None, config)
