"""Disks that are really full: a small file system of its own for a real process, and limits on file sizes."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genzoo
from genzoo.core.storage.files import ASIDE
from genzoo.core.training.runs import checkpoints, read_checkpoint

# Run as root of a name space of its own: DISK is a file system of so many KB; the command, then more space, then again.
IN_A_SMALL_DISK = """
cd "$1" && mount -t tmpfs -o size="$2k" tmpfs disk && shift 2
"$@" >first.out 2>first.err; echo $? >first.code
cp -r disk left 2>/dev/null
mount -o remount,size=64m disk
[ -e disk/run ] && set -- "$@" --resume
"$@" >second.out 2>second.err
echo $? >second.code
cp -r disk end
"""
MORE = ("train.checkpoint_every=5", "train.log_every=1")


def can_mount() -> bool:
    command = ["unshare", "-rm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")
@pytest.mark.parametrize("size", [48, 80, 120, 160, 200])
def test_a_small_disk(command: Any, whole: Callable[..., Path], tmp_path: Path, size: int) -> None:
    expected = whole("gan", "vectors", MORE)
    (tmp_path / "disk").mkdir()
    train = [sys.executable, "-m", "genzoo.cli", *command("gan", "vectors", tmp_path / "disk" / "run", *MORE)]
    shell = ["unshare", "-rm", "sh", "-c", IN_A_SMALL_DISK, "sh", tmp_path, size, *train]
    subprocess.run([str(a) for a in shell], check=True, timeout=300)
    first, said = ((tmp_path / f"first.{end}").read_text() for end in ("code", "err"))
    assert (first.strip(), said.count("\n")) == ("1", 1), said
    assert said.startswith("genzoo: no space left to write")
    left = tmp_path / "left" / "run"
    for folder in checkpoints(left):
        read_checkpoint(folder)
    if checkpoints(left):
        genzoo.load(left, verbose=False)
    assert not list(left.rglob(f"{ASIDE}*"))
    assert (tmp_path / "second.code").read_text() == "0\n", (tmp_path / "second.err").read_text()
    check_end(tmp_path / "end" / "run", expected)
    print(f"{size} KB: {said.strip()}; checkpoints {[p.name for p in checkpoints(left)]}")


@pytest.mark.slow
@pytest.mark.parametrize("limit", [200, 1500, 2500, 4000, 6000, 9000])
def test_a_limit_on_the_size_of_files(
    spawn: Any, command: Any, whole: Callable[..., Path], tmp_path: Path, limit: int
) -> None:
    run, expected = tmp_path / "run", whole("gan", "vectors", MORE)

    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    arguments = command("gan", "vectors", run, *MORE)
    # What it says goes to a file, which is short.
    code, said = spawn(*arguments, before=limited).end()
    assert (code, said.count("\n")) == (1, 1), said
    assert said.startswith("genzoo: no space left to write")
    for folder in checkpoints(run):
        read_checkpoint(folder)
    code, said = spawn(*arguments, *(("--resume",) if run.exists() else ())).end()
    assert code == 0, said
    check_end(run, expected)


def check_end(run: Path, expected: Path) -> None:
    assert (run / "model.safetensors").read_bytes() == (expected / "model.safetensors").read_bytes()
    assert [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()] == list(range(1, 121))
    assert not list(run.rglob(f"{ASIDE}*"))
