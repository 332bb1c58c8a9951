"""The ``genzoo`` program."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from genzoo.cli import look, make, use
from genzoo.core.errors import GenzooError, UsageError

app = typer.Typer(
    name="genzoo",
    help="A plugin-based zoo of generative models: train, sample, compare and share GANs and VAEs.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
look.add_to(app)
make.add_to(app)
use.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"genzoo {version('genzoo')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    no_plugins: Annotated[bool, typer.Option("--no-plugins", help="Load no plugins but the zoo's own.")] = False,
) -> None:
    """Options that every command takes, before its name."""
    if debug:
        os.environ["GENZOO_DEBUG"] = "1"
    if no_plugins:
        os.environ["GENZOO_NO_PLUGINS"] = "1"


def main() -> None:
    """Run, and turn what goes wrong into one sentence and an exit code: 1 failure, 2 usage, 130 interrupted."""
    debug = "--debug" in sys.argv or os.environ.get("GENZOO_DEBUG")
    try:
        app()
    except UsageError as e:
        code, message = 2, str(e)
        if debug:
            raise
    except GenzooError as e:
        code, message = 1, str(e)
        if debug:
            raise
    except KeyboardInterrupt:
        code, message = 130, "interrupted"
        if debug:
            raise
    except BrokenPipeError:  # `genzoo list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except MemoryError:
        code, message = 1, "out of memory: a smaller --batch-size needs less"
    else:
        return
    print(f"genzoo: {message}", file=sys.stderr)
    sys.exit(code)
