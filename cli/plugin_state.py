"""Commands that keep plugins in order and import none of them: plugins disable, enable, doctor."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from genzoo.registry.console.options import Json
from genzoo.registry.console.output import emit_json, hint, say

Name = Annotated[str, typer.Argument(help="A plugin, a distribution for all of its plugins, or DISTRIBUTION/PLUGIN.")]


def add_to(plugins: typer.Typer) -> None:
    """Add these commands."""
    plugins.command("disable")(disable)
    plugins.command("enable")(enable)
    plugins.command("doctor")(doctor)


def disable(name: Name, json: Json = False) -> None:
    """Load a plugin no more in this environment; works whatever state it is in."""
    from genzoo.registry.discovery import switch

    changed = switch.disable(name)
    if json:
        emit_json({"changed": changed, "disabled": switch.disabled()})
        return
    say("\n".join(f"disabled {c}" for c in changed) or f"{name} was disabled before")


def enable(name: Name, json: Json = False) -> None:
    """Load a plugin again that was disabled."""
    from genzoo.registry.discovery import switch

    changed = switch.enable(name)
    if json:
        emit_json({"changed": changed, "disabled": switch.disabled()})
        return
    say("\n".join(f"enabled {c}" for c in changed) or f"{name} was enabled before")


def doctor(
    load: Annotated[
        bool, typer.Option("--import", help="Also load each plugin, in a process of its own with a time limit.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="The time limit.")] = 30.0,
    json: Json = False,
) -> None:
    """Say what is wrong with the installed plugins and what to do; exits 1 if something is."""
    from genzoo.registry.discovery import loader
    from genzoo.registry.discovery.switch import doctor

    findings = doctor(load=load, seconds=seconds)
    wrong = [f for f in findings if f.level != "note"]
    if json:
        emit_json([f.to_dict() for f in findings])
    else:
        for f in findings:
            say(f"{f.level}: {f.about} {f.what}")
            if f.advice:
                say(f"  → {f.advice}")
        others = sum(not p.own for p in loader.installed(lambda line: None))
        hint(f"{others} plugins of other distributions examined, {len(wrong)} thing{'s' * (len(wrong) != 1)} wrong")
    if wrong:
        sys.exit(1)
