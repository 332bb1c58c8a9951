"""Commands that use weights: sample, reconstruct, interpolate, encode, eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.core.distributed import env
from genzoo.core.errors import UsageError
from genzoo.core.protocol import Protocol
from genzoo.registry.console import options as opt
from genzoo.registry.console.arguments import checked, in_processes, opened
from genzoo.registry.console.output import emit_json, hint, say, table, written

OutPicture = Annotated[Path, typer.Option(help="A .png or .npz file.")]


def sample(
    weights: opt.Weights,
    out: Annotated[Path, typer.Option(help=".png for a grid, .npz for arrays, a folder for one picture each.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 64,
    seed: Annotated[int, typer.Option(help="The same seed gives the same samples.")] = 0,
    label: Annotated[int | None, typer.Option(help="Class of all samples; default cycles through them.")] = None,
    condition: Annotated[
        str | None, typer.Option(help="Numbers that all samples are conditioned on, such as 0.5,2.", metavar="A,B,…")
    ] = None,
    truncation: opt.Truncation = None,
    noise: opt.Noise = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples at a time.")] = 256,
    devices: Annotated[int | None, typer.Option(help="Processes on this machine that share the work.")] = None,
    device: opt.Device = "auto",
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Draw samples from a model."""
    in_processes(devices)
    from genzoo.registry.verbs import sample as results

    how = opt.chosen(locals(), "seed truncation noise batch_size device")
    how |= {"condition": None if condition is None else _numbers(condition), "progress": opt.shown(quiet)}
    written(results.sample(weights, out, n, labels=label, **how), json)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--condition takes numbers such as 0.5,2, not {text!r}") from None


def reconstruct(
    weights: opt.Weights,
    data: opt.Data,
    out: OutPicture,
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 16,
    split: opt.Split = "test",
    seed: Annotated[int | None, typer.Option(help="Draw codes by this seed instead of taking their mean.")] = None,
    set_: opt.Set = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Show data above what a model makes of it."""
    from genzoo.registry.verbs import sample as results

    model = results.needs_encoder(weights, device)
    written(results.reconstruct(model, opened(data, split, set_), out, n, seed=seed), json)


def interpolate(
    weights: opt.Weights,
    out: OutPicture,
    n: Annotated[int, typer.Option("-n", "--number", help="How many paths.")] = 8,
    steps: Annotated[int, typer.Option(help="Points on each path, both ends included.")] = 10,
    straight: Annotated[bool, typer.Option("--straight", help="Straight lines instead of great circles.")] = False,
    seed: Annotated[int, typer.Option(help="Of the codes at both ends.")] = 0,
    data: Annotated[str | None, typer.Option(help="Data whose codes are the ends, instead of random ones.")] = None,
    split: opt.Split = "test",
    label: Annotated[int | None, typer.Option(help="Class of all paths; default gives each row another.")] = None,
    set_: opt.Set = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Show paths between codes, one per row."""
    from genzoo.registry.verbs import sample as results

    asked = locals()
    model = results.needs_encoder(weights, device) if data else weights
    ends = opened(data, split, set_) if data else None
    way = "straight" if straight else "prior"
    how = opt.chosen(asked, "steps seed label device") | {"path": way, "data": ends}
    written(results.interpolate(model, out, n, **how), json)


def encode(
    weights: opt.Weights,
    data: opt.Data,
    out: Annotated[Path, typer.Option(help="An .npz file: codes, and labels where the data has them.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many; 0 for all.")] = 0,
    split: opt.Split = "test",
    seed: Annotated[int | None, typer.Option(help="Draw codes by this seed instead of taking their mean.")] = None,
    set_: opt.Set = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Turn data into latent codes."""
    from genzoo.registry.verbs import sample as results

    model = results.needs_encoder(weights, device)
    written(results.encode(model, opened(data, split, set_), out, n, seed=seed), json)


def evaluate(
    subject: Annotated[
        str, typer.Argument(metavar="WEIGHTS", help="A weights folder or a run's; or samples: .npz, .npy, images.")
    ],
    data: opt.Data = "",
    metrics: opt.Metrics = None,
    n: opt.Count = None,
    seed: opt.Seed = 0,
    split: opt.Split = "test",
    extractor: opt.Extractor = None,
    set_: opt.SetMetrics = None,
    noise: opt.Noise = False,
    truncation: opt.Truncation = None,
    out: Annotated[Path | None, typer.Option(help="A .json file; or a folder, for pictures too.")] = None,
    batch_size: opt.BatchSize = 256,
    devices: Annotated[int | None, typer.Option(help="Processes on this machine that share the work.")] = None,
    device: opt.Device = "auto",
    no_cache: opt.NoCache = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
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
    how = Protocol(n, seed, split, noise, truncation, extractor, batch_size, device, not no_cache)  # type: ignore[arg-type]
    report = evaluation.measure(
        subject, data, metrics, how, options=options, data_options=data_options, progress=opt.shown(quiet)
    )
    if env.rank():  # process 0 speaks for all
        return
    written = evaluation.save_report(report, out) if out is not None else None
    if json:
        emit_json(report.to_dict())
        return
    about = report.record
    hint(f"{report.subject} against {about['data']} ({about['split']}), seed {about['seed']}")
    table(report.rows(), ("metric", "value", "95 % interval", "unit", "measured on"))
    for claim, names in report.claims().items():
        hint(f"95 % intervals of {', '.join(names)} hold {claim}")
    for reason, names in report.absences().items():
        hint(f"absent: {', '.join(names)} ({reason})")
    if written is not None:
        say(written)


COMMANDS = {
    "sample": sample,
    "reconstruct": reconstruct,
    "interpolate": interpolate,
    "encode": encode,
    "eval": evaluate,
}
