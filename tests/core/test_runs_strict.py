"""Checkpoints whose hashes fit what somebody made of them: one sentence, and nothing is loaded."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import genzoo
from genzoo.core.errors import GenzooError
from genzoo.core.storage.files import MANIFEST
from genzoo.core.training.runs import checkpoints, read_checkpoint

SMALL = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8, "train.log_every": 1}
X = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)


def train(folder: Path, steps: int, **how: Any) -> genzoo.Run:
    return genzoo.fit("vae", X, folder, steps=steps, batch_size=7, options=SMALL, device="cpu", progress=False, **how)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strict") / "run"

    def stop(trainer: Any, config: Any) -> None:
        one_step = trainer._one_step

        def step() -> None:
            one_step()
            trainer.stopping = trainer.step == 3

        trainer._one_step = step

    train(folder, 5, on_start=stop)
    return folder


def sign(folder: Path) -> None:
    """Make the manifest fit what is there."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        entry |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def plain(**change: Any) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        path = folder / "trainer.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    return harm


def text(name: str, content: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(content)


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "deep": (text("trainer.json", "[" * 100_000 + "]" * 100_000), "nest deeper"),
    "a list": (text("trainer.json", "[]"), "holds no object"),
    "twice": (text("trainer.json", '{"step": 1, "step": 2}'), "'step' twice"),
    "digits": (text("trainer.json", '{"step": ' + "9" * 10_000 + "}"), "beyond 64 bits"),
    "no step": (plain(step=None), "no 'step' that makes sense"),
    "a step beyond": (plain(step=10**9), "step 1000000000 of 5"),
    "history": (plain(history=[1, 2]), "history that makes no sense"),
    "record": (plain(record=[]), "no 'record' that makes sense"),
    "header": (lambda f: (f / "trainer.safetensors").write_bytes(b"\xff" * 4000), "no safetensors file"),
    "overlap": (
        lambda f: (f / "trainer.safetensors").write_bytes(
            (head := json.dumps({k: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for k in "ab"}).encode())
            and len(head).to_bytes(8, "little") + head + b"\0" * 4
        ),
        "no safetensors file",
    ),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_what_makes_no_sense_is_refused_in_one_sentence(trained: Path, tmp_path: Path, how: str) -> None:
    harm, sentence = HOSTILE[how]
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (folder,) = checkpoints(run)
    harm(folder)
    with pytest.raises(GenzooError, match=r"sha256|size|damaged"):
        read_checkpoint(folder)
    sign(folder)
    with pytest.raises(GenzooError, match=sentence) as caught:
        read_checkpoint(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    with pytest.raises(GenzooError, match=sentence):
        train(run, 5, resume=True)


@pytest.mark.parametrize("how", ["shape", "missing", "foreign optimizer"])
def test_what_does_not_fit_the_run_is_refused_in_one_sentence(trained: Path, tmp_path: Path, how: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (folder,) = checkpoints(run)
    name = "trainer.safetensors" if how == "foreign optimizer" else "model.safetensors"
    tensors = load_file(folder / name)
    first = next(k for k in tensors if tensors[k].dim() == 2) if how != "foreign optimizer" else ""
    if how == "shape":
        tensors[first] = torch.zeros(3, 3)
    elif how == "missing":
        del tensors[first]
    else:
        tensors["optimizer.model.999.exp_avg"] = torch.zeros(2)
        assert any(k.startswith("optimizer.model.") for k in list(tensors)[:-1])
    save_file(tensors, folder / name)
    sign(folder)
    with pytest.raises(GenzooError) as caught:
        train(run, 5, resume=True)
    assert "\n" not in str(caught.value)


def test_a_link_is_not_followed(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (folder,) = checkpoints(run)
    (folder / "trainer.json").rename(tmp_path / "elsewhere.json")
    os.symlink(tmp_path / "elsewhere.json", folder / "trainer.json")
    with pytest.raises(GenzooError, match=r"is a link|no plain file"):
        read_checkpoint(folder)


def test_an_infinite_held_out_loss_does_not_cost_the_run(trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (folder,) = checkpoints(run)
    before = json.loads((folder / "trainer.json").read_text())["history"]
    plain(history=[*before[:-1], before[-1] | {"held-out loss": math.inf}])(folder)
    sign(folder)
    assert read_checkpoint(folder)[3]["history"][-1]["held-out loss"] == math.inf
    assert train(run, 5, resume=True).steps == 5
