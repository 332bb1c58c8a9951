"""The zoo at a glance: ``genzoo list --tree``."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genzoo.registry import the_registry

ROOT = Path(__file__).parents[2]
BOARD = """|  | recipe | Fréchet distance ↓ | kid ↓ | steps | parameters |
| --- | --- | --- | --- | --- | --- |
|  | real data | 1.0 [0.9, 1.1] | 0 |  |  |
| 1 | r3gan | **24.95 [24.3, 25.7]** | 1 | 7,202 | 237,313 |
| 2 | somebody else's | 30 [29, 31] | 1 | 1 | 1 |
| 3 | vae \\* | 37.1 [36, 38] | 2 | 27,132 | 220,610 |
| 4 | ae | – | – | 5 | 5 |

| | weights | Fréchet distance ↓ | steps | parameters |
| --- | --- | --- | --- | --- |
| 1 | gan/fashion-mnist | 22.9 [22, 24] | 20,000 | 237,313 |
"""
Run = Callable[..., Any]


def test_every_recipe_stands_under_what_it_is_like(genzoo: Run) -> None:
    ran = genzoo("list", "--tree")
    assert ran.code == 0
    lines = [line for line in ran.out.splitlines() if line.startswith("  ")]
    recipes = {e.name: e for e in the_registry().entries("recipe")}
    path: list[str] = []
    for line in lines:
        name, depth = line.split()[0], (len(line) - len(line.lstrip())) // 2 - 1
        path[depth:] = [name]
        assert tuple(reversed(path[:-1])) == tuple(recipes[name].data.get("family") or ())
    assert sorted(line.split()[0] for line in lines) == sorted(recipes)
    some = genzoo("list", "--tree", "--tag", "hierarchy").out
    assert {"nvae", "top-down-vae"} <= {line.split()[0] for line in some.splitlines() if line.startswith("  ")}


def test_a_page_with_ranks(genzoo: Run, tmp_path: Path) -> None:
    board, page = tmp_path / "leaderboard.md", tmp_path / "zoo.md"
    board.write_text(BOARD)
    assert genzoo("list", "--tree", "--results", board, "--out", page).out.strip() == str(page)
    rows = dict(re.findall(r"^\| [^`|]*`([a-z0-9-]+)` \|(.*)$", page.read_text(), re.MULTILINE))
    assert set(rows) == {e.name for e in the_registry().entries("recipe")}
    assert "| leaderboard | paper |" in page.read_text()
    cells = {name: row.split(" | ")[3] for name, row in rows.items()}
    assert cells["r3gan"] == "1: 24.95 [24.3, 25.7], 7,202 steps"
    assert cells["vae"] == "3: 37.1 [36, 38], 27,132 steps"
    assert cells["ae"] == cells["gan"] == ""  # which has no number, and which is not there
    assert "every step" not in rows["gan"]
    assert "arxiv.org/abs/1406.2661" in rows["gan"]
    assert "K passes of the decoder" in rows["iwae"]
    assert [name for name, row in rows.items() if not row.split(" | ")[2].strip()] == []  # all say what they cost
    assert "1 of 3" in genzoo("list", "--tree", "--results", board).out
    (tmp_path / "b").mkdir()
    (second := tmp_path / "b" / "leaderboard.md").write_text(BOARD)
    genzoo("list", "--tree", "--results", board, "--results", second, "--out", page)
    columns = f"{tmp_path.name}/leaderboard | b/leaderboard"  # of one name: their folders tell
    assert f"| {columns} | paper |" in page.read_text()
    genzoo("list", "--tree", "--results", board, "--results", tmp_path / "b" / ".." / board.name, "--out", page)
    assert "| leaderboard | paper |" in page.read_text()  # a file that is given twice counts once


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "zoo.md"], ["--out and --results go with --tree"]),
        (["metric", "--tree"], ["--tree is of recipes"]),
        (["--tree", "--out", "zoo.txt"], ["written to an .md file, not to 'zoo.txt'"]),
        (["--tree", "--results", "nothing.md"], ["nothing.md cannot be read"]),
        (["--tree", "--results", str(ROOT / "LICENSE")], ["holds no table of ranked recipes"]),
    ],
)
def test_what_is_asked_wrongly(genzoo: Run, arguments: list[str], words: list[str]) -> None:
    genzoo("list", *arguments).sentence(*words, code=2)


@pytest.mark.slow  # a recipe more is a line more: the command that the page names writes it anew
def test_the_page_in_the_docs_is_what_the_command_prints_now(genzoo: Run, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "zoo.md").read_text()
    (results,) = re.findall(r"Made by `genzoo list --tree (.*) --out docs/zoo.md`", page)
    files = [ROOT / f for f in results.split() if f != "--results"]
    out = tmp_path / "zoo.md"
    genzoo("list", "--tree", *(a for f in files for a in ("--results", f)), "--out", out)
    assert page.split("\n## ", 1)[1] == out.read_text().split("\n## ", 1)[1]
