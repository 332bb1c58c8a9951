"""docs/reference.md is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from genzoo.registry import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"


def test_the_reference_is_up_to_date():
    done = subprocess.run(
        [sys.executable, "-m", "genzoo.plugins.apps.kit.reference"], capture_output=True, check=True, timeout=120
    )
    assert PAGE.read_bytes() == done.stdout, "python -m genzoo.plugins.apps.kit.reference > docs/reference.md"


def test_it_has_every_kind_and_hook():
    text = PAGE.read_text(encoding="utf-8")
    from genzoo.registry import hooks

    names = [n for n in vars(hooks) if n.startswith("genzoo_")]
    assert [n for n in (*KINDS, *names) if f"### {n}\n" not in text] == []
