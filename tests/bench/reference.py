"""Writes docs/reference.md from the code: every hook, every kind and what it is held to.

python tests/bench/reference.py > docs/reference.md
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from typing import Any

from genzoo.plugins.apps.kit.suite import checks_of, explained
from genzoo.registry import Registrar, hooks
from genzoo.registry.discovery.source_code import locate
from genzoo.registry.entries import article
from genzoo.registry.kinds import TABLE

HEAD = """# Reference for plugins

Written by `python tests/bench/reference.py` from the code, and compared with it by a test.
[write-a-plugin.md](write-a-plugin.md) shows how it is used.
"""


def reference() -> str:
    """The page, as Markdown."""
    parts = [HEAD, "## Hooks\n", "A plugin's module answers one or more of these, each marked with `@hookimpl`.\n"]
    for name, hook in vars(hooks).items():
        if name.startswith("genzoo_"):
            parts.append(_entry(f"### {name}", hook, name))
    parts.append(
        "## Kinds\n\nEach is registered by a method of the `Registrar` that `genzoo_register` is handed, or by"
    )
    parts.append("the decorator of that name: `@declare.generator(…)`.\n")
    for kind, about in TABLE.items():
        parts.append(_entry(f"### {kind}", getattr(Registrar, kind), f"registry.{kind}"))
        if about.base:
            module, _, name = about.base.partition(":")
            parts.append(_base(module, name, about.methods))
        checks = [f"| `{name}` | {explained(kind, name)} |" for name in checks_of(kind)]
        parts.append(
            "\n".join([f"`genzoo plugins check` holds {article(kind)} to:\n", "| check | |", "| --- | --- |", *checks])
            + "\n"
        )
    return "\n".join(parts)


def _entry(heading: str, function: Any, name: str) -> str:
    stars: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    names = [
        stars.get(p.kind, "") + p.name for p in inspect.signature(function).parameters.values() if p.name != "self"
    ]
    return f"{heading}\n\n```python\n{name}({', '.join(names)})\n```\n\n{_prose(inspect.getdoc(function) or '')}\n"


def _base(module: str, name: str, methods: tuple[str, ...]) -> str:
    """What is written of a kind, read from the source: no torch is needed."""
    found = locate(module)
    assert found is not None
    with open(found.file, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    there = {n.name: n for n in node.body if isinstance(n, ast.FunctionDef)}
    rows = [f"| `{m}({_arguments(there[m])})` | {_first(ast.get_docstring(there[m]) or '')} |" for m in methods]
    table = "\n" + "\n".join(["| method | |", "| --- | --- |", *rows]) + "\n" if rows else ""
    return f"Its class derives from `{module}.{name}`.\n{table}"


def _arguments(node: ast.FunctionDef) -> str:
    return ", ".join(a.arg for a in (*node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls"))


def _first(doc: str) -> str:
    return " ".join(doc.partition("\n\n")[0].split()).replace("|", "\\|").replace("``", "`")


def _prose(doc: str) -> str:
    """A docstring as Markdown: its sections are lists."""
    text, _, rest = doc.partition("\nArgs:\n")
    for end in ("Returns", "Raises"):
        rest = rest.partition(f"\n{end}:\n")[0]
    items: list[str] = []
    for line in textwrap.dedent(rest).splitlines():
        if line.startswith(" ") and items:
            items[-1] += " " + line.strip()
        elif line.strip():
            name, _, meaning = line.partition(": ")
            items.append(f"- `{name}`: {meaning}")
    text = text.replace("``", "`").strip()
    return text + ("\n\n" + "\n".join(items).replace("``", "`") if items else "")


if __name__ == "__main__":
    sys.stdout.write(reference().rstrip("\n") + "\n")
