"""Benchmarks: one command, one table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from genzoo.cli.make import Set, assignments
from genzoo.cli.output import emit_json, hint, table
from genzoo.core.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    bench = typer.Typer(help="Measure: mode coverage, likelihood.", rich_markup_mode=None, no_args_is_help=True)
    bench.command("modes")(modes)
    bench.command("likelihood")(likelihood)
    app.add_typer(bench, name="bench")


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
