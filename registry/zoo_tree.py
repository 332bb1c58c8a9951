"""The zoo at a glance: every recipe on a line, under what it is like, with its measured rank. Torch-free."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from genzoo.core.errors import UsageError
from genzoo.core.storage.files import write_bytes
from genzoo.core.text import markdown
from genzoo.registry.entries import Entry
from genzoo.registry.handbook import said
from genzoo.registry.registry import Registry

# of recipes; weights, whose names have a slash, are on boards of their own
_RANKED = re.compile(r"^\| (\d+) \| ([^|/]*?)(?: \\\*)? \| ([^|]*\d[^|]*) \|(.*)\|$", re.MULTILINE)
_COSTS = ("steps", "parameters")  # columns of what a training came to, the last ones
_FORMS = ("default", "bundled", "toy", "own")  # tags that say nothing of what an entry is


@dataclass(frozen=True)
class Place:
    """A recipe in the tree: how deep under what it is like."""

    entry: Entry
    depth: int
    cost: str = ""  # in a sentence, as its objective says


@dataclass(frozen=True)
class Table:
    """A table of results: the rank of each recipe, its first number and the steps of its training, as printed."""

    name: str  # of the file; with its folders where several have it
    column: str  # of what ranks
    ranks: Mapping[str, tuple[int, str]]
    steps: Mapping[str, str]


def family_of(entry: Entry) -> str:
    """The first tag that tells what an entry is."""
    return next((t for t in entry.tags if t not in _FORMS), "")


def tree(registry: Registry, entries: Iterable[Entry]) -> dict[str, list[Place]]:
    """Recipes by family, each after what it is like, and before what is like it."""
    recipes = {e.name: e for e in entries if e.kind == "recipe"}
    below: dict[str, list[str]] = {}
    for name, e in recipes.items():
        above = next((a for a in e.data.get("family") or () if a in recipes), "")
        below.setdefault(above, []).append(name)

    def places(name: str, depth: int) -> Iterator[Place]:
        yield Place(recipes[name], depth, cost(registry, recipes[name]))
        for child in sorted(below.get(name, ())):
            yield from places(child, depth + 1)

    found: dict[str, list[Place]] = {}
    for root in sorted(below.get("", ()), key=lambda n: (-len(below.get(n, ())), n)):
        found.setdefault(family_of(recipes[root]), []).extend(places(root, 0))
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def cost(registry: Registry, recipe: Entry) -> str:
    """What a recipe costs, in the first sentence that is said of it."""
    return re.split(r"(?<=[.;]) ", said(registry, recipe)["cost"])[0].rstrip(".;")


def results(files: Sequence[Path]) -> list[Table]:
    """Tables that ``genzoo bench`` writes, of files in Markdown that hold one; a file that is given twice counts once.

    Raises:
        UsageError: for a file that is not there, or has none.
    """
    files = [*{os.path.realpath(path): path for path in reversed(files)}.values()][::-1]
    found, named = [], Counter(path.stem for path in files)
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(
                f"{path} cannot be read: give a table that 'genzoo bench zoo' wrote, leaderboard.md"
            ) from e
        rows = _RANKED.findall(text)
        ranks = {name: (int(rank), value.strip("* ")) for rank, name, value, _ in rows}
        if not ranks:
            raise UsageError(f"{path} holds no table of ranked recipes: give leaderboard.md of 'genzoo bench zoo'")
        header = next((line for line in text.splitlines() if re.match(r"\|\s*\|\s*recipe\s*\|", line)), "")
        columns = [c.strip() for c in header.strip("| ").split("|")]
        column, ends = columns[1] if len(columns) > 1 else "first number", tuple(columns[-2:]) == _COSTS
        came = {name: rest.split("|")[-2].strip() for _, name, _, rest in rows if ends}
        steps = {name: f"{n} step{'s' * (n != '1')}" for name, n in came.items()}
        name = path.stem if named[path.stem] == 1 else _apart(path, [p for p in files if p.stem == path.stem])
        found.append(Table(name, column, ranks, steps))
    return found


def _apart(path: Path, alike: Sequence[Path]) -> str:
    """A file by its name and as many of its folders as tell it from others of its name."""
    own, *names = (Path(os.path.abspath(p)).with_suffix("").parts for p in (path, *alike))
    for n in range(2, len(own)):
        if sum(name[-n:] == own[-n:] for name in names) == 1:
            return "/".join(own[-n:])
    return path.with_suffix("").as_posix()


def ranked(place: Place, tables: Sequence[Table]) -> str:
    """The ranks of a recipe, ``1 of 7: 24.95 …`` for each table that has it."""
    name = place.entry.name
    return "; ".join(f"{t.ranks[name][0]} of {len(t.ranks)}: {t.ranks[name][1]}" for t in tables if name in t.ranks)


def _rank(name: str, table: Table) -> str:
    """A recipe's cell, ``1: 24.95 …, 7,202 steps``."""
    if name not in table.ranks:
        return ""
    rank, number = table.ranks[name]
    return ", ".join(filter(None, [f"{rank}: {number}", table.steps.get(name)]))


def page(families: Mapping[str, list[Place]], tables: Sequence[Table], again: str) -> str:
    """The tree as a page of Markdown; ``again`` is the command that makes it."""
    count = sum(map(len, families.values()))
    lines = [
        "# The zoo at a glance",
        "",
        f"{count} recipes, each under the one that it is like, whose networks and options it takes over where it says "
        "nothing else. *Any* data are those that networks of the zoo are for. What a step costs is in the words of "
        "`genzoo show RECIPE`; under the name of a table of measurements stands the place in it, its first number, and "
        "the steps of the training.",
        "",
        f"Made by `{again}`.",
    ]
    for table in tables:
        lines += ["", f"*{table.name}* ranks {len(table.ranks)} recipes by {table.column}."]
    for family, places in families.items():
        lines += ["", f"## {family or 'others'}", ""]
        head = ["recipe", "what it is", "data", "what it costs", *(t.name for t in tables), "paper"]
        lines += [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
        for p in places:
            e = p.entry
            name = f"{'&nbsp;&nbsp;&nbsp;' * (p.depth - 1)}{'└ ' if p.depth else ''}`{e.name}`"
            paper = e.paper.removeprefix("arXiv:")
            link = f"[{paper}](https://arxiv.org/abs/{paper})" if e.paper.startswith("arXiv:") else markdown(e.paper)
            cells = [name, _cell(e.summary), ", ".join(e.modalities) or "any", _cell(p.cost)]
            cells += [_rank(e.name, t) for t in tables]
            lines.append(f"| {' | '.join([*cells, link])} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text within a cell, in which names in backticks are code."""
    escaped = markdown(text)
    return escaped.replace("\\`", "`") if text.count("`") % 2 == 0 else escaped


def write(path: Path, text: str) -> None:
    """Write the page, ``.md``, whole or not at all."""
    if path.suffix.lower() != ".md" or path.is_dir():
        raise UsageError(f"a tree of the zoo is written to an .md file, not to {path.name!r}")
    write_bytes(path, text.encode())
