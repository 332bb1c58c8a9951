"""The command that says what is wrong with a model."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.registry.console.arguments import data_options
from genzoo.registry.console.options import BatchSize, Device, Extractor, Json, NoCache, Quiet, shown
from genzoo.registry.console.output import bold, emit_json, hint, say

MARKS = {"problem": "✗", "hint": "!", "healthy": "✓", "unknown": "?"}


def diagnose(
    subject: Annotated[
        str, typer.Argument(metavar="RUN_OR_WEIGHTS", help="A run's folder, a weights folder, or a name.")
    ],
    data: Annotated[str | None, typer.Option(help="What it was trained on; default as its record says.")] = None,
    n: Annotated[int | None, typer.Option("-n", "--n", min=100, help="Samples to judge; default 2,000.")] = None,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    extractor: Extractor = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="data.OPTION of the data set.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A folder, for diagnosis.json and the pictures.")] = None,
    batch_size: BatchSize = 256,
    device: Device = "auto",
    no_cache: NoCache = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if something is wrong.")] = False,
    quiet: Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="The evidence of what is healthy too.")] = False,
    json: Json = False,
) -> None:
    """Say what is wrong with a run, on what evidence, and what to try.

    Example: genzoo diagnose runs/gan --out findings
    """
    options = data_options(set_)
    from genzoo.plugins.apps.diagnose import diagnose as diagnosing

    if out is not None:
        diagnosing.diagnosis_folder(out)
    found = diagnosing.diagnose(
        subject, data, n=n, seed=seed, extractor=extractor, batch_size=batch_size, device=device, cache=not no_cache,
        data_options=options or None, progress=shown(quiet),
    )  # fmt: skip
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
    order = list(MARKS)
    for verdict in sorted(found, key=lambda v: (bool(v.because), order.index(v.status))):
        tail = f" (follows from {verdict.because})" if verdict.because else ""
        _line(f"{MARKS[verdict.status]} {verdict.name}: {verdict.says}{tail}", "  ", strong=verdict in problems)
        advised = verdict in problems or verdict.status == "hint"
        for fact in verdict.facts if advised or verbose else ():
            _line(fact.text(), "      ")
        for remedy in verdict.remedies if advised else ():
            _line(f"try {remedy.text()}", "      ")


def _line(text: str, indent: str, strong: bool = False) -> None:
    if sys.stdout.isatty():
        width = max(shutil.get_terminal_size().columns, 40)
        text = textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent + "  ")
    else:
        text = indent + text
    say(bold(text) if strong else text)
