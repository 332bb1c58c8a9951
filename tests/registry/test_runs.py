"""What a run leaves behind, and what it can start from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.storage.files import read_manifest, verify

SMALL = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8, "latent.size": 2,
         "train.batch_size": 4, "train.log_every": 2}  # fmt: skip


def fit(data: Any, out: Path | None = None, recipe: str = "vae", **how: Any) -> genzoo.Run:
    options = SMALL | how.pop("options", {})
    return genzoo.fit(recipe, data, out, options=options, device="cpu", progress=False, **({"steps": 6} | how))


def test_what_a_run_leaves(pictures: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run = fit(pictures(30), folder, options={"train.validation": 6, "train.validate_every": 3}, seed=4)
    assert {p.name for p in folder.iterdir()} == {
        "config.json", "model.safetensors", "manifest.json", "training.json", "README.md", "samples.png",
        "log.jsonl", "samples", "checkpoints", "best",
    }  # fmt: skip
    listed = read_manifest(folder)
    assert set(listed) == {"config.json", "model.safetensors", "training.json", "README.md", "samples.png"}
    verify(folder, listed)
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert records == run.history
    assert [r["step"] for r in records if "loss" in r] == [2, 4, 6]
    assert [r["step"] for r in records if "held-out loss" in r] == [3, 6]
    assert all(abs(r["loss"] - r["nll"] - r["kl"]) < 1e-2 for r in records if "loss" in r)
    told = json.loads((folder / "training.json").read_text())
    assert (told["recipe"], told["seed"], told["steps"], told["of"]) == ("vae", 4, 6, 6)
    assert (told["data"]["observations"], told["data"]["held_out"]) == (24, 6)
    assert told["metrics"]["held-out loss"] == records[-1]["held-out loss"]
    assert len(list((folder / "samples").glob("step-*.png"))) == 6
    for picture in (folder / "samples.png", *(folder / "samples").iterdir()):
        with Image.open(picture) as image:
            image.load()
    model = genzoo.load(folder)
    assert torch.equal(model.sample(3), run.model.sample(3))
    assert not list(folder.rglob(".*"))


def test_the_best_model_is_kept_beside_the_last(
    pictures: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genzoo.core.training.trainer import Trainer

    losses = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(Trainer, "validate", lambda self: next(losses))
    folder = tmp_path / "run"
    run = fit(pictures(30), folder, options={"train.validation": 6, "train.validate_every": 2})
    told = json.loads((folder / "best" / "training.json").read_text())
    assert (told["steps"], told["metrics"]["held-out loss"]) == (4, 1.0)
    assert run.metrics["held-out loss"] == 2.0
    monkeypatch.undo()
    best = genzoo.load(folder / "best")  # what a run of four steps ends with
    assert torch.equal(best.sample(3), _four_steps(pictures).sample(3))
    assert not torch.equal(best.sample(3), run.model.sample(3))


def _four_steps(pictures: Callable[..., Any]) -> genzoo.Model:
    return fit(pictures(30), steps=4, options={"train.validation": 6, "train.validate_every": 5}).model


def test_no_folder_writes_nothing(
    pictures: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = fit(pictures(), options={"train.validation": 2})
    assert run.folder is None
    assert run.metrics["latent size"] == 2
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="tensorboard=True writes event files under out"):
        fit(pictures(), tensorboard=True)
    with pytest.raises(UsageError, match="resuming needs the run's folder"):
        fit(pictures(), resume=True)


def test_an_empty_folder_will_do(pictures: Callable[..., Any], tmp_path: Path) -> None:
    assert fit(pictures(), tmp_path, steps=1).finished
    assert genzoo.load(tmp_path).latent.size == 2


def test_fine_tuning_starts_from_equal_weights(pictures: Callable[..., Any], tmp_path: Path) -> None:
    fit(pictures(), tmp_path / "first")
    before = load_file(tmp_path / "first" / "model.safetensors")
    # Nothing moves at learning rate 0, so what comes out is what it began with.
    still = fit(255 - pictures(), tmp_path / "still", init=tmp_path / "first", seed=9, options={"train.lr": 0.0})
    assert all(torch.equal(v, before[k]) for k, v in still.model.state_dict().items())
    moved = fit(255 - pictures(), init=str(tmp_path / "first"), seed=9)
    assert not torch.equal(moved.model.sample(2), still.model.sample(2))
    averaged = fit(pictures(), init=tmp_path / "first", options={"train.lr": 0.0, "train.average": 10})
    assert all(torch.equal(v, before[k]) for k, v in averaged.model.state_dict().items())


def test_tensorboard(pictures: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fit(pictures(), tmp_path / "run", tensorboard=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert {"loss", "nll", "kl"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["samples"]
    written = [(e.step, e.value) for e in events.Scalars("loss")]
    assert [s for s, _ in written] == [2, 4, 6]
    np.testing.assert_allclose([v for _, v in written], [r["loss"] for r in run.history if "loss" in r], rtol=1e-6)


def test_tensorboard_that_is_missing_is_one_sentence(
    pictures: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(GenzooError, match="event files need the tensorboard package"):
        fit(pictures(), tmp_path / "run", tensorboard=True)


def test_equal_seeds_give_equal_bytes(pictures: Callable[..., Any], tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(name) + seed)  # the global seed has no say
        fit(pictures(), tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / n / "model.safetensors").read_bytes() for n in "abc")
    assert a == b
    assert a != c
    assert (tmp_path / "a" / "samples.png").read_bytes() == (tmp_path / "b" / "samples.png").read_bytes()


def test_the_global_seed_is_left_alone(pictures: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    fit(pictures())
    assert torch.equal(torch.rand(2), expected)


def test_a_resumed_run_is_the_one_that_never_stopped(pictures: Callable[..., Any], tmp_path: Path) -> None:
    """Stopped in the middle by an observer's hand, with validation, average and schedule."""
    options = {"train.validation": 6, "train.average": 20, "train.schedule": "cosine", "train.checkpoint_every": 2}
    whole = fit(pictures(30), tmp_path / "whole", options=options)

    def stop_at_3(trainer: Any, config: Any) -> None:
        step = trainer._one_step

        def counted() -> None:
            step()
            trainer.stopping = trainer.step + 1 == 3

        trainer._one_step = counted

    half = fit(pictures(30), tmp_path / "half", options=options, on_start=stop_at_3)
    assert (half.finished, half.steps) == (False, 3)
    again = fit(pictures(30), tmp_path / "half", options=options, resume=True)
    assert (again.finished, again.steps) == (True, 6)
    a, b = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("whole", "half"))
    assert a == b
    losses = [[r["held-out loss"] for r in run.history if "held-out loss" in r] for run in (whole, again)]
    assert losses[0] == losses[1]
    finished = fit(pictures(30), tmp_path / "half", options=options, resume=True)  # there is nothing left to do
    assert finished.steps == 6
