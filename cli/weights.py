"""Commands for weights from and for elsewhere: pull, cache, lock, push, weights pack, weights publish."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.units import size_text
from genzoo.registry.console import options as opt
from genzoo.registry.console.output import emit_json, hint, say, table, written

if TYPE_CHECKING:
    from genzoo.registry.weights.cache import Cached

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be pushed; the Hub is not asked.")]
License = Annotated[str, typer.Option(help="Of the weights: mit, cc-by-4.0, …")]
Private = Annotated[bool, typer.Option("--private", help="A repository that is made is private.")]
Unfinished = Annotated[bool, typer.Option("--unfinished", help="Even if training stopped before its end.")]
Copies = Annotated[list[str] | None, typer.Argument(help="hf:org/name or hf:org/name@REVISION; default all.")]


def pull(
    weights: Annotated[list[str], typer.Argument(help="hf:org/name@REVISION, or a name ('genzoo list weights').")],
    out: Annotated[Path | None, typer.Option(help="New folder for a copy; default leaves the files cached.")] = None,
    endpoint: opt.Endpoint = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Download weights, check every file, and print the folder that they are in.

    Example: genzoo pull hf:org/name@v1
    """
    from genzoo.registry.weights import locate

    if out is not None and len(weights) > 1:
        raise UsageError("--out takes one model's files: pull one at a time")
    results = []
    for name in weights:
        found = locate.pull(name, out=out, endpoint=endpoint, progress=not quiet)
        about = {"name": name, "folder": str(found.folder), "origin": found.origin, "commit": found.commit}
        results.append({**about, "bytes": found.size, "files": found.files})
        if not json:
            say(found.folder)
            if not quiet:
                hint(f"{name}: {found.origin}, {len(found.files)} files, {size_text(found.size)}, every sha256 right")
    if json:
        emit_json(results if len(results) > 1 else results[0])


def lock(
    weights: Annotated[list[str] | None, typer.Argument(help="Names as they are used; default renews all.")] = None,
    file: Annotated[Path, typer.Option(help="The lock file.")] = Path("genzoo.lock"),
    endpoint: opt.Endpoint = None,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Pin weights to a commit and the sha256 of every file; --locked then refuses anything else.

    Example: genzoo lock hf:org/name@v1 wgan-gp/fashion-mnist
    """
    from genzoo.registry.weights import locate

    states = locate.lock(weights or [], file, endpoint=endpoint, progress=not quiet)
    if json:
        emit_json({"file": str(file), "weights": states})
    else:
        table([[name, state] for name, state in states.items()])
        hint(f"{file}: 'genzoo --locked …' or GENZOO_LOCKED={file} keeps to it")


def ls(json: opt.Json = False) -> None:
    """Show what was pulled: name, revisions, commit, size, last use.

    Example: genzoo cache ls
    """
    from genzoo.registry.weights.cache import chosen

    copies = chosen()
    if json:
        emit_json([c.to_dict() for c in copies])
        return
    if not copies:
        hint("nothing was pulled yet")
        return
    days = [time.strftime("%Y-%m-%d %H:%M", time.localtime(c.used)) for c in copies]
    rows = [[c.name, *_which(c), size_text(c.bytes), day] for c, day in zip(copies, days, strict=True)]
    table(rows, ("name", "revisions", "commit", "size", "last use"))
    hint(f"\n{len(copies)} copies, {size_text(sum(c.bytes for c in copies))}; 'genzoo cache rm NAME' removes one")


def verify(weights: Copies = None, json: opt.Json = False) -> None:
    """Hash every file that was pulled again; exit 1 if one is damaged.

    Example: genzoo cache verify
    """
    from genzoo.registry.weights.cache import chosen, fault

    results = [(c, fault(c)) for c in chosen(weights or [])]
    bad = [c for c, why in results if why]
    if json:
        emit_json([{**c.to_dict(), "error": why or None} for c, why in results])
    elif not results:
        hint("nothing was pulled yet")
    else:
        table([[c.name, _which(c)[1], why or "good"] for c, why in results])
    if bad and not json:
        hint(f"genzoo: {len(bad)} of {len(results)} damaged; 'genzoo pull' mends them, 'genzoo cache rm' removes them")
    if bad:
        raise typer.Exit(1)


def rm(
    weights: Copies = None,
    all_: Annotated[bool, typer.Option("--all", help="All of genzoo's; other models stay.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: opt.Json = False,
) -> None:
    """Remove what was pulled; models in the cache that are not genzoo's are never touched.

    Example: genzoo cache rm hf:org/name@v1
    """
    from genzoo.registry.weights.cache import chosen, remove

    if bool(weights) == all_:
        raise UsageError("say which copies to remove, or --all; 'genzoo cache ls' shows them")
    copies = chosen(weights or [])
    if copies and not yes:
        for c in copies:
            hint(f"{c.name} {_which(c)[1]} ({size_text(c.bytes)})")
        if not sys.stdin.isatty():
            raise UsageError("nothing was removed: say --yes where nobody can be asked")
        typer.confirm(f"Remove {len(copies)} {'copy' if len(copies) == 1 else 'copies'}?", abort=True, err=True)
    freed = remove(copies)
    if json:
        emit_json({"removed": [c.to_dict() for c in copies], "bytes": freed})
    else:
        say(f"{len(copies)} removed, {size_text(freed)} freed")


def _which(copy: Cached) -> tuple[str, str]:
    return ", ".join(copy.revisions) or "-", copy.commit[:12] or "not finished"


def pack(
    weights: Annotated[str, typer.Argument(help="A run's folder, or any weights.")],
    name: Annotated[str, typer.Argument(metavar="RECIPE/DATA", help="What it will be called in the zoo.")],
    out: Annotated[Path, typer.Option(help="New folder, inside the package that will ship it.")],
    data: Annotated[str | None, typer.Option(help="Measure on the test split of this data, for the card.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="What 'genzoo eval --out' wrote, instead of --data.")] = None,
    license: License = "",
    storage: Annotated[str, typer.Option(help="float32, or float16 or bfloat16 for half the size.")] = "float32",
    unfinished: Unfinished = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Make a run ready to ship inside a package: stored small, measured as stored, with a card.

    Example: genzoo weights pack runs/vae vae/fashion-mnist --data fashion-mnist --license mit --out weights/vae
    """
    from genzoo.registry.weights.pack import pack

    how = opt.chosen(locals(), "data metrics license storage unfinished")
    written(pack(weights, name, out, progress=opt.shown(quiet), **how), json)


def push(
    weights: Annotated[str, typer.Argument(help="A run's folder, or any weights.")],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Where to: made if it is not there.")],
    license: License = "",
    data_license: Annotated[str, typer.Option(help="Of the training data, where its data set does not say.")] = "",
    metrics: Annotated[Path | None, typer.Option(help="What 'genzoo eval --out' wrote, for the card.")] = None,
    tag: Annotated[str, typer.Option(help="Of this version; default the next of v1, v2, …")] = "",
    private: Private = False,
    unfinished: Unfinished = False,
    endpoint: opt.Endpoint = None,
    message: Annotated[str, typer.Option("--message", "-m", help="Of the commit.")] = "",
    space: Annotated[bool, typer.Option("--space", help="Push a Space too: the page of 'genzoo explore'.")] = False,
    dry_run: DryRun = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Publish a trained model on the Hub, with a card, in one commit and under a tag.

    Example: genzoo push runs/vae me/vae-fashion --license mit --dry-run
    """
    from genzoo.registry.weights.push import push

    how = opt.chosen(locals(), "license data_license metrics tag private unfinished endpoint message space dry_run")
    done = push(weights, repository, progress=opt.shown(quiet), **how)
    if json:
        emit_json({**done.to_dict(), "dry_run": dry_run})
    else:
        _show(done, dry_run, card=True)


def publish(
    organization: Annotated[str, typer.Option("--all", metavar="ORG", help="Publish all of them to ORG.")] = "",
    only: Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="Only these weights.")] = None,
    license: Annotated[str, typer.Option(help="Where a card names none; default apache-2.0.")] = "",
    private: Private = False,
    endpoint: opt.Endpoint = None,
    dry_run: DryRun = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Publish the weights that ship with genzoo, each version under its tag.

    Example: genzoo weights publish --all my-org --dry-run
    """
    from genzoo.registry.weights.push import publish_all

    if not organization:
        raise UsageError("say where to publish all of them: --all ORG")
    how = opt.chosen(locals(), "license private endpoint dry_run")
    found = publish_all(organization, names=only or (), progress=opt.shown(quiet), **how)
    failed = [d for d in found if isinstance(d, GenzooError)]
    if json:
        told = [d if isinstance(d, GenzooError) else {**d.to_dict(), "dry_run": dry_run} for d in found]
        emit_json([d if isinstance(d, dict) else {"error": str(d)} for d in told])
    else:
        for done in (d for d in found if not isinstance(d, GenzooError)):
            _show(done, dry_run)
    for error in failed[:-1]:
        hint(f"genzoo: {error}")
    if failed:
        raise failed[-1]


def _show(done: Any, rehearsal: bool, card: bool = False) -> None:
    """What was pushed, on a line; or what would have been."""
    if not rehearsal:
        name, about = f"hf:{done.repository}@{done.tag}", f"commit {done.commit[:12]}"
        pushed = (
            f"{name}: {len(done.files)} files, {sum(f.size for f in done.files) / 1e6:,.1f} MB, {about}; {done.url}"
        )
        say(pushed if done.changed else f"{name} holds these files already ({about}): nothing was pushed")
        if done.space:
            say(f"{done.space.url}: the page of 'genzoo explore', {'pushed' if done.space.changed else 'as it was'}")
        return
    say(f"would push to {done.repository}{f', tag {done.tag}' if done.tag else ''}:")
    table([[f"  {f.name}", f"{f.size:,} bytes".rjust(19), f"sha256 {f.sha256}"] for f in done.files])
    say(f"  {len(done.files)} files, {sum(f.size for f in done.files):,} bytes")
    if card:
        say(f"\n{done.card}", end="")
    if done.space:
        say(f"\nwould push a Space, {done.repository}, too:")
        for file in done.space.files:
            say(f"\n  {file.name}, {file.size:,} bytes, sha256 {file.sha256}\n\n{file.text}", end="")


COMMANDS = {
    "pull": pull,
    "push": push,
    "lock": lock,
    "cache": {"ls": ls, "verify": verify, "rm": rm},
    "weights": {"pack": pack, "publish": publish},
}
