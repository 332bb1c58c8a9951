"""The command that judges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.core.distributed import env
from genzoo.core.errors import UsageError
from genzoo.registry.console.arguments import checked, in_processes
from genzoo.registry.console.options import (
    BatchSize,
    Count,
    Data,
    Device,
    Extractor,
    Json,
    Metrics,
    NoCache,
    Noise,
    Quiet,
    Seed,
    SetMetrics,
    Split,
    Truncation,
    shown,
)
from genzoo.registry.console.output import emit_json, hint, say, table


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("eval")(evaluate)


def evaluate(
    subject: Annotated[
        str, typer.Argument(metavar="WEIGHTS", help="A weights folder or a run's; or samples: .npz, .npy, images.")
    ],
    data: Data = "",
    metrics: Metrics = None,
    n: Count = None,
    seed: Seed = 0,
    split: Split = "test",
    extractor: Extractor = None,
    set_: SetMetrics = None,
    noise: Noise = False,
    truncation: Truncation = None,
    out: Annotated[Path | None, typer.Option(help="A .json file; or a folder, for pictures too.")] = None,
    batch_size: BatchSize = 256,
    devices: Annotated[int | None, typer.Option(help="Processes on this machine that share the work.")] = None,
    device: Device = "auto",
    no_cache: NoCache = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure a model, or samples, against data.

    Example: genzoo eval runs/vae --data fashion-mini --metrics frechet,fidelity
    """
    if not data:
        raise UsageError("name the data with --data: a data set ('genzoo list dataset' shows them), a folder or a file")
    options, data_options = checked(split, metrics, set_)
    in_processes(devices)
    from genzoo.registry.verbs import evaluate as evaluation

    if out is not None:
        evaluation.report_path(out)
    report = evaluation.evaluate(
        subject,
        data,
        metrics,
        n=n,
        seed=seed,
        split=split,  # type: ignore[arg-type]
        extractor=extractor,
        options=options,
        data_options=data_options,
        noise=noise,
        truncation=truncation,
        batch_size=batch_size,
        device=device,
        cache=not no_cache,
        progress=shown(quiet),
    )
    if env.rank():  # process 0 speaks for all
        return
    written = evaluation.save_report(report, out) if out is not None else None
    if json:
        emit_json(report.to_dict())
        return
    about = report.record
    hint(f"{report.subject} against {about['data']} ({about['split']}), seed {about['seed']}")
    table([list(r) for r in report.rows()], ("metric", "value", "95 % interval", "unit", "measured on"))
    for claim, names in report.claims().items():
        hint(f"95 % intervals of {', '.join(names)} hold {claim}")
    for reason, names in report.absences().items():
        hint(f"absent: {', '.join(names)} ({reason})")
    if written is not None:
        say(written)
