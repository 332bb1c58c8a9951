"""Mode coverage where the modes are known, on mixtures and on stacked pictures: ``genzoo bench modes``."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.noise import generator
from genzoo.core.pictures import grids as pictures
from genzoo.core.storage.files import write_bytes, write_json
from genzoo.core.units import duration_text, parse_duration
from genzoo.plugins.apps.bench.bench_report import Table, folder_for, machine_named, sentence
from genzoo.plugins.apps.bench.cells import Cell, Cells
from genzoo.plugins.apps.bench.timed_training import Effort, train_for
from genzoo.plugins.datasets.stacked import TESTED, Stacked, StackedDigits, StackedFashion
from genzoo.plugins.datasets.toys import Grid25, Mixture, Ring8
from genzoo.plugins.metrics.labels import class_coverage, stacked
from genzoo.plugins.metrics.modes import ModeCoverage, mode_coverage
from genzoo.plugins.metrics.stacked_modes import MODES, classes_of, modes_of
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose

MIXTURES: dict[str, type[Mixture]] = {"grid25": Grid25, "ring8": Ring8}
STACKS: dict[str, type[Stacked]] = {"stacked-digits": StackedDigits, "stacked-fashion": StackedFashion}
KNOWN = (*MIXTURES, *STACKS)
SAMPLES = 2500  # of a mixture; of stacks 26,000
STACK_BUDGET = 240.0  # seconds of a cell of stacks, where none are given


@dataclass(frozen=True)
class Contender:
    """A line of a mode-coverage table: a recipe with its best settings there.

    Attributes:
        label: for people.
        recipe: its name.
        steps: on a mixture, where no budget is given.
        options: by dotted name, over the recipe's.
    """

    label: str
    recipe: str
    steps: int
    options: Mapping[str, Any] = field(default_factory=dict)


# The recipes' own settings for vectors: three hidden layers of 128, codes of 2, batches of 256, a learning rate of
# 1e-3 falling as a cosine.
CONTENDERS = (
    Contender("r3gan", "r3gan", 8000),
    Contender("wgan-gp", "wgan-gp", 3000),
    Contender("gan, minimax (the article's)", "gan", 8000, {"objective.loss": "minimax"}),
    Contender("gan, non-saturating", "gan", 8000),
    Contender("wgan, clipping", "wgan", 3000),
)


def contenders(only: Sequence[str] = ()) -> list[Contender]:
    """Every GAN in the zoo, those of other distributions too: `CONTENDERS`, and the rest with their own settings.

    Args:
        only: those whose label starts like one of these; none for all.

    Raises:
        UsageError: if nobody's label starts like that.
    """
    known = {c.recipe for c in CONTENDERS}
    registry = the_registry()
    gans = {e.name for e in registry.entries("objective", tag="gan")}
    rest = [e.name for e in registry.entries("recipe") if e.data["objective"] in gans and e.name not in known]
    everyone = [*CONTENDERS, *(Contender(name, name, 8000) for name in rest)]
    for prefix in only:
        if not any(c.label.startswith(prefix) for c in everyone):
            labels = [c.label for c in everyone]
            raise UsageError(
                f"no contender starts with {prefix!r}{did_you_mean(prefix, labels)}: there are {', '.join(labels)}"
            )
    return [c for c in everyone if not only or any(c.label.startswith(o) for o in only)]


@dataclass(frozen=True)
class ModeResult:
    """One trained model judged: a cell of the table.

    Attributes:
        data: the data set.
        label: of the contender.
        seed: of the run, and of the samples that were judged.
        coverage: what it covers; of stacks without ``high_quality`` (NaN), and one sample is enough for a mode.
        seconds: of training.
        steps: of training.
        points: samples of a mixture ``(2500, 2)``; of stacks none.
        was_there: whether an earlier call had measured it.
    """

    data: str
    label: str
    seed: int
    coverage: ModeCoverage
    seconds: float
    steps: int
    points: list[list[float]]
    was_there: bool = field(default=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the points."""
        about = {"data": self.data, "label": self.label, "seed": self.seed}
        return {**about, "seconds": self.seconds, "steps": self.steps, **self.coverage.to_dict()}


@dataclass(frozen=True)
class _Job:
    """What a cell takes to be made, in another process perhaps."""

    data: str
    contender: Contender
    seed: int
    effort: Effort
    cell: Cell


def modes(
    data: str | Sequence[str] = "grid25",
    *,
    seeds: int | None = None,
    contenders: Sequence[Contender] = CONTENDERS,
    budget: float | str | None = None,
    steps: int | None = None,
    jobs: int | None = None,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> list[ModeResult]:
    """Train every contender on data with known modes and measure which of them it covers.

    Args:
        data: of ``grid25``, ``ring8``, ``stacked-digits`` and ``stacked-fashion``, one or several.
        seeds: runs of each contender; None makes 3 on mixtures and 1 on stacks.
        contenders: recipes with their settings; `genzoo.plugins.apps.bench.contenders` gives all there are.
        budget: wall time of training each cell, in seconds or as ``10min``; None goes by the contenders' steps on
            mixtures and takes 4 minutes on stacks.
        steps: of each cell, in place of a time.
        jobs: processes at a time; None takes one per core on mixtures, one on stacks.
        threads: of each; None takes one on mixtures, and on stacks the cores shared out among the processes.
        out: folder for the table (``modes.md``), the numbers (``modes.json``) and a picture of each mixture. It also
            keeps every finished cell, and a killed call that is made again goes on with those that are missing;
            None writes nothing.
        progress: show a bar on stderr.

    Returns:
        Results by data, contender and seed, in order. `reference_lines` gives what to read them against.

    Raises:
        UsageError: for data whose modes are not known, and a budget that is none.
    """
    names = [data] if isinstance(data, str) else list(dict.fromkeys(data))
    for name in names:
        if name not in KNOWN:
            raise UsageError(f"modes are known of {', '.join(KNOWN)}, not of {name!r}{did_you_mean(name, KNOWN)}")
    if budget is not None and steps is not None:
        raise UsageError("give a budget or a number of steps, not both")
    seconds = None if budget is None else parse_duration(budget)
    folder = folder_for(out)
    cells = Cells(folder)
    results: dict[str, ModeResult] = {}
    todo: dict[bool, list[_Job]] = {False: [], True: []}
    order: list[str] = []
    for name in names:
        stack = name in STACKS
        at_once = jobs or (1 if stack else os.cpu_count() or 1)
        each = threads or (max((os.cpu_count() or 1) // at_once, 1) if stack else 1)
        for contender in contenders:
            for seed in range((1 if stack else 3) if seeds is None else seeds):
                job = _job(name, contender, seed, seconds, steps, each)
                order.append(job.cell.key)
                before = cells.get(job.cell)
                if before is not None:
                    results[job.cell.key] = _read(before)
                else:
                    todo[stack].append(job)
    with tqdm(total=len(order), initial=len(results), desc="modes", unit="run", disable=not progress) as bar:
        for stack, several in todo.items():
            at_once = jobs or (1 if stack else os.cpu_count() or 1)
            for job, result in _made(several, cells, at_once, bar):
                cells.put(job.cell, {**result.to_dict(), "points": result.points})
                results[job.cell.key] = result
                bar.update()
    ordered = [results[key] for key in order]
    if folder is not None:
        write_modes(folder, ordered, machine_named("cpu", threads))
    return ordered


def _job(data: str, contender: Contender, seed: int, seconds: float | None, steps: int | None, threads: int) -> _Job:
    """A cell, and all that its numbers depend on."""
    if seconds is None and steps is None:
        seconds, steps = (STACK_BUDGET, None) if data in STACKS else (None, contender.steps)
    source = (STACKS if data in STACKS else MIXTURES)[data]
    few = source(replace(source.Options(), samples=2))
    config = compose(the_registry(), few.read("train").spec, contender.recipe, contender.options).to_dict()
    for part in config.values():  # what made it is no setting
        if isinstance(part, dict):
            part.pop("version", None)
    effort = Effort(seconds, steps, threads, "cpu")
    settings = {"data": data, "label": contender.label, "seed": seed, "effort": asdict(effort), "config": config}
    return _Job(data, contender, seed, effort, Cell(f"{data} {contender.label} {seed}", settings))


def _made(jobs: Sequence[_Job], cells: Cells, at_once: int, bar: Any) -> Iterator[tuple[_Job, ModeResult]]:
    """Make cells, in this process if one at a time."""
    if at_once == 1 or len(jobs) == 1:
        for job in jobs:
            said = f"{job.data}, {job.contender.label}, seed {job.seed}"
            bar.set_description_str(said)
            yield job, _cell(job, cells, partial(_say, bar, said, job.effort))
        return
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    pool = ProcessPoolExecutor(at_once, mp_context=context)
    try:
        futures = {pool.submit(_cell, job, cells): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _say(bar: Any, what: str, effort: Effort, share: float) -> None:
    whole = duration_text(effort.seconds) if effort.seconds is not None else f"{effort.steps:,} steps"
    bar.set_description_str(f"{what}: {share:.0%} of {whole}")


def _cell(job: _Job, cells: Cells, tell: Callable[[float], None] | None = None) -> ModeResult:
    """Train and judge one contender with one seed."""
    folder = cells.run(job.cell) if job.data in STACKS else None  # what takes minutes can be gone on with
    trained = train_for(
        job.contender.recipe, job.data, job.effort, seed=job.seed, options=job.contender.options, folder=folder,
        tell=tell,
    )  # fmt: skip
    model, points = trained.run.model, list[list[float]]()
    if job.data in MIXTURES:
        x = model.sample(SAMPLES, seed=job.seed)
        coverage = mode_coverage(x, MIXTURES[job.data].centres, MIXTURES[job.data].sigma)
        points = [[round(v, 4) for v in p] for p in torch.nan_to_num(x).tolist()]
    else:
        found = [
            modes_of(x.cpu(), STACKS[job.data].classifier)
            for x, _ in model.sample_batches(TESTED, seed=job.seed, batch_size=1000)
        ]
        coverage = stack_coverage(torch.cat(found))
    return ModeResult(
        job.data, job.contender.label, job.seed, coverage, round(trained.seconds, 1), trained.steps, points
    )


def stack_coverage(predicted: Tensor) -> ModeCoverage:
    """What stacks cover, given the modes ``(N,)`` that a classifier sees: one sample is enough for a mode."""
    found = class_coverage(predicted, MODES)
    return ModeCoverage(found.captured, found.of, float("nan"), found.kl, found.floor, found.samples)


def reference_lines(data: str) -> dict[str, tuple[Tensor, ModeCoverage]]:
    """What to read a table against: samples of the real data, and uniform noise; of stacks without the samples."""
    return _stack_lines(data) if data in STACKS else _mixture_lines(data)


def _mixture_lines(data: str) -> dict[str, tuple[Tensor, ModeCoverage]]:
    mixture, random = MIXTURES[data], generator(0, 0xF1)
    limit = limit_of(data)
    centres = torch.tensor(mixture.centres)
    chosen = centres[torch.randint(len(centres), (SAMPLES,), generator=random)]
    clouds = {
        "real data": chosen + mixture.sigma * torch.randn(SAMPLES, 2, generator=random),
        f"uniform noise on [-{limit:g}, {limit:g}]²": (torch.rand(SAMPLES, 2, generator=random) * 2 - 1) * limit,
    }
    return {name: (x, mode_coverage(x, mixture.centres, mixture.sigma)) for name, x in clouds.items()}


def _stack_lines(data: str) -> dict[str, tuple[Tensor, ModeCoverage]]:
    """Stacks are of few pictures, so those are judged, once each."""
    random, source = generator(0, 0xF2), STACKS[data]
    real = source(source.Options()).base("test").x.float() / 255
    lines = {}
    for name, x in {
        "real data": real,
        "uniform noise of pixels": torch.rand(1000, 1, 28, 28, generator=random),
    }.items():
        classes = classes_of(x, source.classifier)
        drawn = classes[torch.randint(len(classes), (TESTED, 3), generator=random)]
        lines[name] = (torch.empty(0), stack_coverage(stacked(drawn)))
    return lines


def limit_of(data: str) -> float:
    """Half the side of the square in which a mixture is looked at."""
    return 1.25 * max(abs(v) for c in MIXTURES[data].centres for v in c)


def mode_rows(data: str, results: Sequence[ModeResult]) -> Iterator[tuple[str, ...]]:
    """Rows of the table of one data set: data, who, seed, modes, high-quality share, KL, its floor, steps, seconds."""
    for name, (_, c) in reference_lines(data).items():
        yield (data, name, "", *_numbers(c), "", "")
    for r in results:
        if r.data == data:
            yield (data, r.label, str(r.seed), *_numbers(r.coverage), f"{r.steps:,}", f"{r.seconds:.0f}")


def mode_table(results: Sequence[ModeResult]) -> Table:
    """The table of all data sets, each below what to read it against."""
    header = ("data", "", "seed", "modes", "good", "KL", "KL floor", "steps", "seconds")
    names = dict.fromkeys(r.data for r in results)
    return Table(header, [row for name in names for row in mode_rows(name, results)])


def _numbers(c: ModeCoverage) -> tuple[str, str, str, str]:
    good = f"{c.high_quality:.1%}" if c.high_quality == c.high_quality else "–"
    return f"{c.modes}/{c.of}", good, f"{c.kl:.4f}", f"{c.floor:.4f}"


def _read(kept: Mapping[str, Any]) -> ModeResult:
    """A result as a cell keeps it."""
    names = ModeCoverage.__dataclass_fields__
    missing = {"high_quality": float("nan"), "kl": float("inf"), "floor": float("inf")}
    numbers: dict[str, Any] = {k: missing[k] if kept[k] is None else kept[k] for k in names}
    rest = {k: kept[k] for k in ("data", "label", "seed", "seconds", "steps", "points")}
    return ModeResult(**rest, coverage=ModeCoverage(**numbers), was_there=True)


def write_modes(out: Path, results: Sequence[ModeResult], about: Mapping[str, Any]) -> None:
    """Write ``modes.md``, ``modes.json`` and ``modes-MIXTURE.png``."""
    names = list(dict.fromkeys(r.data for r in results))
    document = {
        "machine": about,
        "reference": {d: {name: c.to_dict() for name, (_, c) in reference_lines(d).items()} for d in names},
        "results": [r.to_dict() for r in results],
    }
    write_json(out / "modes.json", document)
    write_bytes(out / "modes.md", f"{mode_table(results).markdown()}\n\n{sentence(about)}\n".encode())
    for name in names:
        if name in MIXTURES:
            _picture(out, name, [r for r in results if r.data == name])


def _picture(out: Path, data: str, results: Sequence[ModeResult]) -> None:
    """Samples of every run over real data, a row a contender."""
    real = reference_lines(data)["real data"][0]
    panels = []
    for r in results:
        c = r.coverage
        title = f"{r.label}, seed {r.seed}: {c.modes}/{c.of}, {c.high_quality:.0%} good"
        points = torch.tensor(r.points).view(SAMPLES, 2)
        panels.append(pictures.scatter(points, real, size=320, limit=limit_of(data), title=title))
    seeds = len({r.seed for r in results})
    pictures.save(pictures.beside(panels, columns=seeds), out / f"modes-{data}.png")
