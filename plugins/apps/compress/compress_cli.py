"""The commands that compress and decompress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console.arguments import data_options
from genzoo.registry.console.options import Json, Set, Weights
from genzoo.registry.console.output import emit_json, hint, say


def compress(
    weights: Weights,
    data: Annotated[str, typer.Argument(help="A data set's name, a folder, or a file.")],
    out: Annotated[Path | None, typer.Option(help="The compressed file.")] = None,
    n: Annotated[int, typer.Option("-n", "--n", min=0, help="Observations, from the start; 0 for all.")] = 0,
    fast: Annotated[bool, typer.Option("--fast", help="Networks in float32; only this machine reads it.")] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Write without decoding first.")] = False,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Write data as a file whose size is a model's bound on their likelihood.

    Of a .txt file every byte comes back, of a table every cell, of pictures every level; of rounded codes, nearly.

    Example: genzoo compress vae/fashion-mnist fashion-mnist --out clothes.zoo
    """
    if out is None:
        raise UsageError("name a file to write to with --out")
    from genzoo.plugins.apps.compress.compress import compress as compressing

    done = compressing(weights, data, out, n, portable=not fast, verify=not no_verify, data_options=data_options(set_))
    if json:
        emit_json(done.to_dict())
        return
    lossy = f"; lossy, mean squared error {done.distortion:.4g}" if done.scheme == "tokens" else ""
    hint(f"{done.count:,} observations in {done.size:,} bytes, {done.bits:.4f} bits per {done.unit} "
         f"({done.scheme}{lossy})")  # fmt: skip
    say(done.path)


def decompress(
    file: Annotated[Path, typer.Argument(help="What genzoo compress wrote.")],
    out: Annotated[Path | None, typer.Option(help="An .npz file, or what else such data is written to.")] = None,
    weights: Annotated[str | None, typer.Option(help="Those it was compressed by; default as the file says.")] = None,
) -> None:
    """Give back the data of a compressed file, exactly where the model codes without loss.

    Example: genzoo decompress clothes.zoo --out clothes.npz
    """
    if out is None:
        raise UsageError("name a file or folder to write to with --out")
    from genzoo.plugins.apps.compress.compress import decompress as decompressing

    say(decompressing(file, out, weights))
