"""What is kept of source files is used while they are the same, and never costs more than time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from genzoo.core.errors import GenzooError
from genzoo.registry import Registrar
from genzoo.registry.discovery import scan, static

LONG_AGO = 1_600_000_000
NETS = """
from genzoo.registry import declare

@declare.critic("{name}", modalities=("image",), summary="{summary}")
class Net:
    pass
"""
RECIPE = """
from genzoo.registry import declare

@declare.objective("keeps", recipe={"generator": "conv", "options": {"train.betas": (0.0, 0.99), "train.lr": 1},
                                    "presets": {"vector": {"latent.size": 2}}})
class Keeps:
    "A loss."
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test's own; returns a function that begins a new process, as far as that goes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GENZOO_ALWAYS_READ", raising=False)

    def forget():
        monkeypatch.setattr(scan, "_known", None)
        monkeypatch.setattr(scan, "_new", {})

    forget()
    return forget


@pytest.fixture
def read(monkeypatch):
    """Paths that are read, not recalled."""
    paths: list[str] = []
    really = scan._file
    monkeypatch.setattr(scan, "_file", lambda path, module: [paths.append(path), *really(path, module)][1:])
    return paths


@pytest.fixture
def package(write):
    """Write a package of old files, and return what a scan of it registers."""

    def scanned(**files):
        folder = write({f"kept_pkg/{n}.py": text for n, text in ({"__init__": ""} | files).items()}) / "kept_pkg"
        wait_until_old(*folder.glob("*.py"))
        return entries()

    return scanned


def wait_until_old(*files):
    """Set modification times back; the change time, which nobody can set, is made old by `tomorrow`."""
    for file in files:
        os.utime(file, (LONG_AGO, LONG_AGO))


@pytest.fixture(autouse=True)
def tomorrow(monkeypatch):
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 86_400)


def entries():
    registrar = Registrar("plug", "dist", "1.0")
    registrar.scan("kept_pkg")
    return registrar.entries


def the_file(tmp_path) -> Path:
    [file] = (tmp_path / "cache" / "genzoo").iterdir()
    return file


def test_nothing_is_read_twice_and_all_comes_back_as_it_was(package, read, cache):
    first = package(nets=NETS.format(name="one", summary="One."), loss=RECIPE)
    assert len(read) == 3
    assert {(e.kind, e.name) for e in first} == {("critic", "one"), ("objective", "keeps"), ("recipe", "keeps")}
    scan.save()
    cache()
    assert entries() == first
    assert len(read) == 3
    [recipe] = [e for e in entries() if e.kind == "recipe"]
    assert recipe.data["options"] == {"train.betas": (0.0, 0.99), "train.lr": 1}
    assert type(recipe.data["options"]["train.lr"]) is int


def test_a_file_that_was_edited_is_read_again(package, read, cache, tmp_path):
    package(nets=NETS.format(name="one", summary="One."))
    scan.save()
    cache()
    del read[:]
    nets = tmp_path / "kept_pkg" / "nets.py"
    nets.write_text(NETS.format(name="two", summary="One."))
    wait_until_old(nets)  # size and modification time are what they were
    assert [e.name for e in entries()] == ["two"]
    assert read == [str(nets)]


def test_options_and_docstrings_are_kept_until_a_base_is_edited(package, cache, monkeypatch, tmp_path):
    base = (
        "from dataclasses import dataclass\nclass Base:\n    @dataclass\n    class Options:\n        width: int = {}\n"
    )
    base += "        betas: tuple[float, float] = (0.0, 0.9)\n"
    package(base=base.format(1), own="from kept_pkg.base import Base\nclass Own(Base):\n    'What it is.'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    find, asked = static.find_class, []
    monkeypatch.setattr(static, "find_class", lambda target: [asked.append(target), find(target)][1])

    def told():
        cache()
        found = [(o.name, o.default) for o in static.options("kept_pkg.own:Own")]
        assert static.docstring("kept_pkg.own:Own") == "What it is."
        scan.save()
        return found

    assert told() == told() == [("width", 1), ("betas", (0.0, 0.9))]
    assert len(asked) == 2  # once for each
    file = next(tmp_path.rglob("kept_pkg/base.py"))
    file.write_text(base.format(20))
    wait_until_old(file)
    assert told()[0] == ("width", 20)
    path = next((tmp_path / "cache").rglob("declared-*.json"))
    path.write_text(path.read_text().replace('"low"', '"lowest"'))
    assert told()[0] == ("width", 20)


def test_an_upgrade_that_replaces_files_is_seen(package, cache, tmp_path):
    package(nets=NETS.format(name="one", summary="One."))
    scan.save()
    cache()
    new = tmp_path / "kept_pkg" / "new"
    new.write_text(NETS.format(name="two", summary="Two."))
    os.replace(new, tmp_path / "kept_pkg" / "nets.py")
    (tmp_path / "kept_pkg" / "more.py").write_text(NETS.format(name="three", summary="Three."))
    assert [e.name for e in entries()] == ["three", "two"]


def test_a_file_that_was_written_just_now_is_not_kept(cache, tmp_path, monkeypatch):
    file = tmp_path / "new.py"
    file.write_text("")
    os.utime(file, (LONG_AGO, LONG_AGO))  # as pip's wheels may say; the change time tells better
    status = os.stat(file)
    for later, kept_now in ((0.05, 0), (3.0, 1)):
        monkeypatch.setattr(time, "time", lambda later=later: status.st_ctime + later)
        scan.remember("declared:a", status, [])
        assert len(scan._new) == kept_now


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"by": 1, "files": {}}',
        b"[" * 100_000,
        b"\xff\xfe",
        "SHAPE",
        "KIND",
        "KEYWORDS",
    ],
)  # fmt: skip
def test_a_damaged_cache_is_as_good_as_none(package, cache, tmp_path, damage):
    first = package(nets=NETS.format(name="one", summary="One."))
    scan.save()
    file = the_file(tmp_path)
    if isinstance(damage, str):
        content = json.loads(file.read_text())
        [key] = [k for k, found in content["files"].items() if found]
        line, kind, keywords = content["files"][key][0]
        odd = {"SHAPE": 7, "KIND": [line, "scan", keywords], "KEYWORDS": [line, kind, ["x"]]}[damage]
        content["files"][key] = [odd]
        damage = json.dumps(content).encode()
    file.write_bytes(damage)
    cache()
    assert entries() == first
    scan.save()
    cache()
    assert entries() == first


def test_another_genzoo_reads_for_itself(package, read, cache, monkeypatch):
    package(nets=NETS.format(name="one", summary="One."))
    scan.save()
    cache()
    monkeypatch.setattr(scan, "_by", lambda: ["another"])
    del read[:]
    entries()
    assert len(read) == 2


def test_what_json_would_change_or_is_wrong_is_read_every_time(package, read, cache):
    wrong = "tags must be a tuple of words, not {'set'}"
    with pytest.raises(GenzooError, match=wrong):
        package(nets='from genzoo.registry import declare\n@declare.critic("one", tags={"set"})\nclass Net: pass\n')
    scan.save()
    cache()
    with pytest.raises(GenzooError, match=wrong):
        entries()
    assert [os.path.basename(p) for p in read].count("nets.py") == 2


@pytest.mark.parametrize("link", ["fifo", "folder", "link"])
def test_what_is_no_plain_file_is_not_opened(package, cache, tmp_path, link):
    first = package(nets=NETS.format(name="one", summary="One."))
    scan.save()
    file = the_file(tmp_path)
    file.unlink()
    {"fifo": lambda: os.mkfifo(file), "folder": file.mkdir, "link": lambda: file.symlink_to("/dev/zero")}[link]()
    cache()
    assert entries() == first
    scan.save()


def test_a_home_that_cannot_be_written_costs_nothing_else(package, cache, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file, where a folder belongs")
    first = package(nets=NETS.format(name="one", summary="One."))
    scan.save()
    cache()
    assert entries() == first
    monkeypatch.setenv("GENZOO_ALWAYS_READ", "1")
    scan.save()


def test_many_processes_at_once(site, tmp_path):
    for letter in "abcd":
        code = "from genzoo.registry import hookimpl\n@hookimpl\ndef genzoo_register(registry):\n"
        code += f"    registry.scan('{letter}_pkg')\n"
        nets = {f"{letter}_pkg/n{i}.py": NETS.format(name=f"{letter}-{i}", summary="One.") for i in range(20)}
        site.install(f"dist-{letter}", {letter: f"{letter}_pkg"}, {f"{letter}_pkg/__init__.py": code} | nets)

    shown = "import genzoo; print(*(e.name for e in genzoo.list('critic') if e.plugin != 'nets'))"

    def listed(_):
        env = {k: v for k, v in os.environ.items() if not k.startswith("GENZOO_")}
        done = subprocess.run(
            [sys.executable, "-c", shown],
            env=env | {"PYTHONPATH": str(site.folder)},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout, done.stderr

    expected = " ".join(sorted(f"{x}-{i}" for x in "abcd" for i in range(20))) + "\n"
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(listed, range(8))) == {(expected, "")}
    assert json.loads(the_file(tmp_path).read_text())["files"]
    assert listed(0) == (expected, "")


def test_the_name_of_a_manifest_is_the_one_of_core():
    from genzoo.core.storage import files
    from genzoo.registry.weights import shelf

    assert shelf.MANIFEST == files.MANIFEST
