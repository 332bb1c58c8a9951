"""The pages: every command parses and names what there is, every link leads to a file, every page is in the menu."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from genzoo.cli.main import with_commands
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec
from genzoo.registry import the_registry
from genzoo.registry.kinds import SINGLE, TABLE
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize

ROOT = Path(__file__).parents[1]
PAGES = sorted(p.relative_to(ROOT).as_posix() for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
SHOWN = [p for p in PAGES if p != "CHANGELOG.md"]  # what it says was so once
BLOCK = re.compile(r"^ *```(\w+)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# what a page makes up
MADE_UP = re.compile(r"^(hello|squares|weighted|hinge-gan|drift|brightness|laplace|logistic|spiral|contrast)")

THE_READERS = {"photos", "my-pictures", "made", "others"}  # folders


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_the_guide_of_gans_names_them_all():
    registry, guide = the_registry(), text("docs/gans.md")
    losses = {e.name for e in registry.entries("objective", tag="gan")}
    recipes = [e for e in registry.entries("recipe") if e.data["objective"] in losses]
    names = [e.name for e in recipes if not e.modalities or {"image", "vector"} & set(e.modalities)]
    names += [e.name for kind in ("regularizer", "augmentation") for e in registry.entries(kind)]
    assert not [name for name in names if f"`{name}`" not in guide]


def commands(page: str) -> list[list[str]]:
    """The arguments of every line ``genzoo …`` in a page's blocks: as one types it, with or without a prompt."""
    found = []
    for kind, block in BLOCK.findall(text(page)):
        for line in block.replace("\\\n", " ").splitlines():
            shown = re.match(r"\s*\$ (?:\w+=\S+ )*genzoo (.*)" if kind == "console" else r"(?:srun )?genzoo (.*)", line)
            if shown and kind in ("console", "sh", "bash"):
                words = re.sub(r" \$\w+", "", re.split(r" [|>&]", shown[1])[0])  # an unquoted variable may be empty
                found.append(shlex.split(words, comments=True))
    return found


def inline(page: str) -> list[list[str]]:
    """Those within sentences, which may leave out what the sentence is not about."""
    prose = BLOCK.sub("", text(page))
    said = [" ".join(s.split()) for s in re.findall(r"`genzoo ([a-z][^`]*)`", prose)]
    return [shlex.split(s) for s in said if s.split()[0] not in ("faces",)]


def parsed(arguments: list[str]) -> Any:
    """The last context of what the program understands; nothing is done."""
    command, context = get_command(with_commands(arguments)), None
    name, rest = "genzoo", arguments
    while True:
        context = command.make_context(name, rest, parent=context)
        rest = [*context._protected_args, *context.args]
        if not isinstance(command, TyperGroup) or not rest:
            return context
        name, command, rest = command.resolve_command(context, rest)


def complaint(arguments: list[str]) -> str:
    """What the program says of a command line; empty if it understands it."""
    try:
        parsed([a for a in arguments if a not in ("--help", "--locked")])  # which may stand anywhere
    except Exception as e:
        if hasattr(e, "format_message"):  # a complaint about the command line; their classes are private
            return e.format_message()
        raise
    return ""


@pytest.mark.parametrize("page", SHOWN)
def test_every_command_parses(page):
    wrong = {" ".join(c): why for c in commands(page) if (why := complaint(c))}
    short = {" ".join(c): why for c in inline(page) if (why := complaint(c)).startswith("No such")}
    assert wrong | short == {}


def of_the_zoo() -> list[list[str]]:
    """Commands of pages that draw, show or list what comes with the zoo, and nothing of the reader's."""
    names = {e.name for e in the_registry().entries("weights")}
    found = [c for page in SHOWN for c in commands(page)]
    found = [c for c in found if c[0] in ("list", "show") or (c[0] == "sample" and c[1] in names)]
    return [c for c in found if not any(MADE_UP.match(a) or a.startswith("runs/") for a in c)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_pages_draw_of_the_zoo_is_drawn(tmp_path):
    ran = 0
    for arguments in {tuple(c): c for c in of_the_zoo()}.values():
        command = [sys.executable, "-m", "genzoo.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr)
        out = arguments[arguments.index("--out") + 1] if "--out" in arguments else ""
        assert (tmp_path / out).exists() if out else done.stdout.strip(), arguments
        ran += arguments[0] == "sample"
    assert ran >= 6


def known() -> dict[str, set[str]]:
    """Names by the option that takes them."""
    registry = the_registry()
    names = {kind: {e.name for e in registry.entries(kind)} for kind in ("recipe", "dataset", "metric", "weights")}
    tags = {tag for e in registry.entries("metric") for tag in e.tags}
    groups = {e: TABLE[e.kind].group.replace("*", e.name) for e in registry.entries() if e.kind != "command"}
    options = {f"{group}.{o.name}".strip(".") for e, group in groups.items() for o in registry.options(e)}
    options |= {o.replace("data.", "samples.") for o in options}  # the other side of a comparison
    return {**names, "metric": names["metric"] | tags, "option": {*options, *SINGLE, "conditional"}}


def strange(arguments: list[str], names: dict[str, set[str]]) -> list[str]:
    """What a command line names that is not in the zoo; what has a slash or a dot is a file of the reader's."""
    found = list[tuple[str, str]]()
    if any(MADE_UP.match(a) for a in arguments):
        return found
    for option, value in pairwise(arguments):
        if option == "--set":
            found += [("option", value.partition("=")[0])] if "=" in value else []
        elif not re.search(r"^-|[./]|^[A-Z]+$", value):
            what = {"train": "recipe", "--data": "dataset", "--metrics": "metric"}.get(option)
            found += [(what, name) for name in value.split(",")] if what else []
    return [f"{what} {name}" for what, name in found if name not in names[what] | THE_READERS]


def test_every_command_names_what_there_is():
    names = known()
    wrong = [(page, f) for page in SHOWN for c in commands(page) + inline(page) for f in strange(c, names)]
    assert wrong == []


def test_a_prior_is_fitted_to_a_readers_model_by_the_readers_data():
    """No record says where a folder is: what was trained on one is fitted on it by name."""
    fits = [(page, c, commands(page)) for page in SHOWN for c in commands(page) if c[:2] == ["prior", "fit"]]
    assert fits
    for page, fit, all_ in fits:
        trained = [c for c in all_ if c[0] == "train" and fit[2] in c and THE_READERS & {*c}]
        assert not trained or any(THE_READERS & {*fit} & {*c} for c in trained), (page, fit)


def test_every_link_leads_to_a_file():
    dead = []
    for page in PAGES:
        for target in LINK.findall(BLOCK.sub("", text(page))):
            path = unquote(target.partition("#")[0])
            if path and "://" not in path and not (ROOT / page).parent.joinpath(path).exists():
                dead.append((page, target))
    assert dead == []


def test_every_recipe_is_in_the_guide():
    named = re.findall(r"^\| `([a-z0-9-]+)` \|", text("docs/recipes.md"), re.MULTILINE)
    assert sorted(named) == sorted(e.name for e in the_registry().entries("recipe", plugin="genzoo"))
    papers = dict(re.findall(r"^\| `([a-z0-9-]+)` \|.*arxiv.org/abs/([\d.]+)", text("docs/recipes.md"), re.MULTILINE))
    known = {e.name: e.paper for e in the_registry().entries("recipe", plugin="genzoo")}
    assert {name: f"arXiv:{paper}" for name, paper in papers.items()}.items() <= known.items()


def test_the_guide_says_which_recipes_need_labels_or_their_own_generator():
    registry, data = the_registry(), DataSpec.image(1, 28, 28, classes=3)

    def builds(recipe: str, conditional: bool) -> bool:
        try:
            initialize(compose(registry, data, recipe, {"generator": "mlp", "conditional": conditional}), 0)
        except UsageError:
            return False
        return True

    codeless = {"pixelcnn", "multiscale"}
    recipes = {e.name for e in registry.entries("recipe", plugin="genzoo") if e.fits("image")} - codeless
    (said,) = re.findall(r"Not without labels: (.*?)\. With generators of their own: (.*?)\.",
                         text("docs/recipes.md"), re.DOTALL)  # fmt: skip
    labels, own = ([*re.findall("`([a-z0-9-]+)`", names)] for names in said)
    refused = {r for r in recipes if not builds(r, True)}
    assert {*own} - codeless == refused
    assert {*labels} == {r for r in recipes if r not in refused and not builds(r, False)}


def test_the_table_of_vaes_is_of_the_commands_above_it():
    page = text("docs/vaes.md")
    printed = re.findall(r"^\| (?:\d+|–) \| ([a-z0-9-]+)(?: \\\*)? \|", page, re.MULTILINE)
    tables = [c for c in commands("docs/vaes.md") if "fashion-mini" in c and "--recipes" in c and "--prior" not in c]
    called = [c[c.index("--recipes") + 1] for c in tables]
    assert sorted(printed) == sorted(",".join(called).split(","))
    rows = re.findall(r"^\| `([a-z-]+)`[^|]* \| \d\.\d+ \[", page, re.MULTILINE)
    trained = [
        c[c.index("--likelihood") + 1] for c in commands("docs/vaes.md") if c[0] == "train" and "fashion-mini" in c
    ]
    assert rows == trained
    plain = {e.name for e in the_registry().entries("recipe") if re.match("rae-", e.name)}  # named in one breath
    (said,) = re.findall(r"^- (`ae`.*) have nothing", page, re.MULTILINE)
    assert {*re.findall("`(rae-[^`]+)`", said)} == plain


def test_the_notebook_runs(tmp_path, monkeypatch):
    cells = json.loads((ROOT / "docs/tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
    assert all(c["outputs"] or "run =" not in c["source"] for c in cells if c["cell_type"] == "code")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in (c for c in cells if c["cell_type"] == "code"):
        source = "".join(cell["source"])
        assert "fit" not in source or re.search(r"steps=\d+0\b", source)
        shorter = re.sub(r"(steps|n)=(\d+)0\b", r"\1=\2", source).replace("emoji.x.", "emoji.x[:300].")
        exec(compile(shorter, "docs/tutorial.ipynb", "exec"), names)
    assert (tmp_path / "report.html").stat().st_size > 100_000
    assert {row["file"] for row in names["scores"].oddest(3)} == {f"smileys/left-here-{i}.png" for i in range(3)}


def test_the_lines_about_data_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (block,) = [b for kind, b in BLOCK.findall(text("docs/data.md")) if kind == "python"]
    exec(compile(block, "docs/data.md", "exec"), {})
    assert capsys.readouterr().out == "(3, 16, 16)\n"
