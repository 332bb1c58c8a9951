"""The command that opens an explorer."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from genzoo.registry.console import options as opt
from genzoo.registry.console.output import emit_json, hint, say


def explore(
    weights: Annotated[
        list[str], typer.Argument(metavar="WEIGHTS...", help="Up to four: names, hf:org/name, folders, runs.")
    ],
    data: Annotated[str, typer.Option(help="What they were trained on; default as their record says.")] = "",
    names: Annotated[str | None, typer.Option(help="What to call each, comma-separated.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default a free one from 7860 on.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    device: opt.Device = "auto",
    json: opt.Json = False,
) -> None:
    """Play with trained models in a page on this machine: samples, codes, walks, your own files.

    Ctrl-C closes it. Needs genzoo[explore]; no other machine is asked for anything, and none is let in.

    Example: genzoo explore vae/fashion-mnist cvae/fashion-mnist
    """
    from genzoo.plugins.apps.explore.explore import explore as exploring

    def tell(url: str) -> None:
        if json:
            emit_json({"url": url, "weights": weights})
        else:
            say(url)
            hint("Ctrl-C closes it")
        sys.stdout.flush()  # it goes on

    called = [w.strip() for w in names.split(",")] if names is not None else None
    exploring(weights, data or None, names=called, device=device, port=port, browser=browser, say=tell)
