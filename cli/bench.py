"""Benchmarks: one command, one table."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genzoo.cli.make import Set, assignments
from genzoo.cli.output import emit_json, hint, table
from genzoo.core.errors import UsageError

if TYPE_CHECKING:
    from genzoo.bench import Table

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Cases = Annotated[str, typer.Option(help="Which trainings, as a,b,c; default all that are measured.")]
Pairs = Annotated[int, typer.Option(min=1, help="Rounds of A, B, A, B, …: 15 or more for an interval of 95 %.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the table (.md) and the numbers (.json).")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    bench = typer.Typer(
        help="Measure: training and sampling speed, defaults, precision, mode coverage, likelihood.",
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    for command in (train, sample, defaults, precision, modes, likelihood):
        bench.command()(command)
    app.add_typer(bench, name="bench")


def train(
    cases: Cases = "",
    pairs: Pairs = 15,
    against: Annotated[
        str, typer.Option(help="Which of hand, pythae, torchgan, mimicry, recorded, as a,b; default all.")
    ] = "",
    threads: Threads = None,
    device: Device = "auto",
    batch_size: Annotated[int | None, typer.Option(min=1, help="In place of the recipes' own.")] = None,
    out: Out = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Time training against hand-written loops and other libraries, on the same networks and batches."""
    from genzoo import bench

    lines = bench.train(
        _several(cases) or tuple(bench.CASES), pairs=pairs, against=_several(against) or bench.AGAINST,
        threads=threads, device=device, batch_size=batch_size, out=out, progress=_shown(quiet),
    )  # fmt: skip
    _tell(bench.speed_table(lines), [asdict(line) for line in lines], "train", out, json, threads, device)


def sample(
    cases: Cases = "",
    n: Annotated[int, typer.Option("-n", min=1, help="How many samples.")] = 50_000,
    pairs: Pairs = 15,
    threads: Threads = None,
    device: Device = "auto",
    out: Out = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Time sampling to an .npz against the generator's bare forward pass, and measure its memory."""
    from genzoo import bench

    lines = bench.sample(
        _several(cases) or bench.SAMPLED, n=n, pairs=pairs, threads=threads, device=device, out=out,
        progress=_shown(quiet),
    )  # fmt: skip
    _tell(bench.sampling_table(lines), [asdict(line) for line in lines], "sample", out, json, threads, device)


def defaults(
    cases: Cases = "",
    compile: Annotated[
        bool, typer.Option("--compile", help="Also with every turn compiled: minutes of warm-up.")
    ] = False,
    pairs: Pairs = 15,
    threads: Threads = None,
    device: Device = "auto",
    out: Out = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Time what each default of the trainer brings: fused Adam, averages, bfloat16, channels last."""
    from genzoo import bench

    lines = bench.defaults(
        _several(cases) or bench.MEASURED, changes=tuple(bench.CHANGES) if compile else None, pairs=pairs,
        threads=threads, device=device, out=out, progress=_shown(quiet),
    )  # fmt: skip
    _tell(bench.defaults_table(lines), [asdict(line) for line in lines], "defaults", out, json, threads, device)


def precision(
    cases: Cases = "",
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each run.")] = 1000,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each.")] = 3,
    threads: Threads = None,
    device: Device = "auto",
    out: Out = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train in float32 and in bfloat16 with the same seeds and compare the metrics."""
    from genzoo import bench

    lines = bench.precision(
        _several(cases) or bench.JUDGED, steps=steps, seeds=seeds, threads=threads, device=device, out=out,
        progress=_shown(quiet),
    )  # fmt: skip
    _tell(bench.quality_table(lines), [asdict(line) for line in lines], "precision", out, json, threads, device)


def _several(text: str) -> tuple[str, ...]:
    """The names in ``a,b,c``."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _shown(quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty()


def _tell(
    found: Table, lines: list[dict[str, Any]], name: str, out: Path | None, json: bool, threads: int | None, device: str
) -> None:
    """Print a table, or its numbers, with what it was measured on."""
    from genzoo import bench

    about = bench.machine_named(device, threads)
    if json:
        emit_json({"machine": about, "lines": lines})
        return
    table(found.rows, found.header)
    hint(f"on {bench.sentence(about)}")
    if out:
        hint(f"table and numbers in {out / name}.md and .json")


def modes(
    data: Annotated[str, typer.Option(help="grid25 or ring8.")] = "grid25",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each recipe.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Only contenders whose label starts like this.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at a time; default one per core.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the picture and the numbers.")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train GANs on a mixture with known modes and count the modes they cover."""
    from genzoo import bench

    if data not in bench.MIXTURES:
        raise UsageError(f"mode coverage is measured on {' or '.join(bench.MIXTURES)}, not on {data!r}")
    chosen = [c for c in bench.CONTENDERS if not only or any(c.label.startswith(o) for o in only)]
    if not chosen:
        raise UsageError(f"no contender starts with {' or '.join(map(repr, only or []))}: "
                         f"there are {', '.join(c.label for c in bench.CONTENDERS)}")  # fmt: skip
    results = bench.modes(data, seeds=seeds, contenders=chosen, jobs=jobs, out=out, progress=not quiet)  # type: ignore[arg-type]
    if json:
        lines = {name: c.to_dict() for name, (_, c) in bench.reference_lines(data).items()}
        rows = [{"label": r.label, "seed": r.seed, "seconds": r.seconds, **r.coverage.to_dict()} for r in results]
        emit_json({"data": data, "reference": lines, "results": rows})
        return
    table(list(bench.mode_rows(data, results)), (data, "seed", "modes", "good", "KL", "seconds"))
    if out:
        hint(f"picture and numbers in {out}")


def likelihood(
    seed: Annotated[int, typer.Option(help="Of initialization, order and noise.")] = 0,
    epochs: Annotated[float, typer.Option(help="Passes over the training images.")] = 10,
    images: Annotated[int, typer.Option(min=2, help="How many of the first test images.")] = 1000,
    samples: Annotated[int, typer.Option(min=1, help="Importance samples for each.")] = 500,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the run.")] = None,
    set_: Set = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a VAE on binarized Fashion-MNIST and estimate the likelihood of test images."""
    from genzoo import bench

    estimate = bench.likelihood(
        seed=seed, epochs=epochs, images=images, samples=samples, threads=threads, out=out,
        options=assignments(set_), progress=not quiet and sys.stderr.isatty(),
    )  # fmt: skip
    nll, error, ess = -estimate.mean, estimate.mean_standard_error, estimate.effective_samples.mean().item()
    if json:
        emit_json({"nll": nll, "standard_error": error, "images": images, "importance_samples": samples,
                   "effective_samples": ess, "bits_per_dimension": estimate.bits_per_dimension})  # fmt: skip
        return
    print(f"NLL {nll:.2f} ± {error:.2f} nats over {images} test images "
          f"(importance-weighted, {samples} samples each, {ess:.1f} effective)")  # fmt: skip
