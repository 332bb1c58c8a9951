"""What a name of weights means, the versions that packages ship, and stores that plugins bring. No network at all."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest

from genzoo.core.errors import GenzooError, UsageError
from genzoo.registry import Registrar, Registry, hookimpl
from genzoo.registry.weights import Listing, Remote, Store, resolve
from genzoo.registry.weights.bundled import about_weights
from genzoo.registry.weights.locate import parse

DIGEST = "0" * 64
COMMIT = "a" * 40


def weights(seed=0, **more):
    files = {
        "config.json": json.dumps({"format": 1, "recipe": "vae", "data": {"name": "ring8"}, "seed": seed}).encode(),
        "training.json": b'{"metrics": {"elbo": 1.5}}',
        "README.md": b"---\nlicense: mit\n---\n# A card\n",
        "model.safetensors": random.Random(seed).randbytes(1000),
    } | more
    listed = {n: {"size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in sorted(files.items())}
    return files | {"manifest.json": json.dumps({"format": 1, "files": listed}).encode()}


def sha(content):
    return hashlib.sha256(content).hexdigest()


def put(folder: Path, files) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


class Plugin:
    def __init__(self, register):
        self.register = register

    @hookimpl
    def genzoo_register(self, registry):
        self.register(registry)


def registry_with(register, name="plug", distribution="dist"):
    registry = Registry()
    record = registry.add(Plugin(register), name, distribution, "1.0")
    return registry, record


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GENZOO_LOCKED", "")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens, and nobody should be asked
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package on the path that ships two versions of one model and one of another."""
    root = tmp_path / "site" / "zoo_pkg"
    put(root / "weights" / "vae" / "faces", weights(1))
    put(root / "weights" / "vae" / "faces@2", weights(2))
    put(root / "weights" / "gan-faces", weights(3))
    (root / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(root.parent))
    return root


def shelf(r):
    r.weights_folder("zoo_pkg:weights")


def test_what_names_mean(package):
    registry, record = registry_with(shelf)
    assert record.error is None
    Path("runs").mkdir()
    Path("vae").mkdir()
    kinds = {
        "hf:org/name": ("hf", "org/name", ""),
        "hf:org/name@v1": ("hf", "org/name", "v1"),
        "runs": ("folder", "runs", ""),
        "./runs": ("folder", "./runs", ""),
        "./gone": ("folder", "./gone", ""),
        "/gone": ("folder", "/gone", ""),
        "~/gone": ("folder", "~/gone", ""),
        "a/b/c": ("folder", "a/b/c", ""),
        "dir:gan-faces": ("folder", "gan-faces", ""),
        "dir:hf:x": ("folder", "hf:x", ""),
        "gan-faces": ("zoo", "gan-faces", ""),
        "vae/faces": ("zoo", "vae/faces", ""),
        "vae/faces@1": ("zoo", "vae/faces", "1"),
        "plug:vae/faces@2": ("zoo", "plug:vae/faces", "2"),
    }
    assert {n: (r.kind, r.name, r.revision) for n in kinds if (r := parse(n, registry))} == kinds
    assert parse(Path("gan-faces"), registry).kind == "folder"
    put(Path("gan-faces"), weights())
    assert parse("gan-faces", registry).kind == "folder"  # one that is there comes first
    for name in ("", "org/name", "gan", "vae/face", "hf://org/name", "a b"):
        with pytest.raises(UsageError):
            parse(name, registry)


def test_an_unknown_name(package):
    registry, _ = registry_with(shelf)
    Path("vae-run").mkdir()

    def said(name):
        with pytest.raises(GenzooError) as caught:
            resolve(name, registry=registry)
        return str(caught.value)

    assert "called 'vae/face' (did you mean 'vae/faces'" in said("vae/face")
    assert "(that is a recipe; did you mean 'vae/faces'?)" in said("vae")
    assert "(did you mean 'vae-run'?)" in said("vae-ru")
    assert "a model on the Hub would be 'hf:org/name'" in said("org/name")
    assert said("./vae-ru") == "there is no weights folder './vae-ru' (did you mean 'vae-run'?)"
    assert "weights 'vae/faces' have no version '3': plugin 'plug' (dist 1.0) has 1, 2" in said("vae/faces@3")
    assert "no version 'x'" in said("vae/faces@x")
    assert "no plugin 'other'" in said("other:vae/faces")

    def broken(r):
        raise RuntimeError("half")

    registry.add(Plugin(broken), "bad", "bad-dist", "2.0")
    assert "it may be one of plugin 'bad' (bad-dist 2.0), which failed (RuntimeError: half)" in said("vae/other")


def test_versions_that_ship(package):
    registry, _ = registry_with(shelf)
    newest = resolve("vae/faces", registry=registry)
    assert (newest.name, newest.version, newest.origin) == ("vae/faces@2", 2, "dist 1.0")
    assert newest.folder == package / "weights" / "vae" / "faces@2"
    first = resolve("vae/faces@1", registry=registry)
    assert {n: (first.folder / n).read_bytes() for n in first.files} == weights(1)
    (entry,) = (e for e in registry.entries("weights") if e.name == "vae/faces")
    assert entry.summary == "vae trained on faces"
    about = about_weights(entry, 1)
    assert {k: about[k] for k in ("recipe", "data", "license", "metrics", "version")} == {
        "recipe": "vae", "data": "ring8", "license": "mit", "metrics": {"elbo": 1.5}, "version": 1,
    }  # fmt: skip
    assert about["bytes"] == sum(map(len, weights(1).values()))
    assert about["files"]["model.safetensors"] == sha(weights(1)["model.safetensors"])
    assert registry.check_targets() == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_a_copy_in_a_package_that_is_damaged(package, name):
    registry, _ = registry_with(shelf)
    path = package / "weights" / "gan-faces" / name
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    with pytest.raises(GenzooError, match=r"the weights gan-faces@1 of plugin 'plug' .* cannot be used"):
        resolve("gan-faces", registry=registry)


def test_a_copy_in_a_package_that_was_exchanged(package):
    """Other files with a manifest that fits them are still not what was registered."""
    files = weights(1)
    digests = {n: sha(files[n]) for n in ("config.json", "model.safetensors")}
    registry, record = registry_with(lambda r: r.weights("vae/faces", "zoo_pkg:weights/vae/faces@2", files=digests))
    assert record.error is None
    with pytest.raises(GenzooError, match="is not what is pinned"):
        resolve("vae/faces", registry=registry)


def test_an_index_says_more(package):
    said = {
        "vae/faces": {"summary": "faces, small", "tags": ["faces"], "license": "cc0-1.0"},
        "vae/faces@2": {"hub": "org/faces", "commit": COMMIT, "summary": "faces, large", "metrics": {"fid": 7.5}},
    }
    (package / "weights" / "index.json").write_text(json.dumps(said))
    registry, record = registry_with(shelf)
    assert record.error is None
    entry = registry.get("weights", "vae/faces")
    assert (entry.summary, entry.tags) == ("faces, large", ())
    assert about_weights(entry, 1)["license"] == "cc0-1.0"
    assert about_weights(entry, 2)["commit"] == COMMIT
    assert about_weights(entry, 2)["metrics"] == {"fid": 7.5}


def test_a_shelf_with_something_odd_costs_only_that(package):
    put(package / "weights" / "broken", weights() | {"manifest.json": b"{"})
    put(package / "weights" / "vae" / "faces@new", weights())
    (package / "weights" / "empty").mkdir()
    registry, record = registry_with(shelf)
    assert {e.name for e in registry.entries("weights")} == {"vae/faces", "gan-faces"}
    assert "and 1 more" in record.error
    assert (
        registry_with(lambda r: r.weights_folder("zoo_pkg:gone"))[1].error == "there is no folder 'gone' beside zoo_pkg"
    )
    assert "no module 'gone'" in registry_with(lambda r: r.weights_folder("gone:weights"))[1].error


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({}, "are nowhere: give a folder beside a module, or hub='org/name'"),
        ({"hub": "org/name"}, "are not pinned"),
        ({"hub": "org/name", "files": {"config.json": DIGEST}}, "are not pinned"),
        ({"hub": "name", "commit": COMMIT}, "hub must be text of the form 'org/name'"),
        ({"hub": "org/name", "commit": "v1"}, "commit must be the 40 hexadecimal digits"),
        ({"hub": "org/name", "files": {"config.json": "x"}}, "files must be a dict of names and their sha256"),
        ({"target": "a:b", "version": 0}, "version must be a whole number from 1 on, not 0"),
        ({"target": "a:b", "version": "1"}, "version must be a whole number from 1 on, not '1'"),
        ({"target": "a:../b"}, "not of the form 'package.module:folder'"),
        ({"target": "a:b", "license": 3}, "license must be text of at most 1000"),
        ({"target": "a:b", "metrics": 3}, "metrics must be a dict of names and numbers"),
    ],
)
def test_weights_that_cannot_be_registered(keywords, sentence):
    with pytest.raises(GenzooError, match="weights 'x'") as caught:
        Registrar("plug").weights("x", **keywords)
    assert sentence in str(caught.value)


def test_versions_merge_in_any_order():
    registrar = Registrar("plug")
    registrar.weights("x", "a:two", version=2, summary="two")
    registrar.weights("x", hub="org/name", commit=COMMIT, version=1, summary="one")
    (entry,) = registrar.entries
    assert (entry.target, entry.summary, entry.data["default"]) == ("a:two", "two", 2)
    assert list(entry.data["versions"]) == ["1", "2"]
    with pytest.raises(GenzooError, match="version 1 of weights 'x' is registered twice"):
        registrar.weights("x", "a:b")
    assert registrar.entries == (entry,)
    registrar.weights("x", "a:three", version=3, summary="three")
    assert registrar.entries[0].summary == "three"


def test_weights_on_the_hub_alone(tmp_path):
    registry, _ = registry_with(lambda r: r.weights("x", hub="org/name", commit=COMMIT))
    assert registry.check_targets() == []
    with pytest.raises(GenzooError, match=r"http://127.0.0.1:9 is out of reach .* is not in the cache"):
        resolve("x", registry=registry)


def test_no_plugin_may_take_the_hub_over():
    for name in ("hf", "dir"):
        with pytest.raises(GenzooError, match="the name is genzoo's own"):
            Registrar("plug", "dist").store(name, "a:B")


class Memory(Store):
    """A store as a plugin would write it, that can go wrong."""

    files = weights(5)
    wrong: list[str] = []  # noqa: RUF012  # names whose content is wrong the next time
    reads = 0

    def listing(self, name, revision):
        if name != "faces":
            raise GenzooError(f"mem has no {name!r}")
        return Listing(revision or "../v9", {n: Remote(len(b), sha(b)) for n, b in self.files.items()})

    def read(self, name, commit, file):
        type(self).reads += 1
        content = self.files[file]
        if file in self.wrong:
            self.wrong.remove(file)
            content = b"?" + content[1:]
        yield content[:10]
        yield content[10:]


@pytest.fixture
def memory(monkeypatch):
    registry, record = registry_with(lambda r: r.store("mem", f"{__name__}:Memory"))
    assert record.error is None
    monkeypatch.setattr(Registry, "load", lambda self, entry, expected=None: Memory)
    monkeypatch.setattr(Memory, "files", dict(weights(5)))
    monkeypatch.setattr(Memory, "reads", 0)
    monkeypatch.setattr(Memory, "wrong", [])
    return registry


def test_a_store_of_a_plugin(memory, tmp_path):
    found = resolve("mem:faces", registry=memory)
    assert {n: (found.folder / n).read_bytes() for n in found.files} == weights(5)
    assert found.commit == "../v9"
    assert tmp_path / "cache" / "genzoo" / "stores" / "mem" in found.folder.parents
    assert resolve("mem:faces@../v9", registry=memory).folder == found.folder
    assert Memory.reads == 5  # once for each file
    with pytest.raises(GenzooError, match="mem has no 'other'"):
        resolve("mem:other", registry=memory)


def test_a_store_that_hands_out_something_wrong(memory, tmp_path):
    Memory.wrong.append("model.safetensors")
    assert resolve("mem:faces", registry=memory).files  # got twice
    Memory.wrong += ["config.json"] * 2
    with pytest.raises(GenzooError, match=r"mem:faces is refused: its config.json was fetched twice"):
        resolve("mem:faces@2", registry=memory)
    cache = tmp_path / "cache" / "genzoo" / "stores" / "mem" / "faces"
    assert [p.name for p in cache.iterdir()] == ["%2E%2E%2Fv9"]


def test_a_copy_of_a_stores_that_was_damaged_is_got_again(memory):
    found = resolve("mem:faces", registry=memory)
    (found.folder / "model.safetensors").write_bytes(b"x")
    assert resolve("mem:faces", registry=memory).files == found.files


def test_a_store_that_sends_without_end(memory, monkeypatch):
    def endless(self, name, commit, file):
        while True:
            yield b"x" * 1000

    monkeypatch.setattr(Memory, "read", endless)
    with pytest.raises(GenzooError, match="is refused"):
        resolve("mem:faces", registry=memory)


def test_a_store_without_a_model(memory):
    del Memory.files["model.safetensors"]
    Memory.files["pytorch_model.bin"] = b""
    with pytest.raises(GenzooError, match=r"mem:faces holds no genzoo weights: it has no model.safetensors \(pytorch"):
        resolve("mem:faces", registry=memory)
