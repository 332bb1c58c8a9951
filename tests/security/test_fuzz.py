"""Thousands of damaged weights: one sentence or the right model, in little time and memory, whatever is damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MUTATE = Path(__file__).with_name("mutate.py")


def fuzzed(original: Path, scratch: Path, seed: int, count: int, signed: bool) -> dict[str, Any]:
    command = [sys.executable, MUTATE, original, scratch, str(seed), str(count), "signed" if signed else "unsigned"]
    environment = {**os.environ, "GENZOO_NO_PLUGINS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]  # a crash of the interpreter, too
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["bad"] == []
    assert report["slowest"] < 5
    assert report["megabytes"] <= max(2 * report["file"], 32)
    assert report["refused"] + report["loaded"] == count
    return report


def test_a_few_mutations(originals: dict[str, Path], tmp_path: Path) -> None:
    report = fuzzed(originals["vae"], tmp_path / "scratch", 0, 150, signed=True)
    assert report["loaded"] > 3  # whose numbers or names were changed to others that are right
    assert report["reasons"] > 30


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["vae", "gan"])
@pytest.mark.parametrize(("signed", "count"), [(True, 1500), (False, 300)])
def test_thousands_of_mutations(
    originals: dict[str, Path], tmp_path: Path, name: str, signed: bool, count: int
) -> None:
    report = fuzzed(originals[name], tmp_path / "scratch", 1, count, signed=signed)
    assert report["loaded"] > (30 if signed else 0)
