"""The command that fits a prior to a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console.arguments import assignments, in_processes
from genzoo.registry.console.options import Device, Json, Prior, Quiet, Set, Threads


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    prior = typer.Typer(help="Priors of trained models.", rich_markup_mode=None, no_args_is_help=True)
    prior.callback()(lambda: None)
    prior.command("fit")(fit)
    app.add_typer(prior, name="prior")


def fit(
    weights: Annotated[str, typer.Argument(metavar="WEIGHTS", help="A trained model: a run's folder, weights.")],
    prior: Prior = None,
    out: Annotated[Path | None, typer.Option(help="New folder for the model of both stages.")] = None,
    data: Annotated[str | None, typer.Option(help="Data, if not the data set that the model was trained on.")] = None,
    steps: Annotated[int | None, typer.Option(help="Training steps.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data, instead of steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Observations per turn.")] = None,
    seed: Annotated[int | None, typer.Option(help="Default: the first stage's, to hold out the same data.")] = None,
    set_: Set = None,
    devices: Annotated[int | None, typer.Option(help="Processes on this machine that share every batch.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint in --out.")] = False,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a prior on the codes of a trained model, which stays as it is.

    Example: genzoo prior fit runs/vq-vae --prior transformer --out runs/vq-vae-transformer
    """
    if prior is None:
        raise UsageError("name the prior with --prior: 'genzoo list prior' shows them")
    if out is None:
        raise UsageError("name a folder to write to with --out")
    given = assignments(set_)
    in_processes(devices, advice="go on with the same command and --resume")
    from genzoo.cli.train import finish
    from genzoo.registry.verbs.prior import fit_prior

    finish(
        lambda: fit_prior(
            weights, prior, out, data=data, steps=steps, epochs=epochs, batch_size=batch_size, seed=seed,
            options=given, resume=resume, device=device, threads=threads, progress=not quiet,
        ),
        json,
    )  # fmt: skip
