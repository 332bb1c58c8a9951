"""Commands that use weights: sample, reconstruct, interpolate, encode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console.arguments import in_processes, opened
from genzoo.registry.console.options import (
    Data,
    Device,
    Json,
    Noise,
    Quiet,
    Set,
    Split,
    Truncation,
    Weights,
    shown,
)
from genzoo.registry.console.output import written

OutPicture = Annotated[Path, typer.Option(help="A .png or .npz file.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("sample")(sample)
    app.command("reconstruct")(reconstruct)
    app.command("interpolate")(interpolate)
    app.command("encode")(encode)


def sample(
    weights: Weights,
    out: Annotated[Path, typer.Option(help=".png for a grid, .npz for arrays, a folder for one picture each.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 64,
    seed: Annotated[int, typer.Option(help="The same seed gives the same samples.")] = 0,
    label: Annotated[int | None, typer.Option(help="Class of all samples; default cycles through them.")] = None,
    condition: Annotated[
        str | None, typer.Option(help="Numbers that all samples are conditioned on, such as 0.5,2.", metavar="A,B,…")
    ] = None,
    truncation: Truncation = None,
    noise: Noise = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples at a time.")] = 256,
    devices: Annotated[int | None, typer.Option(help="Processes on this machine that share the work.")] = None,
    device: Device = "auto",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Draw samples from a model."""
    in_processes(devices)
    from genzoo.registry.verbs import sample as results

    path = results.sample(
        weights,
        out,
        n,
        seed=seed,
        labels=label,
        condition=None if condition is None else _numbers(condition),
        truncation=truncation,
        noise=noise,
        batch_size=batch_size,
        device=device,
        progress=shown(quiet),
    )
    written(path, json)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--condition takes numbers such as 0.5,2, not {text!r}") from None


def reconstruct(
    weights: Weights,
    data: Data,
    out: OutPicture,
    n: Annotated[int, typer.Option("-n", "--number", help="How many.")] = 16,
    split: Split = "test",
    seed: Annotated[int | None, typer.Option(help="Draw codes by this seed instead of taking their mean.")] = None,
    set_: Set = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Show data above what a model makes of it."""
    from genzoo.registry.verbs import sample as results

    model = results.needs_encoder(weights, device)
    written(results.reconstruct(model, opened(data, split, set_), out, n, seed=seed), json)


def interpolate(
    weights: Weights,
    out: OutPicture,
    n: Annotated[int, typer.Option("-n", "--number", help="How many paths.")] = 8,
    steps: Annotated[int, typer.Option(help="Points on each path, both ends included.")] = 10,
    straight: Annotated[bool, typer.Option("--straight", help="Straight lines instead of great circles.")] = False,
    seed: Annotated[int, typer.Option(help="Of the codes at both ends.")] = 0,
    data: Annotated[str | None, typer.Option(help="Data whose codes are the ends, instead of random ones.")] = None,
    split: Split = "test",
    label: Annotated[int | None, typer.Option(help="Class of all paths; default gives each row another.")] = None,
    set_: Set = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Show paths between codes, one per row."""
    from genzoo.registry.verbs import sample as results

    model = results.needs_encoder(weights, device) if data else weights
    ends = opened(data, split, set_) if data else None
    path = results.interpolate(
        model, out, n, steps=steps, path="straight" if straight else "prior", seed=seed, data=ends, label=label,
        device=device,
    )  # fmt: skip
    written(path, json)


def encode(
    weights: Weights,
    data: Data,
    out: Annotated[Path, typer.Option(help="An .npz file: codes, and labels where the data has them.")],
    n: Annotated[int, typer.Option("-n", "--number", help="How many; 0 for all.")] = 0,
    split: Split = "test",
    seed: Annotated[int | None, typer.Option(help="Draw codes by this seed instead of taking their mean.")] = None,
    set_: Set = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Turn data into latent codes."""
    from genzoo.registry.verbs import sample as results

    model = results.needs_encoder(weights, device)
    written(results.encode(model, opened(data, split, set_), out, n, seed=seed), json)
