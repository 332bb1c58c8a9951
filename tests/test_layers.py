"""core ← registry ← plugins ← cli: who may import whom, without circles, and that looking at the zoo costs no torch."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "numpy", "PIL", "safetensors", "scipy", "huggingface_hub", "rich", "tqdm"}
MAY_IMPORT = {
    "core": {"genzoo.core"},
    "facade": {"genzoo.core", "genzoo.registry", "genzoo.plugins"},
    "registry": {"genzoo.core", "genzoo.registry"},
    "plugins": {"genzoo.core", "genzoo.registry", "genzoo.plugins"},
    "cli": {"genzoo"},
}
NOT_IN_CORE = {"pluggy", "typer", "huggingface_hub"}
LAYERS = ("core", "registry", "plugins", "cli")
MOST_LINES = 400


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


def that_run(tree: ast.AST, *, functions: bool) -> Iterator[ast.AST]:
    """The nodes that run, not those under ``if TYPE_CHECKING``: when a module is imported, or in functions too."""
    for node in ast.iter_child_nodes(tree):
        if not functions and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from that_run(node, functions=functions)


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported."""
    return that_run(tree, functions=False)


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def under(module: str, allowed: set[str]) -> bool:
    return any(module == a or module.startswith(a + ".") for a in allowed)


def forbidden(path: Path, modules: Iterator[tuple[int, str]]) -> list[str]:
    """What a file imports and may not, each with its line; an app imports no other app but compare."""
    parts = path.relative_to(ROOT).parts
    found = []
    for line, module in modules:
        apps = module.split(".")[3:4] if module.startswith("genzoo.plugins.apps.") else []
        other = parts[:2] == ("plugins", "apps") and bool(apps) and apps[0] not in (parts[2], "compare")
        ours = module.partition(".")[0] == "genzoo" and not under(module, MAY_IMPORT[layer(path)])
        heavy = parts[0] == "core" and module.partition(".")[0] in NOT_IN_CORE
        if ours or heavy or other:
            found.append(f"{name(path)}:{line} imports {module}")
    return found


@pytest.mark.parametrize("path", python_files(*LAYERS), ids=name)
def test_imports_go_one_way(path):
    assert forbidden(path, imported(ast.walk(parsed(path)))) == []


def test_what_is_forbidden():
    def found(path: str, *modules: str) -> list[str]:
        said = forbidden(ROOT / path, iter([(1, m) for m in modules]))
        return [line.rpartition(" ")[2] for line in said]

    assert found("core/x.py", "genzoo.core.y", "typing", "genzoo.registry", "pluggy") == ["genzoo.registry", "pluggy"]
    assert found("registry/x.py", "genzoo.core.y", "pluggy", "genzoo.plugins.gan") == ["genzoo.plugins.gan"]
    assert found("plugins/gan/x.py", "genzoo.registry", "genzoo.cli.main", "genzoo.testing") == [
        "genzoo.cli.main", "genzoo.testing",
    ]  # fmt: skip
    apps = ("genzoo.plugins.apps.bench.a", "genzoo.plugins.apps.compare.a", "genzoo.plugins.apps.draw.a")
    assert found("plugins/apps/bench/x.py", *apps) == ["genzoo.plugins.apps.draw.a"]
    assert found("cli/x.py", *apps, "genzoo.testing") == []


def module_of(path: Path) -> str:
    text = path.relative_to(ROOT).as_posix().removesuffix(".py").removeprefix("core/facade/")
    return f"genzoo.{text}".replace("/", ".").removesuffix(".__init__")


def imports(path: Path, known: set[str]) -> Iterator[str]:
    """Modules of ours that a file imports, whenever that runs: of ``from a import b`` a.b if that is a module."""
    for node in that_run(parsed(path), functions=True):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{a.name}" for a in node.names}
            yield from names & known
            if node.module in known and names - known:
                yield node.module


def circle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as e:
        return list(e.args[1])
    return []


def test_no_circle_of_imports():
    files = {module_of(p): p for p in python_files(*LAYERS)}
    graph = {m: set(imports(p, set(files))) - {m} for m, p in files.items()}
    assert sum(map(len, graph.values())) > len(files)
    assert circle(graph) == []
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}


@pytest.mark.parametrize("folder", LAYERS)
def test_no_two_files_of_one_name(folder):
    names = Counter(p.name for p in python_files(folder) if not p.name.startswith("__"))
    assert {n for n, count in names.items() if count > 1} == set()


def test_no_file_is_long():
    lines = {name(p): len(p.read_text(encoding="utf-8").splitlines()) for p in python_files(*LAYERS)}
    assert {n: count for n, count in lines.items() if count > MOST_LINES} == {}


def test_the_facade_is_a_table():
    files = {p.name for p in (ROOT / "core" / "facade").iterdir() if p.name != "__pycache__"}
    assert files == {"__init__.py", "__main__.py", "py.typed", "testing.py"}


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
} | {
    " ".join(c): CLI.format(c)
    for c in (["list"], ["list", "--tree"], ["show", "wgan-gp"], ["plugins"], ["--help"], ["train", "--help"])
}


@pytest.mark.parametrize("doing", LOOKING)
def test_looking_costs_no_torch(doing):
    code = f"{LOOKING[doing]}\nimport sys\nheavy = {HEAVY} & {{m.partition('.')[0] for m in sys.modules}}\n"
    code += "print(sorted(heavy), file=sys.stderr)"
    env = {k: v for k, v in os.environ.items() if not k.startswith("GENZOO_")} | {"GENZOO_NO_PLUGINS": "1"}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def test_looking_at_a_table_costs_no_torch(tmp_path):
    (tmp_path / "people.csv").write_text("age,town\n1,x\n2,y\n3,x\n")
    run = [sys.executable, "-X", "importtime", "-m", "genzoo.cli", "data", "inspect", str(tmp_path / "people.csv")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "age" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pyarrow" in imported
    assert "torch" not in imported
