"""`genzoo.reproduce`: the recorded run again, from structured arguments, and the comparison with its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.report import Interval, Result
from genzoo.core.storage.files import sha256
from genzoo.registry.weights.reproduce import plan
from genzoo.registry.weights.verify import compared

TINY = {
    "train.batch_size": 16, "latent.size": 2, "train.validation": 100, "generator.width": 8, "encoder.width": 8,
    "train.log_every": 2, "data.limit": 400,
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "vae"
    genzoo.fit("vae", "ring8", out, steps=8, seed=5, options=TINY, threads=1, device="cpu", progress=False)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def change(folder: Path, name: str, how: Callable[[Any], Any]) -> None:
    """Change a file of a folder, and take it from the manifest: nothing here hashes it."""
    content = json.loads((folder / name).read_text())
    how(content)
    (folder / name).write_text(json.dumps(content))


def test_the_same_bytes_come_out(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    done = genzoo.reproduce(run, out, progress=False)
    assert done.ok
    assert done.same_bytes
    assert done.samples == "same bytes"
    assert done.curve == 0
    assert done.differences == ()
    assert sha256(out / "model.safetensors") == sha256(run / "model.safetensors")
    assert {m.metric: m.agrees for m in done.metrics} == {"held-out loss": True, "active units": True}
    assert json.loads(json.dumps(done.to_dict()))["same_bytes"] is True
    before, after = (json.loads((f / "training.json").read_text()) for f in (run, out))
    assert {k: v for k, v in before.items() if k != "seconds"}["curves"][0]["loss"] == after["curves"][0]["loss"]
    assert genzoo.verify(out, data=True, metrics=True).ok
    with pytest.raises(UsageError, match="already holds a run"):
        genzoo.reproduce(run, out)


def test_what_saw_sounds_as_spectrograms_is_trained_and_measured_again(tmp_path: Path) -> None:
    small = {f"{part}.{name}": 4 for part in ("generator", "encoder") for name in ("width", "max_width")}
    genzoo.fit("spec-vae", "spoken-digits-mini", tmp_path / "run", steps=2, options=small, progress=False)
    done = genzoo.reproduce(tmp_path / "run", tmp_path / "again", progress=False)
    assert done.same_bytes
    assert {m.metric: m.agrees for m in done.metrics} == {"held-out loss": True, "active units": True}
    assert genzoo.verify(tmp_path / "again", data=True, metrics=True).ok


def test_it_can_be_stopped_and_resumed(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    part = genzoo.reproduce(run, out, steps=4, progress=False)
    assert (part.finished, part.steps, part.of, part.curve, part.same_bytes) == (False, 4, 8, 0, None)
    done = genzoo.reproduce(run, out, resume=True, progress=False)
    assert done.same_bytes
    again = genzoo.reproduce(run, out, resume=True, progress=False)  # nothing is left to do
    assert again.same_bytes
    assert again.steps == 8


def test_weights_of_the_middle_of_a_run(tmp_path: Path) -> None:
    """The best ones of a run are those of a step of it: the schedule is the whole run's."""
    options = TINY | {"train.validate_every": 3, "train.schedule": "cosine", "train.lr": 0.01}
    genzoo.fit("vae", "ring8", tmp_path / "run", steps=8, options=options, device="cpu", progress=False)
    best = tmp_path / "run" / "best"
    steps = json.loads((best / "training.json").read_text())["steps"]
    kept = tmp_path / "kept"
    shutil.copytree(best, kept)
    done = genzoo.reproduce(kept, tmp_path / "again", progress=False)
    assert done.same_bytes
    assert done.steps == steps


def test_a_run_on_a_file_needs_to_be_told_where_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "secret" / "points.npy"
    file.parent.mkdir()
    np.save(file, rng.normal(3, 2, (200, 2)).astype(np.float32))
    run = tmp_path / "run"
    options = {k: v for k, v in TINY.items() if k not in ("data.limit", "train.validation")} | {"train.validation": 0}
    genzoo.fit("vae", str(file), run, steps=3, options=options, device="cpu", progress=False)
    assert "secret" not in (run / "training.json").read_text()
    with pytest.raises(UsageError, match="source="):
        genzoo.reproduce(run, tmp_path / "again")
    np.save(tmp_path / "other.npy", rng.normal(3, 2, (200, 2)).astype(np.float32))
    with pytest.raises(GenzooError, match="not the data that it was trained on"):
        genzoo.reproduce(run, tmp_path / "again", source=tmp_path / "other.npy")
    assert not (tmp_path / "again").exists()
    moved = file.rename(tmp_path / "points.npy")
    assert genzoo.reproduce(run, tmp_path / "again", source=moved, progress=False).same_bytes


@pytest.mark.parametrize(
    ("name", "how", "word"),
    [
        ("config.json", lambda c: c["objective"]["options"].update(gone=3), "gone"),
        ("config.json", lambda c: c["objective"].update(name="vae2"), "vae2"),
        ("training.json", lambda c: c.pop("data"), "no training record"),
        ("training.json", lambda c: c["data"].update(name="gone", fingerprint="") or c["called with"].clear(), "gone"),
    ],
)
def test_what_is_missing_is_said_before_training(run: Path, tmp_path: Path, name: str, how: Any, word: str) -> None:
    change(run, name, how)
    with pytest.raises(GenzooError, match=word):
        genzoo.reproduce(run, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_nothing_recorded(run: Path, tmp_path: Path) -> None:
    (run / "training.json").unlink()
    with pytest.raises(GenzooError, match="nobody recorded"):
        genzoo.reproduce(run, tmp_path / "again")


def test_other_versions_and_machines_are_told(run: Path) -> None:
    def older(c: Any) -> None:
        for kind in ("objective", "generator", "encoder"):
            c[kind]["version"] = "0.0.1"

    change(run, "config.json", older)
    change(run, "training.json", lambda c: c["hardware"].update(threads=1, torch="1.0", name="abacus"))
    text = "; ".join(plan(run).differences)
    for word in ("0.0.1 then", "not 1.0", "not abacus"):
        assert word in text
    assert "threads" not in text
    assert plan(run).arguments["threads"] == 1
    assert "threads 2, not 1" in plan(run, threads=2).differences


def test_options_are_those_of_then_not_of_the_recipe_today(run: Path) -> None:
    arguments = plan(run).arguments
    assert arguments["options"]["latent.size"] == 2
    assert arguments["options"]["train.lr"] == genzoo.load(run).config.train.lr
    assert (arguments["seed"], arguments["recipe"], arguments["data"]) == (5, "vae", "ring8")
    assert all(isinstance(v, (str, int, float, bool, tuple, type(None))) for v in arguments["options"].values())


def result(value: float, low: float | None = None, high: float | None = None, protocol: str = "p=1") -> Result:
    return Result("m", value, Interval(low, high), protocol=protocol)


@pytest.mark.parametrize(
    ("recorded", "now", "rule", "agrees"),
    [
        (result(1, 0.9, 1.1), result(1.05, 0.95, 1.2), "inside", True),
        (result(1, 0.9, 1.1), result(1.15, 1.05, 1.3), "inside", False),
        (result(1, 0.9, 1.1), result(1.15, 1.05, 1.3), "overlap", True),
        (result(1, 0.9, 1.1), result(1.3, 1.2, 1.4), "overlap", False),
        (result(1), result(1.001), "inside", True),
        (result(1), result(1.01), "inside", False),
        (result(1), result(1.01), "overlap", True),
        (result(1), result(1.2), "overlap", False),
        (result(float("inf")), result(float("inf")), "inside", True),
        (result(1), result(float("nan")), "inside", False),
        (result(1, 0.9, 1.1), result(1, 0.9, 1.1, "p=2"), "inside", False),
    ],
)
def test_agreement(recorded: Result, now: Result, rule: Any, agrees: bool) -> None:
    assert compared(recorded, now, rule).agrees is agrees
