"""What the README shows in Python runs as it stands, but for the length of training."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


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
