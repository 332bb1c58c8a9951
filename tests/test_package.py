"""What is built is what is here: the list of packages, the wheel, the sdist, the versions."""

from __future__ import annotations

import configparser
import email
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
LAYERS = ("core", "registry", "plugins", "cli")
PATTERNS = {p for several in SETUPTOOLS["package-data"].values() for p in several} | {"*.py"}
NOT_SOURCE = (".*", "build", "dist", "*.egg-info", "__pycache__", "runs", "shared")


def installed_name(path: Path) -> str:
    """Where a file of the checkout ends up: ``core/facade/zoo.py`` is ``genzoo/zoo.py``."""
    text = path.relative_to(ROOT).as_posix()
    return "genzoo/" + text.removeprefix("core/facade/")


def sources(pattern: str) -> list[Path]:
    return [p for layer in LAYERS for p in (ROOT / layer).rglob(pattern) if "__pycache__" not in p.parts]


def shipped() -> list[Path]:
    """Every file that goes into the wheel: modules, and what package-data declares."""
    return [p for pattern in sorted(PATTERNS) for p in sources(pattern)]


def test_every_folder_with_python_files_is_a_package():
    folders = {Path(installed_name(p)).parent.as_posix().replace("/", ".") for p in sources("*.py")}
    assert set(SETUPTOOLS["packages"]) == folders
    assert len(SETUPTOOLS["packages"]) == len(folders)
    assert all((p.parent / "__init__.py").is_file() for p in sources("*.py"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that is built from it, made in a copy so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("build")
    copy = shutil.copytree(ROOT, folder / "genzoo", ignore=shutil.ignore_patterns(*NOT_SOURCE, "tests"))
    run = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(copy)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def wheel(built):
    with zipfile.ZipFile(built[0]) as archive:
        yield archive


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    expected = {installed_name(p) for p in shipped()}
    files = {n for n in wheel.namelist() if ".dist-info/" not in n}
    assert files == expected
    assert "genzoo/py.typed" in files
    assert "genzoo/plugins/datasets/fashion_mini.npz" in files


def test_what_ships_is_declared():
    """A file of a kind that no package-data pattern names would be silently absent."""
    assert {p for p in sources("*") if p.is_file()} - set(shipped()) == set()


def test_the_wheel_says_what_it_is(wheel):
    (info,) = {n.partition("/")[0] for n in wheel.namelist() if ".dist-info/" in n}
    metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert metadata["Version"] == PROJECT["project"]["version"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    points = configparser.ConfigParser()
    points.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    assert dict(points["console_scripts"]) == {"genzoo": "genzoo.cli:main"}
    modules = {n.removesuffix("/__init__.py").replace("/", ".") for n in wheel.namelist()}
    assert set(points["genzoo"].values()) <= modules
    plugins = {p for p in SETUPTOOLS["packages"] if p.startswith("genzoo.plugins.")}
    served = {
        "genzoo.plugins.apps",
        "genzoo.plugins.apps.kit",
    }  # the kit's commands are the program's: plugins new, check
    assert set(points["genzoo"].values()) == plugins - served  # every folder under plugins/ and apps/ is a plugin


def test_the_sdist_holds_what_a_build_needs(built):
    with tarfile.open(built[1]) as archive:
        files = {n.partition("/")[2] for n in archive.getnames()}
    needed = {p.relative_to(ROOT).as_posix() for p in shipped()}
    assert needed | {"pyproject.toml", "README.md", "LICENSE"} <= files
    assert not any(".typing" in n or "__pycache__" in n for n in files)


def test_versions_agree():
    version = PROJECT["project"]["version"]
    # An editable install that is older than pyproject.toml: run make test, or pip install -e . again.
    assert importlib.metadata.version("genzoo") == version
    headings = re.findall(r"^## \[?([\w.]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert version in headings
    required = {re.split(r"[<>=\[ ]", d)[0] for d in PROJECT["project"]["dependencies"]}
    pinned = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(pinned) <= required | {"setuptools"}


def test_every_mutant_has_its_piece():
    done = subprocess.run(
        [sys.executable, ROOT / "tests/bench/mutants.py", "--list"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
