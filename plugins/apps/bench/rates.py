"""Lossy models trained at several rates, beside generic codecs: ``genzoo bench compress --lossy``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of
from genzoo.core.units import parse_duration
from genzoo.plugins.apps.bench.bench_report import Cell, Effort, train_for
from genzoo.registry import the_registry
from genzoo.registry.verbs.load import load_data

PRIOR = "transformer"  # fitted to the tokens of quantizers, in as long again
# What makes a model's files larger, a training for each.
LADDERS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "hyperprior": [{"objective.trade": trade} for trade in (0.001, 0.004, 0.016, 0.064)],
    "vq-vae": [{"posterior.codes": codes} for codes in (16, 512)],
    "residual-vq-vae": [{"posterior.depth": depth} for depth in (2, 4)],
}
QUICK = {"prior.width": 64, "prior.depth": 3, "train.lr": 0.002, "train.schedule": "cosine"}


@dataclass(frozen=True)
class Point:
    """A lossy file: bits for a pixel, header included, and what comes back."""

    name: str
    data: str
    bits: float
    psnr: float
    source: str  # quality, or weights


def ladder(
    recipes: Sequence[str], data: Sequence[str], budget: float | str, steps: int | None, seed: int, folder: Path | None,
    options: Mapping[str, Any], progress: Callable[[str], object],
) -> Iterator[Path]:  # fmt: skip
    """Train every recipe at each of its rates, and a prior over tokens where the recipe has none; give their folders.

    What is in the folder already is not trained again, and a training that was stopped goes on.
    """
    if folder is None:
        raise UsageError("models are trained in a folder: name one with --out")
    if unknown := [name for name in recipes if name not in LADDERS]:
        raise UsageError(f"{unknown[0]} is not trained at several rates: choose of {', '.join(LADDERS)}")
    effort = Effort(None if steps else parse_duration(budget), steps)
    specs = {called: load_data(called, split="test").spec for called in data}
    for called, spec in specs.items():
        if not of(spec).pixels or not spec.levels:
            raise UsageError(f"{called} are no pictures with levels, and lossy models are of pictures")
    for called, spec in specs.items():
        fitting = {"latent.grid": spec.shape[1] // 4} if spec.shape[1] == spec.shape[2] else {}
        for recipe in recipes:
            for rung in LADDERS[recipe]:
                given = {**fitting, **rung, **options}
                label = f"{called}: {recipe} {' '.join(f'{k}={v}' for k, v in rung.items())}".rstrip()
                progress(label)
                first = _trained(folder, label, recipe, called, effort, seed, given)
                if the_registry().get("recipe", recipe).data["prior"] == "scale-hyperprior":
                    yield first
                    continue
                progress(f"{label}, the prior of its tokens")
                yield _trained(folder, f"{label} prior", PRIOR, called, effort, seed, QUICK, first)


def _trained(
    folder: Path, label: str, recipe: str, data: str, effort: Effort, seed: int, options: Mapping[str, Any],
    first: Path | None = None,
) -> Path:  # fmt: skip
    """A run of a recipe, or of a prior fitted to a first one; trained unless it is there."""
    about = {"recipe": recipe, "data": data, "effort": asdict(effort), "seed": seed, "options": dict(options),
             "first": None if first is None else first.name}  # fmt: skip
    cell = Cell(folder, label, about)
    run = cell.run
    assert run is not None
    if cell.get() is None:
        made = train_for(recipe, data, effort, seed=seed, options=options, folder=run, first=first)
        cell.put({"seconds": round(made.seconds, 1), "steps": made.steps})
    elif not run.is_dir():
        raise GenzooError(f"{run} was deleted, and {folder / 'cells' / cell.key}.json says that it is there: "
                          "delete that too")  # fmt: skip
    return run


def margins(points: Sequence[Point], point: Point) -> dict[str, tuple[float, str]]:
    """How many dB a model's point is over the best generic codec at its rate, a file each and in one sheet.

    Between qualities codecs go by straight lines; a rate below all of theirs has no margin.
    """
    found: dict[str, tuple[float, str]] = {}
    for way in ("a file each", "one sheet"):
        rivals = dict[str, float]()
        for name in sorted({p.name for p in points if p.data == point.data and p.name.endswith(way)}):
            line = sorted((p.bits, p.psnr) for p in points if p.data == point.data and p.name == name)
            reached = [_between(a, b, point.bits) for a, b in pairwise(line)
                       if a[0] <= point.bits <= b[0]]  # fmt: skip
            reached += [line[-1][1]] if point.bits > line[-1][0] else []
            if reached:
                rivals[name.partition(",")[0]] = max(reached)
        if rivals:
            best = max(rivals, key=lambda name: rivals[name])
            found[way] = point.psnr - rivals[best], best
    return found


def _between(a: tuple[float, float], b: tuple[float, float], bits: float) -> float:
    share = (bits - a[0]) / (b[0] - a[0]) if b[0] > a[0] else 1.0
    return a[1] + share * (b[1] - a[1])
