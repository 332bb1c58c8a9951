"""The commands on tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console import options as opt
from genzoo.registry.console.arguments import assignments
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


def augment(
    data: Annotated[str, typer.Argument(help="A .csv, .csv.gz, .parquet, .arrow or .toml file, or a data set's name.")],
    out: Annotated[Path | None, typer.Option(help="A file for all rows and the new ones.")] = None,
    target: Annotated[str | None, typer.Option(help="The column that is the class.")] = None,
    rare: Annotated[str | None, typer.Option(help="The class to add rows of; default that of fewest.")] = None,
    to: Annotated[
        str, typer.Option(help="Rows for those of the commonest class: 1:1, 1:4, or how many to add.")
    ] = "1:1",
    recipe: Annotated[str, typer.Option("--with", help="What makes them: a recipe, smote or copies.")] = "table-ar",
    weight: Annotated[str, typer.Option(help="Of a new row, written beside it: full or half.")] = "full",
    where: Annotated[str | None, typer.Option(help="A condition that new rows meet beside.")] = None,
    drop_to: Annotated[int | None, typer.Option(min=1, help="Of pictures: how many of the class to keep.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Times that rows are halved to judge by.")] = 5,
    judge: Annotated[bool, typer.Option(help="Find out whether the new rows help.")] = True,
    steps: Annotated[int | None, typer.Option(min=1, help="Of each training.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 0,
    set_: opt.Set = None,
    threads: opt.Threads = None,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Add rows of a rare class to a table, and find out whether they help a classifier: often they do not.

    Example: genzoo augment people.csv --target income --out more.csv
    """
    if out is None:
        raise UsageError("name a file to write to with --out")
    from genzoo.plugins.apps.tables.augment import augment as augmenting
    from genzoo.plugins.apps.tables.verdict import AS_IS, MEASURES, MOVED

    done = augmenting(
        data, out, target=target, rare=rare, to=to, recipe=recipe, weight=weight, where=where, drop_to=drop_to,
        repeats=repeats, judge=judge, seed=seed, steps=steps, options=assignments(set_), threads=threads, device=device,
        tell=lambda line: None if json else hint(line),
    )  # fmt: skip
    if json:
        emit_json(done.to_dict())
        return
    if done.verdict is not None:
        rows = []
        for v in done.verdict.lines:
            d = v.difference
            apart = f"{d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})" if v.treatment not in (AS_IS, MOVED) else ""
            rows.append([v.classifier, v.treatment, *(f"{v.means[m]:.3f}" for m in MEASURES), apart])
        table(rows, ("classifier", "rows", "AP", "AUC", "F1", "log loss", "AP against as it is"))
    hint(done.says)
    hint(f"{done.added:,} rows of {done.target} = {done.rare} added to {done.rare_rows:,} such of {done.real:,}")
    hint(f"a classifier that learns from all gives odds that are not the data's: multiply them by {done.odds:.4g}")
    say(done.path)
