"""A disk that is full at any moment of a save: one sentence, the checkpoint before is good, and the run can go on."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genzoo
from genzoo.core.errors import GenzooError
from genzoo.core.record import TrainingRecord
from genzoo.core.storage.files import ASIDE, MANIFEST, read_manifest, update_folder, verify
from genzoo.core.training.runs import (
    checkpoints,
    from_newest,
    read_checkpoint,
    save_checkpoint,
    verified,
    weights_files,
)
from genzoo.core.training.trainer import Trainer

SMALL = {"generator": "mlp", "generator.width": 8, "train.average": 30, "train.sample_every": 2, "train.log_every": 1,
         "train.checkpoint_every": 2, "train.keep": 2}  # fmt: skip

# What may fail unnoticed: taking away what is not needed any more, and making a folder that is there.
CLEARING = ("rename", "unlink", "rmdir", "mkdir")


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def said_by(action: Callable[[], object]) -> str:
    """The sentence with which something failed, "" if it did not."""
    try:
        action()
    except GenzooError as e:
        return str(e)
    return ""


def train(recipe: str, folder: Path, **how: Any) -> genzoo.Run:
    second = {"critic": "mlp", "critic.width": 8} if "gan" in recipe else {"encoder": "mlp", "encoder.width": 8}
    if "vae" in recipe:
        second |= {"train.validation": 8, "train.validate_every": 2}
    x = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    return genzoo.fit(recipe, x, folder, steps=4, batch_size=7, options=SMALL | second, device="cpu",
                      progress=False, **how)  # fmt: skip


@pytest.fixture
def halfway(tmp_path: Path) -> Any:
    """A trainer after step 4 of 4 with a checkpoint of step 2 in ``run``, the folder."""
    folder, held = tmp_path / "run", list[Trainer]()
    train("gan", folder, on_start=lambda trainer, config: held.append(trainer))
    shutil.rmtree(folder / "checkpoints" / "step-00000004")
    return folder, held[0]


def test_a_full_disk_at_any_call_of_a_save(halfway: Any, failing_at: Any) -> None:
    run, trainer = halfway
    before, newest = checkpoints(run), run / "checkpoints" / "step-00000004"
    with failing_at(-10, full()) as made:
        save_checkpoint(run, trainer, 2)
    total, kinds = len(made), set(made)
    assert {"open", "write", "save_file", "fsync", "mkdir", "rename", "chmod"} <= kinds
    expected = {p.name: p.read_bytes() for p in newest.glob("*.safetensors")}
    told = 0
    for number in range(total):
        shutil.rmtree(newest)
        with failing_at(number, full()) as made:
            said = said_by(lambda: save_checkpoint(run, trainer, 2))
        if said:
            assert said.startswith(f"no space left to write {newest}: ")
            assert "\n" not in said
            told += 1
        else:
            assert made[number] in CLEARING, made[number]
        for folder in checkpoints(run):  # what is there is whole
            read_checkpoint(folder)
        assert from_newest(run, verified)[0] in (before[0], newest)
        save_checkpoint(run, trainer, 2)  # there is space again
        assert {p.name: p.read_bytes() for p in newest.glob("*.safetensors")} == expected
        assert not list(run.rglob(f"{ASIDE}*"))
    assert told >= total - 6


@pytest.mark.slow
def test_a_full_disk_at_any_call_of_writing_weights(halfway: Any, failing_at: Any) -> None:
    """The weights that are there stay, whichever call fails, and nothing claims to be whole that is not."""
    run, trainer = halfway
    record = json.loads((run / "training.json").read_text())
    records = [TrainingRecord.from_dict(record | {"seed": seed}) for seed in (0, 1)]
    old, new = (weights_files(trainer.model, r) for r in records)
    with failing_at(-10, full()) as made:
        update_folder(run, old)
    before = {name: (run / name).read_bytes() for name in read_manifest(run)}
    for number in range(len(made)):
        with failing_at(number, full()) as made:
            said = said_by(lambda: update_folder(run, new))
        assert said.startswith(f"no space left to write {run}: ") or made[number] in CLEARING, (said, made[number])
        verify(run, read_manifest(run))
        now = {name: (run / name).read_bytes() for name in read_manifest(run)}
        assert now == before or json.loads(now["training.json"])["seed"] == 1
        update_folder(run, old)
        assert {name: (run / name).read_bytes() for name in read_manifest(run)} == before
        assert not list(run.rglob(f"{ASIDE}*"))


def disk_full_at(recipe: str, number: int, run: Path, expected: Path, failing_at: Any) -> str:
    """Train with call ``number`` failing, then go on; the name of the call, "" if there are fewer."""
    with failing_at(number, full()) as made:
        said = said_by(lambda: train(recipe, run))
    if not said:
        assert len(made) <= number or made[number] in CLEARING
        shutil.rmtree(run)
        return made[number] if len(made) > number else ""
    assert "no space left" in said
    assert "\n" not in said
    assert (run / MANIFEST).exists() <= (made[number] == "fsync")
    if run.exists() and checkpoints(run):
        for folder in checkpoints(run):
            read_checkpoint(folder)
        genzoo.load(run, verbose=False)
        assert train(recipe, run, resume=True).finished
    else:
        shutil.rmtree(run, ignore_errors=True)
        train(recipe, run)
    assert (run / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    steps = [
        r["step"] for r in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if "held-out loss" not in r
    ]
    assert steps == [1, 2, 3, 4]
    assert {p.name for p in run.iterdir()} == {p.name for p in expected.iterdir()}
    assert not list(run.rglob(f"{ASIDE}*"))
    shutil.rmtree(run)
    return made[number]


def test_a_full_disk_at_some_calls_of_a_run(tmp_path: Path, failing_at: Any) -> None:
    train("vae", tmp_path / "whole")
    for number in range(7, 1000, 47):
        if not disk_full_at("vae", number, tmp_path / "run", tmp_path / "whole", failing_at):
            break
    assert number > 100


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("recipe", ["vae", "wgan-gp"])
def test_a_full_disk_at_any_call_of_a_run(tmp_path: Path, failing_at: Any, recipe: str) -> None:
    train(recipe, tmp_path / "whole")
    failed = []
    for number in range(1000):
        failed.append(disk_full_at(recipe, number, tmp_path / "run", tmp_path / "whole", failing_at))
        if not failed[-1]:
            break
    assert len(failed) > 100
    print(f"{recipe}: {len(failed) - 1} calls failed in turn")


def test_a_model_that_outgrows_what_is_left(tmp_path: Path, halfway: Any) -> None:
    """The library that writes tensors meets a real limit, half-way through the file."""
    import resource

    run, trainer = halfway
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 10, 900, 2000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # Python ignores SIGXFSZ: writes fail with EFBIG
        try:
            with pytest.raises(GenzooError, match="no space left to write"):
                save_checkpoint(run, trainer, 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert from_newest(run, verified)[0].name == "step-00000002"
        assert not list(run.rglob(f"{ASIDE}*"))
