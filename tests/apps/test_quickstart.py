"""`genzoo quickstart`: both models, with few steps, and what it says where there is something already."""

from __future__ import annotations

import pytest
from PIL import Image

from genzoo.core.errors import UsageError
from genzoo.plugins.apps.quickstart import quickstart
from genzoo.plugins.apps.quickstart.quickstart import quickstart as command


def test_it_trains_and_draws_both(tmp_path, monkeypatch, capsys):
    few = {name: (2, options) for name, (_, options) in quickstart.RECIPES.items()}
    monkeypatch.setattr(quickstart, "RECIPES", few)
    command(tmp_path / "out", threads=1)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    for name, line in zip(few, said, strict=True):
        assert line.startswith(f"{tmp_path / 'out' / name}.png: {name}, ")
        assert "of 10 classes in 1,000 samples" in line
        assert Image.open(tmp_path / "out" / f"{name}.png").width > 400
        assert (tmp_path / "out" / name / "manifest.json").is_file()
    command(tmp_path / "out")
    again = capsys.readouterr()
    assert (again.out, again.err) == (
        "",
        f"genzoo: {tmp_path / 'out'} is already there; look at its pictures, or remove it to train again\n",
    )


def test_a_file_is_in_the_way(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="is a file: name a new folder"):
        command(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
