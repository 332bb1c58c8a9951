"""The ``genzoo`` program: its commands, those that plugins add, and how it ends."""

from __future__ import annotations

import codecs
import collections
import copy
import importlib
import inspect
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from genzoo.core.distributed import env
from genzoo.core.errors import GenzooError, UsageError, at_command_line, folded
from genzoo.core.text import in_ascii, lines, tell
from genzoo.registry.console.arguments import twice
from genzoo.registry.kinds import COMMANDS

if TYPE_CHECKING:
    from genzoo.registry import Entry

# The program's own commands: module and what the help says. No other module is imported; a test compares.
OWN = {
    "list": ("look", "Show what is in the zoo."),
    "show": ("look", "Describe one entry: what it is, when to use it, what it costs, paper, relatives, options."),
    "plugins": ("plugins", "Plugins: versions, what each adds, errors."),
    "train": ("train", "Train a recipe on data."),
    "prior": ("train", "Priors of trained models."),
    "recipe": ("train", "Recipes as TOML files."),
    "sample": ("use", "Draw samples from a model."),
    "reconstruct": ("use", "Show data above what a model makes of it."),
    "interpolate": ("use", "Show paths between codes, one per row."),
    "encode": ("use", "Turn data into latent codes."),
    "eval": ("use", "Measure a model, or samples, against data."),
    "score": ("use", "Say how odd each observation is to a model, and name the oddest."),
    "push": ("weights", "Publish a trained model on the Hub, with a card, in one commit and under a tag."),
    "weights": ("weights", "The zoo's own weights."),
    "pull": ("weights", "Download weights, check every file, and print the folder that they are in."),
    "lock": ("weights", "Pin weights to a commit and the sha256 of every file; --locked then refuses anything else."),
    "cache": ("weights", "Pulled weights: list, verify, remove."),
    "verify": ("use", "Check weights: hashes, config, tensors, and that they still make what they made."),
    "reproduce": ("use", "Train weights again as their record says, and compare with their card."),
}
running: list[Entry] = []  # the plugin's command that this process runs, if it does


class Group(TyperGroup):
    """Commands whose names are found whatever their capitals, and which refuse an option that is given twice."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _strict(super().get_command(ctx, folded(cmd_name, self.commands)))


class InOrder(Group):
    """Lists the zoo's commands in the order of `COMMANDS`, and those of other plugins behind them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: COMMANDS.index(name) if name in COMMANDS else len(COMMANDS))


def _strict(command: Any) -> Any:
    """Let a command, and those below it, refuse an option given twice, of which the last would silently win."""
    for below in getattr(command, "commands", {}).values():
        _strict(below)
    if command is None or hasattr(command, "_strict"):
        return command
    make, command._strict = command.make_parser, True

    def make_parser(ctx: Any) -> Any:
        parser = make(ctx)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> Any:
            found = parse(args)
            for option, times in collections.Counter(found[2]).items():
                if times == 1 or option.param_type_name != "option":
                    continue
                if not (option.multiple or option.count or (option.is_flag and not option.secondary_opts)):
                    raise twice(max(option.opts, key=len))
            return found

        parser.parse_args = parse_args
        return parser

    command.make_parser = make_parser
    return command


def _version(wanted: bool) -> None:
    if wanted:
        from genzoo.registry.discovery.installed import plugins  # importlib.metadata takes longer than the rest

        print("genzoo", next(p.version for p in plugins(lambda line: None, "genzoo") if p.own))
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
    made = typer.Typer(
        name="genzoo",
        cls=InOrder,
        help="A plugin-based zoo of generative models: train, sample, compare and share GANs and VAEs.\n\n"
        "Example: genzoo sample wgan-gp/fashion-mnist --out grid.png",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(options)
    for module in modules:
        for name, command in importlib.import_module(f"genzoo.cli.{module}").COMMANDS.items():
            if not isinstance(command, dict):
                made.command(name)(command)
                continue
            alone = command.get("")  # what runs where no sub-command is given
            example = next((about for c in command.values() if "Example:" in (about := inspect.getdoc(c) or "")), "")
            about = f"{OWN[name][1]}\n\n{example[example.find('Example:') :]}"
            group = typer.Typer(cls=Group, help=about, rich_markup_mode=None, no_args_is_help=alone is None)
            group.callback(invoke_without_command=alone is not None)(alone or (lambda: None))
            for sub in filter(None, command):
                group.command(sub)(command[sub])
            made.add_typer(group, name=name)
    return made


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = program(dict.fromkeys(module for module, _ in OWN.values()))
    return globals()[name]


def with_commands(arguments: list[str]) -> typer.Typer:
    """The program with the one command that ``arguments`` call, or for the help with all, those of plugins too."""
    if "_GENZOO_COMPLETE" in os.environ:  # what is being typed stands there
        typed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
        arguments = typed.split()[1:]
    before = [a for a in arguments if not a.startswith("-")]
    name = before[0] if before else ""
    options = arguments[: arguments.index(name)] if name else arguments
    name = folded(name, OWN)
    if "--no-plugins" in options:
        os.environ["GENZOO_NO_PLUGINS"] = "1"
    if name in OWN or "--version" in options:
        return program([OWN[name][0]] if name in OWN else [])
    from genzoo.registry import the_registry

    registry = the_registry()
    entries = registry.entries("command")
    app = program([])
    if any(e.name == name.rpartition(":")[2].lower() for e in entries):
        entry = registry.get("command", name)
        _add(app, name, entry, registry.load_command(entry))
        running.append(entry)
        return app
    for command, (_, summary) in OWN.items():
        app.command(command, help=summary)(_stub)
    for entry in entries:
        whose = "" if entry.distribution == "genzoo" else f" ({entry.distribution})"
        app.command(entry.name, help=f"{entry.summary}{whose}".strip())(_stub)
    return app


def _stub() -> None:
    """Stands in the help for a command that is not imported."""


def _add(app: typer.Typer, name: str, entry: Entry, target: Any) -> None:
    if isinstance(target, typer.Typer):
        commands = target.registered_commands
        if len(commands) == 1 and not target.registered_groups and target.registered_callback is None:
            only = copy.copy(commands[0])
            only.name, only.help = name, only.help or (None if only.callback.__doc__ else entry.summary)
            app.registered_commands.append(only)
        else:
            app.add_typer(target, name=name)
    elif callable(target) and not isinstance(target, type):
        app.command(name, help=None if target.__doc__ else entry.summary)(target)
    else:
        raise GenzooError(
            f"command {entry.name!r} of {entry.origin}: {entry.target} is a {type(target).__name__}, "
            "neither a Typer app nor a function"
        )


def _take_locked(arguments: list[str]) -> None:
    """Let ``--locked`` and ``--locked=FILE`` stand anywhere: whoever adds it to a command adds it at its end."""
    for argument in [a for a in arguments[1 : (*arguments, "--").index("--")] if a.partition("=")[0] == "--locked"]:
        os.environ["GENZOO_LOCKED"] = argument.partition("=")[2] or "1"
        arguments.remove(argument)


def main() -> None:
    """Run, with errors in the words of a command line."""
    with at_command_line():
        _main()


def _main() -> None:
    """Run, and turn what goes wrong into one sentence and an exit code.

    1 is failure, 2 usage, 3 fewer samples than were asked for, 130 an interruption by SIGINT and 143 one by SIGTERM.
    """
    codecs.register_error("genzoo.ascii", in_ascii)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as cron and pythonw have them
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="genzoo.ascii")
    warnings.showwarning = lambda message, *_, **__: tell(str(message))  # no line of code
    _take_locked(sys.argv)
    code: Any = 0
    signals = list[int]()
    try:
        with _terminated_as_interrupted(signals):
            code = with_commands(sys.argv[1:])(prog_name="genzoo", standalone_mode=False) or 0
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
        return 2 if isinstance(error, UsageError) else getattr(error, "exit_code", 1), str(error)
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
    for entry in (e for e in running if e.distribution != "genzoo"):
        return 1, f"command {entry.name!r} of {entry.origin} failed: {type(error).__name__}: {text}"
    return 1, f"unexpected {type(error).__name__}: {text}; please report it with what 'genzoo --debug …' prints"


@contextmanager
def _terminated_as_interrupted(signals: list[int]) -> Iterator[None]:
    """Let a SIGTERM clean up as Ctrl-C does, adding numbers of signals to ``signals``.

    An import is not interrupted in the middle: torch goes on without a NumPy whose import failed, whatever it failed
    of. The signal is raised again until it is over.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        if not _importing(frame):
            raise KeyboardInterrupt
        main = threading.main_thread().ident
        again = threading.Timer(0.02, signal.pthread_kill, (main, number))
        again.daemon = True
        again.start()

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as under nohup
        before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except ImportError:  # of what caught the interruption and went on
        if signals:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _importing(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
