"""The command that compresses by models and generic codecs: ``genzoo bench compress``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console import options as opt
from genzoo.registry.console.arguments import assignments, data_options, several
from genzoo.registry.console.output import emit_json, hint, table


def compress(
    weights: Annotated[list[str], typer.Argument(help="Models, by name or folder; none for codecs alone.")] = [],  # noqa: B006
    data: Annotated[str, typer.Option(help="Data sets, as a,b; a model compresses those of its form.")] = "",
    n: Annotated[int, typer.Option("-n", min=1, help="Test observations of each.")] = 300,
    fast: Annotated[bool, typer.Option("--fast", help="Networks in float32.")] = False,
    lossy: Annotated[bool, typer.Option("--lossy", help="Train lossy models at several rates, and draw them.")] = False,
    recipes: Annotated[str, typer.Option(help="Which, as a,b; default all that can.")] = "",
    budget: Annotated[str, typer.Option(help="Training time of each, with --lossy, as 90s or 10min.")] = "1min",
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each, in place of it.")] = None,
    seed: Annotated[int, typer.Option(help="Of training.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for table, numbers, the picture and runs.")] = None,
    set_: opt.Set = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Compress data by models, PNG, WebP, JPEG XL, gzip, bz2, xz and zstd; lossy models beside JPEG.

    With --lossy: genzoo bench compress --lossy --data fashion-mnist,emoji --out rates

    Example: genzoo bench compress vae/fashion-mnist --data fashion-mnist -n 300
    """
    from genzoo.plugins.apps.bench import compression as every

    said = (lambda text: None) if quiet else hint
    chosen = several(data) or ("fashion-mnist",)
    how = opt.chosen(locals(), "fast budget steps seed out")
    trained: Any = several(recipes) or lossy
    if not trained and (steps or budget != "1min"):
        raise UsageError("--steps and --budget are of models that are trained here: add --lossy")
    how |= {"data_options": data_options([pair for pair in set_ or () if not trained or pair.startswith("data.")])}
    how |= {"options": assignments(set_)} if trained else {}
    found = every.compression(weights, chosen, n, lossy=trained, **how, progress=said)
    if json:
        emit_json(found.to_dict())
        return
    for lines in (every.size_table(found), every.point_table(found)):
        if lines.rows:
            table(lines.rows, lines.header)
    if out:
        hint(f"table and numbers in {out / 'compress'}.md and .json" + (
            f", the picture in {out / 'rate-distortion.svg'}" if found.points else ""))  # fmt: skip
