"""Commands that look at the zoo and import no torch: list, show."""

from __future__ import annotations

import collections
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from genzoo.core.errors import UsageError, did_you_mean, folded
from genzoo.core.options import OptionInfo, typed
from genzoo.core.text import one_line
from genzoo.registry.console import options as opt
from genzoo.registry.console.output import bold, emit_json, hint, say, table


def list_entries(
    kind: Annotated[str | None, typer.Argument(help="Only this kind: recipe, objective, generator, dataset, …")] = None,
    name: Annotated[str | None, typer.Argument(help='Only such names, with wildcards: "*vq*".')] = None,
    modality: Annotated[str | None, typer.Option(help="Only what works on images, vectors, …")] = None,
    tag: Annotated[str | None, typer.Option(help="Only what carries this tag.")] = None,
    plugin: Annotated[str | None, typer.Option(help="Only what this plugin adds.")] = None,
    tree: Annotated[bool, typer.Option("--tree", help="Recipes under what they are like.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the tree as a page, .md.")] = None,
    results: Annotated[
        list[Path] | None, typer.Option(help="For ranks in the tree: leaderboard.md of 'genzoo bench zoo'.")
    ] = None,
    json: opt.Json = False,
) -> None:
    """Show what is in the zoo.

    Example: genzoo list "vae*"
    """
    from genzoo.registry import KINDS, the_registry

    registry = the_registry()
    if kind and name is None and set("*?[") & set(kind):
        kind, name = None, kind
    if (out or results) and not tree:
        raise UsageError("--out and --results go with --tree")
    if tree and (kind := kind or "recipe") != "recipe":
        raise UsageError(f"--tree is of recipes, and {kind!r} is another kind: genzoo list recipe --tree")
    entries = registry.entries(kind, name, modality=modality, tag=tag, plugin=plugin)
    if tree and entries and not json:
        _tree(registry, entries, out, results or [])
        return
    if json:
        emit_json([e.to_dict() for e in entries])
        return
    if not entries:
        tags = {t for e in registry.entries() for t in e.tags}
        near = did_you_mean(tag, tags) if tag and folded(tag, tags) not in tags else ""
        hint(f"nothing in the zoo passes these filters{near}")
        return
    recipes = {e.address for e in entries if e.kind == "recipe"}
    groups: dict[tuple[str, str], list[Any]] = {}
    for e in entries:
        if kind or e.kind != "objective" or e.address not in recipes:  # those stand among the recipes
            groups.setdefault((e.kind, _family(e)), []).append(e)
    own = {e.distribution for e in entries} <= {"genzoo"}
    parents = collections.Counter(name for e in entries for name in e.data.get("family", ()))
    width = max(len(e.name) for e in entries)
    for number, (name, family) in enumerate(sorted(groups, key=lambda g: (KINDS.index(g[0]), g[1] == "", g[1]))):
        several = sum(k == name for k, _ in groups) > 1
        heading = ", ".join(filter(None, ["" if kind else name, family if several else ""]))
        if heading:
            say("\n" if number else "", bold(heading))
        members = sorted(groups[name, family], key=lambda e: -parents[e.name])  # first what others are like
        rows = [[(("  " if heading else "") + e.name).ljust(width + 2), e.summary] for e in members]
        table(rows if own else [[r[0], e.plugin, r[1]] for r, e in zip(rows, members, strict=True)])
    shown = collections.Counter(t for e in entries for t in e.tags if t != "default")
    tags_hint = ", ".join(f"{t} ({n})" for t, n in shown.most_common(8))
    hint(f"\n{len(entries)} entries; 'genzoo show NAME' tells more" + (f"; --tag {tags_hint}" if tags_hint else ""))


def _tree(registry: Any, entries: list[Any], out: Path | None, files: list[Path]) -> None:
    """Recipes under what they are like: on lines, or as a page."""
    from genzoo.registry import zoo_tree

    families, tables = zoo_tree.tree(registry, entries), zoo_tree.results(files)
    if out is not None:
        again = " ".join(["genzoo list --tree", *(f"--results {f}" for f in files), f"--out {out}"])
        zoo_tree.write(out, zoo_tree.page(families, tables, again))
        say(out)
        return
    for number, (family, places) in enumerate(families.items()):
        say("\n" if number else "", bold(family or "others"))
        rows = []
        for p in places:
            rank = zoo_tree.ranked(p, tables)
            note = f" ({rank})" if rank else ""
            rows.append([f"{'  ' * (p.depth + 1)}{p.entry.name}", p.entry.summary + note])
        table(rows)
    hint(f"\n{len(entries)} recipes; 'genzoo show NAME' tells more")


def _family(e: Any) -> str:
    """What an entry stands under: its first tag that tells what it is, of data what kind, of weights the recipe."""
    if e.kind == "weights":
        return str(e.name.partition("/")[0])
    if e.kind == "dataset":
        return " or ".join(e.modalities)
    from genzoo.registry.zoo_tree import family_of

    return str(family_of(e))


def show_entry(
    name: Annotated[str, typer.Argument(help="A name, KIND:NAME, PLUGIN:NAME; or a run's folder.")],
    data: Annotated[str, typer.Option(help="Show a recipe's options as this data set gets them.")] = "",
    modality: Annotated[str, typer.Option(help="Show a recipe's options as this kind of data gets them.")] = "",
    json: opt.Json = False,
) -> None:
    """Describe one entry: what it is, when to use it, what it costs, paper, relatives, options.

    Example: genzoo show wgan-gp --data ring8
    """
    from genzoo.registry.kinds import TABLE
    from genzoo.registry.verbs.load import show

    e = show(name, data=data, modality=modality)
    if json:
        emit_json(e)
        return
    if e["kind"] == "run":
        _run(e)
        return
    say(bold(f"{e['kind']} {e['name']}"), f": {e['summary']}" if e["summary"] else "")
    if e["formula"].strip():
        say("\n" + textwrap.indent(textwrap.dedent(e["formula"]), "  ").rstrip())
    about = {
        "use it": e["when"],
        "cost": e["cost"],
        "paper": e["paper"],
        "relatives": "; ".join(f"{what} {', '.join(names)}" for what, names in e["relatives"].items()),
        "for": ", ".join(e["modalities"]),
        "tags": ", ".join(e["tags"]),
    }
    if e["kind"] == "metric":
        way = e["data"]["direction"]
        best = "neither high nor low is better" if way == "none" else f"{way} is better"
        about |= {"number": ", ".join(filter(None, [e["data"]["unit"], best])), "needs": ", ".join(e["data"]["needs"])}
    if e["kind"] == "recipe":
        parts = [f"{k} {v if isinstance(v, str) else ', '.join(v)}" for k, v in e["parts"].items()]
        about["made of"] = ", ".join(parts) + (", conditional" if e["data"]["conditional"] else "")
    about["plugin"] = f"{e['plugin']} ({e['distribution']} {e['version']})" if e["plugin"] else ""
    if any(about.values()):
        say()
    table([[f"  {title}", text] for title, text in about.items() if text])
    for version in e.get("versions", []) if e["kind"] == "weights" else []:
        _version(version, e["data"]["default"])
    if e["options"]:
        prefix = TABLE[e["kind"]].group.replace("*", e["name"])
        prefix += "." if prefix else ""
        on = f" on {e['on']['data'] or e['on']['modality'] + ' data'}" if "on" in e else ""
        say(f"\n  options{on} (--set NAME=VALUE):")
        table([[f"    {prefix}{o['name']}", typed(o["default"]), OptionInfo(**o).meaning()] for o in e["options"]])
    others = [p for p in e["data"].get("presets", ()) if p not in e["on"].values()] if "on" in e else []
    if others:
        hint(f"\nother options on {', '.join(others)}: --modality NAME or --data NAME shows them")
    if e["also"]:
        hint(f"\nalso: {', '.join(e['also'])}")


def _run(e: dict[str, Any]) -> None:
    """A run: what was trained on what, how far, and what came out."""
    say(
        bold(f"run {e['name']}"),
        f": {e.get('recipe', 'weights')} on {one_line(e.get('data') or 'data that is not known')}",
    )
    if "steps" not in e:
        hint("it was stopped before it was finished: the same command with --resume goes on")
    cost = f", {e['seconds']:,.0f} s on {e['hardware'] or 'unknown hardware'}" if e.get("seconds") else ""
    rows = {
        "read": "; ".join(e.get("read", ()))
        or f"{e.get('observations', 0):,} observations, {e.get('held_out', 0):,} held out",
        "trained": f"{e.get('steps', 0):,} of {e.get('of', 0):,} steps, seed {e.get('seed')}{cost}",
        "from": e.get("init") or "",
        "size": f"{e['parameters']:,} numbers" if e.get("parameters") else "",
        **{name: _measured(v) for name, v in {**e.get("metrics", {}), **e.get("evaluation", {})}.items()},
        "again": e.get("command", ""),
    }
    table([[f"  {name}", one_line(text)] for name, text in rows.items() if text])
    say("\n  options:")
    table([[f"    {name}", one_line(typed(value))] for name, value in e["options"].items()])


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


COMMANDS = {"list": list_entries, "show": show_entry}
