"""The ``genzoo`` program."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer

from genzoo.cli import extra
from genzoo.core.distributed import env
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.text import lines, tell


def _version(wanted: bool) -> None:
    if wanted:
        from genzoo.registry.discovery.distributions import installed  # importlib.metadata takes longer than the rest

        print("genzoo", next(d.version for d in installed("genzoo", lambda *_: None) if d.name == "genzoo"))
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    no_plugins: Annotated[bool, typer.Option("--no-plugins", help="Load no plugins but the zoo's own.")] = False,
    locked: Annotated[
        bool, typer.Option("--locked", help="Use no weights but those that genzoo.lock (--locked=FILE) pins.")
    ] = False,
) -> None:
    """Options that every command takes, before its name."""
    if debug:
        os.environ["GENZOO_DEBUG"] = "1"
    if no_plugins:
        os.environ["GENZOO_NO_PLUGINS"] = "1"
    if locked:
        os.environ["GENZOO_LOCKED"] = "1"


def program(modules: Iterable[str]) -> typer.Typer:
    """The program with the commands of some of its modules: what is not called need not be imported."""
    found = typer.Typer(
        name="genzoo",
        cls=extra.InOrder,
        help="A plugin-based zoo of generative models: train, sample, compare and share GANs and VAEs.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    found.callback()(options)
    for module in modules:
        importlib.import_module(f"genzoo.cli.{module}").add_to(found)
    return found


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = program(dict.fromkeys(module for module, _ in extra.OWN.values()))
    return globals()[name]


def _take_locked(arguments: list[str]) -> None:
    """Let ``--locked`` and ``--locked=FILE`` stand anywhere: whoever adds it to a command adds it at its end."""
    for argument in [a for a in arguments[1 : (*arguments, "--").index("--")] if a.partition("=")[0] == "--locked"]:
        os.environ["GENZOO_LOCKED"] = argument.partition("=")[2] or "1"
        arguments.remove(argument)


def main() -> None:
    """Run, and turn what goes wrong into one sentence and an exit code.

    1 is failure, 2 usage, 130 an interruption by SIGINT and 143 one by SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Greek letters is no reason to fail
    warnings.showwarning = lambda message, *_, **__: tell(str(message))  # no line of code
    _take_locked(sys.argv)
    code: Any = 0
    signals = list[int]()
    try:
        with _terminated_as_interrupted(signals):
            code = extra.with_commands(program, sys.argv[1:])(prog_name="genzoo", standalone_mode=False) or 0
            if code == 130:  # Typer's word for Ctrl-C
                raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        code = 128 + (signals or [signal.SIGINT])[0]
        if env.rank() == 0:
            tell("interrupted")
    except SystemExit as e:
        code = 0 if isinstance(e.__context__, BrokenPipeError) else e.code  # `genzoo list | head`
    except BrokenPipeError:
        pass
    except Exception as e:
        if "--debug" in sys.argv or os.environ.get("GENZOO_DEBUG"):
            raise
        code, message = explained(e)
        if env.report(code, message, because=getattr(e, "because", None)) or getattr(e, "told", False):
            message = ""  # the parent, or process 0, says it for all
        if message:
            print(lines(message), file=sys.stderr) if "\n" in message else tell(message)
    try:
        sys.stdout.flush()
    except OSError as e:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would try again
        if not isinstance(e, BrokenPipeError) and not code:
            code = 1
            tell(f"cannot write the output: {explained(e)[1]}")
    if env.joined:
        _leave(code)
    sys.exit(code)


def _leave(code: Any) -> None:
    """End a process that works with others without clearing up, which may wait for them, or abort, if they are gone."""
    if code in (None, *env.STOPPED):
        from genzoo.core.distributed.init import leave

        leave()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def explained(error: Exception) -> tuple[int, str]:
    """Exit code and sentence of what went wrong."""
    if isinstance(error, GenzooError):
        return 2 if isinstance(error, UsageError) else 1, str(error)
    if hasattr(error, "format_message"):  # Typer's own complaints about the command line, whose classes are private
        message = error.format_message().strip()
        where = getattr(getattr(error, "ctx", None), "command_path", "genzoo")
        if "\n" in message:  # the help, of a command that needs to be told what to do
            return 2, message
        return 2, f"{message[:1].lower()}{message[1:].rstrip('.')}; '{where} --help' tells more"
    text = str(error).partition("\n")[0]
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return 1, "out of memory: a smaller --batch-size needs less"
    if isinstance(error, OSError) and error.strerror:
        return 1, (f"{error.filename}: " if error.filename else "") + error.strerror.lower()
    for entry in (e for e in extra.running if e.distribution != "genzoo"):
        return 1, f"command {entry.name!r} of {entry.origin} failed: {type(error).__name__}: {text}"
    return 1, f"unexpected {type(error).__name__}: {text}; please report it with what 'genzoo --debug …' prints"


@contextmanager
def _terminated_as_interrupted(signals: list[int]) -> Iterator[None]:
    """Let a SIGTERM clean up as Ctrl-C does; what either breaks on its way is an interruption too.

    Numbers of signals that came are added to ``signals``.

    An import that is interrupted in the middle, of NumPy by torch, may end in an ImportError.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as under nohup
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except ImportError:
        if signals:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
