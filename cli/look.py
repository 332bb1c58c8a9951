"""Commands that look at the zoo and import no torch: list, show, plugins."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

import typer

from genzoo.cli import plugin_state
from genzoo.cli import plugins as plugin_kit
from genzoo.core.options import describe_type, typed
from genzoo.registry.console.options import Json
from genzoo.registry.console.output import bold, emit_json, hint, say, table


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("list")(list_entries)
    app.command("show")(show_entry)
    plugins = typer.Typer(
        help="Plugins: versions, what each adds, errors.", rich_markup_mode=None, invoke_without_command=True
    )
    plugins.callback()(plugins_default)
    plugins.command("list")(plugins_list)
    plugin_state.add_to(plugins)
    plugin_kit.add_to(plugins)
    app.add_typer(plugins, name="plugins")


def list_entries(
    kind: Annotated[str | None, typer.Argument(help="Only this kind: recipe, objective, generator, dataset, …")] = None,
    modality: Annotated[str | None, typer.Option(help="Only what works on images, vectors, …")] = None,
    tag: Annotated[str | None, typer.Option(help="Only what carries this tag.")] = None,
    plugin: Annotated[str | None, typer.Option(help="Only what this plugin adds.")] = None,
    json: Json = False,
) -> None:
    """Show what is in the zoo."""
    from genzoo.registry import the_registry

    registry = the_registry()
    kind = _singular(kind)
    entries = registry.entries(kind, modality=modality, tag=tag, plugin=plugin)
    if json:
        emit_json([e.to_dict() for e in entries])
        return
    if not entries:
        hint("nothing in the zoo passes these filters")
        return
    groups: dict[str, list[Any]] = {}
    for e in entries:
        groups.setdefault(e.kind, []).append(e)
    own = {e.distribution for e in entries} <= {"genzoo"}
    for number, (name, members) in enumerate(groups.items()):
        if not kind:
            say("\n" if number else "", bold(name))
        rows = [[("" if kind else "  ") + e.name, *([] if own else [e.plugin]), e.summary] for e in members]
        table(rows)
    hint(f"\n{len(entries)} entries; 'genzoo show NAME' tells more")


def _singular(kind: str | None) -> str | None:
    """``recipes`` is as good as ``recipe``."""
    from genzoo.registry.kinds import KINDS

    return kind[:-1] if kind and kind not in KINDS and kind.endswith("s") and kind[:-1] in KINDS else kind


def show_entry(
    name: Annotated[str, typer.Argument(help="A name; KIND:NAME or PLUGIN:NAME where it is ambiguous.")],
    json: Json = False,
) -> None:
    """Describe one entry: summary, paper, plugin, options with types and defaults."""
    from genzoo.registry.kinds import PARTS, TABLE
    from genzoo.registry.verbs.load import show

    e = show(name)
    if json:
        emit_json(e)
        return
    say(bold(f"{e['kind']} {e['name']}"), f": {e['summary']}" if e["summary"] else "")
    rows = [["  plugin", f"{e['plugin']} ({e['distribution']} {e['version']})"]] if e["plugin"] else []
    rows += [["  paper", e["paper"]]] if e["paper"] else []
    rows += [["  for", ", ".join(e["modalities"])]] if e["modalities"] else []
    rows += [["  tags", ", ".join(e["tags"])]] if e["tags"] else []
    if e["kind"] == "metric":
        way = e["data"]["direction"]
        best = "neither high nor low is better" if way == "none" else f"{way} is better"
        rows.append(["  number", ", ".join(filter(None, [e["data"]["unit"], best]))])
        rows.append(["  needs", ", ".join(e["data"]["needs"])])
    recipe = e["data"] if e["kind"] == "recipe" else {}
    if recipe:
        parts = [f"{k} {v if isinstance(v, str) else ', '.join(v)}" for k in PARTS if (v := recipe[k])]
        rows.append(["  made of", ", ".join(parts) + (", conditional" if recipe["conditional"] else "")])
    table(rows)
    for version in e.get("versions", []) if e["kind"] == "weights" else []:
        _version(version, e["data"]["default"])
    body = e["doc"].partition("\n")[2].strip("\n")
    if body.strip():
        say("\n" + textwrap.indent(textwrap.dedent(body), "  ").rstrip())
    if e["options"]:
        say("\n  options (--set NAME=VALUE):")
        prefix = TABLE[e["kind"]].prefix.replace("*", e["name"])
        prefix += "." if prefix else ""
        table([[f"    {prefix}{o['name']}", typed(o["default"]), _explained(o)] for o in e["options"]])
    for preset, settings in recipe.get("presets", {}).items():
        say(f"\n  on {preset} data:")
        table([[f"    {k}", typed(v)] for k, v in settings.items()])
    if e["also"]:
        hint(f"\nalso: {', '.join(e['also'])}")


def _version(of: dict[str, Any], default: int) -> None:
    """One version of weights: what it is, what it scored, where it is."""
    say(f"\n  version {of['version']}" + (" (what the name alone means)" if of["version"] == default else ""))
    where = f"hf:{of['hub']}@{of['commit'] or 'v' + str(of['version'])}" if of["hub"] else ""
    rows = [[f"    {key}", of[key]] for key in ("recipe", "data", "license") if of[key]]
    rows += [[f"    {name}", _measured(value)] for name, value in of["metrics"].items()]
    rows += [["    folder", of["folder"]]] if of["folder"] else []
    rows += [["    size", f"{of['bytes'] / 1e6:.2f} MB"]] if of["bytes"] else []
    rows += [["    hub", where]] if where else []
    rows += [[f"    {name}", f"sha256 {digest}"] for name, digest in of["files"].items()]
    table(rows)


def _measured(value: Any) -> str:
    """A metric as a card records it: a number, or a number with what belongs to it."""
    if isinstance(value, dict):
        rest = [f"{k} {_measured(v)}" for k, v in value.items() if k != "value" and not isinstance(v, dict)]
        return ", ".join([_measured(value.get("value")), *rest])
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _explained(o: dict[str, Any]) -> str:
    """Meaning, type and range of an option."""
    limits = [f"at {which} {o[key]:g}" for which, key in (("least", "low"), ("most", "high")) if o[key] is not None]
    kind = ", ".join([describe_type(o["type"]), *limits])
    return f"{o['doc']} ({kind})" if o["doc"] else kind


def plugins_default(ctx: typer.Context, json: Json = False) -> None:
    """Show the plugins when no sub-command is given."""
    if ctx.invoked_subcommand is None:
        plugins_list(json)


def plugins_list(json: Json = False) -> None:
    """Show every plugin, its version, what it adds, and its error."""
    from genzoo.registry.verbs.load import list_plugins

    records = list_plugins()
    if json:
        emit_json(records)
        return
    rows = []
    for r in records:
        kinds: dict[str, list[str]] = {}
        for added in r["adds"]:
            kind, _, name = added.partition(":")
            kinds.setdefault(kind, []).append(name)
        adds = "; ".join(f"{k} {', '.join(v)}" for k, v in kinds.items()) or "nothing"
        rows.append(
            [r["name"], f"{r['distribution']} {r['version']}", adds if r["status"] == "enabled" else r["status"]]
        )
        rows.extend(["", "", f"error: {f}"] for f in r["errors"])
        rows.extend(["", "", f"note: {f}"] for f in r["notes"])
    table(rows, ("plugin", "distribution", "adds"))
    if any(r["errors"] for r in records):
        hint("\n'genzoo plugins doctor' says what to do, 'genzoo plugins disable NAME' does without one")
