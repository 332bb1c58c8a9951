"""Commands that plugins add, the zoo's own apps among them: imported when they are called, and only then."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from genzoo.registry.kinds import COMMANDS

if TYPE_CHECKING:
    from genzoo.registry import Entry

# The program's own commands: module and what the help says. No other module is imported; a test compares.
OWN = {
    "list": ("look", "Show what is in the zoo."),
    "show": ("look", "Describe one entry: what it is, when to use it, what it costs, paper, relatives, options."),
    "plugins": ("plugins", "Plugins: versions, what each adds, errors."),
    "train": ("train", "Train a recipe on data."),
    "prior": ("prior", "Priors of trained models."),
    "recipe": ("recipe", "Recipes as TOML files."),
    "sample": ("use", "Draw samples from a model."),
    "reconstruct": ("use", "Show data above what a model makes of it."),
    "interpolate": ("use", "Show paths between codes, one per row."),
    "encode": ("use", "Turn data into latent codes."),
    "eval": ("evaluate", "Measure a model, or samples, against data."),
    "push": ("publish", "Publish a trained model on the Hub, with a card, in one commit and under a tag."),
    "weights": ("publish", "The zoo's own weights."),
    "pull": ("weights", "Download weights, check every file, and print the folder that they are in."),
    "lock": ("weights", "Pin weights to a commit and the sha256 of every file; --locked then refuses anything else."),
    "cache": ("weights", "Pulled weights: list, verify, remove."),
    "verify": ("verify", "Check weights: hashes, config, tensors, and that they still make what they made."),
    "reproduce": ("verify", "Train weights again as their record says, and compare with their card."),
}
running: list[Entry] = []  # the plugin's command that this process runs, if it does


class InOrder(TyperGroup):
    """Lists the zoo's commands in the order of `COMMANDS`, and those of other plugins behind them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands' names, as the help shows them."""
        order = {name: i for i, name in enumerate(COMMANDS)}
        return sorted(self.commands, key=lambda name: order.get(name, len(order)))


def with_commands(program: Callable[..., typer.Typer], arguments: list[str]) -> typer.Typer:
    """Return the program with the one command that is called, or for the help with all, those of plugins among them.

    Args:
        program: builds it with the commands of the modules that it is given, of all by default.
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
    if name in OWN or "--version" in options:
        return program([OWN[name][0]] if name in OWN else [])
    from genzoo.registry import the_registry

    registry = the_registry()
    entries = registry.entries("command")
    app = program([])
    if any(e.name == name.rpartition(":")[2] for e in entries):
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
