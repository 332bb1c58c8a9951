"""``genzoo plugins new`` and ``check``: from a name to a package that installs, passes its own tests and trains."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from genzoo.core.errors import UsageError
from genzoo.plugins.apps.kit.new_plugin import ALL, FILES, KINDS, LICENSES, new_plugin

INSTALL = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--target"]


def installed(package: Path, site: Path):
    """Install a package beside the others, and return a function that runs Python there."""
    subprocess.run([sys.executable, *INSTALL, str(site), str(package)], check=True, timeout=120)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GENZOO_")}

    def python(*arguments: str, cwd: Path = package.parent) -> subprocess.CompletedProcess[str]:
        env = clean | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
        run = [sys.executable, *arguments]
        return subprocess.run(run, cwd=cwd, env=env, capture_output=True, text=True, timeout=280, check=False)

    return python


@pytest.mark.slow  # docs/write-a-plugin.md, run as a test, does most of it too
def test_a_new_package_installs_passes_its_own_tests_and_trains(genzoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kinds = ("gan", "vae", "generator", "dataset")
    ran = genzoo(
        "plugins",
        "new",
        "Genzoo_Faces",
        "--author",
        "Ada L.",
        "--license",
        "mit",
        *(word for k in kinds for word in ("--kind", k)),
    )
    assert ran.code == 0, ran.err
    assert "genzoo plugins check genzoo-faces" in ran.out
    assert "genzoo train faces-gan --data fashion-mini --out runs/first --steps 500" in ran.out
    package = tmp_path / "genzoo-faces"
    python = installed(package, tmp_path / "site")

    tests = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)
    assert tests.returncode == 0, tests.stdout[-3000:]
    assert re.search(r"\d\d+ passed", tests.stdout)

    found = python("-m", "genzoo.cli", "plugins", "check", "genzoo-faces", "--entry", "generator:faces", "--json")
    assert found.returncode == 0, found.stdout + found.stderr
    report = json.loads(found.stdout)
    assert report["ok"]
    assert report["counts"]["failed"] == 0

    few = ("--steps", "3", "--batch-size", "16", "-q", "--device", "cpu")
    for arguments in (
        ("faces-gan", "--data", "fashion-mini", "--out", "gan", "--set", "data.limit=300"),
        ("faces-vae", "--data", "faces-spirals", "--generator", "faces", "--out", "vae", "--conditional"),
    ):
        done = python("-m", "genzoo.cli", "train", *arguments, *few)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "gan" / "model.safetensors").is_file()
    assert json.loads((tmp_path / "vae" / "config.json").read_text())["generator"]["distribution"] == "genzoo-faces"


@pytest.mark.slow
def test_all_of_it_passes_the_suite(tmp_path):
    written = new_plugin("genzoo-whole", [k for k in KINDS if k != "all"], out=tmp_path / "whole")
    found = installed(written.folder, tmp_path / "site")("-m", "genzoo.cli", "plugins", "check", "genzoo-whole")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "imports in" in found.stdout
    assert "✗" not in found.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_alone_is_whole(tmp_path, kind, monkeypatch):
    """It registers what it says, by names that are its own, and every target is there."""
    from genzoo.registry import Registry

    written = new_plugin("zz-thing", [kind], out=tmp_path / "x", license="none")
    assert written.folder == tmp_path / "x"
    assert not (tmp_path / "x" / "LICENSE").exists()
    for file in written.files:
        if file.endswith(".py"):
            ast.parse((written.folder / file).read_text())
    assert not [f for f in written.files if "{{" in (written.folder / f).read_text().replace("${{ matrix", "")]
    monkeypatch.syspath_prepend(str(written.folder))
    registry = Registry.discover(plugins=False)
    import importlib

    record = registry.add(importlib.import_module("zz_thing.plugin"), "zz-thing", "zz-thing", "0.1.0")
    for name in [m for m in sys.modules if m.partition(".")[0] == "zz_thing"]:
        del sys.modules[name]
    assert record.error is None
    assert registry.check_targets(record.entries) == []
    assert all(e.summary and e.name.startswith("zz-thing") for e in record.entries)
    kinds = {e.kind for e in record.entries}
    expected = {"gan": {"objective", "recipe"}, "vae": {"objective", "recipe"}, "objective": {"objective", "recipe"},
                "observer": set(), "modality": {"modality", "dataset"}}  # fmt: skip
    if kind == "all":
        assert kinds == {"objective", "recipe"} | (set(ALL) - {"gan", "vae"})
    else:
        assert kinds == expected.get(kind, {kind})


def test_what_is_written_can_be_published(tmp_path):
    written = new_plugin("genzoo-faces", ["gan"], out=tmp_path / "f", license="Apache-2.0", author="Ada  Lovelace")
    project = tomllib.loads((written.folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "genzoo-faces"
    assert project["license"] == "Apache-2.0"
    assert project["authors"] == [{"name": "Ada Lovelace"}]
    assert project["entry-points"]["genzoo"] == {"faces": "genzoo_faces.plugin"}
    assert "Apache License" in (written.folder / "LICENSE").read_text()
    assert {"README.md", "CHANGELOG.md", ".gitignore", ".github/workflows/test.yml"} <= set(written.files)
    for text in ("MIT", "BSD-3-Clause"):
        folder = new_plugin("genzoo-faces", ["gan"], out=tmp_path / text, license=text, author="Ada").folder
        assert re.search(r"Copyright \(c\) 20\d\d,? Ada", (folder / "LICENSE").read_text())


def test_what_is_written_is_formatted_and_clean(tmp_path):
    folder = new_plugin("genzoo-faces", [k for k in KINDS if k != "all"], out=tmp_path / "f").folder
    for command in (["format", "--diff", "--line-length=120"], ["check", "--select=E,F,B,UP,RUF", "--line-length=120"]):
        run = [sys.executable, "-m", "ruff", *command, "--isolated", "--ignore=RUF001,RUF002", "--no-cache"]
        run = [a for a in run if command[0] == "check" or not a.startswith("--ignore")]
        done = subprocess.run([*run, str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("-x", "no name for a package"),
        ("a b", "no name for a package"),
        ("über", "no name for a package"),
        ("../x", "no name for a package"),
        ("3d", "begin with a letter"),
        ("class", "no word of the language"),
        ("json", "a module that everybody has"),
        ("torch", "a module that everybody has"),
        ("genzoo", "a module that everybody has"),
        ("pytest", "is installed here already"),
    ],
)
def test_names_that_cannot_be(genzoo, tmp_path, monkeypatch, name, words):
    monkeypatch.chdir(tmp_path)
    assert genzoo("plugins", "new", "--", name).sentence(words, code=2)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(genzoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    genzoo("plugins", "new", "genzoo-x", "--out", "mine").sentence("mine is there already", code=2)
    genzoo("plugins", "new", "genzoo-x", "--out", "mine/thesis.txt").sentence("is there already", code=2)
    genzoo("plugins", "new", "genzoo-x", "--out", "no/where").sentence("no folder", code=2)
    genzoo("plugins", "new", "genzoo-x", "--kind", "gna").sentence("did you mean 'gan'", code=2)
    genzoo("plugins", "new", "genzoo-x", "--license", "MTI").sentence("did you mean 'MIT'", code=2)
    genzoo("plugins", "new", "genzoo-x", "--author", 'a"b').sentence("without quotes", code=2)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_will_do(tmp_path):
    (tmp_path / "empty").mkdir()
    new_plugin("genzoo-x", ["metric"], out=tmp_path / "empty")
    assert (tmp_path / "empty" / "pyproject.toml").is_file()
    with pytest.raises(UsageError, match="already"):
        new_plugin("genzoo-x", ["metric"], out=tmp_path / "empty")


def test_json_and_the_words_of_the_help(genzoo, tmp_path):
    ran = genzoo("plugins", "new", "genzoo-x", "--kind", "metric", "--out", tmp_path / "x", "--json")
    made = json.loads(ran.out)
    assert made["package"] == "genzoo_x"
    assert "genzoo_x/metric.py" in made["files"]
    text = genzoo("plugins", "new", "--help").out
    assert all(k in " ".join(text.split()) for k in FILES)
    assert all(name in text for name in LICENSES)


def test_check_says_what_fails_and_exits_1(genzoo, monkeypatch):
    from genzoo.plugins.apps.kit import suite
    from genzoo.plugins.apps.kit.findings import Fault
    from genzoo.registry import registry

    own = registry.Registry.discover(plugins=False)
    monkeypatch.setattr(registry, "_shared", [own])
    ran = genzoo("plugins", "check", "nets", "--entry", "critic:mlp", "--check", "shapes")
    assert ran.code == 0
    assert re.search(r"^critic +mlp$\n^shapes +✓$", ran.out, re.MULTILINE)
    assert "1 checks passed, 0 failed" in ran.err

    def spoiled(kind, check):
        def fail(case):
            raise Fault("peace", "war", "make peace", "everywhere")

        return fail

    monkeypatch.setattr(suite, "_function", spoiled)
    ran = genzoo("plugins", "check", "nets", "--entry", "critic:mlp", "--check", "shapes")
    assert ran.code == 1
    for line in ("critic:mlp fails 'shapes' (everywhere)", "expected: peace", "found:    war", "to mend:  make peace"):
        assert line in ran.out
    genzoo("plugins", "check", "nest").sentence("did you mean 'nets'", code=2)
    genzoo("plugins", "check").sentence("no plugin of another distribution is installed", code=2)
