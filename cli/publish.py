"""Commands that publish: push, weights pack, weights publish."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console.options import Endpoint, Json, Quiet, shown
from genzoo.registry.console.output import emit_json, hint, say, table

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be pushed; the Hub is not asked.")]
Private = Annotated[bool, typer.Option("--private", help="A repository that is made is private.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("push")(push)
    weights = typer.Typer(help="The zoo's own weights.", rich_markup_mode=None, no_args_is_help=True)
    weights.command("pack")(pack)
    weights.command("publish")(publish)
    app.add_typer(weights, name="weights")


def pack(
    weights: Annotated[str, typer.Argument(help="A run's folder, or any weights.")],
    name: Annotated[str, typer.Argument(metavar="RECIPE/DATA", help="What it will be called in the zoo.")],
    out: Annotated[Path, typer.Option(help="New folder, inside the package that will ship it.")],
    data: Annotated[str | None, typer.Option(help="Measure on the test split of this data, for the card.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="What 'genzoo eval --out' wrote, instead of --data.")] = None,
    license: Annotated[str, typer.Option(help="Of the weights: mit, cc-by-4.0, …")] = "",
    storage: Annotated[str, typer.Option(help="float32, or float16 or bfloat16 for half the size.")] = "float32",
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Even if training stopped before its end.")] = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Make a run ready to ship inside a package: stored small, measured as stored, with a card.

    Example: genzoo weights pack runs/vae vae/fashion-mnist --data fashion-mnist --license mit --out weights/vae
    """
    from genzoo.registry.weights.pack import pack

    folder = pack(
        weights,
        name,
        out,
        data=data,
        metrics=metrics,
        license=license,
        storage=storage,  # type: ignore[arg-type]
        unfinished=unfinished,
        progress=shown(quiet),
    )
    if json:
        emit_json({"out": str(folder)})
    else:
        say(folder)


def push(
    weights: Annotated[str, typer.Argument(help="A run's folder, or any weights.")],
    repository: Annotated[str, typer.Argument(metavar="ORG/NAME", help="Where to: made if it is not there.")],
    license: Annotated[str, typer.Option(help="Of the weights: mit, cc-by-4.0, …")] = "",
    data_license: Annotated[str, typer.Option(help="Of the training data, where its data set does not say.")] = "",
    metrics: Annotated[Path | None, typer.Option(help="What 'genzoo eval --out' wrote, for the card.")] = None,
    tag: Annotated[str, typer.Option(help="Of this version; default the next of v1, v2, …")] = "",
    private: Private = False,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Even if training stopped before its end.")] = False,
    endpoint: Endpoint = None,
    message: Annotated[str, typer.Option("--message", "-m", help="Of the commit.")] = "",
    dry_run: DryRun = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Publish a trained model on the Hub, with a card, in one commit and under a tag.

    Example: genzoo push runs/vae me/vae-fashion --license mit --dry-run
    """
    from genzoo.registry.weights.push import push

    done = push(
        weights,
        repository,
        license=license,
        data_license=data_license,
        metrics=metrics,
        tag=tag,
        private=private,
        unfinished=unfinished,
        endpoint=endpoint,
        message=message,
        dry_run=dry_run,
        progress=shown(quiet),
    )
    if json:
        emit_json({**done.to_dict(), "dry_run": dry_run})
    elif dry_run:
        _show(done, card=True)
    else:
        say(_told(done))


def publish(
    organization: Annotated[str, typer.Option("--all", metavar="ORG", help="Publish all of them to ORG.")] = "",
    only: Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="Only these weights.")] = None,
    license: Annotated[str, typer.Option(help="Where a card names none; default apache-2.0.")] = "",
    private: Private = False,
    endpoint: Endpoint = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Publish the weights that ship with genzoo, each version under its tag.

    Example: genzoo weights publish --all my-org --dry-run
    """
    from genzoo.core.errors import GenzooError
    from genzoo.registry.weights.push import publish_all

    if not organization:
        raise UsageError("say where to publish all of them: --all ORG")
    found = publish_all(
        organization,
        names=only or (),
        license=license,
        private=private,
        endpoint=endpoint,
        dry_run=dry_run,
        progress=shown(quiet),
    )
    if json:
        emit_json([{"error": str(d)} if isinstance(d, GenzooError) else {**d.to_dict(), "dry_run": dry_run}
                   for d in found])  # fmt: skip
    failed = [d for d in found if isinstance(d, GenzooError)]
    for done in found:
        if isinstance(done, GenzooError) or json:
            continue
        if dry_run:
            _show(done, card=False)
        else:
            say(_told(done))
    for number, error in enumerate(failed):
        if number:
            hint(f"genzoo: {failed[number - 1]}")
        if error is failed[-1]:
            raise error


def _show(done: Any, *, card: bool) -> None:
    """What a rehearsal would have pushed."""
    say(f"would push to {done.repository}{f', tag {done.tag}' if done.tag else ''}:")
    table([[f"  {f.name}", f"{f.size:,} bytes".rjust(19), f"sha256 {f.sha256}"] for f in done.files])
    say(f"  {len(done.files)} files, {sum(f.size for f in done.files):,} bytes")
    if card:
        say(f"\n{done.card}", end="")


def _told(done: Any) -> str:
    """One line about what was pushed."""
    size = sum(f.size for f in done.files) / 1e6
    name = f"hf:{done.repository}@{done.tag}"
    if not done.changed:
        return f"{name} holds these files already (commit {done.commit[:12]}): nothing was pushed"
    return f"{name}: {len(done.files)} files, {size:,.1f} MB, commit {done.commit[:12]}; {done.url}"
