"""Commands that plugins add, the zoo's own apps among them: imported when they are called, and only then."""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from genzoo.registry.kinds import COMMANDS

if TYPE_CHECKING:
    from genzoo.registry import Entry

running: list[Entry] = []  # the plugin's command that this process runs, if it does


class InOrder(TyperGroup):
    """Lists the zoo's commands in the order of `COMMANDS`, and those of other plugins behind them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands' names, as the help shows them."""
        order = {name: i for i, name in enumerate(COMMANDS)}
        return sorted(self.commands, key=lambda name: order.get(name, len(order)))


def with_commands(full: typer.Typer, arguments: list[str]) -> typer.Typer:
    """Return the program with the one command that is called, or for the help with all that plugins add.

    Args:
        full: the program.
        arguments: what follows its name on the command line.

    Raises:
        UsageError: if several plugins claim the command.
        GenzooError: if it cannot be imported; names the plugin.
    """
    if "_GENZOO_COMPLETE" in os.environ:  # what is being typed stands there
        typed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
        arguments = typed.split()[1:]
    before = [a for a in arguments if not a.startswith("-")]
    name = before[0] if before else ""
    options = arguments[: arguments.index(name)] if name else arguments
    if "--no-plugins" in options:
        os.environ["GENZOO_NO_PLUGINS"] = "1"
    app = copy.copy(full)
    known = {c.name for c in full.registered_commands} | {g.name for g in full.registered_groups}
    if name in known:
        # The others need no parsing.
        app.registered_commands = [c for c in full.registered_commands if c.name == name]
        app.registered_groups = [g for g in full.registered_groups if g.name == name]
        return app
    if "--version" in options:
        return full
    from genzoo.registry import the_registry

    registry = the_registry()
    app.registered_commands = [*full.registered_commands]
    app.registered_groups = [*full.registered_groups]
    entries = registry.entries("command")
    if any(e.name == name.rpartition(":")[2] for e in entries):
        entry = registry.get("command", name)
        _add(app, name, entry, registry.load_command(entry))
        running.append(entry)
        return app
    for entry in entries:
        whose = "" if entry.distribution == "genzoo" else f" ({entry.distribution})"
        app.command(entry.name, help=f"{entry.summary}{whose}".strip())(_stub)
    return app


def _stub() -> None:
    """Stands in the help for a command that is not imported."""


def _add(app: typer.Typer, name: str, entry: Entry, target: Any) -> None:
    from genzoo.core.errors import GenzooError

    if isinstance(target, typer.Typer):
        commands = target.registered_commands
        if len(commands) == 1 and not target.registered_groups and target.registered_callback is None:
            only = copy.copy(commands[0])
            only.name, only.help = name, only.help or (None if _doc(only.callback) else entry.summary)
            app.registered_commands.append(only)
        else:
            app.add_typer(target, name=name)
    elif callable(target) and not isinstance(target, type):
        app.command(name, help=None if _doc(target) else entry.summary)(target)
    else:
        raise GenzooError(
            f"command {entry.name!r} of {entry.origin}: {entry.target} is a {type(target).__name__}, "
            "neither a Typer app nor a function"
        )


def _doc(function: Any) -> str:
    return getattr(function, "__doc__", None) or ""
