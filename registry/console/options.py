"""Options that several commands have, each said once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

Data = Annotated[str, typer.Option(help="A data set's name, a folder of images, a .npy or .npz file.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Endpoint = Annotated[str | None, typer.Option(help="The Hub's address; default HF_ENDPOINT, or Hugging Face.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Split = Annotated[str, typer.Option(help="Which split of the data: test or train.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads.")]


def shown(quiet: bool) -> bool:
    """Whether progress is shown: not into a file or a pipe."""
    return not quiet and sys.stderr.isatty()
