"""Throw-away distributions: a package and its dist-info in a folder on the path, no pip needed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class Site:
    """A folder of installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self, files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return self.folder

    def install(self, dist: str, entry_points: dict[str, str], files: dict[str, str], version: str = "1.0") -> None:
        info = f"{dist.replace('-', '_')}-{version}.dist-info"
        points = "\n".join(f"{k} = {v}" for k, v in entry_points.items())
        self.files(files)
        self.files({f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n\nA readme.\n"})
        self.files({f"{info}/entry_points.txt": f"[genzoo]\n{points}\n"})

    def run(self, code: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run code in a fresh process that sees the folder; it must succeed."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("GENZOO_")}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env=clean | {"PYTHONPATH": str(self.folder)} | env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done


@pytest.fixture(scope="session")
def new_site(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Site]:
    return lambda: Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Write a package into a folder on this process's path; forget its modules afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Site(tmp_path).files
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
