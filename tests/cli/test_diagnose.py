"""`genzoo diagnose` and `genzoo train --watch`: what people and programs read of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]  # genzoo(*arguments); see conftest.py
SURE = (
    "--data", "fashion-mini", "--generator", "mlp", "--critic", "mlp", "--set", "generator.width=16", "--set",
    "critic.width=64", "--set", "critic.spectral_norm=false", "--set", "objective.loss=minimax", "--set",
    "objective.critic_lr=0.003", "--set", "train.lr=1e-6", "--set", "train.log_every=5", "--set", "train.batch_size=32",
    "--steps", "120", "--quiet", "--device", "cpu",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_a_critic_that_always_wins_is_warned_of_and_diagnosed(genzoo: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ran = genzoo("train", "gan", *SURE, "--out", run, "--watch")
    assert ran.code == 0
    warned = [line for line in ran.err.splitlines() if "saturated-critic" in line]
    assert len(warned) == 1
    assert "trouble below 0.05" in warned[0]
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert sum("warning/saturated-critic" in r for r in log) == 1
    assert all({"critic/grad", "generator/grad"} <= set(r) for r in log if "critic/loss" in r)

    ran = genzoo("diagnose", run, "-n", 300, "--out", tmp_path / "found", "--quiet")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == f"{run}: 1 problem"
    assert lines[1].startswith("  ✗ saturated-critic: ")
    assert any("try --set objective.loss=non-saturating" in line for line in lines)
    assert lines[-1] == str(tmp_path / "found")
    assert (tmp_path / "found" / "saturated-critic-curves.png").is_file()
    assert "300 samples, against 300 of fashion-mini" in ran.err

    ran = genzoo("diagnose", run, "-n", 300, "--json", "--strict", "--quiet")
    assert ran.code == 1
    found = json.loads(ran.out)
    assert found["problems"] == ["saturated-critic"]
    assert (run / "log.jsonl").is_file()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--data", "fashion-mimi"), "did you mean"),
        (("--set", "classes.k=3"), "only data.… options"),
        (("-n", "5"), "100"),
    ],
)
def test_mistakes(genzoo: Run, vae: Path, more: tuple[str, ...], words: str) -> None:
    genzoo("diagnose", vae, *more).sentence(words)


def test_there_is_nothing(genzoo: Run, tmp_path: Path) -> None:
    genzoo("diagnose", tmp_path / "none").sentence("none")
