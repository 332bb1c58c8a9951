"""The command that puts models side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.core.errors import UsageError
from genzoo.core.storage.strict import one_line
from genzoo.registry.console import options as opt
from genzoo.registry.console.arguments import checked
from genzoo.registry.console.output import emit_json, hint, say, table


def compare(
    subjects: Annotated[
        list[str], typer.Argument(metavar="WEIGHTS...", help="Weights, runs, files of samples; or report.json files.")
    ],
    data: opt.Data = "",
    html: Annotated[Path | None, typer.Option(help="Write a page of its own, .html.")] = None,
    metrics: opt.Metrics = None,
    names: Annotated[str | None, typer.Option(help="What to call each, comma-separated.")] = None,
    title: Annotated[str, typer.Option(help="Of the page.")] = "",
    n: opt.Count = None,
    seed: opt.Seed = 0,
    split: opt.Split = None,
    extractor: opt.Extractor = None,
    set_: opt.SetMetrics = None,
    noise: opt.Noise = False,
    truncation: opt.Truncation = None,
    out: Annotated[Path | None, typer.Option(help="Write all numbers, .json.")] = None,
    batch_size: opt.BatchSize = 256,
    device: opt.Device = "auto",
    no_cache: opt.NoCache = False,
    quiet: opt.Quiet = False,
    json: opt.Json = False,
) -> None:
    """Measure models alike and put them side by side.

    Example: genzoo compare runs/vae runs/gan --data digits --html report.html
    """
    for option, path, suffixes in (("--html", html, (".html", ".htm")), ("--out", out, (".json",))):
        if path is not None and (path.suffix.lower() not in suffixes or path.is_dir()):
            raise UsageError(f"{option} takes the name of an {suffixes[0]} file, not {path.name!r}")
    options = checked(split, metrics, set_)
    from genzoo.plugins.apps.compare import compare as comparing
    from genzoo.registry.verbs.data import announcing

    how = opt.chosen(locals(), "metrics n seed split extractor noise truncation batch_size device") | options
    called = [w.strip() for w in names.split(",")] if names is not None else None
    shown = opt.shown(quiet)
    found = comparing.compare(
        subjects, data or None, **how, names=called, cache=not no_cache, progress=shown, say=announcing(quiet)
    )
    written = [found.save(path, title=title) for path in (out, html) if path is not None]
    if json:
        emit_json({**found.to_dict(), **({"html": str(html)} if html else {})})
        return
    _print(found)
    for path in written:
        say(path)


def _print(found: Any) -> None:
    """Metrics down, models across; the winner carries a star."""
    about = found.reports[0].record
    if about:
        hint(
            f"against {about.get('data')} ({about.get('split')}), {about.get('fake')} samples, seed {about.get('seed')}"
        )
    rows = []
    for row in found.rows:
        cells = ["absent" if r is None else r.text() for r in row.results]
        if row.best is not None:
            cells[row.best] += " *"
        rows.append([row.title, *cells, row.some.unit])
    table([[one_line(c) for c in r] for r in rows], ("metric", *found.names, "unit"))
    if any(row.best is not None for row in found.rows):
        hint("* better than every other: its interval has no point in common with theirs")
    else:
        hint("no winner: no interval lies apart from all others")
    for name, said in found.beside.items():
        hint(f"{name}: {one_line(said)}")
    measured = {row.metric for row in found.rows}
    for name, report in zip(found.names, found.reports, strict=True):
        for reason, missing in report.absences().items():
            if here := [m for m in missing if m in measured]:
                hint(f"absent of {name}: {', '.join(here)} ({one_line(reason)})")
    for reason, missing in found.absences().items():
        hint(f"absent of all: {', '.join(missing)} ({one_line(reason)})")
