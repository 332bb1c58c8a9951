"""``genzoo plugins new`` asks a person at a terminal for the license, and nobody else."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
import tomllib

import pytest

pty = pytest.importorskip("pty")
NEW = [sys.executable, "-m", "genzoo.cli", "plugins", "new", "zz-thing", "--kind", "metric", "--author", "Ada"]


def at_a_terminal(folder, *answers: bytes) -> tuple[int, str]:
    """Run in a terminal of its own, and type an answer to each question."""
    child, terminal = pty.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as a shell starts it, whoever started the tests
        os.chdir(folder)
        os.execv(NEW[0], NEW)
    out, waiting, end = b"", list(answers), time.monotonic() + 60
    try:
        while time.monotonic() < end:
            if not select.select([terminal], [], [], 0.5)[0]:
                if b"]: " in out and answers[-1:] == (b"\x03",):  # Python's prompt misses one that comes too early
                    os.write(terminal, b"\x03")
                continue
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # it has left
                break
            if not piece:
                break
            out += piece
            if waiting and out.endswith(b"]: "):
                os.write(terminal, waiting.pop(0))
        else:
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(terminal)
        status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status), out.decode()


def license_of(folder) -> str:
    return tomllib.loads((folder / "zz-thing" / "pyproject.toml").read_text())["project"].get("license", "none")


@pytest.mark.parametrize(
    ("answers", "license"),
    [((b"\n",), "Apache-2.0"), ((b"MTI\n", b"mit\n"), "MIT"), ((b"none\n",), "none")],
    ids=["return", "again", "none"],
)
def test_a_person_is_asked(tmp_path, answers, license):
    code, out = at_a_terminal(tmp_path, *answers)
    assert code == 0, out
    assert out.count("License (Apache-2.0, MIT, BSD-3-Clause, none) [Apache-2.0]") == len(answers)
    assert ("did you mean 'MIT'" in out) is (len(answers) == 2)
    assert license_of(tmp_path) == license
    assert (tmp_path / "zz-thing" / "LICENSE").exists() is (license != "none")


def test_who_leaves_instead_leaves_nothing_behind(tmp_path):
    code, out = at_a_terminal(tmp_path, b"\x03")
    assert code == 130
    assert "interrupted" in out
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_is_asked(tmp_path):
    done = subprocess.run(NEW, cwd=tmp_path, input="MIT\n", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "License (" not in done.stdout + done.stderr
    assert "its license is Apache-2.0: --license takes Apache-2.0, MIT, BSD-3-Clause, none" in done.stderr
    assert license_of(tmp_path) == "Apache-2.0"
