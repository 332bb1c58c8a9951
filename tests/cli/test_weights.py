"""pull, cache and lock as commands: what they print, what they leave, how they fail."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

WANTED = ("config.json", "manifest.json", "model.safetensors", "README.md", "samples.png", "training.json")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GENZOO_LOCKED", "")


@pytest.fixture
def published(hub, vae):
    """The weights of a VAE on the fixture's Hub, at v1."""
    return hub.create("zoo/vae", {n: (vae / n).read_bytes() for n in WANTED}, tag="v1")


def test_pull_says_where_and_everything_else_takes_the_name(genzoo, published, vae, tmp_path, images):
    ran = genzoo("pull", "hf:zoo/vae@v1")
    assert ran.code == 0
    folder = Path(ran.out.strip())
    assert (folder / "model.safetensors").read_bytes() == (vae / "model.safetensors").read_bytes()
    commit = published.tags["v1"].oid
    assert f"hf:zoo/vae@v1: zoo/vae at v1 on the Hub (commit {commit[:12]}), 6 files" in ran.err
    assert "every sha256 right" in ran.err
    assert genzoo("pull", "hf:zoo/vae@v1", "-q").err == ""
    about = json.loads(genzoo("pull", "hf:zoo/vae@v1", "--json").out)
    assert (about["commit"], set(about["files"])) == (commit, set(WANTED))
    for name in (vae, "hf:zoo/vae@v1", f"hf:zoo/vae@{commit}"):
        assert genzoo("sample", name, "-n", 5, "--out", "s.npz", "--device", "cpu").code == 0
        samples = np.load("s.npz")["samples"]
        if name == vae:
            expected = samples
        assert (samples == expected).all()
    again = genzoo("reconstruct", "hf:zoo/vae", "--data", images, "--out", "r.png", "--device", "cpu")
    assert again.code == 0, again.err
    start = genzoo("train", "vae", "--data", images, "--out", "more", "--steps", 1, "--init", "hf:zoo/vae@v1", "-q",
                   *narrow())  # fmt: skip
    assert (start.code, start.err) == (0, "")


def narrow():
    parts = {"generator": "mlp", "encoder": "mlp"}
    named = [a for k, v in parts.items() for a in (f"--{k}", v)]
    sizes = ("generator.width=8", "encoder.width=8", "latent.size=3", "train.batch_size=8", "train.validation=0")
    return [*named, *(a for s in sizes for a in ("--set", s)), "--device", "cpu"]


def test_pull_out(genzoo, published, tmp_path):
    ran = genzoo("pull", "hf:zoo/vae", "--out", "mine", "-q")
    assert (ran.code, ran.out.strip()) == (0, "mine")
    assert {p.name for p in Path("mine").iterdir()} == set(WANTED)
    genzoo("pull", "hf:zoo/vae", "--out", "mine").sentence("mine exists already", code=2)
    genzoo("pull", "hf:zoo/vae", "mine", "--out", "x").sentence("pull one at a time", code=2)
    assert genzoo("sample", "mine", "-n", 2, "--out", "s.png", "--device", "cpu").code == 0


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        ("hf:zoo/nothing", "there is no model zoo/nothing on", 1),
        ("hf:zoo/vae@v7", "has no revision 'v7'", 1),
        ("hf:nothing", "a model on the Hub is written hf:org/name", 2),
        ("./gone", "there is no weights folder './gone'", 1),
        ("zoo/vae", "a model on the Hub would be 'hf:zoo/vae'", 2),
        ("", "an empty path was given", 2),
    ],
)
def test_pull_fails_in_one_sentence(genzoo, published, hub, name, words, code):
    genzoo("pull", name).sentence(words, code=code)
    genzoo("sample", name, "--out", "x.png").sentence(words, code=code)
    if "hf:zoo" not in name:
        assert hub.requests == []  # what looks like a path is never looked up


def test_an_endpoint(genzoo, published, hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert genzoo("pull", "hf:zoo/vae", "--endpoint", hub.url, "-q").code == 0
    genzoo("pull", "hf:zoo/vae", "--endpoint", "hub").sentence("the Hub's endpoint must be a URL", code=2)
    said = genzoo("sample", "hf:zoo/vae", "--out", "s.png", "--device", "cpu")
    assert said.code == 0
    assert "http://127.0.0.1:9 is out of reach" in said.err
    assert "using the copy of hf:zoo/vae that was pulled on" in said.err


def test_the_cache(genzoo, published, hub, vae, tmp_path):
    empty = genzoo("cache", "ls")
    assert (empty.code, empty.out, empty.err) == (0, "", "nothing was pulled yet\n")
    assert genzoo("cache", "verify").code == 0
    genzoo("pull", "hf:zoo/vae@v1", "-q")
    published.tags["v2"] = published.add({"README.md": b"# other"})
    genzoo("pull", "hf:zoo/vae@v2", "-q")
    strangers = Path(os.environ["HF_HUB_CACHE"]) / "models--org--bert" / "snapshots" / ("b" * 40)
    strangers.mkdir(parents=True)
    (strangers / "config.json").write_text('{"model_type": "bert"}')
    (strangers / "model.safetensors").write_bytes(b"x")
    copies = json.loads(genzoo("cache", "ls", "--json").out)
    assert {(c["name"], *c["revisions"]) for c in copies} == {("hf:zoo/vae", "v1"), ("hf:zoo/vae", "v2")}
    v1 = next(c for c in copies if c["revisions"] == ["v1"])
    assert v1["bytes"] == sum((vae / n).stat().st_size for n in WANTED)
    lines = genzoo("cache", "ls").out.splitlines()
    assert lines[0].split() == ["name", "revisions", "commit", "size", "last", "use"]
    assert len(lines) == 3
    assert [r["error"] for r in json.loads(genzoo("cache", "verify", "--json").out)] == [None, None]
    tensors = Path(v1["folder"]) / "model.safetensors"
    real = tensors.resolve()
    stat, data = real.stat(), bytearray(real.read_bytes())
    data[-1] ^= 1
    real.write_bytes(data)
    os.utime(real, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    bad = genzoo("cache", "verify", "hf:zoo/vae@v1")
    assert bad.code == 1
    assert "model.safetensors is damaged" in bad.out
    assert genzoo("pull", "hf:zoo/vae@v1", "-q").code == 0
    assert genzoo("cache", "verify").code == 0
    genzoo("cache", "rm").sentence("say which copies to remove, or --all", code=2)
    genzoo("cache", "rm", "hf:zoo/va", "--yes").sentence("no copy of 'hf:zoo/va' (did you mean 'hf:zoo/vae'?)", code=2)
    asked = genzoo("cache", "rm", "hf:zoo/vae@v1")
    assert asked.code == 2
    assert "nothing was removed: say --yes" in asked.err
    assert genzoo("cache", "rm", "hf:zoo/vae@v1", "--yes").code == 0
    (left,) = json.loads(genzoo("cache", "ls", "--json").out)
    assert left["revisions"] == ["v2"]
    assert genzoo("cache", "verify").code == 0  # what both need is still there
    assert genzoo("cache", "rm", "--all", "--yes").code == 0
    assert genzoo("cache", "ls").out == ""
    assert (strangers / "model.safetensors").exists()
    assert not (strangers.parents[2] / "models--zoo--vae").exists()


def test_a_download_that_was_not_finished(genzoo, published, hub, monkeypatch):
    from genzoo.registry.weights import client

    monkeypatch.setattr(client, "TRIES", 1)
    hub.cut(r"/resolve/.*model\.safetensors", after=500)
    genzoo("pull", "hf:zoo/vae@v1").sentence("is out of reach")
    (copy,) = json.loads(genzoo("cache", "ls", "--json").out)
    assert (copy["name"], copy["commit"]) == ("hf:zoo/vae", "")
    assert "not finished" in genzoo("cache", "ls").out
    assert genzoo("cache", "rm", "hf:zoo/vae", "--yes").code == 0
    assert genzoo("cache", "ls").out == ""
    assert genzoo("pull", "hf:zoo/vae@v1", "-q").code == 0


def test_lock_and_locked(genzoo, published, vae, tmp_path, monkeypatch):
    ran = genzoo("lock", "hf:zoo/vae@v1", vae)
    assert ran.code == 0
    assert [line.split()[-1] for line in ran.out.splitlines()] == ["new", "new"]
    assert f'commit = "{published.tags["v1"].oid}"' in Path("genzoo.lock").read_text()
    published.tags["v1"] = published.add({"model.safetensors": b"moved"})  # by somebody who may
    out = ("-n", 2, "--out", "s.png", "--device", "cpu")
    assert genzoo("--locked", "sample", "hf:zoo/vae@v1", *out).code == 0
    assert genzoo("sample", "hf:zoo/vae@v1", *out, "--locked").code == 0
    assert genzoo("sample", vae, *out, "--locked=genzoo.lock").code == 0
    genzoo("sample", "hf:zoo/vae", *out, "--locked").sentence("'hf:zoo/vae' is not in genzoo.lock", code=1)
    genzoo("pull", "hf:zoo/vae", "--locked").sentence("is not in genzoo.lock")
    genzoo("sample", vae, *out, "--locked=other.lock").sentence("there is no lock file other.lock", code=2)
    monkeypatch.setenv("GENZOO_LOCKED", "1")
    genzoo("sample", "hf:zoo/vae", *out).sentence("is not in genzoo.lock")
    monkeypatch.setenv("GENZOO_LOCKED", "0")
    genzoo("lock", "--file", "other.lock", "hf:zoo/gone").sentence("there is no model zoo/gone")
    assert not Path("other.lock").exists()
    states = json.loads(genzoo("lock", str(vae), "--json").out)
    assert states == {"file": "genzoo.lock", "weights": {str(vae): "same"}}
