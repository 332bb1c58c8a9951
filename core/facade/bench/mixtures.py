"""Mode coverage on mixtures whose modes are known: ``genzoo bench modes``."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from tqdm import tqdm

from genzoo.core import pictures
from genzoo.core.files import write_json
from genzoo.core.noise import generator
from genzoo.plugins.datasets.toys import Grid25, Mixture, Ring8
from genzoo.plugins.metrics.modes import ModeCoverage, mode_coverage

MIXTURES: dict[str, type[Mixture]] = {"grid25": Grid25, "ring8": Ring8}
SAMPLES = 2500


@dataclass(frozen=True)
class Contender:
    """A line of a mode-coverage table: a recipe with its best settings there."""

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


@dataclass(frozen=True)
class ModeResult:
    """One trained model judged: a cell of the table."""

    label: str
    seed: int
    coverage: ModeCoverage
    seconds: float
    points: list[list[float]]


def modes(
    data: Literal["grid25", "ring8"] = "grid25",
    *,
    seeds: int = 3,
    contenders: Sequence[Contender] = CONTENDERS,
    jobs: int | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> list[ModeResult]:
    """Train every contender on a mixture with several seeds and measure which modes it covers.

    Args:
        data: ``grid25`` or ``ring8``.
        seeds: runs of each contender.
        contenders: recipes with their settings.
        jobs: processes at a time, one thread each; None takes one per core.
        out: folder for ``modes-DATA.json`` and ``modes-DATA.png``; None writes nothing.
        progress: show a bar on stderr.

    Returns:
        Results by contender and seed, in order. `reference_lines` gives what to read them against.
    """
    cells = [(c, s) for c in contenders for s in range(seeds)]
    results: dict[tuple[str, int], ModeResult] = {}
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    pool = ProcessPoolExecutor(jobs or os.cpu_count() or 1, mp_context=context)
    try:
        futures = [pool.submit(_mode_cell, data, c, s) for c, s in cells]
        for future in tqdm(
            as_completed(futures), total=len(cells), desc=f"modes of {data}", unit="run", disable=not progress
        ):
            result = future.result()
            results[result.label, result.seed] = result
    finally:
        pool.shutdown(cancel_futures=True)
    ordered = [results[c.label, s] for c, s in cells]
    if out is not None:
        _write_modes(Path(out), data, ordered, contenders)
    return ordered


def _mode_cell(data: str, contender: Contender, seed: int) -> ModeResult:
    """Train and judge one contender with one seed (in a process of its own)."""
    from genzoo.training import fit

    run = fit(
        contender.recipe, data, steps=contender.steps, seed=seed, options=dict(contender.options),
        device="cpu", threads=1, progress=False,
    )  # fmt: skip
    if not run.finished:
        raise KeyboardInterrupt
    x = run.model.sample(SAMPLES, seed=seed)
    coverage = mode_coverage(x, MIXTURES[data].centres, MIXTURES[data].sigma)
    return ModeResult(contender.label, seed, coverage, run.seconds, [[round(v, 4) for v in p] for p in x.tolist()])


def reference_lines(data: str) -> dict[str, tuple[Tensor, ModeCoverage]]:
    """What to read a table against: samples of the real mixture, and uniform noise over the region."""
    mixture, random = MIXTURES[data], generator(0, 0xF1)
    limit = 1.25 * max(abs(v) for c in mixture.centres for v in c)
    centres = torch.tensor(mixture.centres)
    chosen = centres[torch.randint(len(centres), (SAMPLES,), generator=random)]
    clouds = {
        "real data": chosen + mixture.sigma * torch.randn(SAMPLES, 2, generator=random),
        f"uniform noise on [-{limit:g}, {limit:g}]²": (torch.rand(SAMPLES, 2, generator=random) * 2 - 1) * limit,
    }
    return {name: (x, mode_coverage(x, mixture.centres, mixture.sigma)) for name, x in clouds.items()}


def mode_rows(data: str, results: Sequence[ModeResult]) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Rows of the table: who, seed, modes, high-quality share, KL, seconds."""
    for name, (_, c) in reference_lines(data).items():
        yield name, "", f"{c.modes}/{c.of}", f"{c.high_quality:.1%}", f"{c.kl:.4f}", ""
    for r in results:
        c = r.coverage
        yield r.label, str(r.seed), f"{c.modes}/{c.of}", f"{c.high_quality:.1%}", f"{c.kl:.4f}", f"{r.seconds:.0f}"


def _write_modes(out: Path, data: str, results: Sequence[ModeResult], contenders: Sequence[Contender]) -> None:
    lines = reference_lines(data)
    document = {
        "data": data,
        "samples": SAMPLES,
        "contenders": [asdict(c) for c in contenders],
        "reference": {name: c.to_dict() for name, (_, c) in lines.items()},
        "results": [{"label": r.label, "seed": r.seed, "seconds": r.seconds, **r.coverage.to_dict()} for r in results],
    }
    write_json(out / f"modes-{data}.json", document)
    limit = 1.25 * max(abs(v) for c in MIXTURES[data].centres for v in c)
    real = lines["real data"][0]
    panels = []
    for r in results:
        c = r.coverage
        title = f"{r.label}, seed {r.seed}: {c.modes}/{c.of}, {c.high_quality:.0%} good"
        panels.append(pictures.scatter(torch.tensor(r.points), real, size=320, limit=limit, title=title))
    seeds = len({r.seed for r in results})
    pictures.save(pictures.beside(panels, columns=seeds), out / f"modes-{data}.png")
