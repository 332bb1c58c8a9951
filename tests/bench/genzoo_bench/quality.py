"""Whether metrics suffer from bfloat16: ``genzoo bench precision``."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import torch
from tqdm import tqdm

from genzoo.core.mixed_precision import Precision
from genzoo.plugins.apps.bench.bench_report import Table, folder_for, keep, machine
from genzoo.plugins.extractors.shipped import FashionClassifier
from genzoo.plugins.metrics.frechet import frechet
from genzoo_bench.cases import CASES
from genzoo_bench.pairs import threads_set
from genzoo_bench.speed import known

JUDGED = ("vae-conv", "dcgan", "wgan-gp-conv")
SAMPLES = 6000
Metric = Literal["Fréchet distance", "classes", "held-out loss"]


@dataclass(frozen=True)
class Quality:
    """One run judged.

    Attributes:
        case: what was trained.
        precision: in which.
        seed: of the run.
        seconds: of training.
        numbers: Fréchet distance (features of the fashion classifier, lower is better), classes that make up at least
            a fiftieth of the samples, and where there is one the held-out loss in nats (lower is better).
    """

    case: str
    precision: Precision
    seed: int
    seconds: float
    numbers: dict[Metric, float]


def precision(
    cases: Sequence[str] = JUDGED,
    *,
    steps: int = 1000,
    seeds: int = 3,
    threads: int | None = None,
    device: str = "auto",
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> list[Quality]:
    """Train in float32 and in bfloat16 with the same seeds, and judge both by the same metrics.

    Samples are drawn and judged in float32, as `genzoo sample` draws them.

    Args:
        cases: keys of `CASES`, on images of clothes.
        steps: of each run; a case whose critic plays several turns a step gets fewer, for the same batches.
        seeds: runs of each.
        threads: of the CPU; None leaves torch's setting.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        out: folder for ``precision.json`` and ``precision.md``; None writes nothing.
        progress: show a bar on stderr.

    Raises:
        UsageError: for an unknown case.
    """
    from genzoo.registry.verbs.initialize import pick_device

    known("case", cases, [name for name, case in CASES.items() if case.data == "fashion-mini"])
    where, folder = pick_device(device), folder_for(out)
    lines: list[Quality] = []
    runs = [(c, s, p) for c in cases for s in range(seeds) for p in get_args(Precision)]
    with threads_set(threads), tqdm(runs, unit="run", disable=not progress) as bar:
        for name, seed, kind in bar:
            bar.set_description(f"{CASES[name].title}, {kind}")
            lines.append(_judged(name, kind, seed, steps, device))
            numbers = {"lines": [asdict(line) for line in lines]}
            keep(folder, "precision", numbers, quality_table(lines).markdown(), machine(where))
    return lines


def _judged(name: str, kind: Precision, seed: int, steps: int, device: str) -> Quality:
    from genzoo.registry.verbs.fit import fit
    from genzoo.registry.verbs.load import load_data

    case = CASES[name]
    options = {"train.schedule": "constant", **case.options}
    if case.recipe == "vae":
        options["train.validation"] = 0.05
    turns = 5 if case.recipe == "wgan-gp" else 1
    run = fit(
        case.recipe, case.data, steps=max(steps // turns, 1), seed=seed, options=options, device=device,
        precision=kind, progress=False,
    )  # fmt: skip
    if not run.finished:
        raise KeyboardInterrupt
    classifier, data = FashionClassifier.pretrained(), load_data(case.data)
    x = run.model.sample(min(SAMPLES, len(data)), seed=seed).cpu()
    with torch.no_grad():
        of_samples, of_data = (
            torch.cat([classifier.features(part) for part in torch.split(images, 500)])
            for images in (x, data.x[: len(x)].float() / 255)
        )
    numbers: dict[Metric, float] = {
        "Fréchet distance": frechet(of_samples, of_data).estimate.value,
        "classes": float((classifier.shares(x) >= 0.02).sum()),
    }
    if "held-out loss" in run.metrics:
        numbers["held-out loss"] = run.metrics["held-out loss"]
    return Quality(case.title, kind, seed, run.seconds, numbers)


def quality_table(lines: Sequence[Quality]) -> Table:
    """Mean over seeds, with the smallest and largest, by case and precision."""
    rows = []
    for case, kind in dict.fromkeys((x.case, x.precision) for x in lines):
        some = [x for x in lines if (x.case, x.precision) == (case, kind)]
        cells = []
        for metric in get_args(Metric):
            values = [x.numbers[metric] for x in some if metric in x.numbers]
            spread = f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else ""
            cells.append(spread)
        rows.append((case, kind, str(len(some)), *cells, f"{statistics.mean(x.seconds for x in some):.0f}"))
    return Table(("training", "in", "seeds", *get_args(Metric), "seconds"), rows)
