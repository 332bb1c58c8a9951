"""The commands of ``genzoo bench`` that need a clone: one command, one table."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import genzoo_bench as bench
from genzoo.core.errors import UsageError
from genzoo.plugins.apps.bench.bench_report import Table, machine, sentence
from genzoo.registry.console.arguments import several
from genzoo.registry.console.options import Device, Json, Quiet, Threads, shown
from genzoo.registry.console.output import emit_json, hint, table

app = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})
Cases = Annotated[str, typer.Option(help="Which trainings, as a,b,c; default all that are measured.")]
Pairs = Annotated[int, typer.Option(min=1, help="Rounds of A, B, A, B, …: 15 or more for an interval of 95 %.")]
Out = Annotated[Path | None, typer.Option(help="Folder for the table (.md) and the numbers (.json).")]


@app.command()
def train(
    cases: Cases = "",
    pairs: Pairs = 15,
    against: Annotated[
        str, typer.Option(help="Which of hand, pythae, torchgan, mimicry, recorded, as a,b; default all.")
    ] = "",
    threads: Threads = None,
    device: Device = "auto",
    batch_size: Annotated[int | None, typer.Option(min=1, help="In place of the recipes' own.")] = None,
    clock: Annotated[str, typer.Option(help="wall, or cpu: beside other jobs, on one thread.")] = "wall",
    out: Out = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Time training against hand-written loops and other libraries, on the same networks and batches.

    Example: genzoo bench train --cases vae-mlp --pairs 3 --against hand
    """
    if clock not in ("wall", "cpu"):
        raise UsageError(f"--clock is wall or cpu, not {clock!r}")
    lines = bench.train(
        several(cases) or tuple(bench.CASES), pairs=pairs, against=several(against) or bench.AGAINST,
        threads=threads, device=device, batch_size=batch_size, clock=clock, out=out, progress=shown(quiet),
    )  # fmt: skip
    _tell(bench.speed_table(lines), [asdict(line) for line in lines], "train", out, json, threads, device)


@app.command()
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
    """Time sampling to an .npz against the generator's bare forward pass, and measure its memory.

    Example: genzoo bench sample
    """
    lines = bench.sample(
        several(cases) or bench.SAMPLED, n=n, pairs=pairs, threads=threads, device=device, out=out,
        progress=shown(quiet),
    )  # fmt: skip
    _tell(bench.sampling_table(lines), [asdict(line) for line in lines], "sample", out, json, threads, device)


@app.command()
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
    """Time what each default of the trainer brings: fused Adam, averages, bfloat16, channels last.

    Example: genzoo bench defaults
    """
    lines = bench.defaults(
        several(cases) or bench.MEASURED, changes=tuple(bench.CHANGES) if compile else None, pairs=pairs,
        threads=threads, device=device, out=out, progress=shown(quiet),
    )  # fmt: skip
    _tell(bench.defaults_table(lines), [asdict(line) for line in lines], "defaults", out, json, threads, device)


@app.command()
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
    """Train in float32 and in bfloat16 with the same seeds and compare the metrics.

    Example: genzoo bench precision
    """
    lines = bench.precision(
        several(cases) or bench.JUDGED, steps=steps, seeds=seeds, threads=threads, device=device, out=out,
        progress=shown(quiet),
    )  # fmt: skip
    _tell(bench.quality_table(lines), [asdict(line) for line in lines], "precision", out, json, threads, device)


def _tell(
    found: Table, lines: list[dict[str, Any]], name: str, out: Path | None, json: bool, threads: int | None, device: str
) -> None:
    """Print a table, or its numbers, with what it was measured on."""
    about = machine(device, threads)
    if json:
        emit_json({"machine": about, "lines": lines})
        return
    table(found.rows, found.header)
    hint(f"on {sentence(about)}")
    if out:
        hint(f"table and numbers in {out / name}.md and .json")
