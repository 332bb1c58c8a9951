"""Every recipe under one budget, judged by one protocol: ``genzoo bench zoo``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.evaluation.report import Report, Result
from genzoo.core.storage.files import write_bytes, write_json
from genzoo.core.units import duration_text, parse_duration
from genzoo.plugins.apps.bench.bench_report import Table, folder_for, machine_named, sentence
from genzoo.plugins.apps.bench.cells import Cell, Cells
from genzoo.plugins.apps.bench.timed_training import Effort, train_for
from genzoo.plugins.apps.compare.candidates import Candidate
from genzoo.plugins.apps.compare.compare import Compared
from genzoo.plugins.apps.compare.comparison import Comparison, Row
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
    """One recipe on the board.

    Attributes:
        recipe: its name.
        seconds: of training.
        steps: that were done.
        parameters: of what is kept, without critics.
        report: what it was judged to be, None if training broke down.
        why: why there is no report.
        folder: of the run, None if nothing is kept.
        was_there: whether an earlier call had trained it.
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
    """A leaderboard.

    Attributes:
        data: name of the data set.
        effort: what every recipe was given.
        lines: best first, by the first metric that has a direction.
        real: what real data score in place of samples: nobody can be expected to do better.
        left_out: recipes that do not fit these data, with the reason.
        compared: the same for a page; None if nothing was judged.
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
    """Train recipes under one budget, judge all by one protocol, and rank them.

    Args:
        data: name of a data set.
        budget: wall time of training each, in seconds or as ``10min``.
        recipes: their names; None takes all that fit the data.
        metrics: names or tags as for `genzoo.evaluate`; None takes `METRICS`. The first one that has a direction ranks.
        n: samples of each; None takes as many as the test split has, up to 10,000.
        seed: of training and of sampling.
        steps: of training each, in place of a time.
        options: by dotted name, of all recipes (``{"train.batch_size": 128}``).
        threads: of the CPU; None leaves torch's setting.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        extractor: as for `genzoo.evaluate`.
        out: folder for the table (``leaderboard.md``), the page (``leaderboard.html``), the numbers
            (``leaderboard.json``) and every run. It keeps what is done: a killed call that is made again goes on, in
            the middle of a training too. None writes nothing.
        progress: show a bar on stderr.

    Raises:
        UsageError: for an unknown recipe, metric or budget, or if no recipe fits the data.
        GenzooError: if data cannot be read or results cannot be written.
    """
    effort = Effort(None if steps else parse_duration(budget), steps, threads, device)
    chosen = METRICS if metrics is None else metrics
    wanted = [e.name for e in choose(the_registry(), chosen)[0]]
    test = load_data(data, split="test")
    configs, left_out = _composed(test, recipes, options or {})
    folder = folder_for(out)
    cells = Cells(folder)
    how: dict[str, Any] = {"n": n, "seed": seed, "device": device, "extractor": extractor, "strict": False}
    lines = []
    with tqdm(total=len(configs), unit="recipe", disable=not progress) as bar:
        for recipe, config in configs.items():
            bar.set_description_str(recipe)
            lines.append(_line(recipe, config, data, effort, seed, options or {}, wanted, how, cells, test, bar))
            bar.update()
        bar.set_description_str(REAL)
        real = _real(data, test, wanted, how, cells)
    lines.sort(key=lambda line: _rank(line, wanted))
    board = Board(data, effort, tuple(lines), real, left_out, _compared(lines, data, test, seed, extractor))
    if folder is not None:
        write_board(folder, board, machine_named(device, threads))
    return board


def _composed(
    test: Data, recipes: Sequence[str] | None, options: Mapping[str, Any]
) -> tuple[dict[str, Config], dict[str, str]]:
    """Recipes with all their options, and those that do not fit the data."""
    registry = the_registry()
    known = [e.name for e in registry.entries("recipe")]
    for name in recipes or ():
        if name not in known:
            raise UsageError(f"there is no recipe {name!r}{did_you_mean(name, known)}; see 'genzoo list recipe'")
    fit, left_out = dict[str, Config](), dict[str, str]()
    for name in dict.fromkeys(recipes or known):
        try:
            fit[name] = compose(registry, test.spec, name, options)
        except UsageError as e:
            if recipes:
                raise
            left_out[name] = str(e)
    if not fit:
        raise UsageError(f"no recipe fits {test.name}: {'; '.join(left_out.values())}")
    return fit, left_out


def _line(
    recipe: str, config: Config, data: str, effort: Effort, seed: int, options: Mapping[str, Any],
    wanted: Sequence[str], how: Mapping[str, Any], cells: Cells, test: Data, bar: Any,
) -> Line:  # fmt: skip
    """Train and judge one recipe, or read what an earlier call found."""
    plain = config.to_dict()
    for part in plain.values():  # what made it is no setting
        if isinstance(part, dict):
            part.pop("version", None)
    settings = {"data": data, "effort": asdict(effort), "seed": seed, "config": plain}
    cell = Cell(recipe, settings)
    folder, found = cells.run(cell), cells.get(cell)
    model: Any = folder
    was_there = found is not None and (found["why"] != "" or folder is not None)
    if not was_there:
        tell = partial(_say, bar, recipe, effort)
        try:
            trained = train_for(recipe, data, effort, seed=seed, options=options, folder=folder, tell=tell)
        except UsageError:
            raise
        except GenzooError as e:  # one that breaks down costs its own line, not the table
            found = {"why": str(e), "seconds": 0.0, "steps": 0, "parameters": 0}
        else:
            model = trained.run.model
            parameters = sum(p.numel() for p in model.parameters())
            found = {"why": "", "seconds": round(trained.seconds, 1), "steps": trained.steps, "parameters": parameters}
        cells.put(cell, found)
    if found["why"]:
        return Line(recipe, why=found["why"], was_there=was_there)
    bar.set_description_str(f"{recipe}: measuring")
    report = _judged(Cell(f"{recipe} judged", settings), model, recipe, data, test, wanted, how, cells)
    numbers = {k: found[k] for k in ("seconds", "steps", "parameters")}
    return Line(recipe, **numbers, report=report, folder=folder, was_there=was_there)


def _judged(
    of: Cell, subject: Any, name: str, data: str, test: Data, wanted: Sequence[str], how: Mapping[str, Any],
    cells: Cells,
) -> Report:  # fmt: skip
    protocol = {**how, "extractor": None if how["extractor"] is None else os.fspath(how["extractor"])}
    cell = Cell(of.name, {**of.settings, "metrics": list(wanted), "how": protocol, "test": test.fingerprint()})
    kept = cells.get(cell)
    if kept is not None:
        return Report.from_dict(kept)
    report = evaluate(subject, test, wanted, training=data, name=name, **how)
    cells.put(cell, report.to_dict())
    return report


def _real(data: str, test: Data, wanted: Sequence[str], how: Mapping[str, Any], cells: Cells) -> Report:
    """Judge as many real observations of the train split."""
    train = load_data(data, split="train")
    count = min(how["n"] or min(len(test), MOST), len(train))
    return _judged(
        Cell(REAL, {"data": data}), subset(train, count), REAL, data, test, wanted, {**how, "n": None}, cells
    )


def _say(bar: Any, what: str, effort: Effort, share: float) -> None:
    whole = duration_text(effort.seconds) if effort.seconds is not None else f"{effort.steps:,} steps"
    bar.set_description_str(f"{what}: {share:.0%} of {whole}")


def _rank(line: Line, wanted: Sequence[str]) -> tuple[bool, float, str]:
    """Best first; those without the metric that ranks last."""
    for metric in wanted:
        for result in line.report or ():
            if result.metric == metric and result.direction != "none":
                return False, -result.value if result.direction == "higher" else result.value, line.recipe
    return True, 0.0, line.recipe


def _compared(lines: Sequence[Line], data: str, test: Data, seed: int, extractor: Any) -> Compared | None:
    """What the page is made of: the reports side by side with the models."""
    judged = [line for line in lines if line.report is not None]
    if not judged:
        return None
    names = [line.recipe for line in judged]
    found = Comparison.of([line.report for line in judged if line.report is not None], names)
    sides = tuple(
        Candidate(line.recipe, line.recipe)
        if line.folder is None
        else Candidate(line.recipe, str(line.folder), model=load(line.folder), history=history_of(line.folder))
        for line in judged
    )
    training = partial(load_data, data, split="train")
    return Compared(found.names, found.reports, found.rows, sides, test, training, seed, extractor)


def board_table(board: Board, *, brief: bool = False) -> Table:
    """A row a recipe, best first, below what real data score; the winner of a column is bold.

    Args:
        board: what `zoo` gave.
        brief: for a terminal: without intervals, and with a star in place of bold.
    """

    def said(result: Result | None, best: bool) -> str:
        if result is None:
            return "–"
        if brief:
            return f"{result.value:.4g}{' *' * best}"
        return f"**{result.text()}**" if best else result.text()

    rows: Sequence[Row] = () if board.compared is None else board.compared.rows
    header = ("", "recipe", *(row.title for row in rows), "steps", "parameters")
    real = {r.metric: said(r, False) for r in board.real}
    table = [("", REAL, *(real.get(row.metric, "–") for row in rows), "", "")]
    place = 0
    for line in board.lines:
        if line.report is None:
            table.append(("–", line.recipe, *("–" for _ in rows), "", ""))
            continue
        cells = [said(row.results[place], row.best == place) for row in rows]
        place += 1
        table.append((str(place), line.recipe, *cells, f"{line.steps:,}", f"{line.parameters:,}"))
    return Table(header, table)


def write_board(folder: Path, board: Board, about: Mapping[str, Any]) -> None:
    """Write ``leaderboard.md``, ``leaderboard.html`` and ``leaderboard.json``."""
    write_json(folder / "leaderboard.json", {"machine": about, **board.to_dict()})
    write_bytes(folder / "leaderboard.md", f"{board_text(board)}\n{sentence(about)}.\n".encode())
    if board.compared is not None:
        board.compared.save(folder / "leaderboard.html", title=f"{board.data}: {_given(board)} of training each")


def _given(board: Board) -> str:
    effort = board.effort
    return duration_text(effort.seconds) if effort.seconds is not None else f"{effort.steps:,} steps"


def board_text(board: Board) -> str:
    """The table in Markdown, with how to read it and what is missing."""
    record = board.real.record
    parts = [
        f"Trained on `{board.data}` for {_given(board)} each, judged by {record['fake']:,} samples against "
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
