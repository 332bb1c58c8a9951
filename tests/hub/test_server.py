"""The fixture Hub, by huggingface_hub's own client: what our tests stand on."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

BIG = os.urandom(300_000)
CARD = b"---\nlibrary_name: genzoo\nlicense: mit\ntags: [genzoo, gan]\ndatasets: [toys]\n---\n# A card\n"


@pytest.fixture
def api(hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token)


def add(**files: bytes) -> list[CommitOperationAdd]:
    return [CommitOperationAdd(name.replace("__", "."), content) for name, content in files.items()]


def test_a_model_goes_up_and_comes_down(hub, api: HfApi, tmp_path: Path) -> None:
    assert api.whoami()["name"] == "ada"
    assert [o["name"] for o in api.whoami()["orgs"]] == ["zoo"]
    api.create_repo("zoo/gan")
    first = api.model_info("zoo/gan").sha
    files = add(README__md=CARD, config__json=b"{}", model__safetensors=BIG)
    done = api.create_commit("zoo/gan", files, commit_message="weights", parent_commit=first)
    assert api.model_info("zoo/gan").sha == done.oid != first
    api.create_tag("zoo/gan", tag="v1", revision=done.oid)
    info = api.model_info("zoo/gan", revision="v1", files_metadata=True)
    assert info.sha == done.oid
    assert info.card_data is not None
    assert info.card_data.license == "mit"
    large = next(s for s in info.siblings or [] if s.rfilename == "model.safetensors")
    assert large.lfs is not None
    assert large.lfs.sha256 == hashlib.sha256(BIG).hexdigest()
    where = snapshot_download("zoo/gan", revision="v1", endpoint=hub.url, token=hub.token)
    assert Path(where).name == done.oid
    assert Path(where, "model.safetensors").read_bytes() == BIG
    assert Path(where, "README.md").read_bytes() == CARD
    assert [c.title for c in api.list_repo_commits("zoo/gan")] == ["weights", "initial commit"]
    assert api.list_repo_refs("zoo/gan").tags[0].target_commit == done.oid
    paths = {p.path: p for p in api.get_paths_info("zoo/gan", ["config.json", "none", "README.md"])}
    assert set(paths) == {"config.json", "README.md"}
    assert paths["config.json"].blob_id == "9e26dfeeb6e641a33dae4961196235bdb965b21b"  # git hash-object of {}
    assert api.file_exists("zoo/gan", "config.json")
    assert not api.file_exists("zoo/gan", "other.json")


def test_the_same_again_makes_no_commit(api: HfApi) -> None:
    api.create_repo("zoo/gan")
    one = api.create_commit("zoo/gan", add(config__json=b"{}", model__safetensors=BIG), commit_message="weights")
    two = api.create_commit("zoo/gan", add(config__json=b"{}", model__safetensors=BIG), commit_message="weights")
    assert one.oid == two.oid


def test_an_old_parent_is_refused_with_412(hub, api: HfApi) -> None:
    api.create_repo("zoo/gan")
    old = api.model_info("zoo/gan").sha
    hub.repositories["zoo/gan"].add({"config.json": b"{}"})
    with pytest.raises(HfHubHTTPError) as e:
        api.create_commit("zoo/gan", add(config__json=b"[]"), commit_message="late", parent_commit=old)
    assert e.value.response.status_code == 412


def test_what_a_commit_deletes_is_gone(hub, api: HfApi) -> None:
    hub.create("zoo/gan", {"a/one": b"1", "a/two": b"2", "b": b"3"})
    api.create_commit("zoo/gan", [CommitOperationDelete("a/"), CommitOperationDelete("b")], commit_message="less")
    assert api.list_repo_files("zoo/gan") == [".gitattributes"]


def test_trees_come_by_the_page(hub, api: HfApi) -> None:
    hub.create("zoo/gan", {f"samples/{i:02d}.txt": b"%d" % i for i in range(11)} | {"model.safetensors": BIG})
    hub.page = 4
    found = list(api.list_repo_tree("zoo/gan", recursive=True))
    assert len(found) == 14  # a folder, .gitattributes and the rest
    assert hub.count("GET", "/tree/") == 4
    top = [f.path for f in api.list_repo_tree("zoo/gan")]
    assert top == [".gitattributes", "model.safetensors", "samples"]
    assert len(api.list_repo_commits("zoo/gan")) == 2


def test_models_are_listed_by_author_search_and_filter(hub, api: HfApi) -> None:
    hub.create("zoo/wgan", {"README.md": CARD})
    hub.create("zoo/vae", {"README.md": CARD.replace(b"gan]", b"vae]")})
    hub.create("zoo/other")
    hub.create("eve/wgan", {"README.md": CARD})
    hub.create("bob/secret", {"README.md": CARD}, private=True)
    hub.page = 2
    assert [m.id for m in api.list_models(filter="genzoo")] == ["eve/wgan", "zoo/vae", "zoo/wgan"]
    assert [m.id for m in api.list_models(author="zoo", filter=["genzoo", "gan"])] == ["zoo/wgan"]
    assert [m.id for m in api.list_models(search="WGAN")] == ["eve/wgan", "zoo/wgan"]
    assert [m.id for m in api.list_models(search="wgan", limit=1)] == ["eve/wgan"]
    found = next(iter(api.list_models(search="vae", full=True, cardData=True)))
    assert found.card_data is not None
    assert found.card_data.tags == ["genzoo", "vae"]


def test_errors_are_told_apart(hub, api: HfApi) -> None:
    hub.create("zoo/gan", {"config.json": b"{}"})
    hub.create("zoo/secret", {"config.json": b"{}"}, private=True)
    hub.create("zoo/gated", {"config.json": b"{}"}, gated="manual")
    get = {"filename": "config.json", "endpoint": hub.url}
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("zoo/none")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("zoo/gan", revision="v9")
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download("zoo/gan", "none.json", endpoint=hub.url)
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("zoo/secret", **get, token=False)
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("zoo/secret", **get, token=hub.reader)
    with pytest.raises(GatedRepoError):
        hf_hub_download("zoo/gated", **get, token=hub.reader)
    with pytest.raises((GatedRepoError, LocalEntryNotFoundError)):
        hf_hub_download("zoo/gated", **get, token=False)
    hub.granted.add(("eve", "zoo/gated"))
    assert hf_hub_download("zoo/gated", **get, token=hub.reader)
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(endpoint=hub.url, token=hub.fake).whoami()
    with pytest.raises(HfHubHTTPError) as e:
        HfApi(endpoint=hub.url, token=hub.reader).create_commit("zoo/gan", add(a=b""), commit_message="mine")
    assert e.value.response.status_code == 403
    with pytest.raises(ValueError, match="license"):
        api.create_commit("zoo/gan", add(README__md=b"---\nlicense: [1]\n---\n"), commit_message="bad card")


def test_settings_tags_and_branches(hub, api: HfApi) -> None:
    hub.create("zoo/gan", {"config.json": b"{}"}, tag="v1")
    with pytest.raises(HfHubHTTPError) as e:
        api.create_tag("zoo/gan", tag="v1")
    assert e.value.response.status_code == 409
    api.delete_tag("zoo/gan", tag="v1")
    api.create_branch("zoo/gan", branch="next/one")
    api.create_commit("zoo/gan", add(config__json=b"[]"), commit_message="on it", revision="next/one")
    got = hf_hub_download("zoo/gan", "config.json", revision="next/one", endpoint=hub.url)
    assert Path(got).read_bytes() == b"[]"
    api.update_repo_settings("zoo/gan", private=True)
    assert api.model_info("zoo/gan").private
    api.delete_repo("zoo/gan")
    assert not api.repo_exists("zoo/gan")


def test_the_fault_is_as_ordered_and_then_all_is_well(hub, monkeypatch: pytest.MonkeyPatch) -> None:
    # The client resumes by whole chunks, of 10 MB if left alone.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.create("zoo/gan", {"model.safetensors": BIG, "config.json": b"{}"})

    def get(name: str = "model.safetensors", **more: object) -> bytes:
        path = hf_hub_download("zoo/gan", name, endpoint=hub.url, force_download=True, **more)  # type: ignore[call-overload]
        return Path(path).read_bytes()

    hub.cut("model", after=100_000)
    assert get() == BIG
    ranges = [h["range"] for m, p, h in hub.requests if m == "GET" and "range" in h]
    assert ranges == ["bytes=100000-"]  # it resumed
    hub.flip("model", at=5)
    got = get()  # the client does not see it
    assert got != BIG
    assert (len(got), got[:5], got[6:]) == (len(BIG), BIG[:5], BIG[6:])
    hub.short("model", by=10)
    with pytest.raises(OSError, match="Consistency check failed"):
        get()
    hub.fail("GET /.*/resolve/.*config", 503)
    with pytest.raises(HfHubHTTPError):
        get("config.json")
    moved = hub.repositories["zoo/gan"]
    hub.when("HEAD .*config", lambda: moved.add({"config.json": b"moved"}))
    assert get("config.json") == b"moved"
    moved.add({"config.json": b"moved on"})
    hub.stale("HEAD .*config", "0" * 40)
    cached = hf_hub_download("zoo/gan", "config.json", endpoint=hub.url)
    assert Path(cached).resolve().name == "0" * 40
    assert get() == BIG


def test_nobody_listens_and_then_somebody_does(hub) -> None:
    hub.create("zoo/gan", {"config.json": b"{}"})
    hub.refuse()
    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("zoo/gan", "config.json", endpoint=hub.url)
    hub.listen()
    assert hf_hub_download("zoo/gan", "config.json", endpoint=hub.url)
