"""docs/reference.md is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from genzoo.registry import KINDS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference.md"


def test_the_reference_is_up_to_date():
    command = [sys.executable, str(ROOT / "tests" / "bench" / "reference.py")]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert PAGE.read_bytes() == done.stdout, "python tests/bench/reference.py > docs/reference.md"


def test_it_has_every_kind_and_hook():
    text = PAGE.read_text(encoding="utf-8")
    from genzoo.registry import hooks

    names = [n for n in vars(hooks) if n.startswith("genzoo_")]
    assert [n for n in (*KINDS, *names) if f"### {n}\n" not in text] == []
