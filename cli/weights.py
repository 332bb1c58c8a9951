"""Commands for weights from elsewhere: pull, cache, lock."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console.options import Endpoint, Json, Quiet
from genzoo.registry.console.output import emit_json, hint, say, table

if TYPE_CHECKING:
    from genzoo.registry.weights.cache import Cached

Copies = Annotated[list[str] | None, typer.Argument(help="hf:org/name or hf:org/name@REVISION; default all.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("pull")(pull)
    app.command("lock")(lock)
    cache = typer.Typer(help="Pulled weights: list, verify, remove.", rich_markup_mode=None, no_args_is_help=True)
    cache.command("ls")(cache_ls)
    cache.command("verify")(cache_verify)
    cache.command("rm")(cache_rm)
    app.add_typer(cache, name="cache")


def pull(
    weights: Annotated[list[str], typer.Argument(help="hf:org/name@REVISION, or a name ('genzoo list weights').")],
    out: Annotated[Path | None, typer.Option(help="New folder for a copy; default leaves the files cached.")] = None,
    endpoint: Endpoint = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Download weights, check every file, and print the folder that they are in.

    Example: genzoo pull hf:org/name@v1
    """
    from genzoo.registry.weights import pull as pulling

    if out is not None and len(weights) > 1:
        raise UsageError("--out takes one model's files: pull one at a time")
    results = []
    for name in weights:
        found = pulling.pull(name, out=out, endpoint=endpoint, progress=not quiet)
        about = {"name": name, "folder": str(found.folder), "origin": found.origin, "commit": found.commit}
        results.append({**about, "bytes": found.size, "files": found.files})
        if not json:
            say(found.folder)
            if not quiet:
                hint(f"{name}: {found.origin}, {len(found.files)} files, {size(found.size)}, every sha256 right")
    if json:
        emit_json(results if len(results) > 1 else results[0])


def cache_ls(json: Json = False) -> None:
    """Show what was pulled: name, revisions, commit, size, last use."""
    from genzoo.registry.weights import pull as pulling

    copies = pulling.list_cached()
    if json:
        emit_json([c.to_dict() for c in copies])
        return
    if not copies:
        hint("nothing was pulled yet")
        return
    rows = [[c.name, *_which(c), size(c.bytes), _day(c.used)] for c in copies]
    table(rows, ("name", "revisions", "commit", "size", "last use"))
    hint(f"\n{len(copies)} copies, {size(sum(c.bytes for c in copies))}; 'genzoo cache rm NAME' removes one")


def cache_verify(weights: Copies = None, json: Json = False) -> None:
    """Hash every file that was pulled again; exit 1 if one is damaged."""
    from genzoo.registry.weights import pull as pulling

    results = pulling.verify_cached(weights or [])
    if json:
        emit_json([{**c.to_dict(), "error": why or None} for c, why in results])
    else:
        table([[c.name, _which(c)[1], why or "good"] for c, why in results])
    bad = [c for c, why in results if why]
    if not json and bad:
        hint(f"genzoo: {len(bad)} of {len(results)} damaged; 'genzoo pull' mends them, 'genzoo cache rm' removes them")
    elif not json and not results:
        hint("nothing was pulled yet")
    if bad:
        raise typer.Exit(1)


def cache_rm(
    weights: Copies = None,
    all_: Annotated[bool, typer.Option("--all", help="All of genzoo's; other models stay.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Remove what was pulled; models in the cache that are not genzoo's are never touched."""
    from genzoo.registry.weights import pull as pulling
    from genzoo.registry.weights.cache import chosen, remove

    if bool(weights) == all_:
        raise UsageError("say which copies to remove, or --all; 'genzoo cache ls' shows them")
    copies = chosen(weights or []) if weights else pulling.list_cached()
    if copies and not yes:
        for c in copies:
            hint(f"{c.name} {_which(c)[1]} ({size(c.bytes)})")
        if not sys.stdin.isatty():
            raise UsageError("nothing was removed: say --yes where nobody can be asked")
        typer.confirm(f"Remove {len(copies)} {'copy' if len(copies) == 1 else 'copies'}?", abort=True, err=True)
    freed = remove(copies)
    if json:
        emit_json({"removed": [c.to_dict() for c in copies], "bytes": freed})
    else:
        say(f"{len(copies)} removed, {size(freed)} freed")


def lock(
    weights: Annotated[list[str] | None, typer.Argument(help="Names as they are used; default renews all.")] = None,
    file: Annotated[Path, typer.Option(help="The lock file.")] = Path("genzoo.lock"),
    endpoint: Endpoint = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Pin weights to a commit and the sha256 of every file; --locked then refuses anything else.

    Example: genzoo lock hf:org/name@v1 wgan-gp/fashion-mnist
    """
    from genzoo.registry.weights import pull as pulling

    states = pulling.lock(weights or [], file, endpoint=endpoint, progress=not quiet)
    if json:
        emit_json({"file": str(file), "weights": states})
    else:
        table([[name, state] for name, state in states.items()])
        hint(f"{file}: 'genzoo --locked …' or GENZOO_LOCKED={file} keeps to it")


def size(number: int) -> str:
    """Bytes as people read them."""
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if number >= bytes_:
            return f"{number / bytes_:.1f} {unit}"
    return f"{number} bytes"


def _which(copy: Cached) -> tuple[str, str]:
    return ", ".join(copy.revisions) or "-", copy.commit[:12] or "not finished"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
