"""Commands that look at the zoo and import no torch: list, show, plugins."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

import typer

from genzoo.cli.output import bold, emit_json, hint, table
from genzoo.core.options import describe_type

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("list")(list_entries)
    app.command("show")(show)
    plugins = typer.Typer(
        help="Plugins: versions, what each adds, errors.", rich_markup_mode=None, invoke_without_command=True
    )
    plugins.callback()(plugins_default)
    plugins.command("list")(plugins_list)
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
            print(("\n" if number else "") + bold(name))
        rows = [[("" if kind else "  ") + e.name, *([] if own else [e.plugin]), e.summary] for e in members]
        table(rows)
    hint(f"\n{len(entries)} entries; 'genzoo show NAME' tells more")


def _singular(kind: str | None) -> str | None:
    """``recipes`` is as good as ``recipe``."""
    from genzoo.registry.entries import KINDS

    return kind[:-1] if kind and kind not in KINDS and kind.endswith("s") and kind[:-1] in KINDS else kind


def show(
    name: Annotated[str, typer.Argument(help="A name; KIND:NAME or PLUGIN:NAME where it is ambiguous.")],
    json: Json = False,
) -> None:
    """Describe one entry: summary, paper, plugin, options with types and defaults."""
    from genzoo.registry import the_registry
    from genzoo.registry.entries import PARTS

    registry = the_registry()
    entry, *others = registry.find(name)  # a recipe comes before the objective of its name
    also = [f"{e.kind}:{e.name}" for e in others]
    options = registry.options(entry)
    doc = registry.docstring(registry.get("objective", entry.data["objective"]) if entry.kind == "recipe" else entry)
    if json:
        emit_json({**entry.to_dict(), "doc": doc, "options": [_option(o) for o in options], "also": also})
        return
    print(bold(f"{entry.kind} {entry.name}") + (f": {entry.summary}" if entry.summary else ""))
    rows = [["  plugin", f"{entry.plugin} ({entry.distribution} {entry.version})"]]
    if entry.paper:
        rows.append(["  paper", entry.paper])
    if entry.modalities:
        rows.append(["  for", ", ".join(entry.modalities)])
    if entry.tags:
        rows.append(["  tags", ", ".join(entry.tags)])
    if entry.kind == "recipe":
        parts = [f"{k} {entry.data[k]}" for k in PARTS if entry.data[k]]
        rows.append(["  made of", ", ".join(parts) + (", conditional" if entry.data["conditional"] else "")])
    table(rows)
    body = doc.partition("\n")[2].strip("\n")
    if body.strip():
        print("\n" + textwrap.indent(textwrap.dedent(body), "  ").rstrip())
    if options:
        print("\n  options (--set NAME=VALUE):")
        prefix = {"recipe": "", "dataset": "data."}.get(entry.kind, f"{entry.kind}.")
        table([[f"    {prefix}{o.name}", typed(o.default), _explained(o)] for o in options])
    for preset, settings in entry.data.get("presets", {}).items():
        print(f"\n  on {preset} data:")
        table([[f"    {k}", typed(v)] for k, v in settings.items()])
    if also:
        hint(f"\nalso: {', '.join(also)}")


def typed(value: Any) -> str:
    """An option's value as it would be typed."""
    if isinstance(value, tuple):
        return ",".join(map(typed, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _option(o: Any) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in o.__dict__.items()}


def _explained(o: Any) -> str:
    """Meaning, type and range of an option."""
    limits = [f"at least {o.low:g}" if o.low is not None else "", f"at most {o.high:g}" if o.high is not None else ""]
    kind = ", ".join([describe_type(o.type), *(x for x in limits if x)])
    return f"{o.doc} ({kind})" if o.doc else kind


def plugins_default(ctx: typer.Context, json: Json = False) -> None:
    """Show the plugins when no sub-command is given."""
    if ctx.invoked_subcommand is None:
        plugins_list(json)


def plugins_list(json: Json = False) -> None:
    """Show every plugin, its version, what it adds, and its error."""
    from genzoo.registry import the_registry

    registry = the_registry()
    wrong: dict[tuple[str, str], list[str]] = {}
    others = [e for e in registry.entries() if e.distribution != "genzoo"]  # the zoo's own are checked by its tests
    for entry, why in registry.check_targets(others):
        wrong.setdefault((entry.plugin, entry.distribution), []).append(f"{entry.kind} {entry.name}: {why}")
    records = registry.plugins()
    faults = {}
    for r in records:
        key = r.name, r.distribution
        faults[key] = ([r.error] if r.error else []) + wrong.get(key, [])
    if json:
        emit_json(
            [
                {
                    "name": r.name,
                    "distribution": r.distribution,
                    "version": r.version,
                    "module": r.module,
                    "adds": [f"{e.kind}:{e.name}" for e in r.entries],
                    "seconds": round(r.seconds, 4),
                    "errors": faults[r.name, r.distribution],
                }
                for r in records
            ]
        )
        return
    rows = []
    for r in records:
        kinds: dict[str, list[str]] = {}
        for e in r.entries:
            kinds.setdefault(e.kind, []).append(e.name)
        adds = "; ".join(f"{k} {', '.join(v)}" for k, v in kinds.items()) or "nothing"
        rows.append([r.name, f"{r.distribution} {r.version}", adds])
        rows.extend(["", "", f"error: {f}"] for f in faults[r.name, r.distribution])
    table(rows, ("plugin", "distribution", "adds"))
