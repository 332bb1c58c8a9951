"""The lock file: readable, exact, and kept to."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

import pytest

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.registry.weights import resolve
from genzoo.registry.weights.locate import Lock, Pin, used_in

DIGEST = "0" * 64
ONE, TENSORS = "format = 1\n[weights.x]\n", f'files."model.safetensors" = "{DIGEST}"\n'
FILES = {"config.json": DIGEST, "model.safetensors": "1" * 64}


def put(folder: Path, tensors: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    files = {"config.json": b"{}", "model.safetensors": tensors}
    listed = {n: {"size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in files.items()}
    for name, content in (files | {"manifest.json": json.dumps({"format": 1, "files": listed}).encode()}).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GENZOO_LOCKED", "")


def test_round_trip(tmp_path):
    names = ["hf:org/name@v1", "vae/faces", './a "quoted" \\ path', "päth"]
    pins = {n: Pin(FILES, "a" * 40 if n.startswith("hf") else "", 3 * (n == "vae/faces"), "plugin 'x'") for n in names}
    Lock(tmp_path / "genzoo.lock", pins).write()
    assert Lock.read(tmp_path / "genzoo.lock").pins == pins
    before = (tmp_path / "genzoo.lock").read_bytes()
    Lock(tmp_path / "genzoo.lock", dict(reversed(pins.items()))).write()
    assert (tmp_path / "genzoo.lock").read_bytes() == before
    raw = tomllib.loads(before.decode())
    assert raw["weights"]["vae/faces"]["version"] == 3
    assert list(raw["weights"]) == sorted(names)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no lock file"),
        ("", "has no format number"),
        ("format = 0", "has no format number"),
        ("format = 9", "has format 9, and this genzoo reads up to 1: upgrade it"),
        ("format = 1\nother = 2", "says 'other'"),
        ("format = 1\nweights = 3", "its weights are no table"),
        ("format = 1\n[weights.x]", "'x' lacks 'files'"),
        (f'{ONE}files."config.json" = "x"\n{TENSORS}', "config.json takes a sha256 of 64 hexadecimal digits"),
        (f'{ONE}files."config.json" = "{DIGEST}"\n{TENSORS}files."a.pkl" = "{DIGEST}"', "files says 'a.pkl'"),
        (f'{ONE}files."config.json" = "{DIGEST}"', "files lacks 'model.safetensors'"),
        (f'{ONE}commit = 1\nfiles."config.json" = "{DIGEST}"\n{TENSORS}', "'x': commit must be text"),
        ("format = 1\n[weights.x]\nodd = 1\nfiles = {}", "says 'odd'"),
    ],
)
def test_files_that_are_none(tmp_path, text, words):
    (tmp_path / "genzoo.lock").write_text(text)
    with pytest.raises(UsageError) as caught:
        Lock.read(tmp_path / "genzoo.lock")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_is_kept_to(tmp_path, monkeypatch):
    put(tmp_path / "run", b"one")
    put(tmp_path / "other", b"two")
    assert genzoo.lock(["./run"]) == {"./run": "new"}
    assert genzoo.lock() == {"./run": "same"}
    monkeypatch.setenv("GENZOO_LOCKED", "1")
    assert resolve("./run").folder == Path("run")
    for name in ("./other", "run", str(tmp_path / "run"), "hf:org/name", "vae/faces"):
        with pytest.raises(GenzooError, match=r"is not in genzoo.lock, and nothing else may be used") as caught:
            resolve(name)
        assert f"pin it with 'genzoo lock {name}'" in str(caught.value)
    put(tmp_path / "run", b"changed")
    with pytest.raises(GenzooError, match=r"is not what is pinned: .* 'genzoo lock ./run' renews the pin"):
        resolve("./run")
    assert genzoo.lock() == {"./run": "changed"}  # it looks at what is there, whatever is locked
    assert resolve("./run").files
    monkeypatch.setenv("GENZOO_LOCKED", str(tmp_path / "gone.lock"))
    with pytest.raises(UsageError, match=r"there is no lock file .*gone.lock: 'genzoo lock NAME …' writes it"):
        resolve("./run")


def test_a_damaged_folder_is_not_what_is_pinned(tmp_path, monkeypatch):
    put(tmp_path / "run", b"one")
    genzoo.lock(["./run"])
    (tmp_path / "run" / "model.safetensors").write_bytes(b"two")
    monkeypatch.setenv("GENZOO_LOCKED", "genzoo.lock")
    with pytest.raises(GenzooError, match=r"model.safetensors is damaged"):
        genzoo.load("./run")


def test_the_hub_is_kept_to_its_commit(hub, tmp_path, monkeypatch):
    def files(tensors):
        return {p.name: p.read_bytes() for p in put(tmp_path / "made", tensors).iterdir()}

    repo = hub.create("zoo/gan", files(b"one"))
    assert genzoo.lock(["hf:zoo/gan"]) == {"hf:zoo/gan": "new"}
    first = repo.branches["main"].oid
    repo.add(files(b"two"))
    assert resolve("hf:zoo/gan").commit == repo.branches["main"].oid
    monkeypatch.setenv("GENZOO_LOCKED", "1")
    asked = len(hub.requests)
    assert resolve("hf:zoo/gan").commit == first
    assert len(hub.requests) == asked
    assert (resolve("hf:zoo/gan").folder / "model.safetensors").read_bytes() == b"one"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))  # a fresh machine
    assert (resolve("hf:zoo/gan").folder / "model.safetensors").read_bytes() == b"one"
    lock = Lock.read(Path("genzoo.lock"))
    lock.pins["hf:zoo/gan"].files["model.safetensors"] = DIGEST
    lock.write()
    with pytest.raises(GenzooError, match=r"refused.*not what is pinned: sha256 7692c3ad3540…, not 000000000000…"):
        resolve("hf:zoo/gan")


def test_nothing_is_written_where_one_cannot_be_had(hub, tmp_path):
    put(tmp_path / "run", b"one")
    genzoo.lock(["./run"])
    before = Path("genzoo.lock").read_bytes()
    with pytest.raises(GenzooError):
        genzoo.lock(["./run", "hf:zoo/nothing"])
    with pytest.raises(UsageError):
        genzoo.lock(["nonsense"])
    assert Path("genzoo.lock").read_bytes() == before


def test_what_a_project_uses(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text(
        'genzoo.load("hf:org/name@v1.0")\nx = load("vae/faces@2")\nurl = "https://vae/faces"\nimport a/vae/faces\n'
    )
    (tmp_path / "run.sh").write_text("genzoo sample gan/cars --out x.png\ngenzoo sample no/model\n")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "b.py").write_text('"gan/hidden"')
    (tmp_path / "big.json").write_bytes(b'"gan/big"' + b" " * 2**20)
    names = ["vae/faces", "gan/cars", "gan/hidden", "gan/big"]
    assert used_in(tmp_path, names) == ["gan/cars", "hf:org/name@v1.0", "vae/faces@2"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="there is nothing to pin"):
        genzoo.lock(file=empty / "genzoo.lock")
