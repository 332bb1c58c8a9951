"""``genzoo push`` and ``genzoo weights publish``, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import genzoo as api


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("push") / "vae"
    options = {"train.validation": 50, "data.limit": 300, "generator.width": 8, "encoder.width": 8}
    api.fit("vae", "ring8", out, steps=4, options=options, progress=False)
    return out


def test_a_rehearsal_then_the_push_then_nothing(hub, genzoo, run_folder: Path) -> None:
    push = ("push", run_folder, "zoo/ring", "--license", "mit")
    told = genzoo(*push, "--dry-run")
    assert told.code == 0
    assert "would push to zoo/ring:" in told.out
    assert told.out.count("sha256 ") >= 6
    assert "# vae on ring8" in told.out
    assert not hub.requests
    done = genzoo(*push, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("hf:zoo/ring@v1: 6 files, ")
    again = genzoo(*push, "--quiet")
    assert again.code == 0
    assert "holds these files already" in again.out
    plain = json.loads(genzoo(*push, "--json").out)
    assert (plain["tag"], plain["changed"], plain["dry_run"]) == ("v1", False, False)
    assert {f["name"] for f in plain["files"]} >= {"model.safetensors", "README.md"}
    got = genzoo("pull", "hf:zoo/ring@v1", "--quiet")
    assert got.code == 0, got.err


def test_failures_are_sentences(hub, genzoo, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genzoo("push", run_folder, "zoo/ring").sentence("is not ready to be pushed: its license is not known", code=2)
    genzoo("push", run_folder, "zoo", "--license", "mit").sentence("org/name", code=2)
    genzoo("push", run_folder / "none", "zoo/ring", "--license", "mit").sentence("no weights folder")
    genzoo("push", run_folder, "zoo/ring", "--license", "mit", "--endpoint", "nowhere").sentence(
        "must be a URL", code=2
    )
    genzoo("push", run_folder, "bob/ring", "--license", "mit").sentence("may not write to bob/ring", code=1)
    hub.create("zoo/ring", {"config.json": b"{}"}, tag="v1")
    genzoo("push", run_folder, "zoo/ring", "--license", "mit", "--tag", "v1").sentence("tags never move", code=2)
    genzoo("weights", "publish").sentence("--all ORG", code=2)
    genzoo("weights", "publish", "--all", "zoo", "--only", "no/such").sentence("no weights 'no/such'", code=2)
    hub.refuse()
    genzoo("push", run_folder, "zoo/ring", "--license", "mit").sentence("is out of reach", code=1)
