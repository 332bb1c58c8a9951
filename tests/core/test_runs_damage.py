"""Damaged checkpoints are never loaded; the run goes on from the one before, says so, and ends with the same bytes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import genzoo
from genzoo.core.errors import GenzooError
from genzoo.core.storage.files import ASIDE, MANIFEST
from genzoo.core.training.observers import LogFile
from genzoo.core.training.runs import (
    checkpoints,
    from_newest,
    read_checkpoint,
    save_checkpoint,
    thinned,
    verified,
)

FILES = ["config.json", "model.safetensors", "trainer.safetensors", "trainer.json", MANIFEST]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


HARMS: dict[str, Callable[[Path], Any]] = {
    "flipped": flip,
    "cut": cut,
    "empty": lambda path: path.write_bytes(b""),
    "deleted": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}
GIVEN = {"train.checkpoint_every": 2, "train.keep": 3, "train.sample_every": 100, "train.log_every": 1}


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``train(FOLDER, …)``: 9 steps of a small GAN."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2)).astype(np.float32)
    small = {"generator": "mlp", "critic": "mlp", "generator.width": 8, "critic.width": 8, "train.average": 30}

    def run(folder: Path, **how: Any) -> genzoo.Run:
        return genzoo.fit("gan", x, folder, steps=9, batch_size=7, options=small | GIVEN, device="cpu",
                          progress=False, **how)  # fmt: skip

    return run


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, train: Any) -> tuple[Path, bytes]:
    """A run that was killed after step 6 with three checkpoints, and the bytes it is to end with."""
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "whole")

    def die_after_7(trainer: Any, config: Any) -> None:
        one_step = trainer._one_step

        def step() -> None:
            if trainer.step == 7:
                raise RuntimeError("power failure")
            one_step()

        trainer._one_step = step

    with pytest.raises(RuntimeError, match="power failure"):
        train(folder / "run", on_start=die_after_7)
    assert [p.name for p in checkpoints(folder / "run")] == [f"step-{n:08d}" for n in (2, 4, 6)]
    return folder / "run", (folder / "whole" / "model.safetensors").read_bytes()


def check(run: Path, expected: bytes) -> None:
    assert (run / "model.safetensors").read_bytes() == expected
    steps = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 10))
    found = checkpoints(run)  # damaged ones are gone
    assert [p.name for p in found] == [f"step-{n:08d}" for n in (6, 8, 9)]
    for folder in found:
        read_checkpoint(folder)
    assert not list(run.rglob(f"{ASIDE}*"))


CASES = [(name, "flipped") for name in FILES] + [
    (name, how) for name in FILES[::2] for how in HARMS if how != "flipped"
]


@pytest.mark.parametrize(
    ("name", "how"), [pytest.param(*c, marks=pytest.mark.slow if i % 2 else ()) for i, c in enumerate(CASES)]
)
def test_the_newest_checkpoint_is_damaged(
    interrupted: tuple[Path, bytes], train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(interrupted[0], run)
    HARMS[how](run / "checkpoints" / "step-00000006" / name)
    train(run, resume=True)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert name in said[0]
    assert "falling back to" in said[0]
    assert said[0].endswith("step-00000004")
    check(run, interrupted[1])


@pytest.mark.parametrize("names", [FILES[:2], FILES[2:4], FILES[-1:] * 2], ids=" ".join)
def test_the_newest_two_are_damaged(
    interrupted: tuple[Path, bytes], train: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(interrupted[0], run)
    for step, name in zip((6, 4), names, strict=True):
        flip(run / "checkpoints" / f"step-{step:08d}" / name)
    train(run, resume=True)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("damaged" in line and line.endswith("step-00000002") for line in said)
    check(run, interrupted[1])


def test_all_are_damaged(interrupted: tuple[Path, bytes], train: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(interrupted[0], run)
    for folder in checkpoints(run):
        flip(folder / "trainer.safetensors")
    before = sorted(p.relative_to(run) for p in run.rglob("*"))
    with pytest.raises(
        GenzooError, match=r"no checkpoint to go on from: .*step-00000006/trainer\.safetensors is damaged"
    ):
        train(run, resume=True)
    assert sorted(p.relative_to(run) for p in run.rglob("*")) == before  # nothing is thrown away


def test_what_a_process_that_died_left_is_cleared_away(
    interrupted: tuple[Path, bytes], train: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(interrupted[0], run)
    for place in (run, run / "checkpoints", run / "samples", run / "best"):
        (place / f"{ASIDE}folder" / "deep").mkdir(parents=True)
        (place / f"{ASIDE}file.png").write_bytes(b"half")
    shutil.move(run / "checkpoints" / "step-00000002", run / "checkpoints" / f"{ASIDE}step-00000002")
    with open(run / "log.jsonl", "a") as file:
        file.write('{"step": 8, "seconds": 0.0, "cri')  # a torn line
    train(run, resume=True)
    check(run, interrupted[1])


def test_a_torn_log_is_mended(tmp_path: Path) -> None:
    """What is left are the lines up to the checkpoint's step; where one of them is missing, the checkpoint has it."""
    log = tmp_path / "log.jsonl"
    history = [{"step": i, "seconds": 0.1 * i, "loss": 1 / i} for i in range(1, 7)]
    lines = [f"{json.dumps(r)}\n".encode() for r in history]
    later = f"{json.dumps({'step': 7, 'seconds': 1.0, 'loss': 0.0})}\n".encode()
    whole, torn = b"".join(lines), [b'{"step": 8, "seco', b"\xff\xfe\n", b"[]\n", b"null\n", b'{"no": 1}\n', b"\n"]
    for end in (b"", later, later[:-1], *torn):
        for content in (whole + end, b"".join(lines[:3]) + end, end, whole + later + whole, lines[0][:-1] + whole):
            log.write_bytes(content)
            LogFile(SimpleNamespace(step=6, history=history), log)  # type: ignore[arg-type]
            assert log.read_bytes() == whole
    log.write_bytes(whole + later)  # a long history is thinned in checkpoints, and not in the log
    LogFile(SimpleNamespace(step=6, history=history[1::2]), log)  # type: ignore[arg-type]
    assert log.read_bytes() == whole
    log.unlink()
    LogFile(SimpleNamespace(step=6, history=history[1::2]), log)  # type: ignore[arg-type]
    assert log.read_bytes() == b"".join(lines[1::2])


@pytest.mark.parametrize("every", [1, 3, 50])
@pytest.mark.parametrize("most", [4, 10])
def test_thinning_does_not_depend_on_when_it_was_done(every: int, most: int) -> None:
    """A history that was thinned in a checkpoint and went on is thinned to the same records."""
    whole = [{"step": every * i} for i in range(1, 101)]
    whole += [{"step": every * 100, "held-out loss": 0.5}]
    for stop in range(1, 101):
        left = thinned(whole[:stop], every, most)
        assert left[-1] == whole[stop - 1]
        assert stop <= most or most // 2 <= len(left) <= most + 2
        assert thinned([*left, *whole[stop:]], every, most) == thinned(whole, every, most)
    assert thinned(whole[:most], every, most) == whole[:most]
    assert thinned([], every, most) == []
    assert whole[-1] in thinned([*whole, {"step": every * 150}], every, most)


def test_reading_while_checkpoints_come_and_go(interrupted: tuple[Path, bytes], tmp_path: Path) -> None:
    """What is dropped while it is read is no damage: the next newest is taken."""
    run = tmp_path / "run"
    shutil.copytree(interrupted[0], run)
    read: list[str] = []

    def meanwhile(folder: Path) -> Any:
        read.append(folder.name)
        if len(read) == 1:  # the process that trains saves and drops while this one reads
            shutil.copytree(folder, folder.with_name("step-00000008"))
            shutil.rmtree(folder)
        return read_checkpoint(folder)[3]["step"]

    folder, step, problems = from_newest(run, meanwhile)
    assert read == ["step-00000006", "step-00000008"]
    assert (folder.name, step, problems) == ("step-00000008", 6, [])

    def always(folder: Path) -> Any:
        shutil.rmtree(folder)
        return read_checkpoint(folder)

    with pytest.raises(GenzooError, match=r"has no checkpoint to go on from$"):
        from_newest(run, always)


def test_each_hash_is_computed_once(
    interrupted: tuple[Path, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from genzoo.core.storage import files

    hashed: list[str] = []
    real = files.sha256

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return real(path)

    monkeypatch.setattr(files, "sha256", counted)
    from_newest(interrupted[0], read_checkpoint)
    assert sorted(hashed) == sorted(FILES[:-1])
    assert from_newest(interrupted[0], verified)[::2] == (interrupted[0] / "checkpoints" / "step-00000006", [])


def test_a_later_checkpoint_is_of_another_life(trainer: Any, tmp_path: Path) -> None:
    """One that is damaged and newer than what the run went on from neither counts as kept nor stays."""
    run = trainer("vae", train__steps=4)
    run.nets.model.config = _config()
    for step in (7, 9):
        (tmp_path / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    run.train()
    save_checkpoint(tmp_path, run, keep=1)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000004"]
    read_checkpoint(checkpoints(tmp_path)[0])


def _config() -> Any:
    from genzoo.core.spec import DataSpec
    from genzoo.registry import the_registry
    from genzoo.registry.recipes.compose import compose

    return compose(the_registry(), DataSpec("vector", (2,), classes=3), "vae", {})
