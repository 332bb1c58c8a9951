"""What the README shows in Python runs as it stands, but for the length of training."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_command_for_each_kind_of_data_shows_something(tmp_path):
    text = README.read_text(encoding="utf-8")
    block = text[text.index("One command for each kind of data") :].split("```")[1]
    lines = [line.partition("#")[0].strip() for line in re.findall(r"^\$ genzoo (.*)$", block, re.MULTILINE)]
    said = {}
    for line in lines:
        words = shlex.split(line.replace("--steps 2000", "--steps 20"))
        command = [sys.executable, "-m", "genzoo.cli", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        said[words[1]] = done.stdout
    assert len(said["lm/kjv"].splitlines()) == 3
    head, *rows = said["table-ar/adult"].splitlines()
    assert head.split()[:2] == ["age", "workclass"]
    assert len(rows) == 5
    assert all(int(row.split()[0]) > 60 for row in rows)
    assert (tmp_path / "clothes.png").stat().st_size > 10_000
    assert (tmp_path / "digits.wav").read_bytes()[:4] == b"RIFF"
    assert (tmp_path / "runs/ring/samples.png").is_file()


def test_the_python_lines_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (lines,) = [b for b in blocks if "genzoo.fit" in b]
    assert "epochs=5" in lines
    names: dict[str, object] = {}
    exec(compile(lines.replace("epochs=5", "steps=3"), "README.md", "exec"), names)
    assert names["images"].shape == (64, 1, 28, 28)  # as its comment says
    assert 0 <= names["images"].min() <= names["images"].max() <= 1
    assert names["paths"].shape == (8, 10, 1, 28, 28)
    assert len(capsys.readouterr().out.split()) == 3
