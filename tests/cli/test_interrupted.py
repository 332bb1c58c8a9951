"""Training that is stopped, killed, or out of disk: what is left is whole, and resuming ends where it would have."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genzoo as gz

Run = Callable[..., Any]  # genzoo(*arguments), train(recipe, data, out, *arguments), start(*arguments); see conftest.py
STEPS = 150


def arguments(recipe: str, images: Path, out: Path, *more: str) -> list[object]:
    other = "critic" if "gan" in recipe else "encoder"
    options = ["generator.width=8", f"{other}.width=8", "train.average=100", "train.log_every=1"]
    options += ["train.batch_size=8", "train.validation=0", "latent.size=3", "train.sample_every=100", *more]
    sets = [x for option in options for x in ("--set", option)]
    parts = ["--generator", "mlp", f"--{other}", "mlp", "--device", "cpu", "--quiet"]
    return ["train", recipe, "--data", images, "--out", out, "--steps", STEPS, *parts, *sets]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Callable[[str], bytes]:
    """The bytes of the tensors that a run ends with that nothing interrupts."""
    from typer.testing import CliRunner

    from genzoo.cli.main import app

    found: dict[str, bytes] = {}

    def run(recipe: str) -> bytes:
        if recipe not in found:
            out = tmp_path_factory.mktemp("whole") / "run"
            result = CliRunner().invoke(app, [str(a) for a in arguments(recipe, images, out)], catch_exceptions=False)
            assert result.exit_code == 0
            found[recipe] = (out / "model.safetensors").read_bytes()
        return found[recipe]

    return run


def under_way(process: subprocess.Popen[str], run: Path, ready: Callable[[], bool]) -> None:
    """Wait until a run has come so far."""
    for _ in range(1200):
        if ready() or process.poll() is not None:
            break
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()
    assert ready()


def logged(run: Path, steps: int) -> Callable[[], bool]:
    return lambda: (run / "log.jsonl").exists() and (run / "log.jsonl").read_text().count("\n") >= steps


def records(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("recipe", "number"), [("vae", signal.SIGINT), pytest.param("gan", signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_stops_after_the_step_and_saves(
    genzoo: Run,
    start: Run,
    images: Path,
    uninterrupted: Callable[[str], bytes],
    tmp_path: Path,
    recipe: str,
    number: signal.Signals,
) -> None:
    run = tmp_path / "run"
    process = start(*arguments(recipe, images, run))
    under_way(process, run, logged(run, 1))
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "stopping after this step" in err
    assert "--resume" in err
    assert "Traceback" not in err
    (done,) = [int(w) for w in out.split() if w.isdigit()][:1]
    assert 0 < done < STEPS
    assert records(run)[-1]["step"] == done
    assert json.loads((run / "training.json").read_text())["steps"] == done
    assert not list(run.rglob(".*"))
    assert genzoo("sample", run, "-n", 2, "--out", tmp_path / "x.png").code == 0
    gz.load(run / "checkpoints" / f"step-{done:08d}")  # a checkpoint is a weights folder too

    again = arguments(recipe, images, run)
    genzoo(*again).sentence("already holds a run", "--resume", code=2)
    ran = genzoo(*again, "--resume")
    assert ran.code == 0, ran.err
    assert (run / "model.safetensors").read_bytes() == uninterrupted(recipe)
    assert [r["step"] for r in records(run)] == list(range(1, STEPS + 1))


def test_a_killed_run_goes_on_from_its_checkpoint(
    genzoo: Run, start: Run, images: Path, uninterrupted: Callable[[str], bytes], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = arguments("vae", images, run, "train.checkpoint_every=20")
    process = start(*command)
    under_way(process, run, lambda: len(list(run.glob("checkpoints/step-*/manifest.json"))) >= 2)
    process.kill()
    process.communicate()
    assert not (run / "manifest.json").exists()
    newest = max(run.glob("checkpoints/step-*/manifest.json")).parent

    ran = genzoo("sample", run, "-n", 2, "--out", tmp_path / "x.png")
    assert ran.code == 0, ran.err
    assert f"the run was not finished, using {newest}" in ran.err
    genzoo(*command).sentence("interrupted: go on with --resume", code=2)

    (newest.parent / ".writing-left").mkdir()  # what a kill in the middle of a checkpoint leaves
    damaged = newest / "trainer.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    ran = genzoo(*command, "--resume")
    assert ran.code == 0, ran.err
    assert f"{damaged} is damaged" in ran.err
    assert "falling back to" in ran.err
    assert (run / "model.safetensors").read_bytes() == uninterrupted("vae")
    assert [r["step"] for r in records(run)] == list(range(1, STEPS + 1))
    assert not list(run.rglob(".*"))
    assert len(list(run.glob("checkpoints/step-*"))) == 2

    for file in run.glob("checkpoints/*/model.safetensors"):
        file.write_bytes(b"")
    genzoo(*command, "--resume").sentence("no checkpoint to go on from", "is damaged", code=1)


SLEEPS = """
import sys, time
from genzoo.registry.verbs.fit import fit
def sleep_at_step_3(trainer, config):
    one_step = trainer._one_step
    def step():
        if trainer.step == 3:
            print("asleep", flush=True)
            time.sleep(100)
        one_step()
    trainer._one_step = step
fit("vae", sys.argv[1], sys.argv[2], steps=5, on_start=sleep_at_step_3, device="cpu", progress=False,
    options={"train.log_every": 1, "train.validation": 0, "train.sample_every": 1, "latent.size": 3,
             "generator": "mlp", "encoder": "mlp"})
"""


@pytest.mark.slow
def test_a_run_that_has_no_checkpoint_yet(genzoo: Run, images: Path, tmp_path: Path, python_start: Run) -> None:
    """While it lives nobody else may train there; when it was killed, --resume starts over."""
    run = tmp_path / "run"
    process = python_start("-c", SLEEPS, images, run)
    assert process.stdout.readline() == "asleep\n"
    command = ["train", "vae", "--data", images, "--out", run, "--steps", 5, "--device", "cpu", "--quiet"]
    for option in ("train.log_every=1", "train.validation=0", "train.sample_every=1", "latent.size=3"):
        command += ["--set", option]
    command += ["--generator", "mlp", "--encoder", "mlp"]
    before = sorted(run.rglob("*"))
    for more in ((), ("--resume",)):
        genzoo(*command, *more).sentence(f"another process is training in {run}", code=2)
    assert sorted(run.rglob("*")) == before
    process.kill()
    process.communicate()
    with open(run / "log.jsonl", "a") as log:
        log.write('{"step": 4, "sec')
    (run / "samples" / ".writing-x.png").touch()
    genzoo(*command).sentence("go on with --resume", code=2)
    ran = genzoo(*command, "--resume")
    assert ran.code == 0
    assert ran.err.startswith(f"genzoo: {run} was stopped before its first checkpoint; starting over\n")
    assert [r["step"] for r in records(run)] == [1, 2, 3, 4, 5]
    assert not list(run.rglob(".*"))
    assert genzoo(*command[:5], tmp_path / "other", *command[6:]).code == 0
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "other" / "model.safetensors").read_bytes()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "log.jsonl").touch()
    (tmp_path / "mine" / "thesis.tex").touch()
    genzoo(*command[:5], tmp_path / "mine", *command[6:], "--resume").sentence("no checkpoint", code=2)
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["log.jsonl", "thesis.tex"]


@pytest.mark.slow
def test_a_file_size_limit_on_a_real_process(
    genzoo: Run, images: Path, uninterrupted: Callable[[str], bytes], tmp_path: Path
) -> None:
    """The kernel's signal for it (SIGXFSZ) must not kill: the first checkpoint fits, and a growing log does not."""
    run = tmp_path / "run"
    command = [str(a) for a in arguments("gan", images, run, "train.checkpoint_every=20")]
    limit = 30_000

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    ran = subprocess.run([sys.executable, "-m", "genzoo.cli", *command], capture_output=True, text=True, check=False,
                         timeout=120, preexec_fn=limited, env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert ran.returncode == 1, ran
    assert ran.stderr.startswith("genzoo: no space left to write")
    assert ran.stderr.count("\n") == 1
    assert list(run.glob("checkpoints/step-*"))
    assert records(run)[-1]["step"] < STEPS
    gz.load(run, verbose=False)
    assert not list(run.rglob(".*"))
    assert genzoo(*command, "--resume").code == 0
    assert (run / "model.safetensors").read_bytes() == uninterrupted("gan")
    assert [r["step"] for r in records(run)] == list(range(1, STEPS + 1))


def test_a_second_signal_ends_at_once(images: Path, tmp_path: Path, python_start: Run) -> None:
    code = f"""
import time
from genzoo.registry.verbs.fit import fit
def slow(trainer, config):
    def step():
        print("stepping", flush=True)
        time.sleep(60)
    trainer._one_step = step
fit("vae", {str(images)!r}, {str(tmp_path / "run")!r}, steps=5, on_start=slow, device="cpu")
"""
    process = python_start("-c", code)
    assert process.stdout.readline() == "stepping\n"
    process.send_signal(signal.SIGINT)
    while "again to stop at once" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(0.5)  # the announcement comes first
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert process.returncode == -signal.SIGINT


IN_A_SCRIPT = """
import signal, sys
from genzoo.registry.verbs.fit import fit
def raise_at_step_3(trainer, config):
    one_step = trainer._one_step
    def step():
        one_step()
        if trainer.step == 2:
            signal.raise_signal(int(sys.argv[3]))
    trainer._one_step = step
how = dict(steps=5, on_start=raise_at_step_3, device="cpu", progress=False,
           options={"train.validation": 0, "latent.size": 3, "generator": "mlp", "encoder": "mlp"})
try:
    fit("vae", sys.argv[1], sys.argv[2], **how)
except KeyboardInterrupt as e:
    print("interrupted after step", e.run.steps, e.run.finished, e.run.stopped_by)
    raise
print("not interrupted")
"""


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_script_is_interrupted_after_its_run_was_saved(
    images: Path, tmp_path: Path, python_start: Run, number: signal.Signals
) -> None:
    process = python_start("-c", IN_A_SCRIPT, images, tmp_path / "run", int(number))
    out, _ = process.communicate(timeout=60)
    assert json.loads((tmp_path / "run" / "training.json").read_text())["steps"] == 3
    assert process.returncode == -number  # as Python ends by a KeyboardInterrupt that nothing catches
    assert out == ("interrupted after step 3 False 2\n" if number == signal.SIGINT else "")


def test_interrupted_before_training_starts(
    train: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import genzoo.registry.verbs.fit as training

    def interrupt(*arguments: object, **how: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "open_data", interrupt)
    ran = train("vae", images, tmp_path / "run")
    assert (ran.code, ran.out, ran.err) == (130, "", "genzoo: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_an_import_that_is_interrupted_is_an_interruption(
    train: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import genzoo.registry.verbs.fit as training

    def interrupted_import(*arguments: object, **how: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:  # as torch does while it imports NumPy
            raise ImportError("cannot load module more than once per process") from None

    monkeypatch.setattr(training, "open_data", interrupted_import)
    ran = train("vae", images, tmp_path / "run")
    assert (ran.code, ran.out, ran.err) == (130, "", "genzoo: interrupted\n")


# --- out of disk ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [100, 1200, 4000])
def test_out_of_disk_while_training(
    train: Run, disk: Callable[[int], Any], images: Path, tmp_path: Path, limit: int
) -> None:
    """The log, the pictures or the tensors do not fit: one sentence, and nothing that looks like weights."""
    with disk(limit):
        ran = train("vae", images, tmp_path / "run", "--steps", 30, "--set", "train.log_every=1", narrow=True)
    ran.sentence("no space left to write", code=1)
    left = [p for p in (tmp_path / "run").rglob("*") if p.is_file()] if (tmp_path / "run").exists() else []
    assert {p.name for p in left} <= {"log.jsonl", "step-0000003.png", "step-0000006.png"}, left
    with pytest.raises(gz.GenzooError, match=r"holds no weights|no weights folder"):
        gz.load(tmp_path / "run")


@pytest.mark.slow
def test_a_full_disk_costs_no_checkpoint(
    train: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever write of tensors fails, the run goes on from what was whole and ends as it would have."""
    from genzoo.core.storage import weights

    def run(out: Path, *more: object) -> Any:
        options = ("--steps", 6, "--set", "train.checkpoint_every=2", "--set", "train.keep=1")
        return train("gan", images, out, *options, *more, narrow=True)

    assert run(tmp_path / "whole").code == 0
    expected = (tmp_path / "whole" / "model.safetensors").read_bytes()
    real, made = weights.save_file, [0]

    def fail_at(number: int) -> None:
        def save(*arguments: Any, **how: Any) -> None:
            made[0] += 1
            if made[0] == number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(*arguments, **how)

        made[0] = 0
        monkeypatch.setattr(weights, "save_file", save)

    for number in range(1, 20):
        out = tmp_path / f"run{number}"
        fail_at(number)
        ran = run(out)
        if ran.code == 0:
            assert made[0] == number - 1  # there was no such write
            break
        ran.sentence("no space left to write", code=1)
        assert not list(out.rglob(".*"))
        monkeypatch.setattr(weights, "save_file", real)
        if number <= 2:  # the first checkpoint was not finished
            run(out, "--resume").sentence("no checkpoint to resume from", code=2)
            continue
        gz.load(out, verbose=False)
        again = run(out, "--resume")
        assert again.code == 0, again.err
        assert (out / "model.safetensors").read_bytes() == expected
    assert number == 8  # three checkpoints of two files each, and the weights
