"""The commands on tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console import options as opt
from genzoo.registry.console.output import emit_json, hint, say, table

File = Annotated[Path, typer.Argument(metavar="FILE", help="A .csv, .csv.gz, .parquet or .arrow file.")]

data = typer.Typer(
    help="What a file of data holds.\n\nExample: genzoo data inspect people.csv", rich_markup_mode=None,
    no_args_is_help=True,
)  # fmt: skip


@data.callback()
def _data() -> None:
    """What a file of data holds."""


@data.command("inspect")
def inspect(
    file: File,
    out: Annotated[Path | None, typer.Option(help="A .toml file to edit: give it as --data then.")] = None,
    json: opt.Json = False,
) -> None:
    """Say what each column of a table is and why, and what seems to hold in every row; trains nothing.

    Example: genzoo data inspect people.csv --out people.toml
    """
    from genzoo.plugins.apps.tables.inspect_file import inspect as inspecting

    found = inspecting(file, out)
    if json:
        emit_json(found.to_dict())
        return
    rows = []
    for c in found.columns:
        gaps = f"{found.missing[c.name] / max(found.rows, 1):.1%}" if found.missing[c.name] else ""
        could = f" (could be: {found.could[c.name]})" if c.name in found.could else ""
        rows.append([c.name, c.kind, c.dtype, gaps, f"{c.why}{could}"])
    hint(f"{found.rows:,} rows of {len(found.columns)} columns")
    table(rows, ("column", "kind", "type", "missing", "why"))
    for why in found.refused.values():
        hint(why)
    for note in found.notes:
        hint(note)
    for rule in found.candidates:
        hint(f"all rows keep: {rule}")
    if out is not None:
        say(out)


def complete(
    weights: opt.Weights,
    file: File,
    out: Annotated[Path | None, typer.Option(help="A .csv, .csv.gz, .parquet or .arrow file.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed fills the same.")] = 0,
    draws: Annotated[int, typer.Option(min=1, help="Draws for each row, of which one is chosen.")] = 256,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Fill the empty cells of a table, each drawn given the rest of its row; what is there stays as it is.

    Example: genzoo complete runs/people holes.csv --out full.csv
    """
    if out is None:
        raise UsageError("name a file to write to with --out")
    from genzoo.plugins.apps.tables.complete import complete as completing

    done = completing(weights, file, out, seed=seed, draws=draws, device=device)
    if json:
        emit_json(done.to_dict())
        return
    total = sum(done.cells.values())
    by = ", ".join(f"{name} {n:,}" for name, n in done.cells.items())
    hint(f"{total:,} cells of {done.rows:,} rows filled" + (f": {by}" if by else ""))
    for name, why in done.left.items():
        hint(f"empty cells of {name} stay: {why}")
    for name, n in done.unknown.items():
        hint(f"{n:,} cells of {name} hold what the training rows did not: read as the nearest that they did")
    say(done.path)
