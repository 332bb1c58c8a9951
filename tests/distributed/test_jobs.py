"""Jobs of two processes as people start them: what is written, what is said, and how they end."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import genzoo as gz

CLI, HERE = ("-m", "genzoo.cli"), Path(__file__).parent


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def close(one: Path, two: Path) -> None:
    a, b = (load_file(folder / "model.safetensors") for folder in (one, two))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(b[name], a[name], rtol=1e-4, atol=1e-6, err_msg=name)


def records(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def in_this_process(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    script = str(HERE / "session.py")
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(script, run_name="__main__")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["vae", "wgan-gp"])
def test_a_run_that_was_split_goes_on_whole(
    jobs: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    """With the moving average, held-out losses, pictures, and checkpoints that both processes make by one's clock."""
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    in_this_process(monkeypatch, data, whole, recipe, -1, 0)
    done = jobs.launched(HERE / "session.py", data, moved, recipe, 8, 0, SPLIT="1", OFTEN="1")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    steps = sorted(int(p.name[5:]) for p in (moved / "checkpoints").iterdir())
    assert len(steps) == 2
    assert steps[0] < steps[1] < 12
    gz.load(moved).sample(3)
    in_this_process(monkeypatch, data, moved, recipe, -1, 1)
    close(whole, moved)
    assert [r["step"] for r in records(moved)] == [r["step"] for r in records(whole)]


@pytest.mark.parametrize("recipe", ["vae", pytest.param("wgan-gp", marks=pytest.mark.slow)])
def test_a_run_moves_from_one_process_to_two_and_back(
    jobs: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    """In a user's script: the end, the log and the files are those of a single process that never stopped."""
    whole, moved, script = tmp_path / "whole", tmp_path / "moved", HERE / "session.py"

    def here(out: Path, stop: int, resume: int) -> None:
        in_this_process(monkeypatch, data, out, recipe, stop, resume)

    here(whole, -1, 0)
    here(moved, 3, 0)
    done = jobs.launched(script, data, moved, recipe, 6, 1)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    here(moved, -1, 1)
    close(whole, moved)
    assert [r["step"] for r in records(moved)] == [r["step"] for r in records(whole)]
    for one, two in zip(records(whole), records(moved), strict=True):
        assert {k: v for k, v in two.items() if k != "seconds"} == pytest.approx(
            {k: v for k, v in one.items() if k != "seconds"}, rel=1e-4, abs=1e-5
        )
    assert {n for n in names(whole) if "checkpoints/" not in n} == {n for n in names(moved) if "checkpoints/" not in n}


def test_a_killed_process_ends_the_job_with_its_name(jobs: Any, data: Path, tmp_path: Path, start: Any) -> None:
    out = tmp_path / "run"
    arguments = jobs.train("wgan-gp", data, out, "--steps", 100_000, "--set", "train.checkpoint_every=20")
    process = start(*CLI, *arguments, "--devices", 2)
    jobs.wait_for(lambda: (out / "checkpoints/step-00000020/manifest.json").is_file(), process)
    found = jobs.workers(out)
    os.kill(found[1], signal.SIGKILL)
    began = time.monotonic()
    printed, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert (process.returncode, printed) == (1, "")
    assert said.startswith("genzoo: process 1 of 2 was killed (SIGKILL")
    assert said.endswith("go on with the same command and --resume\n")
    assert said.count("\n") == 1
    assert all(jobs.gone(pid) for pid in found.values())


def test_sampling_is_shared_and_the_bytes_are_the_same(jobs: Any, data: Path, tmp_path: Path) -> None:
    out, one, two = tmp_path / "run", tmp_path / "1.npz", tmp_path / "2.npz"
    parts = {"generator": "mlp", "encoder": "mlp", "latent.size": 3}
    gz.fit("cvae", str(data), out, steps=2, options=parts, device="cpu", progress=False)
    gz.sample(out, one, 300, batch_size=64, noise=True, device="cpu")
    arguments = ("sample", out, "-n", 300, "--out", two, "--batch-size", 64, "--noise", "--device", "cpu")
    done = jobs.genzoo(*arguments, "--devices", 2)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{two}\n", "")
    assert one.read_bytes() == two.read_bytes()
    assert np.load(two)["samples"].shape == (300, 1, 9, 8)


@pytest.mark.slow
def test_samples_in_a_folder_and_what_cannot_be_written(jobs: Any, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert jobs.genzoo(*jobs.train("cvae", data, out, "--steps", 2)).returncode == 0
    for n in (1, 2):
        done = jobs.genzoo("sample", out, "-n", 300, "--out", tmp_path / str(n), "--batch-size", 64, "--devices", n)
        assert done.returncode == 0, done.stderr
    one, two = (sorted((tmp_path / str(n)).rglob("*.png")) for n in (1, 2))  # a folder for each class
    assert [p.relative_to(tmp_path / "1") for p in one] == [p.relative_to(tmp_path / "2") for p in two]
    assert len(one) == 300
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    done = jobs.genzoo("sample", out, "-n", 300, "--out", tmp_path / "no" / "x.txt", "--devices", 2)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("genzoo: cannot tell what to write from 'x.txt'")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_a_job_of_torchrun(jobs: Any, data: Path, tmp_path: Path, start: Any, rank: int) -> None:
    out = tmp_path / "run"
    arguments = jobs.train("gan", data, out, "--steps", 100_000, "--set", "train.checkpoint_every=20")
    process = start(*jobs.TORCHRUN, *CLI, *arguments)
    jobs.wait_for(lambda: (out / "checkpoints/step-00000020/manifest.json").is_file(), process)
    found = jobs.workers(out)
    os.kill(found[rank], signal.SIGKILL)
    began = time.monotonic()
    printed, said = process.communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert process.returncode != 0
    assert printed == ""
    assert f"genzoo: process {rank} of 2 is gone, perhaps killed" in said
    assert all(jobs.gone(pid) for pid in found.values())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_hang_in_twenty_kills(jobs: Any, data: Path, tmp_path: Path, start: Any) -> None:
    """Either process, at any moment, while it starts too."""
    for number in range(20):
        out = tmp_path / f"run{number}"
        process = start(*CLI, *jobs.train("wgan-gp", data, out, "--steps", 100_000), "--devices", 2)
        jobs.wait_for(lambda out=out: len(jobs.workers(out)) == 2, process)
        if number % 2:
            enough = 2 * number
            jobs.wait_for(lambda out=out, n=enough: (out / "log.jsonl").is_file() and len(records(out)) > n, process)
        else:
            time.sleep(0.3 * number)
        os.kill(jobs.workers(out)[number // 2 % 2], signal.SIGKILL)
        began = time.monotonic()
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - began < 15, number
        assert process.returncode == 1
        assert said.startswith(f"genzoo: process {number // 2 % 2} of 2 was killed (SIGKILL"), said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "number"), [("parent", "SIGINT"), ("parent", "SIGTERM"), (0, "SIGTERM"), (1, "SIGINT")]
)
def test_a_signal_to_any_process_stops_all_after_one_step(
    jobs: Any, data: Path, tmp_path: Path, start: Any, target: Any, number: str
) -> None:
    out = tmp_path / "run"
    arguments = jobs.train("gan", data, out, "--steps", 100_000)
    process = start(*CLI, *arguments, "--devices", 2)
    jobs.wait_for(lambda: (out / "log.jsonl").is_file() and len(records(out)) > 5, process)
    found = jobs.workers(out)
    os.kill(process.pid if target == "parent" else found[target], getattr(signal, number))
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 128 + getattr(signal, number), said
    assert "gan, " in printed
    assert "genzoo: interrupted at step" in said
    (checkpoint,) = (out / "checkpoints").iterdir()
    assert json.loads((checkpoint / "trainer.json").read_text())["step"] == len(records(out))
    assert (out / "manifest.json").is_file()
    assert all(jobs.gone(pid) for pid in found.values())


@pytest.mark.slow
def test_a_second_signal_ends_at_once_and_a_dead_parent_leaves_no_orphans(
    jobs: Any, data: Path, tmp_path: Path, start: Any
) -> None:
    for end in ("twice", "kill"):
        out = tmp_path / end
        process = start(*CLI, *jobs.train("gan", data, out, "--steps", 100_000), "--devices", 2)
        jobs.wait_for(lambda out=out: (out / "log.jsonl").is_file(), process)
        found = jobs.workers(out)
        if end == "twice":
            os.kill(found[1], signal.SIGSTOP)  # so that the first cannot be followed
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
        else:
            process.kill()
        began = time.monotonic()
        process.communicate(timeout=30)
        assert process.returncode == (130 if end == "twice" else -signal.SIGKILL)
        assert all(jobs.gone(pid) for pid in found.values())
        assert time.monotonic() - began < 10


@pytest.mark.slow
def test_failures_are_told_once(jobs: Any, data: Path, tmp_path: Path) -> None:
    def says(*arguments: object, code: int) -> str:
        done = jobs.genzoo(*arguments, "--devices", 2)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert done.stderr.startswith("genzoo: ")
        assert done.stderr.count("\n") == 1, done.stderr
        return str(done.stderr)

    out = tmp_path / "run"
    assert "no option 'nonsense'" in says(*jobs.train("gan", data, out, "--set", "train.nonsense=1"), code=2)
    odd = [str(word).replace("train.batch_size=8", "train.batch_size=7") for word in jobs.train("gan", data, out)]
    assert "cannot be shared equally by 2 processes" in says(*odd, code=2)
    assert "nosuch.npz" in says(*jobs.train("gan", tmp_path / "nosuch.npz", out), code=2)
    assert not out.exists()
    broken = ("--steps", 50, "--set", "train.lr=1e30", "--set", "train.optimizer=sgd")
    assert "training broke down at step" in says(*jobs.train("vae", data, out, *broken), code=1)
    assert "broke down" in says(*jobs.train("vae", data, tmp_path / "skip", *broken, "--on-nan", "skip"), code=1)
    (tmp_path / "file").write_text("")
    assert "is a file" in says(*jobs.train("gan", data, tmp_path / "file"), code=2)
    assert "is a file" in says(*jobs.train("gan", data, tmp_path / "file" / "run"), code=1)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["torchrun", "srun", "shard", "compile"])
def test_every_way_to_start_trains_the_same(jobs: Any, data: Path, tmp_path: Path, start: Any, how: str) -> None:
    alone, out = tmp_path / "alone", tmp_path / "run"
    assert jobs.genzoo(*jobs.train("wgan-gp", data, alone, "--steps", 6)).returncode == 0
    arguments = jobs.train("wgan-gp", data, out, "--steps", 6)
    if how == "torchrun":
        done = jobs.python(*jobs.TORCHRUN, *CLI, *arguments)
        assert done.returncode == 0, done.stderr
    elif how == "srun":  # two plain processes with what srun sets
        env = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NUM_NODES": "1",
               "SLURM_JOB_NODELIST": "node[07-08]", "SLURM_LAUNCH_NODE_IPADDR": "127.0.0.1"}  # fmt: skip
        both = [start(*CLI, *arguments, **env, SLURM_PROCID=str(r), SLURM_LOCALID=str(r)) for r in (0, 1)]
        said = [p.communicate(timeout=120) for p in both]
        assert [p.returncode for p in both] == [0, 0], said
        assert said[1] == ("", "")
        assert f"{out}: wgan-gp, 6 steps" in said[0][0]
    else:
        done = jobs.genzoo(*arguments, "--devices", 2, f"--{how}")
        assert done.returncode == 0, done.stderr
    close(alone, out)
    assert names(alone) == names(out)


@pytest.mark.slow
def test_who_is_stuck_notices_too_that_another_is_gone(jobs: Any, data: Path, tmp_path: Path, start: Any) -> None:
    """With nobody above who would end it, as under srun, and in the middle of what does not return."""
    env = {"SLURM_NTASKS": "2", "SLURM_JOB_ID": str(os.getpid() + 2), "STUCK": "1"}
    command = (HERE / "session.py", data, tmp_path / "run", "vae", -1, 0)
    first, second = (start(*command, **env, SLURM_PROCID=str(r), SLURM_LOCALID=str(r)) for r in (0, 1))
    assert first.stdout.readline() == "stuck\n"
    second.kill()
    began = time.monotonic()
    _, said = first.communicate(timeout=60)
    assert time.monotonic() - began < 15
    assert (first.returncode, said) == (1, "genzoo: process 1 of 2 is gone, perhaps killed, so this one stops\n")


@pytest.mark.slow
def test_who_waits_alone_says_so(jobs: Any, data: Path, tmp_path: Path) -> None:
    done = jobs.genzoo(*jobs.train("gan", data, tmp_path / "run"), SLURM_PROCID="0", SLURM_NTASKS="2", GENZOO_WAIT="2",
                       SLURM_JOB_ID=str(os.getpid() + 1))  # fmt: skip
    assert done.returncode == 1
    assert "process 0 of 2 found no others at 127.0.0.1:" in done.stderr
    assert "unset SLURM_PROCID" in done.stderr
    assert not (tmp_path / "run").exists()


SRUN = """#!/bin/sh
# As srun would: two tasks of one node, each with its number, in the job that sbatch made.
for rank in 0 1; do
  SLURM_PROCID=$rank SLURM_LOCALID=$rank SLURM_NTASKS=2 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NUM_NODES=1 "$@" \
    --steps 4 --device cpu &
done
wait
"""


@pytest.mark.slow
def test_the_batch_script_of_the_docs(jobs: Any, data: Path, tmp_path: Path) -> None:
    """As written, but for the places and for srun, which is played."""
    (script,) = re.findall(r"```bash\n(.*?)```", (HERE.parents[1] / "docs/cluster.md").read_text(), re.DOTALL)
    assert script.count("/shared/images") == script.count("/shared/runs/big") == 1
    script = script.replace("/shared/images", str(data)).replace("/shared/runs/big", str(tmp_path / "run"))
    for name, text in {
        "srun": SRUN,
        "job": script,
        "genzoo": f'#!/bin/sh\nexec {sys.executable} -m genzoo.cli "$@"\n',
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    env = jobs.environment(PATH=f"{tmp_path}:{os.environ['PATH']}", SLURM_JOB_ID=str(os.getpid()), SLURM_NTASKS="2")
    for session in (1, 2):  # the second goes on, and has nothing left to do
        done = subprocess.run(
            ["bash", tmp_path / "job"], env=env, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.stderr == "", session
        assert f"{tmp_path / 'run'}: wgan-gp, 4 steps" in done.stdout
    assert json.loads((tmp_path / "run/training.json").read_text())["hardware"]["processes"] == 2


@pytest.mark.slow
def test_two_machines(jobs: Any, data: Path, tmp_path: Path, start: Any) -> None:
    """Two torchruns that meet, as on two nodes."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    meet = ("--nnodes", 2, "--nproc-per-node", 1, "--rdzv-id", 7, "--rdzv-backend", "c10d")
    command = ("-m", "torch.distributed.run", *meet, "--rdzv-endpoint", f"localhost:{port}", *CLI)
    both = [start(*command, *jobs.train("gan", data, tmp_path / "run", "--steps", 4)) for _ in range(2)]
    said = [p.communicate(timeout=200) for p in both]
    assert [p.returncode for p in both] == [0, 0], said
    assert (said[0][0] + said[1][0]).count("gan, 4 steps") == 1
    assert (tmp_path / "run/manifest.json").is_file()
