"""Pushing a trained model: what arrives, what is refused, and what happens when the Hub has a bad day."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, ModelCard

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.report import Interval, Report, Result
from genzoo.registry.weights.push import push

KNOWN = {"README.md", "config.json", "manifest.json", "model.safetensors", "samples.png", "training.json"}


def on_hub(hub, name: str = "zoo/ring", revision: str = "main") -> dict[str, bytes]:
    files = hub.repositories[name].commit_at(revision).files
    return {path: blob.content for path, blob in files.items() if path != ".gitattributes"}


def samples(model) -> torch.Tensor:
    return model.sample(32, seed=1)


def empty_cache(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "huggingface", ignore_errors=True)


def test_all_of_it_arrives_at_once_and_nothing_else(hub, run: Path) -> None:
    (run / ".env").write_text("HF_TOKEN=secret")
    (run / "notes.txt").write_text("mine")
    done = push(run, "zoo/ring", license="MIT")
    there = on_hub(hub)
    assert set(there) == KNOWN
    assert done.created
    assert done.changed
    assert done.tag == "v1"
    repo = hub.repositories["zoo/ring"]
    assert repo.tags["v1"].oid == done.commit == repo.branches["main"].oid
    assert len(repo.branches["main"].history()) == 2  # the first one is the Hub's own
    for name in ("config.json", "model.safetensors", "samples.png"):
        assert there[name] == (run / name).read_bytes()
    listed = json.loads(there["manifest.json"])["files"]
    assert set(listed) == KNOWN - {"manifest.json"}
    for name, said in listed.items():
        assert said == {"size": len(there[name]), "sha256": hashlib.sha256(there[name]).hexdigest()}
    assert hub.count("POST", "/commit/main") == 1


def test_the_hub_reads_the_card(hub, run: Path) -> None:
    done = push(run, "zoo/ring", license="cc-by-4.0")
    info = HfApi(endpoint=hub.url).model_info("zoo/ring")
    data = info.card_data
    assert data is not None
    assert (data.license, data.library_name, data.datasets) == ("cc-by-4.0", "genzoo", ["ring8"])
    assert {"genzoo", "vae", "vector", "license:cc-by-4.0", "dataset:ring8"} <= set(info.tags or [])
    card = ModelCard(done.card)
    found = {r.metric_name: r for r in card.data.eval_results or []}
    record = json.loads((run / "training.json").read_text())
    assert found["held-out loss"].metric_value == pytest.approx(record["metrics"]["held-out loss"])
    assert found["held-out loss"].metric_args == {"n_real": 100, "seed": 0}
    assert found["active units"].dataset_name == "ring8"
    assert 'genzoo.load("hf:zoo/ring")' in card.content
    assert "arxiv.org/abs/1312.6114" in card.content
    assert [m.id for m in HfApi(endpoint=hub.url).list_models(filter="genzoo", author="zoo")] == ["zoo/ring"]


def test_a_second_version_and_the_first_again(hub, run: Path, tmp_path: Path) -> None:
    first = push(run, "zoo/ring", license="mit")
    other = tmp_path / "other"
    genzoo.fit("vae", "ring8", other, steps=6, seed=1, options={"train.validation": 50, "data.limit": 400,
               "generator.width": 8, "encoder.width": 8}, progress=False)  # fmt: skip
    second = push(other, "hf:zoo/ring", license="mit")
    assert (first.tag, second.tag, second.created) == ("v1", "v2", False)
    one, two = samples(genzoo.load(run)), samples(genzoo.load(other))
    assert not torch.equal(one, two)
    for name, expected in (("v1", one), (first.commit, one), ("v2", two), (second.commit, two), ("main", two)):
        empty_cache(tmp_path)
        assert torch.equal(samples(genzoo.load(f"hf:zoo/ring@{name}", verbose=False)), expected)


def test_the_same_again_changes_nothing(hub, run: Path) -> None:
    first = push(run, "zoo/ring", license="mit", tag="v1")
    before = hub.repositories["zoo/ring"].branches["main"]
    for tag in ("", "v1"):
        again = push(run, "zoo/ring", license="mit", tag=tag)
        assert (again.changed, again.created, again.commit, again.tag) == (False, False, first.commit, "v1")
    named = push(run, "zoo/ring", license="mit", tag="release-1")
    assert (named.changed, named.commit, named.tag) == (True, first.commit, "release-1")
    assert hub.repositories["zoo/ring"].branches["main"] is before
    assert hub.count("POST", "/commit/") == 1


def test_a_tag_never_moves(hub, run: Path) -> None:
    old = hub.create("zoo/ring", {"config.json": b"{}"}, tag="v1").tags["v1"]
    with pytest.raises(UsageError, match=r"the tag 'v1' .* names other files .*tags never move"):
        push(run, "zoo/ring", license="mit", tag="v1")
    repo = hub.repositories["zoo/ring"]
    assert repo.tags == {"v1": old}
    assert repo.branches["main"] is old
    assert push(run, "zoo/ring", license="mit").tag == "v2"


@pytest.mark.parametrize("tag", ["main", "a b", "../x", "0123456789abcdef", "-x"])
def test_what_is_no_tag(hub, run: Path, tag: str) -> None:
    with pytest.raises(UsageError, match="tag"):
        push(run, "zoo/ring", license="mit", tag=tag)
    assert not hub.requests


def test_files_of_an_older_model_go_and_others_stay(hub, run: Path) -> None:
    hub.create("zoo/ring", {"samples.wav": b"RIFF", "notebook.ipynb": b"{}", "README.md": b"# by hand\n"})
    push(run, "zoo/ring", license="mit")
    assert set(on_hub(hub)) == KNOWN | {"notebook.ipynb"}


def test_somebody_else_was_faster(hub, run: Path) -> None:
    repo = hub.create("zoo/ring", {"config.json": b"{}"})
    hub.when("POST .*/commit/", lambda: repo.add({"config.json": b"[]"}))
    with pytest.raises(GenzooError, match=r"somebody else pushed to zoo/ring .* meanwhile: nothing of yours was"):
        push(run, "zoo/ring", license="mit")
    assert on_hub(hub) == {"config.json": b"[]"}
    assert not repo.tags
    assert push(run, "zoo/ring", license="mit").changed


@pytest.mark.parametrize("fault", ["drop", "lose", "fail"])
def test_a_commit_whose_fate_was_unknown(hub, run: Path, fault: str) -> None:
    how = {"status": 503} if fault == "fail" else {}
    getattr(hub, fault)("POST .*/commit/", **how)
    done = push(run, "zoo/ring", license="mit")
    repo = hub.repositories["zoo/ring"]
    assert set(on_hub(hub)) == KNOWN
    assert repo.branches["main"].oid == done.commit
    assert len(repo.branches["main"].history()) == 2  # never twice


@pytest.mark.parametrize("what", ["GET .*/api/models", "GET .*/refs", "POST .*/preupload", "PUT /lfs", "POST .*/tag/"])
def test_trouble_that_passes_is_waited_for(hub, run: Path, what: str) -> None:
    hub.fail(what, 500, times=2)
    assert push(run, "zoo/ring", license="mit").tag == "v1"


def test_trouble_that_stays_is_one_sentence_and_the_same_command_goes_on(hub, run: Path) -> None:
    hub.fail("POST .*/tag/", 500, times=None)
    with pytest.raises(GenzooError, match=r"has the files, and no tag 'v1' .*run the same command again") as e:
        push(run, "zoo/ring", license="mit")
    assert "\n" not in str(e.value)
    hub.well()
    done = push(run, "zoo/ring", license="mit")
    assert (done.tag, done.changed) == ("v1", True)
    assert hub.count("POST", "/commit/") == 1


@pytest.mark.parametrize(
    ("what", "status", "said"),
    [
        ("PUT /lfs", 500, "is in trouble"),
        ("POST .*/commit/", 403, "may not write"),
        ("POST .*/repos/create", 403, "may not write"),
        ("POST .*/preupload", 401, "does not accept your token"),
        ("POST .*/commit/", 413, "no room"),
        ("POST .*/commit/", 500, "is in trouble"),
        ("GET .*/api/models", 429, "no more requests"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence_and_leaves_it_as_it_was(hub, run: Path, what, status, said) -> None:
    hub.fail(what, status, times=None)
    with pytest.raises(GenzooError, match=said) as e:
        push(run, "zoo/ring", license="mit")
    assert "\n" not in str(e.value)
    assert "zoo/ring" not in hub.repositories or not on_hub(hub)


def test_a_card_that_the_hub_does_not_accept(hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genzoo.core.storage.card.metadata", lambda *_: {"license": ["mit"]})
    with pytest.raises(GenzooError, match=r'does not accept what is pushed to zoo/ring .*"license" must be a string'):
        push(run, "zoo/ring", license="mit")


def test_who_may_push(hub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(said: str, name: str = "zoo/ring") -> None:
        with pytest.raises(GenzooError, match=said):
            push(run, name, license="mit")

    refused("your token may not write to bob/ring .*: use one that may, or push to a name of your own", "bob/ring")
    monkeypatch.setenv("HF_TOKEN", hub.reader)
    refused("your token may not write to eve/ring", "eve/ring")
    monkeypatch.setenv("HF_TOKEN", hub.fake)
    refused("does not accept your token: log in")
    monkeypatch.delenv("HF_TOKEN")
    refused("needs a token that may write: log in with 'hf auth login' or set HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused("HF_HUB_OFFLINE forbids")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub.refuse()
    refused("is out of reach")
    hub.listen()
    assert not hub.repositories


def test_private_repositories(hub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    push(run, "zoo/ring", license="mit", private=True)
    assert hub.repositories["zoo/ring"].private
    empty_cache(tmp_path)
    assert torch.equal(samples(genzoo.load("hf:zoo/ring@v1", verbose=False)), samples(genzoo.load(run)))
    hub.create("zoo/open")
    with pytest.raises(UsageError, match="is public"):
        push(run, "zoo/open", license="mit", private=True)


def test_everything_that_is_missing_is_said_at_once(hub, tmp_path: Path) -> None:
    x = torch.rand(64, 2)
    genzoo.fit("gan", x, tmp_path / "run", steps=4, progress=False)
    with pytest.raises(UsageError) as e:
        push(tmp_path / "run", "zoo/gan")
    for part in ("its license is not known", "its data has no name", "license of its data", "it has no metrics"):
        assert part in str(e.value)
    assert "\n" not in str(e.value)
    assert not hub.requests


@pytest.mark.parametrize("name", ["zoo", "zoo/a/b", "zoo/", "zoo/a b", "-/-", "zoo/x--y", "zoo/..", ""])
def test_what_is_no_repository(hub, run: Path, name: str) -> None:
    with pytest.raises(UsageError, match="org/name"):
        push(run, name, license="mit")


def test_metrics_come_along_with_counts_and_intervals(hub, run: Path, tmp_path: Path) -> None:
    interval = Interval(1.25, 1.75, 0.95, "bootstrap of 50")
    found = Result("sliced-wasserstein", 1.5, interval, 400, 300, title="Sliced Wasserstein", direction="lower")
    report = Report("run", (found,))
    (tmp_path / "eval.json").write_text(json.dumps(report.to_dict()))
    done = push(run, "zoo/ring", license="mit", metrics=tmp_path / "eval.json")
    assert "| Sliced Wasserstein ↓ | 1.5 | [1.25, 1.75] | 300 samples, 400 real |" in done.card
    assert "95% (bootstrap of 50)" in done.card
    indexed = {r.metric_type: r for r in ModelCard(done.card).data.eval_results or []}
    args = indexed["sliced-wasserstein"].metric_args
    assert args == {"n_real": 400, "n_fake": 300, "low": 1.25, "high": 1.75, "level": 0.95, "seed": 0}
    assert json.loads(on_hub(hub)["training.json"])["evaluation"] == report.to_dict()
    assert push(run, "zoo/ring", license="mit", metrics=report).changed is False
    (tmp_path / "no.json").write_text("[]")
    with pytest.raises(UsageError, match=r"no\.json holds no metrics"):
        push(run, "zoo/ring", license="mit", metrics=tmp_path / "no.json")
    with pytest.raises(UsageError, match=r"none\.json holds no metrics"):
        push(run, "zoo/ring", license="mit", metrics=tmp_path / "none.json")


@pytest.mark.parametrize("record", [{"about": 3}, {"hardware": []}, {"seed": "x"}, {"data": {}}, {"metrics": []}, []])
def test_a_record_that_is_none(hub, run: Path, record: object) -> None:
    whole = json.loads((run / "training.json").read_text())
    _rewrite(run, whole | record if isinstance(record, dict) else record)
    with pytest.raises(GenzooError, match=r"training record|seed is not recorded|training\.json"):
        push(run, "zoo/ring", license="mit")
    assert not hub.requests


def test_damage_is_found_before_anything_is_sent(hub, run: Path) -> None:
    path = run / "samples.png"
    good = path.read_bytes()
    path.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    with pytest.raises(GenzooError, match=r"samples\.png is damaged"):
        push(run, "zoo/ring", license="mit")
    path.write_bytes(good)
    (run / "training.json").unlink()
    with pytest.raises(GenzooError, match=r"training\.json"):
        push(run, "zoo/ring", license="mit")
    assert not hub.requests


def test_runs_that_did_not_end(hub, run: Path) -> None:
    _rewrite(run, json.loads((run / "training.json").read_text()) | {"steps": 5})
    with pytest.raises(UsageError, match=r"it stopped after 5 of 6 steps .*unfinished=True"):
        push(run, "zoo/ring", license="mit")
    assert "This is its state after 5 of 6 steps" in push(run, "zoo/ring", license="mit", unfinished=True).card
    (run / "manifest.json").unlink()
    with pytest.raises(UsageError, match="was interrupted: finish it with resume=True"):
        push(run, "zoo/ring", license="mit")


def _rewrite(run: Path, record: object) -> None:
    content = json.dumps(record).encode()
    (run / "training.json").write_bytes(content)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"]["training.json"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (run / "manifest.json").write_text(json.dumps(manifest))


def test_a_rehearsal_asks_nobody_and_tells_the_truth(hub, run: Path) -> None:
    told = push(run, "zoo/ring", license="mit", dry_run=True)
    assert not hub.requests
    push(run, "zoo/ring", license="mit")
    there = on_hub(hub)
    assert {f.name: (f.size, f.sha256) for f in told.files} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in there.items()
    }
    assert told.card.encode() == there["README.md"]


def test_nothing_tells_about_this_machines_folders(hub, tmp_path: Path) -> None:
    data = tmp_path / "private place" / "points.npy"
    data.parent.mkdir()
    import numpy as np

    np.save(data, np.random.default_rng(0).normal(size=(64, 2)).astype("float32"))
    genzoo.fit("vae", data, tmp_path / "run", steps=3, options={"train.validation": 8}, progress=False)
    push(tmp_path / "run", "zoo/points", license="mit", data_license="cc0-1.0")
    for name, content in on_hub(hub, "zoo/points").items():
        assert b"private place" not in content, name
    assert b"path/to/points.npy" in on_hub(hub, "zoo/points")["README.md"]


def test_what_was_pulled_can_be_pushed_elsewhere(hub, run: Path, tmp_path: Path) -> None:
    push(run, "zoo/ring", license="mit")
    done = push("hf:zoo/ring@v1", "ada/ring")  # its card knows the license
    assert "license: mit" in done.card
    assert on_hub(hub, "ada/ring")["model.safetensors"] == on_hub(hub)["model.safetensors"]


def test_a_space_goes_with_the_weights(hub, run: Path) -> None:
    rehearsal = push(run, "zoo/ring", license="mit", space=True, dry_run=True)
    assert not hub.requests
    assert rehearsal.space is not None
    assert [f.name for f in rehearsal.space.files] == ["README.md", "app.py", "requirements.txt"]
    done = push(run, "zoo/ring", license="mit", space=True)
    assert done.space is not None
    assert done.space.url == f"{hub.url}/spaces/zoo/ring"
    there = on_hub(hub, "zoo/ring.space")
    assert there == {f.name: f.content for f in done.space.files}
    card = ModelCard(there["README.md"].decode()).data.to_dict()
    assert (card["sdk"], card["app_file"], card["models"], card["license"]) == ("gradio", "app.py", ["zoo/ring"], "mit")
    calls = []
    namespace = {"genzoo": type("Genzoo", (), {"explore": staticmethod(lambda *a, **k: calls.append((a, k)))})}
    exec(there["app.py"].decode().replace("import genzoo\n", ""), namespace)
    assert calls == [(("hf:zoo/ring@v1",), {"host": "0.0.0.0", "port": 7860})]
    assert there["requirements.txt"].decode().startswith(f"genzoo[explore,compress]=={genzoo.__version__}")
    hub.repositories["zoo/ring.space"].add({"notes.txt": b"mine"})
    again = push(run, "zoo/ring", license="mit", space=True)
    assert again.space is not None
    assert (again.changed, again.space.changed, again.space.created) == (False, False, False)
    assert "notes.txt" in on_hub(hub, "zoo/ring.space")


def test_a_space_of_private_weights_says_what_opens_them() -> None:
    from genzoo.registry.weights.space import space_files

    pages = [space_files("a/b", "", "t", "mit", private=private)[0].text for private in (False, True)]
    assert ["HF_TOKEN" in page for page in pages] == [False, True]


def test_a_space_of_a_kind_of_data_brings_what_reads_its_files() -> None:
    from genzoo.core.modality import every
    from genzoo.registry.weights.space import space_files

    extras = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    for kind in every():
        (needs,) = [f.text for f in space_files("a/b", "", "t", "mit", kind.needs) if f.name == "requirements.txt"]
        assert all(f"\n{extra} = [" in extras for extra in ("explore", *kind.needs))
        assert needs.startswith("genzoo[explore,compress")
