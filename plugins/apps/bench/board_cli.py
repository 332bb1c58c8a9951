"""``genzoo bench zoo`` and ``genzoo bench weights``: boards, and how any board is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.registry.console import options as opt
from genzoo.registry.console.arguments import assignments, several
from genzoo.registry.console.output import emit_json, hint, table


def zoo(
    data: Annotated[str, typer.Option(help="Name of a data set.")] = "fashion-mnist",
    budget: Annotated[str, typer.Option(help="Training time of each recipe, as 90s, 10min or 1h.")] = "10min",
    recipes: Annotated[str, typer.Option(help="Names, as a,b; default all that fit the data.")] = "",
    metrics: Annotated[str, typer.Option(help="Names or tags, as a,b; the first one ranks.")] = "",
    n: Annotated[int | None, typer.Option("-n", min=2, help="Samples of each; default as many as data.")] = None,
    seed: Annotated[int, typer.Option(help="Of training and of sampling.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps of each, in place of a time.")] = None,
    threads: opt.Threads = None,
    device: opt.Device = "auto",
    extractor: Annotated[str | None, typer.Option(help="Of features, as for genzoo eval.")] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for table, page, numbers and runs; what is in it is not done again.")
    ] = Path("leaderboard"),
    set_: opt.Set = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Train recipes under one budget, judge all by one protocol, and rank them.

    Example: genzoo bench zoo --data fashion-mini --budget 1min --out board
    """
    from genzoo.plugins.apps.bench import leaderboard

    how = opt.chosen(locals(), "data budget n seed steps threads device extractor out")
    named: dict[str, Any] = {
        "recipes": several(recipes) or None,
        "metrics": several(metrics) or None,
        "options": assignments(set_),
    }
    board = leaderboard.zoo(**how, **named, progress=opt.shown(quiet))
    if json:
        emit_json(board.to_dict())
        return
    shown(board)
    kept(f"table, page and numbers in {out / 'leaderboard'}.md, .html and .json", board.lines, " trainings")


def weights(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="WEIGHTS", help="Names, runs, folders; default the zoo's that learned the data."),
    ] = None,
    data: Annotated[str, typer.Option(help="Name of a data set.")] = "fashion-mnist",
    metrics: Annotated[str, typer.Option(help="Names or tags, as a,b; the first one ranks.")] = "",
    n: Annotated[int | None, typer.Option("-n", min=2, help="Samples of each; default as many as data.")] = None,
    seed: Annotated[int, typer.Option(help="Of sampling.")] = 0,
    device: opt.Device = "auto",
    extractor: Annotated[str | None, typer.Option(help="Of features, as for genzoo eval.")] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for table, page and numbers; what is in it is not done again.")
    ] = Path("trained"),
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Judge trained weights by one protocol, beside real data, and rank them.

    Example: genzoo bench weights --data emoji --out board
    """
    from genzoo.plugins.apps.bench import leaderboard

    how = opt.chosen(locals(), "data names n seed device extractor out")
    board = leaderboard.weights(**how, metrics=several(metrics) or None, progress=opt.shown(quiet))
    if json:
        emit_json(board.to_dict())
        return
    shown(board)
    kept(f"table, page and numbers in {out / 'leaderboard'}.md, .html and .json", board.lines)


def shown(board: Any) -> None:
    """Print a board, and say what is missing; nobody on it is a failure."""
    from genzoo.plugins.apps.bench.board import apart, board_table, by_reason

    lines = board_table(board, brief=True)
    table(lines.rows, lines.header)
    if any(cell.endswith("*") for row in lines.rows for cell in row[2:]):
        hint("* better than every other: its interval has no point in common with theirs")
    for sentence in apart(board):
        hint(sentence)
    for line in board.lines:
        if line.why:
            hint(f"{line.recipe} broke down: {line.why}")
    for reason in by_reason(board.left_out):
        hint(f"left out: {reason}")
    if board.lines and all(line.why for line in board.lines):
        raise typer.Exit(1)


def kept(where: str, lines: Sequence[Any], what: str = "") -> None:
    """Say where results are, and how many were there before."""
    before = sum(line.was_there for line in lines)
    hint(where + (f"; {before} of {len(lines)}{what} were there before" if before else ""))
