"""The command that judges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.cli.train import assignments, in_processes
from genzoo.core.distributed import env
from genzoo.core.errors import UsageError
from genzoo.registry.console.options import Data, Device, Json, Quiet, Split, shown
from genzoo.registry.console.output import emit_json, hint, table

Metrics = Annotated[str | None, typer.Option(help="Names or tags, comma-separated; 'genzoo list metric' shows them.")]
Count = Annotated[int | None, typer.Option("-n", "--n", help="Samples; default as many as data, to 10,000.")]
Seed = Annotated[int, typer.Option(help="Of samples and resampling.")]
Extractor = Annotated[str | None, typer.Option(help="A name ('genzoo list extractor'), or your .onnx or .pt2 file.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="METRIC.OPTION of a metric, or data.OPTION of the data set."),
]
Noise = Annotated[bool, typer.Option("--noise", help="Draw from the likelihood, not its mean.")]
Truncation = Annotated[float | None, typer.Option(help="Keep codes within this many standard deviations.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Observations at a time.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep no features of the data on disk.")]


def checked(split: str, metrics: str | None, set_: list[str] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Refuse what is wrong before it takes torch's time to be told.

    Returns:
        The options of metrics, and those of the data set.
    """
    if split not in ("train", "test"):
        raise UsageError(f"--split is test or train, not {split!r}")
    from genzoo.registry import the_registry
    from genzoo.registry.defaults import choose

    choose(the_registry(), metrics)
    given = assignments(set_)
    data = {name.removeprefix("data."): v for name, v in given.items() if name.startswith("data.")}
    return {name: v for name, v in given.items() if not name.startswith("data.")}, data


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
    set_: Options = None,
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
    for reason, names in report.absences().items():
        hint(f"absent: {', '.join(names)} ({reason})")
    if written is not None:
        print(written)
