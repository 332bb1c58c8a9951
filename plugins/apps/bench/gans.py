"""Losses with parts where modes are known, augmentations where data are few: ``genzoo bench gans``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from genzoo.core.data import Data
from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.math.intervals import Estimate, mean
from genzoo.core.training.terms import TrainingDiverged
from genzoo.core.units import parse_duration
from genzoo.plugins.apps.bench.bench_report import Cell, Effort, Table, folder_for, keep, machine, train_for
from genzoo.plugins.apps.bench.coverage import Contender, ModeResult, covered
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.evaluate import evaluate
from genzoo.registry.verbs.load import load_data

PARTS = ("none", "r1=0.05", "r1=0.05+r2=0.05", "lipschitz=0.1", "dragan=0.1", "lecam=0.3", "instance-noise")
SIZES = (0, 1000, 300)  # observations to train on, 0 for all
METRICS = ("frechet", "precision", "recall")
STEPS, BUDGET = 8000, "10min"  # of a training in the plane, and on few data, where nothing else is said
NONE = "none"


@dataclass(frozen=True)
class FewResult:
    """A recipe with an augmentation trained on so many observations, judged: metrics by name, None if it broke down."""

    augmentation: str
    size: int
    seed: int
    metrics: Mapping[str, float | None]
    steps: int = 0
    seconds: float = 0.0
    was_there: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Gans:
    """Both tables, and what is not in them with the reason.

    ``modes`` are by the label ``DATA LOSS + PARTS``; refusals are of losses with parts that do not go together.
    """

    modes: tuple[ModeResult, ...]
    few: tuple[FewResult, ...]
    refused: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        few = [{k: v for k, v in asdict(r).items() if k != "was_there"} for r in self.few]
        return {"modes": [r.to_dict() for r in self.modes], "few": few, "refused": dict(self.refused)}


def options_of(parts: str) -> dict[str, Any]:
    """``r1=0.05+ada`` as options of a recipe: regularizers and augmentations, and none but these."""
    found: dict[str, list[str]] = {"regularizer": [], "augmentation": []}
    known = {kind: [e.name for e in the_registry().entries(kind)] for kind in found}
    for word in [] if parts == NONE else parts.split("+"):
        name = word.partition("=")[0].strip()
        kind = next((kind for kind, names in known.items() if name in names), None)
        if kind is None:
            names = [*known["regularizer"], *known["augmentation"]]
            raise UsageError(f"there is no regularizer or augmentation {name!r}{did_you_mean(name, names)}")
        found[kind].append(word.strip())
    return {kind: words or NONE for kind, words in found.items()}


def losses() -> list[str]:
    """Recipes of GANs that are named as their loss: each loss once, with its own settings."""
    registry = the_registry()
    names = {e.name for e in registry.entries("objective", tag="gan")}
    return [e.name for e in registry.entries("recipe") if e.name in names and e.data["objective"] == e.name]


def gans(
    data: Sequence[str] = ("grid25", "ring8"),
    few: str = "fashion-mnist",
    *,
    only: Sequence[str] | None = None,
    parts: Sequence[str] = PARTS,
    recipe: str = "hinge",
    sizes: Sequence[int] = SIZES,
    augmentations: Sequence[str] | None = None,
    seeds: int = 3,
    budget: float | str | None = None,
    steps: int | None = None,
    n: int | None = None,
    jobs: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    extractor: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = "gans",
    progress: bool = False,
) -> Gans:
    """Train losses with parts on mixtures, and a recipe with augmentations on few data; judge each by its protocol.

    The arguments are the options of ``genzoo bench gans``; ``only`` are losses, all by default, ``augmentations`` those
    of few data, none and each there is by default. Without ``data`` or without ``few`` that table is left out. The
    folder gets both tables (``gans.md``), the numbers (``gans.json``), and keeps every finished cell and run: a killed
    call that is made again goes on.

    Raises:
        UsageError: for an unknown loss, part or data set, and a budget beside a number of steps.
    """
    folder = folder_for(out)
    modes, refused = _modes(data, only, parts, folder, seeds, budget, steps, jobs, threads, progress)
    found: list[FewResult] = []
    if few:
        effort = Effort(None if steps else parse_duration(budget or BUDGET), steps, threads, device)
        how = {"n": n, "extractor": None if extractor is None else os.fspath(extractor), "device": device}
        found, more = _few(few, recipe, sizes, augmentations, seeds, effort, how, options or {}, folder, progress)
        refused |= more
    result = Gans(tuple(modes), tuple(found), refused)
    if folder is not None:
        keep(folder, "gans", result.to_dict(), gans_text(result), machine(device, threads))
    return result


def _modes(
    data: Sequence[str],
    only: Sequence[str] | None,
    parts: Sequence[str],
    folder: Path | None,
    seeds: int,
    budget: float | str | None,
    steps: int | None,
    jobs: int | None,
    threads: int | None,
    progress: bool,
) -> tuple[list[ModeResult], dict[str, str]]:
    """Cells of the mixtures, and what cannot be put together."""
    registry, refused, every = the_registry(), dict[str, str](), losses()
    for name in only or ():
        if name not in every:
            raise UsageError(f"there is no loss {name!r}{did_you_mean(name, every)}: there are {', '.join(every)}")
    results = []
    for name in dict.fromkeys(data):
        spec, fit = load_data(name, options={"samples": 2}).spec, list[Contender]()
        for loss in only or every:
            for words in dict.fromkeys(parts):
                label, given = f"{loss} + {words}", options_of(words)
                try:
                    compose(registry, spec, loss, given)
                except UsageError as e:
                    refused[f"{name} {label}"] = str(e)
                else:
                    fit.append(Contender(label, loss, STEPS, given))
        results += covered(name, folder, fit, seeds, budget, steps, jobs, threads, progress)
    return results, refused


def _few(
    data: str,
    recipe: str,
    sizes: Sequence[int],
    augmentations: Sequence[str] | None,
    seeds: int,
    effort: Effort,
    how: Mapping[str, Any],
    options: Mapping[str, Any],
    folder: Path | None,
    progress: bool,
) -> tuple[list[FewResult], dict[str, str]]:
    """Cells of few data, and augmentations that the recipe does not take."""
    registry, test, refused = the_registry(), load_data(data, split="test"), dict[str, str]()
    todo = []
    for words in dict.fromkeys(augmentations or (NONE, *(e.name for e in registry.entries("augmentation")))):
        given = {**options, **options_of(words)}
        if options.get("regularizer") and given["regularizer"] == NONE:
            given["regularizer"] = options["regularizer"]
        try:
            config = compose(registry, test.spec, recipe, given).flat()
        except UsageError as e:
            refused[f"{data} {recipe} + {words}"] = str(e)
            continue
        for size in dict.fromkeys(sizes):
            for seed in range(seeds):
                about = {"data": data, "size": size, "seed": seed, "effort": asdict(effort), "config": config, **how}
                settings = {**about, "test": test.fingerprint(), "metrics": METRICS}
                cell = Cell(folder, f"{data} {recipe} {words} {size} {seed}", settings)
                todo.append((FewResult(words, size, seed, {}), {**given, "data.limit": size}, cell))
    results = []
    with tqdm(todo, desc=data, unit="run", disable=not progress) as bar:
        for result, given, cell in bar:
            found = cell.get()
            if not (was_there := found is not None):
                what = f"{result.augmentation}, {result.size or 'all'}, seed {result.seed}"
                tell = effort.on(bar, what)
                found = _judged(recipe, data, test, effort, result.seed, given, cell.run, tell, how)
                cell.put(found)
            results.append(replace(result, **found, was_there=was_there))
    return results, refused


def _judged(
    recipe: str,
    data: str,
    test: Data,
    effort: Effort,
    seed: int,
    given: Mapping[str, Any],
    folder: Path | None,
    tell: Any,
    how: Mapping[str, Any],
) -> dict[str, Any]:
    """Train one cell and measure it."""
    try:
        run = train_for(recipe, data, effort, seed=seed, options=given, folder=folder, tell=tell)
    except TrainingDiverged:
        return {"metrics": dict.fromkeys(METRICS)}
    report = evaluate(run.model, test, METRICS, seed=seed, strict=False, **how)
    return {"metrics": {r.metric: r.value for r in report}, "steps": run.steps, "seconds": round(run.seconds, 1)}


def modes_table(found: Gans) -> Table:
    """A row for each loss and mixture, a column for each of the parts: modes, good samples, KL; means over seeds."""
    by: dict[tuple[str, str], dict[str, list[ModeResult]]] = {}
    columns = dict[str, None]()
    for r in found.modes:
        loss, _, words = r.label.partition(" + ")
        columns[words] = None
        by.setdefault((r.data, loss), {}).setdefault(words, []).append(r)

    def said(results: list[ModeResult]) -> str:
        if not results:
            return "–"
        each = [(r.coverage.modes, r.coverage.high_quality, r.coverage.kl) for r in results]
        modes, good, kl = (sum(values) / len(results) for values in zip(*each, strict=True))
        return f"{modes:.3g} · {good:.1%} · {kl:.4f}"

    rows = [(*key, *(said(cells.get(words, [])) for words in columns)) for key, cells in by.items()]
    return Table(("data", "loss", *columns), rows)


def few_table(found: Gans) -> Table:
    """A row for each augmentation, a column for each size: Fréchet distances, and their share of those without."""
    sizes, rows = dict.fromkeys(r.size for r in found.few), []
    plain = {size: _distance(found, NONE, size).value for size in sizes}
    for words in dict.fromkeys(r.augmentation for r in found.few):
        cells = []
        for size in sizes:
            at = _distance(found, words, size)
            between = f" [{at.low:.1f}, {at.high:.1f}]" if math.isfinite(at.low) else ""
            share = f", × {at.value / plain[size]:.2f}" if words != NONE and math.isfinite(plain[size]) else ""
            cells.append(f"{at.value:.1f}{between}{share}")
        rows.append((words, *cells))
    return Table(("augmentation", *(f"{size:,}" if size else "all" for size in sizes)), rows)


def _distance(found: Gans, words: str, size: int) -> Estimate:
    """Fréchet distance over the seeds, with Student's interval."""
    there = [r.metrics.get("frechet") for r in found.few if (r.augmentation, r.size) == (words, size)]
    values = [math.nan if value is None else value for value in there or [None]]
    return mean(torch.tensor(values, dtype=torch.float64))


def gans_text(found: Gans) -> str:
    """Both tables in Markdown, and what is not in them."""
    parts = []
    if found.modes:
        parts += ["Modes with 20 good samples or more of 2,500 · share of good samples · KL of the modes; means over "
                  f"{len({r.seed for r in found.modes})} seeds.", "", modes_table(found).markdown(), ""]  # fmt: skip
    if found.few:
        parts += ["Fréchet distance by how many observations were trained on, with intervals of 95 % over "
                  f"{len({r.seed for r in found.few})} seeds, and as a share of that without.", "",
                  few_table(found).markdown(), ""]  # fmt: skip
    reasons: dict[str, list[str]] = {}
    for what, why in found.refused.items():
        reasons.setdefault(why, []).append(what)
    return "\n".join([*parts, *(f"- {', '.join(what)}: {why}" for why, what in reasons.items())])
