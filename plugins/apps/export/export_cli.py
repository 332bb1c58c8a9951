"""The command that writes models as programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genzoo.core.errors import UsageError
from genzoo.registry.console.options import Json, Weights
from genzoo.registry.console.output import emit_json, hint, say


def export(
    weights: Weights,
    out: Annotated[Path | None, typer.Option(help="New folder for the programs and what is to know of them.")] = None,
    format_: Annotated[str, typer.Option("--format", help="onnx or torch-export.")] = "onnx",
    part: Annotated[str | None, typer.Option(help="generator or encoder; default all that there are.")] = None,
    json: Json = False,
) -> None:
    """Write generator and encoder as programs that run without genzoo, checked against the original.

    Example: genzoo export vae/fashion-mnist --format onnx --out vae-onnx
    """
    if out is None:
        raise UsageError("name a new folder to write to with --out")
    from genzoo.plugins.apps.export.export import export

    done = export(weights, out, format_, part=part)  # type: ignore[arg-type]
    if json:
        emit_json(done.to_dict())
        return
    for about in done.parts.values():
        ports = f"{', '.join(about['inputs'])} → {', '.join(about['outputs'])}"
        hint(f"{about['file']}: {about['bytes']:,} bytes, {ports}; {about['error']:.1g} from the original at most")
    say(done.folder)
