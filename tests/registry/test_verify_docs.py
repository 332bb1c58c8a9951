"""What docs/weights.md shows of verify, reproduce and export runs as it stands."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

import genzoo

PAGE = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
TINY = {"train.batch_size": 16, "latent.size": 2, "train.validation": 100, "data.limit": 400}


@pytest.mark.slow
def test_the_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from genzoo.cli.main import main

    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    genzoo.fit("vae", "fashion-mini", "runs/vae", steps=4, options=TINY, device="cpu", progress=False)
    commands = re.findall(r"^\$ (genzoo (?:verify|reproduce|export) runs.*?)(?:  +#.*)?$", PAGE, re.MULTILINE)
    assert len(commands) == 7
    for command in commands:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code, f"{command}: {capsys.readouterr()}"
    blocks = [b for b in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "runs/" in b]
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "weights.md", "exec"), {})
    assert "same bytes" in capsys.readouterr().out
