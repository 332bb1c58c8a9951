"""core ← registry ← plugins ← cli: who may import whom, and that looking at the zoo costs no torch."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "numpy", "PIL", "safetensors", "scipy", "huggingface_hub", "rich", "tqdm"}
MAY_IMPORT = {
    "core": {"genzoo.core"},
    "facade": {"genzoo.core", "genzoo.registry", "genzoo.plugins"},
    "registry": {"genzoo.core", "genzoo.registry"},
    "plugins": {"genzoo.core", "genzoo.registry", "genzoo.plugins"},
}


def layer(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return "facade" if parts[:2] == ("core", "facade") else parts[0]


def python_files(*folders: str) -> list[Path]:
    return [p for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))]


def imported(nodes: Iterator[ast.AST]) -> Iterator[tuple[int, str]]:
    """Line and module of every import; of ``from genzoo import core`` the module is genzoo.core."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            whole = [f"genzoo.{a.name}" for a in node.names] if node.module == "genzoo" else [node.module or "."]
            yield from ((node.lineno, name) for name in whole)


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: not those in functions, nor under ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from at_import(node)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def under(module: str, allowed: set[str]) -> bool:
    return any(module == a or module.startswith(a + ".") for a in allowed)


@pytest.mark.parametrize("path", python_files("core", "registry", "plugins"), ids=name)
def test_imports_go_one_way(path):
    allowed = MAY_IMPORT[layer(path)]
    ours = [(line, m) for line, m in imported(ast.walk(parsed(path))) if m.partition(".")[0] == "genzoo"]
    assert [f"{name(path)}:{line} imports {m}" for line, m in ours if not under(m, allowed)] == []


def test_the_check_itself():
    tree = ast.parse("import genzoo.cli.main\nfrom genzoo import registry\nfrom genzoo.core import x\nfrom .a import b")
    found = [m for _, m in imported(ast.walk(tree))]
    assert found == ["genzoo.cli.main", "genzoo.registry", "genzoo.core", "a"]
    assert not under("genzoo.corex", {"genzoo.core"})
    light = ast.parse("if TYPE_CHECKING:\n import torch\ndef f():\n import torch\nclass A:\n import numpy")
    assert [m for _, m in imported(at_import(light))] == ["numpy"]


WORKING = {"verbs", "weights"}  # they are imported when something is used
LOOKS = [p for p in python_files("registry", "cli") if p.parent.name not in WORKING]
LIGHT = [*LOOKS, *sorted((ROOT / "plugins").rglob("__init__.py")), ROOT / "core" / "facade" / "__init__.py"]


@pytest.mark.parametrize("path", LIGHT, ids=name)
def test_light_modules_import_nothing_heavy(path):
    heavy = [(line, m) for line, m in imported(at_import(parsed(path))) if m.partition(".")[0] in HEAVY]
    assert [f"{name(path)}:{line} imports {m}" for line, m in heavy] == []


MODULES = [name(p).removesuffix(".py").removesuffix("/__init__").replace("/", ".") for p in LOOKS]
CLI = "from genzoo.cli.main import app; app({}, standalone_mode=False)"
LOOKING = {
    "import": "import " + ", ".join(f"genzoo.{m}" for m in MODULES if not m.endswith("__main__")),
    "facade": "import genzoo; dir(genzoo); genzoo.__version__; genzoo.list",
    "genzoo.list": "import genzoo; assert len(genzoo.list()) > 20; assert genzoo.list('recipe', modality='image')",
    "describe all": "from genzoo.registry import the_registry; r = the_registry()\n"
    "for e in r.entries(): r.options(e); r.docstring(e)\n"
    "assert r.check_targets() == []",
} | {" ".join(c): CLI.format(c) for c in (["list"], ["show", "wgan-gp"], ["plugins"], ["--help"], ["train", "--help"])}


@pytest.mark.parametrize("doing", LOOKING)
def test_looking_costs_no_torch(doing):
    code = f"{LOOKING[doing]}\nimport sys\nheavy = {HEAVY} & {{m.partition('.')[0] for m in sys.modules}}\n"
    code += "print(sorted(heavy), file=sys.stderr)"
    env = {k: v for k, v in os.environ.items() if not k.startswith("GENZOO_")} | {"GENZOO_NO_PLUGINS": "1"}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
