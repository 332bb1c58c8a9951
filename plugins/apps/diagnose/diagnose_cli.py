"""The command that says what is wrong with a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.registry.console import options as opt
from genzoo.registry.console.arguments import data_options
from genzoo.registry.console.output import bold, emit_json, hint, say, table

MARKS = {"problem": "✗", "hint": "!", "healthy": "✓", "unknown": "?"}


def diagnose(
    subject: Annotated[
        str, typer.Argument(metavar="RUN_OR_WEIGHTS", help="A run's folder, a weights folder, or a name.")
    ],
    data: Annotated[str | None, typer.Option(help="What it was trained on; default as its record says.")] = None,
    n: Annotated[int | None, typer.Option("-n", "--n", min=100, help="Samples to judge; default 2,000.")] = None,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    extractor: opt.Extractor = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="data.OPTION of the data set.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder, for diagnosis.json and the pictures.")] = None,
    batch_size: opt.BatchSize = 256,
    device: opt.Device = "auto",
    no_cache: opt.NoCache = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if something is wrong.")] = False,
    quiet: opt.Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="The evidence of what is healthy too.")] = False,
    json: opt.Json = False,
) -> None:
    """Say what is wrong with a run, on what evidence, and what to try.

    Example: genzoo diagnose runs/gan --out findings
    """
    how = opt.chosen(locals(), "data n seed extractor batch_size device") | {"data_options": data_options(set_) or None}
    from genzoo.plugins.apps.diagnose import diagnose as diagnosing

    if out is not None:
        diagnosing.diagnosis_folder(out)
    found = diagnosing.diagnose(subject, **how, cache=not no_cache, progress=opt.shown(quiet))
    written = diagnosing.save_diagnosis(found, out) if out is not None else None
    if json:
        emit_json(found.to_dict())
    else:
        _print(found, verbose)
        if written is not None:
            say(written)
    if strict and not found.healthy:
        sys.exit(1)


def _print(found: Any, verbose: bool) -> None:
    """Problems first, with their evidence and what to try; then the rest, a line each."""
    about = found.record
    if about.get("data"):
        hint(f"{found.subject}: {about['samples']:,} samples, against {about['held against']:,} of {about['data']}")
    if about.get("note"):
        hint(f"note: {about['note']}")
    problems = [v for v in found if v.status == "problem" and not v.because]
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}" if problems else "healthy"
    say(bold(f"{found.subject}: {count}"))
    for verdict in sorted(found, key=lambda v: (bool(v.because), list(MARKS).index(v.status))):
        tail = f" (follows from {verdict.because})" if verdict.because else ""
        table([("", f"{MARKS[verdict.status]} {verdict.name}: {verdict.says}{tail}")])
        advised = verdict in problems or verdict.status == "hint"
        lines = [fact.text() for fact in verdict.facts if advised or verbose]
        lines += [f"try {remedy.text()}" for remedy in verdict.remedies if advised]
        table([("    ", line) for line in lines])
