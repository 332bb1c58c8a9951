"""The command that trains two small models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console.options import Threads
from genzoo.registry.console.output import hint, say


def quickstart(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New folder for pictures and weights.")] = Path(
        "quickstart"
    ),
    threads: Threads = None,
) -> None:
    """Train a small VAE and a small WGAN-GP on real images in about two minutes, and draw what they make."""
    if out.is_dir() and any(out.iterdir()):
        hint(f"genzoo: {out} is already there; look at its pictures, or remove it to train again")
        return
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file: name a new folder")
    from genzoo.plugins.apps.quickstart.quickstart import quickstart

    for recipe, r in quickstart(out, threads).items():
        found = f"{r['seconds']:.0f} s of training, {r['classes']} of 10 classes in 1,000 samples"
        say(f"{r['picture']}: {recipe}, {found}")
