"""Streams that are closed or ASCII only, umasks, ``python -m genzoo``, and signals in the first second."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TRAIN = ("train", "vae", "--steps", "1", "--set", "encoder.width=8", "--set", "generator.width=8", "--generator", "mlp",
         "--encoder", "mlp", "--set", "latent.size=2", "--threads", "1", "-q")  # fmt: skip


def run(
    *arguments: object, shell: str = "", module: str = "genzoo.cli", **env: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    script = f'exec "$0" "$@" {shell}'
    return subprocess.run(["bash", "-c", script, *command], capture_output=True, text=True, timeout=120, check=False,
                          env={**os.environ, **env})  # fmt: skip


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", [("--version",), ("show", "nothing-like-it")])
def test_streams_may_be_closed(command, closed):
    done = run(*command, shell=closed)
    assert done.returncode == run(*command).returncode
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_run_without_streams_trains(images: Path, tmp_path: Path):
    done = run(*TRAIN[:-1], "--data", images, "--out", tmp_path / "run", shell=">&- 2>&-")
    assert done.returncode == 0
    assert (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("mask", [pytest.param(0o022, marks=pytest.mark.slow), 0o027])
def test_every_file_of_a_run_has_the_permissions_of_a_new_file(images: Path, tmp_path: Path, mask: int):
    before = os.umask(mask)
    try:
        done = run(*TRAIN, "--set", "train.checkpoint_every=1", "--data", images, "--out", tmp_path / "run")
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    modes = {p.relative_to(tmp_path).as_posix(): p.stat().st_mode & 0o777 for p in tmp_path.rglob("*") if p.is_file()}
    assert set(modes.values()) == {0o666 & ~mask}, modes
    assert any(name.endswith("trainer.safetensors") for name in modes), modes


@pytest.mark.parametrize("command", [("list",), ("show", "beta-vae")])
def test_what_ascii_cannot_say_is_said_in_words(command):
    done = run(*command, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    full = run(*command, PYTHONIOENCODING="utf-8")
    assert done.stdout.isascii()
    assert done.stdout.count("?") == full.stdout.count("?")


def test_every_mark_has_its_word():
    from genzoo.core.text import in_ascii

    def ascii_of(text: str) -> str:
        return in_ascii(UnicodeEncodeError("ascii", text, 0, len(text), "no"))[0]

    assert ascii_of("✓") != ascii_of("✗")
    assert ascii_of("↑") != ascii_of("↓")
    assert [ascii_of(c) for c in ("é", "β", "28×28", "1 – 2", "\U0001f600", "日")] == [
        "e", "beta", "28x28", "1 - 2", "\\U0001f600", "\\u65e5",
    ]  # fmt: skip


def test_the_package_runs_as_a_module():
    assert run("--version", module="genzoo").stdout == run("--version").stdout


LATE = """
import signal, sys
from genzoo.cli.main import _terminated_as_interrupted
signals = []
try:
    with _terminated_as_interrupted(signals):
        import torn  # its import is interrupted, and it goes on without what it was importing
        print(torn.whole, flush=True)
        import time
        time.sleep(30)
except KeyboardInterrupt:
    print("interrupted", signals[0] == signal.SIGINT)
"""


def test_an_import_is_interrupted_at_its_end(tmp_path: Path):
    (tmp_path / "torn.py").write_text(
        "import os, signal\ntry:\n    import inner\n    whole = True\nexcept BaseException:\n    whole = False\n"
    )
    (tmp_path / "inner.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(0.2)\n"
    )
    (tmp_path / "late.py").write_text(LATE)
    start = time.monotonic()
    command = [sys.executable, tmp_path / "late.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.split() == ["True", "interrupted", "True"], done
    assert time.monotonic() - start < 20


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_first_second_ends_it(images: Path, tmp_path: Path, number: int):
    lost = []
    for i in range(24):
        command = [sys.executable, "-m", "genzoo.cli", *TRAIN, "--data", str(images), "--out", str(tmp_path / f"{i}")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        time.sleep(0.3 + 0.08 * i)
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=120)
        if process.returncode not in (128 + number, -number):
            lost.append((i, process.returncode, err))
    assert lost == []
