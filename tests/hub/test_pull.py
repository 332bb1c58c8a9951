"""Pulling from a Hub that is well, and from one that is not: the right files, or one sentence and nothing left."""

from __future__ import annotations

import hashlib
import json
import os
import random
import types
from pathlib import Path

import pytest
from huggingface_hub import close_session

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.registry.weights import base, client, resolve

MODEL = r"/resolve/.*model\.safetensors"


def weights(seed=0, size=300_000, **more):
    """What a weights folder may be on the Hub, for code that looks at names and hashes only."""
    files = {
        "config.json": json.dumps({"format": 1, "recipe": "vae", "latent": {}, "seed": seed}).encode(),
        "training.json": b'{"metrics": {}}',
        "README.md": b"---\nlicense: mit\n---\n# A card\n",
        "samples.png": random.Random(seed + 1).randbytes(3000),
        "model.safetensors": random.Random(seed).randbytes(size),
    } | more
    listed = {n: {"size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in sorted(files.items())}
    return files | {"manifest.json": json.dumps({"format": 1, "files": listed}).encode()}


@pytest.fixture(autouse=True)
def _hurried(monkeypatch, tmp_path):
    hurried = types.SimpleNamespace(**{**vars(client.time), "sleep": lambda seconds: None})
    monkeypatch.setattr(client, "time", hurried)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "huggingface" / "hub"


@pytest.fixture
def said():
    return []


@pytest.fixture
def get(said):
    return lambda name, **more: resolve(name, say=said.append, **more)


def content(found):
    return {n: (found.folder / n).read_bytes() for n in found.files}


def leftovers(cache: Path) -> list[str]:
    """Files that are neither content, links to it, refs nor locks."""
    odd = [p for p in cache.rglob("*") if p.is_file() and ".locks" not in p.parts and p.parent.name != "refs"]
    return [p.name for p in odd if not p.is_symlink() and len(p.name) not in (40, 64)]


def sentence(name, *parts, **more):
    with pytest.raises(GenzooError) as caught:
        resolve(name, say=None, **more)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500
    for part in parts:
        assert part in text, f"{part!r} is not in {text!r}"
    return text


def test_a_tag_and_then_its_commit(hub, get, said, cache):
    files = weights()
    repo = hub.create("zoo/gan", files, tag="v1")
    found = get("hf:zoo/gan@v1")
    assert content(found) == files
    assert found.commit == repo.tags["v1"].oid
    assert found.folder == cache / "models--zoo--gan" / "snapshots" / found.commit
    assert found.within == cache / "models--zoo--gan" / "blobs"
    assert found.size == sum(map(len, files.values()))
    assert found.origin == f"zoo/gan at v1 on the Hub (commit {found.commit[:12]})"
    asked = len(hub.requests)
    assert get(f"hf:zoo/gan@{found.commit}").folder == found.folder
    assert len(hub.requests) == asked  # a commit that is here is never asked for
    assert get("hf:zoo/gan@v1").folder == found.folder
    assert len(hub.requests) == asked + 1  # what the tag is now, and nothing else
    assert said == []
    assert leftovers(cache) == []


def test_other_tools_of_the_client_read_the_cache(hub, get, cache):
    from huggingface_hub import hf_hub_download, scan_cache_dir

    repo = hub.create("zoo/gan", weights(), tag="v1")
    found = get("hf:zoo/gan@v1")
    (scanned,) = scan_cache_dir(cache).repos
    assert scanned.repo_id == "zoo/gan"
    (revision,) = scanned.revisions
    assert revision.commit_hash == found.commit
    assert revision.refs == {"v1"}
    asked = hub.count("GET", "/resolve/")
    path = hf_hub_download("zoo/gan", "model.safetensors", revision="v1", endpoint=hub.url, cache_dir=cache)
    assert Path(path) == found.folder / "model.safetensors"
    assert hub.count("GET", "/resolve/") == asked
    assert repo.tags["v1"].oid == found.commit


def test_what_the_client_downloaded_is_used(hub, get, cache):
    from huggingface_hub import snapshot_download

    files = weights()
    hub.create("zoo/gan", files, tag="v1")
    snapshot_download("zoo/gan", revision="v1", endpoint=hub.url, cache_dir=cache)
    asked = hub.count("GET", "/resolve/")
    assert content(get("hf:zoo/gan@v1")) == files
    assert hub.count("GET", "/resolve/") == asked


def test_two_versions_side_by_side(hub, get, cache):
    old, new = weights(1), weights(1, **{"model.safetensors": b"x" * 5000})
    repo = hub.create("zoo/gan", old, tag="v1")
    first = get("hf:zoo/gan@v1")
    repo.tags["v2"] = repo.add(new)
    asked = hub.count("GET", "/resolve/")
    second = get("hf:zoo/gan")
    assert content(second) == new
    assert hub.count("GET", "/resolve/") == asked + 2  # the tensors and the manifest: the rest is here
    assert content(get("hf:zoo/gan@v1")) == old
    assert first.folder != second.folder


def test_only_known_files_are_taken(hub, get):
    files = weights()
    odd = {
        "pytorch_model.bin": b"\x80\x04.",
        "a.pt": b"x",
        "code.py": b"import os",
        "log.jsonl": b"{}",
        "x/config.json": b"",
    }
    hub.create("zoo/gan", files | odd, tag="v1")
    assert set(get("hf:zoo/gan@v1").files) == set(files)
    assert not any(name in path for _, path, _ in hub.requests for name in odd)


def test_a_server_that_does_not_tell_what_its_files_are(hub, monkeypatch):
    from hub_repositories import Repository  # of the fixture

    hub.create("zoo/gan", weights(), tag="v1")
    real = Repository.info
    monkeypatch.setattr(Repository, "info", lambda self, revision, **_: real(self, revision, blobs=False))
    sentence("hf:zoo/gan@v1", "does not say what the files of zoo/gan are: it is no Hub")


@pytest.mark.parametrize("name", ["../../../evil", "/tmp/evil", 7])
def test_a_server_that_names_content_by_a_path(hub, monkeypatch, cache, name):
    from hub_repositories import Repository  # of the fixture

    hub.create("zoo/gan", weights(), tag="v1")
    real = Repository.info

    def info(self, revision, **how):
        said = real(self, revision, **how)
        return said | {"siblings": [s | {"blobId": name} for s in said["siblings"]]}

    monkeypatch.setattr(Repository, "info", info)
    sentence("hf:zoo/gan@v1", "does not say what the files of zoo/gan are: it is no Hub")
    assert hub.count("GET", "/resolve/") == 0
    assert not cache.exists()


def test_a_name_of_the_zoo_on_the_hub(hub, get, said):
    from genzoo.registry import Registry, hookimpl

    files = weights()
    repo = hub.create("zoo/gan", files, tag="v1")
    pins = {n: hashlib.sha256(files[n]).hexdigest() for n in ("config.json", "model.safetensors")}

    class Plugin:
        @hookimpl
        def genzoo_register(self, registry):
            registry.weights("vae/faces", hub="zoo/gan", files=pins)
            registry.weights("vae/faces", hub="zoo/gan", commit=repo.tags["v1"].oid, files=pins, version=2)
            registry.weights("vae/wrong", hub="zoo/gan", files=pins | {"config.json": "0" * 64})

    registry = Registry()
    assert registry.add(Plugin(), "plug", "dist", "1.0").error is None
    found = get("vae/faces@1", registry=registry)  # at the tag of its version
    assert (found.version, content(found)) == (1, files)
    asked = len(hub.requests)
    assert get("vae/faces", registry=registry).folder == found.folder
    assert len(hub.requests) == asked
    sentence("vae/wrong", "is refused", "not what is pinned", registry=registry)
    repo.tags["v1"] = repo.add({"model.safetensors": b"x"})
    sentence("vae/faces@1", "is refused", registry=registry)
    assert content(get("vae/faces", registry=registry)) == files


def test_a_model_of_another_kind(hub, cache):
    hub.create("org/bert", {"config.json": b"{}", "pytorch_model.bin": b"\x80\x04."})
    sentence("hf:org/bert", "hf:org/bert holds no genzoo weights: it has no model.safetensors", "pytorch_model.bin")
    assert hub.count("GET", "/resolve/") == 0


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "README.md", "manifest.json", "samples.png"])
def test_a_flipped_byte_is_mended_once(hub, get, said, cache, name):
    files = weights()
    hub.create("zoo/gan", files, tag="v1")
    hub.flip(f"/resolve/.*{name}", at=20)
    assert content(get("hf:zoo/gan@v1")) == files
    assert len(said) <= 1
    assert leftovers(cache) == []


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_a_byte_that_is_always_flipped_is_refused(hub, get, cache, name):
    files = weights()
    hub.create("zoo/gan", files, tag="v1")
    hub.flip(f"/resolve/.*{name}", at=20, times=None)
    sentence("hf:zoo/gan@v1", "hf:zoo/gan@v1 is refused", "fetched twice")
    assert not (cache / "models--zoo--gan" / "snapshots" / hub.repositories["zoo/gan"].tags["v1"].oid / name).exists()
    assert leftovers(cache) == []
    hub.well()
    assert content(get("hf:zoo/gan@v1")) == files


def test_a_cut_connection_goes_on_where_it_was(hub, get, cache):
    files = weights()
    hub.create("zoo/gan", files, tag="v1")
    hub.cut(MODEL, after=100_000, times=2)
    assert content(get("hf:zoo/gan@v1")) == files
    asked = [int(h["range"][6:-1]) for _, p, h in _lower(hub) if p.endswith("model.safetensors") and "range" in h]
    assert len(asked) == 2
    assert 0 < asked[0] < asked[1] <= 200_000


def _lower(hub):
    return [(m, p, {k.lower(): v for k, v in h.items()}) for m, p, h in hub.requests]


def test_what_came_before_a_failure_is_kept(hub, get, cache, monkeypatch):
    files = weights()
    hub.create("zoo/gan", files, tag="v1")
    hub.cut(MODEL, after=150_000)
    with monkeypatch.context() as patience:
        patience.setattr(client, "TRIES", 1)
        sentence("hf:zoo/gan@v1", "is out of reach")
    (partial,) = (cache / "models--zoo--gan" / "blobs").glob("*incomplete")
    had = partial.stat().st_size
    assert 0 < had <= 150_000
    hub.well()
    hub.requests.clear()
    assert content(get("hf:zoo/gan@v1")) == files
    assert [h["range"] for _, p, h in _lower(hub) if "model" in p and "range" in h] == [f"bytes={had}-"]
    assert leftovers(cache) == []


def test_a_partial_file_of_wrong_bytes_is_not_believed(hub, get, said, cache):
    files = weights()
    hub.create("zoo/gan", files, tag="v1")
    blobs = cache / "models--zoo--gan" / "blobs"
    blobs.mkdir(parents=True)
    digest = hashlib.sha256(files["model.safetensors"]).hexdigest()
    (blobs / f"{digest}{base.PARTIAL}").write_bytes(b"?" * 1000)
    assert content(get("hf:zoo/gan@v1")) == files
    assert len(said) == 1
    assert "model.safetensors is damaged" in said[0]


def test_a_partial_file_that_is_too_long(hub, get, cache):
    files = weights()
    hub.create("zoo/gan", files, tag="v1")
    blobs = cache / "models--zoo--gan" / "blobs"
    blobs.mkdir(parents=True)
    digest = hashlib.sha256(files["model.safetensors"]).hexdigest()
    (blobs / f"{digest}{base.PARTIAL}").write_bytes(b"?" * 1_000_000)
    assert content(get("hf:zoo/gan@v1")) == files


def test_a_short_file(hub, get, cache):
    files = weights()
    hub.create("zoo/gan", files, tag="v1")
    hub.short(MODEL, by=1000)
    hub.short("/resolve/.*config.json", by=10)
    assert content(get("hf:zoo/gan@v1")) == files
    hub.create("zoo/short", files, tag="v1")
    hub.short(MODEL, by=1000, times=None)
    sentence("hf:zoo/short@v1", "sent")
    hub.well()
    assert content(get("hf:zoo/short@v1")) == files


@pytest.mark.parametrize("what", ["/api/models", "/resolve/.*config", MODEL])
@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_hub_in_trouble_for_a_moment(hub, get, what, status):
    files = weights(size=1000)
    hub.create("zoo/gan", files, tag="v1")
    hub.fail(what, status, times=2)
    hub.drop(what)
    assert content(get("hf:zoo/gan@v1")) == files


def test_a_hub_in_trouble(hub, cache):
    hub.create("zoo/gan", weights(), tag="v1")
    hub.fail("/api/models", 500, times=None)
    sentence("hf:zoo/gan@v1", "in trouble (it answers 500): try again later; hf:zoo/gan@v1 is not in the cache")
    hub.well()
    hub.fail("/api/models", 429, times=None)
    sentence("hf:zoo/gan@v1", "takes no more requests for now (429)")


def test_a_slow_hub(hub, get, monkeypatch):
    files = weights(size=1000)
    hub.create("zoo/gan", files, tag="v1")
    hub.slow("/resolve/", 0.02, chunk=400, times=None)
    assert content(get("hf:zoo/gan@v1")) == files
    hub.slow("/api/models", 5, times=None)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
    hub.create("zoo/new", files, tag="v1")
    sentence("hf:zoo/new@v1", "is out of reach")


def test_a_stale_etag_changes_nothing(hub, get):
    """The client would link to the old content; what the manifest says goes."""
    old, new = weights(1), weights(2)
    repo = hub.create("zoo/gan", old, tag="v1")
    get("hf:zoo/gan@v1")
    repo.tags["v2"] = repo.add(new)
    hub.stale("/resolve/", hashlib.sha256(old["model.safetensors"]).hexdigest(), times=None)
    assert content(get("hf:zoo/gan@v2")) == new
    assert content(get("hf:zoo/gan@v1")) == old


def test_a_wrong_link_in_the_cache_is_mended_without_harm_to_others(hub, get, said, cache):
    old, new = weights(1), weights(2)
    repo = hub.create("zoo/gan", old, tag="v1")
    first = get("hf:zoo/gan@v1")
    repo.tags["v2"] = repo.add(new)
    second = get("hf:zoo/gan@v2").folder / "model.safetensors"
    second.unlink()
    second.symlink_to(os.path.relpath((first.folder / "model.safetensors").resolve(), second.parent))
    assert content(get("hf:zoo/gan@v2")) == new
    assert content(get("hf:zoo/gan@v1")) == old
    assert len(said) == 1


def test_a_branch_that_moves_meanwhile(hub, get):
    old, new = weights(1), weights(2)
    repo = hub.create("zoo/gan", old)
    hub.when(MODEL, lambda: repo.add(new))
    first = get("hf:zoo/gan@main")
    assert content(first) == old
    assert content(get("hf:zoo/gan@main")) == new
    assert content(get(f"hf:zoo/gan@{first.commit}")) == old


@pytest.mark.parametrize("harm", ["flip", "truncate", "delete", "manifest", "link"])
def test_a_damaged_cache_is_mended(hub, get, said, cache, harm):
    files = weights()
    hub.create("zoo/gan", files, tag="v1")
    found = get("hf:zoo/gan@v1")
    path = found.folder / ("manifest.json" if harm == "manifest" else "model.safetensors")
    blob = path.resolve()
    if harm == "delete":
        blob.unlink()
    elif harm == "link":  # out of the cache
        path.unlink()
        path.symlink_to("/etc/hostname")
    else:
        data = bytearray(blob.read_bytes())
        data[5] ^= 1
        blob.write_bytes(data[:-1] if harm == "truncate" else data)
    commit = found.commit
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        sentence(f"hf:zoo/gan@{commit}", "HF_HUB_OFFLINE is set")
        sentence("hf:zoo/gan@v1", "HF_HUB_OFFLINE is set")
    finally:
        del os.environ["HF_HUB_OFFLINE"]
    assert content(get(f"hf:zoo/gan@{commit}")) == files
    assert len(said) <= 1
    assert Path("/etc/hostname").is_file()


def test_offline_and_out_of_reach(hub, get, said, monkeypatch):
    files = weights()
    repo = hub.create("zoo/gan", files, tag="v1")
    found = get("hf:zoo/gan@v1")
    repo.add(weights(3))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert get("hf:zoo/gan@v1").folder == found.folder
    assert said.pop().startswith("HF_HUB_OFFLINE is set; using the copy of hf:zoo/gan@v1 that was pulled on 20")
    assert get(f"hf:zoo/gan@{found.commit}").folder == found.folder
    assert said == []
    sentence("hf:zoo/gan", "HF_HUB_OFFLINE is set; hf:zoo/gan is not in the cache: 'genzoo pull hf:zoo/gan'")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub.refuse()
    close_session()  # or it would answer on the connection that is open
    assert content(get("hf:zoo/gan@v1")) == files
    assert "out of reach" in said[0]
    assert f"commit {found.commit[:12]}" in said[0]
    sentence("hf:zoo/gan", f"{hub.url} is out of reach", "hf:zoo/gan is not in the cache")
    hub.listen()


def test_gated_private_missing(hub, monkeypatch):
    hub.create("zoo/gated", weights(), gated="manual")
    hub.create("zoo/secret", weights(), private=True)
    hub.create("zoo/gan", weights(), tag="v1")
    monkeypatch.setenv("HF_TOKEN", hub.reader)
    sentence("hf:zoo/gated", "zoo/gated is gated: ask for access at", "/zoo/gated, and log in with")
    sentence("hf:zoo/secret", "there is no model zoo/secret", "that you may see")
    sentence("hf:zoo/gan@v2", "zoo/gan", "has no revision 'v2' (did you mean 'v1'?)")
    sentence("hf:zoo/gan@" + "0" * 40, "has no revision")
    monkeypatch.delenv("HF_TOKEN")
    sentence("hf:zoo/secret", "there is no model zoo/secret", "if it is private", "HF_TOKEN")
    sentence("hf:zoo/nothing", "there is no model zoo/nothing")
    monkeypatch.setenv("HF_TOKEN", hub.fake)
    sentence("hf:zoo/gan", hub.url)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    resolve("hf:zoo/secret", say=None)


def test_a_hub_that_forbids(hub):
    hub.create("zoo/gan", weights(), tag="v1")
    hub.fail("/api/models", 403, times=None)
    sentence("hf:zoo/gan@v1", "does not let you read zoo/gan (403)")
    hub.well()
    hub.fail("/resolve/", 404, code="EntryNotFound", times=None)
    sentence("hf:zoo/gan@v1", "refused a request for zoo/gan (404)")


@pytest.mark.parametrize(
    "name", ["hf:x", "hf:", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:/a", "hf:a b/c", "hf:zoo/gan@../../x",
             "hf:zoo/gan@a b", "hf:zoo/gan@.x", "hf://zoo/gan", "hf:zoo--x/gan"],
)  # fmt: skip
def test_names_that_are_none(hub, name, cache):
    with pytest.raises(UsageError):
        resolve(name, say=None)
    assert hub.requests == []
    assert not cache.exists()


def test_an_endpoint(hub, get, monkeypatch):
    files = weights()
    hub.create("zoo/gan", files)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert content(get("hf:zoo/gan", endpoint=hub.url + "/")) == files
    with pytest.raises(UsageError, match="endpoint must be a URL"):
        get("hf:zoo/gan", endpoint="huggingface")
    monkeypatch.setenv("HF_ENDPOINT", "ftp://x")
    with pytest.raises(UsageError, match=r"endpoint must be a URL such as https://huggingface.co, not 'ftp://x'"):
        get("hf:zoo/gan")


def test_the_token_is_sent(hub, get):
    hub.create("zoo/gan", weights())
    get("hf:zoo/gan")
    for _, _, headers in _lower(hub):
        assert headers["authorization"] == f"Bearer {hub.token}"


def test_sizes_are_bounded(hub, get, cache, monkeypatch):
    files = weights()
    hub.create("zoo/gan", files)
    monkeypatch.setitem(base.LIMITS, "README.md", 10)
    sentence("hf:zoo/gan", "its README.md has", "10 are the most")
    assert hub.count("GET", "/resolve/") == 0


def test_a_body_without_end(hub, get, cache, monkeypatch):
    """A server that announces 300 kB and sends more is left after what was announced."""
    from hub_repositories import Blob  # of the fixture

    files = weights()
    hub.create("zoo/gan", files)
    monkeypatch.setattr(Blob, "size", property(lambda b: len(b.content) - (len(b.content) > 200_000) * 1000))
    text = sentence("hf:zoo/gan")
    assert "refused" in text or "larger" in text or "sent" in text
    assert not list(cache.rglob("snapshots/*/model.safetensors"))


@pytest.mark.parametrize("at", [1, 2, 3, 5])
def test_no_space_in_the_middle(hub, get, cache, monkeypatch, at):
    files = weights()
    hub.create("zoo/gan", files)
    real, count = os.fsync, [0]

    def fsync(handle):
        count[0] += 1
        if count[0] == at:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    sentence("hf:zoo/gan", "no space left in", "HF_HOME")
    monkeypatch.setattr(os, "fsync", real)
    assert content(get("hf:zoo/gan")) == files
    assert leftovers(cache) == []


def test_a_cache_that_cannot_be_written(hub, cache):
    hub.create("zoo/gan", weights())
    cache.parent.mkdir(parents=True)
    cache.write_text("a file, no folder")
    sentence("hf:zoo/gan", "cannot write")


def test_an_edited_card_is_the_owners_business(hub, get, monkeypatch):
    files = weights()
    repo = hub.create("zoo/gan", files)
    repo.add({"README.md": b"# edited on the Hub's page"})
    found = get("hf:zoo/gan")
    assert (found.folder / "README.md").read_bytes() == b"# edited on the Hub's page"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert get(f"hf:zoo/gan@{found.commit}").folder == found.folder


def test_an_edited_model_is_not(hub, cache):
    files = weights()
    repo = hub.create("zoo/gan", files)
    repo.add({"model.safetensors": b"x" * 300_000})
    sentence("hf:zoo/gan", "is refused", "another model.safetensors than the Hub has")
    assert hub.count("GET", MODEL) == 0
    repo.add({"config.json": b"{}"})


def test_a_copy_of_ones_own(hub, tmp_path):
    files = weights()
    repo = hub.create("zoo/gan", files)
    repo.add({"README.md": b"# edited"})
    found = genzoo.pull("hf:zoo/gan", out=tmp_path / "mine")
    assert {p.name for p in (tmp_path / "mine").iterdir()} == set(files)
    assert not any(p.is_symlink() for p in found.folder.iterdir())
    assert genzoo.pull(tmp_path / "mine").files == found.files
    with pytest.raises(UsageError, match="exists already"):
        genzoo.pull("hf:zoo/gan", out=tmp_path / "mine")


def test_a_real_model_is_loaded_from_the_cache(hub, tmp_path):
    run = genzoo.fit("vae", "ring8", tmp_path / "run", steps=3, device="cpu", progress=False)
    hub.create("zoo/vae", {p.name: p.read_bytes() for p in run.folder.iterdir() if p.is_file()}, tag="v1")
    model = genzoo.load("hf:zoo/vae@v1")
    assert (model.sample(5, seed=1) == genzoo.load(run.folder).sample(5, seed=1)).all()
