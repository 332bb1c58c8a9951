"""Mode coverage where the modes are known, on mixtures and on stacked pictures: ``genzoo bench modes``."""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from genzoo.core.data import KnownModes
from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.noise import generator
from genzoo.core.pictures import grids as pictures
from genzoo.core.training.terms import TrainingDiverged
from genzoo.core.units import parse_duration
from genzoo.plugins.apps.bench.bench_report import Cell, Effort, Table, folder_for, keep, machine, train_for
from genzoo.plugins.datasets.toys import Stacked, StackedDigits, StackedFashion
from genzoo.plugins.metrics.labels import class_coverage
from genzoo.plugins.metrics.modes import MODES, ModeCoverage, classes_of, mode_coverage, modes_of, stacked
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.load import load_data

STACKS: dict[str, type[Stacked]] = {"stacked-digits": StackedDigits, "stacked-fashion": StackedFashion}
KNOWN = ("grid25", "ring8", *STACKS)
STACK_BUDGET = 240.0  # seconds of a cell of stacks, where none are given


@dataclass(frozen=True)
class Contender:
    """A recipe with its best settings on mixtures, and the steps it takes there where no budget is given."""

    label: str
    recipe: str
    steps: int
    options: Mapping[str, Any] = field(default_factory=dict)


# The recipes' own settings for vectors: three hidden layers of 128, codes of 2, batches of 256, a learning rate of
# 1e-3, of r3gan 2e-3, falling as a cosine.
CONTENDERS = (
    Contender("r3gan", "r3gan", 16_000),
    Contender("wgan-gp", "wgan-gp", 3000),
    Contender("self-conditioned-gan", "self-conditioned-gan", 3000),
    Contender("gan, minimax (the article's)", "gan", 8000, {"objective.loss": "minimax"}),
    Contender("gan, non-saturating", "gan", 8000),
    Contender("wgan, clipping", "wgan", 3000),
)


def contenders(only: Sequence[str] = ()) -> list[Contender]:
    """Every GAN in the zoo, those of other distributions too: `CONTENDERS`, and the rest with their own settings.

    Given ``only``, those whose label starts like one of these; `UsageError` if nobody's does.
    """
    known = {c.recipe for c in CONTENDERS}
    registry = the_registry()
    gans = {e.name for e in registry.entries("objective", tag="gan")}
    rest = [e.name for e in registry.entries("recipe") if e.data["objective"] in gans and e.name not in known]
    everyone = [*CONTENDERS, *(Contender(name, name, 8000) for name in rest)]
    labels = [c.label for c in everyone]
    for prefix in only:
        if not any(label.startswith(prefix) for label in labels):
            raise UsageError(
                f"no contender starts with {prefix!r}{did_you_mean(prefix, labels)}: there are {', '.join(labels)}"
            )
    return [c for c in everyone if not only or c.label.startswith(tuple(only))]


@dataclass(frozen=True)
class ModeResult:
    """One trained model judged: a cell of the table, with the samples of a mixture ``(2500, 2)``.

    The coverage of stacks has no ``high_quality`` (NaN), and one sample is enough for a mode. A training that broke
    down has no steps, no samples and no modes.
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

    @classmethod
    def from_cell(cls, kept: Mapping[str, Any]) -> ModeResult:
        """Rebuild from `to_dict`'s output and the points."""
        missing = {"high_quality": float("nan"), "kl": float("inf"), "floor": float("inf")}
        numbers: dict[str, Any] = {k: kept[k] for k in ModeCoverage.__dataclass_fields__}
        numbers |= {k: v for k, v in missing.items() if kept[k] is None}
        rest = {k: kept[k] for k in ("data", "label", "seed", "seconds", "steps", "points")}
        return cls(**rest, coverage=ModeCoverage(**numbers), was_there=True)


@dataclass(frozen=True)
class _Job:
    """What a cell takes to be made, in another process perhaps."""

    data: str
    known: KnownModes
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

    The arguments are the options of ``genzoo bench modes``; ``contenders`` are recipes with their settings, of which
    the function of that name gives all there are. The folder ``out`` gets the table (``modes.md``), the numbers
    (``modes.json``) and a picture of each mixture, and keeps every finished cell: a killed call that is made again goes
    on with those that are missing. None writes nothing.

    Returns:
        Results by data, contender and seed, in order, without those that do not fit the data (`left_out`).
        `reference_lines` gives what to read them against.

    Raises:
        UsageError: for data whose modes are not known, a budget that is none, and if no contender fits the data.
    """
    folder = folder_for(out)
    results = covered(data, folder, contenders, seeds, budget, steps, jobs, threads, progress)
    if folder is not None:
        keep(folder, "modes", modes_dict(results), mode_table(results).markdown(), machine("cpu", threads))
        for name in {r.data for r in results} - set(STACKS):
            _picture(folder, name, [r for r in results if r.data == name])
    return results


def covered(
    data: str | Sequence[str],
    folder: Path | None,
    contenders: Sequence[Contender],
    seeds: int | None,
    budget: float | str | None,
    steps: int | None,
    jobs: int | None,
    threads: int | None,
    progress: bool,
) -> list[ModeResult]:
    """What `modes` gives, with cells in the folder and nothing else."""
    names = [data] if isinstance(data, str) else list(dict.fromkeys(data))
    for name in names:
        if name not in KNOWN:
            raise UsageError(f"modes are known of {', '.join(KNOWN)}, not of {name!r}{did_you_mean(name, KNOWN)}")
    if budget is not None and steps is not None:
        raise UsageError("give a budget or a number of steps, not both")
    seconds = None if budget is None else parse_duration(budget)
    cores, results = os.cpu_count() or 1, list[ModeResult]()
    for name in names:
        stack = name in STACKS
        at_once = jobs or (1 if stack else cores)
        effort = Effort(seconds, steps, threads or (max(cores // at_once, 1) if stack else 1), "cpu")
        of_each = range((1 if stack else 3) if seeds is None else seeds)
        left = left_out(name, contenders)
        if contenders and len(left) == len(contenders):
            raise UsageError(f"none of them fits {name}: {'; '.join(left.values())}")
        fit = [c for c in contenders if c.label not in left]
        todo = [_job(name, contender, seed, effort, folder) for contender in fit for seed in of_each]
        with tqdm(total=len(todo), desc=name, unit="run", disable=not progress) as bar:
            for result in _made(todo, at_once, bar):
                results.append(result)
                bar.update()
    return results


def left_out(data: str, contenders: Sequence[Contender]) -> dict[str, str]:
    """Labels of the contenders that do not fit the data, with the reason."""
    registry, spec, left = the_registry(), load_data(data, options={"samples": 2}).spec, dict[str, str]()
    for contender in contenders:
        try:
            compose(registry, spec, contender.recipe, contender.options)
        except UsageError as e:
            left[contender.label] = str(e)
    return left


def _job(data: str, contender: Contender, seed: int, effort: Effort, folder: Path | None) -> _Job:
    """A cell, and all that its numbers depend on."""
    if effort.seconds is None and effort.steps is None:
        stack = data in STACKS
        effort = replace(effort, seconds=STACK_BUDGET) if stack else replace(effort, steps=contender.steps)
    few = load_data(data, options={"samples": 2})
    assert few.modes is not None
    config = compose(the_registry(), few.spec, contender.recipe, contender.options).flat()
    settings = {"data": data, "label": contender.label, "seed": seed, "effort": asdict(effort), "config": config}
    return _Job(data, few.modes, contender, seed, effort, Cell(folder, f"{data} {contender.label} {seed}", settings))


def _made(jobs: Sequence[_Job], at_once: int, bar: Any) -> Iterator[ModeResult]:
    """Results of cells, in order; in this process if one at a time."""
    if at_once > 1:
        with ProcessPoolExecutor(at_once, mp_context=multiprocessing.get_context("spawn")) as pool:  # forks may hang
            yield from pool.map(_cell, jobs)
        return
    for job in jobs:
        yield _cell(job, job.effort.on(bar, f"{job.data}, {job.contender.label}, seed {job.seed}"))


def _cell(job: _Job, tell: Callable[[float], None] | None = None) -> ModeResult:
    """Train and judge one contender with one seed, or read what an earlier call found."""
    if (kept := job.cell.get()) is not None:
        return ModeResult.from_cell(kept)
    recipe, options, known = job.contender.recipe, job.contender.options, job.known
    folder = job.cell.run if known.classifier else None  # what takes minutes can be gone on with
    points = list[list[float]]()
    try:
        run = train_for(recipe, job.data, job.effort, seed=job.seed, options=options, folder=folder, tell=tell)
    except TrainingDiverged:
        of, good = (MODES, math.nan) if known.classifier else (len(known.centres), 0.0)
        nothing = ModeCoverage(0, of, good, math.inf, math.inf, known.samples)
        result = ModeResult(job.data, job.contender.label, job.seed, nothing, 0.0, 0, points)
        job.cell.put({**result.to_dict(), "points": points})
        return result
    if known.classifier:
        batches = run.model.sample_batches(known.samples, seed=job.seed, batch_size=1000)
        coverage = stack_coverage(torch.cat([modes_of(x.cpu(), known.classifier) for x, _ in batches]))
    else:
        x = run.model.sample(known.samples, seed=job.seed, numbers=True)
        coverage = mode_coverage(x, known.centres, known.sigma)
        points = [[round(v, 4) for v in p] for p in torch.nan_to_num(x).tolist()]
    seconds = round(run.seconds, 1)
    result = ModeResult(job.data, job.contender.label, job.seed, coverage, seconds, run.steps, points)
    job.cell.put({**result.to_dict(), "points": points})
    return result


def stack_coverage(predicted: Tensor) -> ModeCoverage:
    """What stacks cover, given the modes ``(N,)`` that a classifier sees: one sample is enough for a mode."""
    found = class_coverage(predicted, MODES)
    return ModeCoverage(found.captured, found.of, float("nan"), found.kl, found.floor, found.samples)


def reference_lines(data: str) -> dict[str, ModeCoverage]:
    """What to read a table against: the real data, and uniform noise."""
    known = load_data(data, options={"samples": 2}).modes
    assert known is not None
    if not known.classifier:
        return {name: mode_coverage(x, known.centres, known.sigma) for name, x in _clouds(known).items()}
    random, source, lines = generator(0, 0xF2), STACKS[data], {}
    real = source(source.Options()).base("test").x.float() / 255
    noise = torch.rand(1000, 1, 28, 28, generator=random)
    for name, x in {"real data": real, "uniform noise of pixels": noise}.items():
        classes = classes_of(x, known.classifier)  # stacks are of few pictures, so those are judged, once each
        drawn = classes[torch.randint(len(classes), (known.samples, 3), generator=random)]
        lines[name] = stack_coverage(stacked(drawn))
    return lines


def _clouds(known: KnownModes) -> dict[str, Tensor]:
    """Points of a mixture, and of uniform noise."""
    random, n, limit, centres = generator(0, 0xF1), known.samples, _limit(known), torch.tensor(known.centres)
    chosen = centres[torch.randint(len(centres), (n,), generator=random)]
    return {
        "real data": chosen + known.sigma * torch.randn(n, 2, generator=random),
        f"uniform noise on [-{limit:g}, {limit:g}]²": (torch.rand(n, 2, generator=random) * 2 - 1) * limit,
    }


def _limit(known: KnownModes) -> float:
    """Half the side of the square in which a mixture is looked at."""
    return 1.25 * max(abs(v) for c in known.centres for v in c)


def mode_table(results: Sequence[ModeResult]) -> Table:
    """A row for each contender, the best first and its seeds side by side, below what to read them against."""
    rows: list[tuple[str, ...]] = []
    for data in dict.fromkeys(r.data for r in results):
        rows += [(data, name, *_numbers([c]), "", "") for name, c in reference_lines(data).items()]
        for label, of_each in _ranked([r for r in results if r.data == data]).items():
            steps = dict.fromkeys(f"{r.steps:,}" if r.steps else "broke down" for r in of_each)
            seconds = statistics.median([r.seconds for r in of_each if r.steps] or [0.0])
            numbers = _numbers([r.coverage for r in of_each])
            rows.append((data, label, *numbers, ", ".join(steps), f"{seconds:.0f}"))
    return Table(("data", "", "modes, by seed", "good", "KL", "KL floor", "steps", "seconds"), rows)


def _ranked(results: Sequence[ModeResult]) -> dict[str, list[ModeResult]]:
    """Contenders with their runs: first who covers the most modes with the worst seed, then by the good samples."""
    by: dict[str, list[ModeResult]] = {}
    for r in results:
        by.setdefault(r.label, []).append(r)
    return dict(sorted(by.items(), key=lambda pair: _place(pair[1])))


def _place(results: Sequence[ModeResult]) -> tuple[float, ...]:
    """What sorts contenders: fewest modes of a seed, mean share of good samples, the KL's mean."""
    found = [r.coverage for r in results]
    good = statistics.fmean(0 if math.isnan(c.high_quality) else c.high_quality for c in found)
    return -min(c.modes for c in found), -good, statistics.fmean(c.kl for c in found)


def modes_dict(results: Sequence[ModeResult]) -> dict[str, Any]:
    """The same as plain data for JSON."""
    names = dict.fromkeys(r.data for r in results)
    lines = {d: {name: c.to_dict() for name, c in reference_lines(d).items()} for d in names}
    return {"reference": lines, "results": [r.to_dict() for r in results]}


def _numbers(found: Sequence[ModeCoverage]) -> tuple[str, str, str, str]:
    """Modes, good samples, KL and the least of its floors, of each seed."""
    modes = ", ".join(str(c.modes) for c in found)
    good = [f"{100 * c.high_quality:.1f}" if c.high_quality == c.high_quality else "–" for c in found]
    kl = ", ".join(f"{c.kl:.4f}" for c in found)
    return (
        f"{modes} of {found[0].of}",
        "–" if set(good) == {"–"} else f"{', '.join(good)} %",
        kl,
        f"{min(c.floor for c in found):.4f}",
    )


def _picture(out: Path, data: str, results: Sequence[ModeResult]) -> None:
    """Samples of every run over real data, the best contender first: one in a row, three where there are many."""
    known = load_data(data, options={"samples": 2}).modes
    assert known is not None
    real, panels = _clouds(known)["real data"], []
    ranked = _ranked(results)
    many = len(ranked) > 8
    for r in (r for of_each in ranked.values() for r in of_each):
        c = r.coverage
        how = f"{c.modes}/{c.of}, {c.high_quality:.0%} good" if r.steps else "broke down"
        title, points = f"{r.label} {r.seed}: {how}", torch.tensor(r.points).view(-1, 2)
        panels.append(pictures.scatter(points, real, size=240 if many else 320, limit=_limit(known), title=title))
    columns = len({r.seed for r in results}) * (3 if many else 1)
    pictures.save(pictures.beside(panels, columns=columns), out / f"modes-{data}.png")
