"""The command that puts models side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.cli.make import assignments
from genzoo.cli.output import emit_json, hint, table
from genzoo.core.errors import UsageError
from genzoo.core.strict import one_line


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("compare")(compare)


def compare(
    subjects: Annotated[
        list[str], typer.Argument(metavar="WEIGHTS...", help="Weights, runs, files of samples; or report.json files.")
    ],
    data: Annotated[str, typer.Option(help="A data set's name, a folder of images, a .npy or .npz file.")] = "",
    html: Annotated[Path | None, typer.Option(help="Write a page of its own, .html.")] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Names or tags, comma-separated; 'genzoo list metric' shows them.")
    ] = None,
    names: Annotated[str | None, typer.Option(help="What to call each, comma-separated.")] = None,
    title: Annotated[str, typer.Option(help="Of the page.")] = "",
    n: Annotated[int | None, typer.Option("-n", "--n", help="Samples; default as many as data, to 10,000.")] = None,
    seed: Annotated[int, typer.Option(help="Of samples and resampling.")] = 0,
    split: Annotated[str, typer.Option(help="Which split of the data: test or train.")] = "test",
    extractor: Annotated[
        str | None, typer.Option(help="A name ('genzoo list extractor'), or your .onnx or .pt2 file.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="METRIC.OPTION of a metric, or data.OPTION of the data set."),
    ] = None,
    noise: Annotated[bool, typer.Option("--noise", help="Draw from the likelihood, not its mean.")] = False,
    truncation: Annotated[float | None, typer.Option(help="Keep codes within this many standard deviations.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write all numbers, .json.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Observations at a time.")] = 256,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep no features of the data on disk.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print all as JSON and nothing else on stdout.")] = False,
) -> None:
    """Measure models alike and put them side by side.

    Example: genzoo compare runs/vae runs/gan --data fashion-mini --html report.html
    """
    if split not in ("train", "test"):
        raise UsageError(f"--split is test or train, not {split!r}")
    if html is not None and html.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html takes the name of an .html file, not {html.name!r}")
    if out is not None and out.suffix.lower() != ".json":
        raise UsageError(f"--out takes the name of a .json file, not {out.name!r}; a page is written by --html")
    from genzoo.registry import the_registry
    from genzoo.registry.metrics import choose

    choose(the_registry(), metrics)  # a name that is wrong should not take torch's time to be told
    given: dict[str, dict[str, Any]] = {"data": {}, "metric": {}}
    for name, value in assignments(set_).items():
        group, _, option = name.partition(".")
        given["data" if group == "data" else "metric"][option if group == "data" else name] = value
    from genzoo import comparing

    for path in filter(None, (html, out)):
        comparing.comparison_path(path)
    found = comparing.compare(
        subjects,
        data or None,
        metrics,
        names=[w.strip() for w in names.split(",")] if names is not None else None,
        n=n,
        seed=seed,
        split=split,  # type: ignore[arg-type]
        extractor=extractor,
        options=given["metric"],
        data_options=given["data"],
        noise=noise,
        truncation=truncation,
        batch_size=batch_size,
        device=device,
        cache=not no_cache,
        progress=not quiet and sys.stderr.isatty(),
    )
    written = [found.save(out)] if out is not None else []
    if html is not None:
        written.append(found.save(html, title=title))
    if json:
        emit_json({**found.to_dict(), **({"html": str(html)} if html else {})})
        return
    _print(found)
    for path in written:
        print(path)


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
    for name, report in zip(found.names, found.reports, strict=True):
        some = {row.metric for row in found.rows}
        for reason, missing in report.absences().items():
            listed = [m for m in missing if m in some]
            if listed:
                hint(f"absent of {name}: {', '.join(listed)} ({one_line(reason)})")
    for reason, missing in found.absences().items():
        hint(f"absent of all: {', '.join(missing)} ({one_line(reason)})")
