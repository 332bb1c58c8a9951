"""`genzoo compare` and `genzoo plot`: what people and programs read of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Run = Callable[..., Any]  # genzoo(*arguments); see conftest.py


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def test_a_table_a_page_and_the_reasons(genzoo: Run, vae: Path, gan: Path, images: Path, tmp_path: Path) -> None:
    page, data = tmp_path / "report.html", tmp_path / "all.json"
    ran = genzoo("compare", vae, gan, "--data", images, "--names", "a,b", "--metrics", "kid,active-units",
                 "--split", "train", "--html", page, "--out", data)  # fmt: skip
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].split() == ["metric", "a", "b", "unit"]
    assert lines[1].startswith("kernel distance ↓")
    assert "absent" in lines[2]
    assert lines[-2:] == [str(data), str(page)]
    assert "absent of b: active-units (the model has no encoder)" in ran.err
    assert "<h1>a · b</h1>" in page.read_text(encoding="utf-8")
    assert json.loads(data.read_bytes())["names"] == ["a", "b"]


def test_json(genzoo: Run, vae: Path, images: Path) -> None:
    ran = genzoo("compare", vae, vae, "--data", images, "--metrics", "kid", "--split", "train", "--json")
    found = json.loads(ran.out)
    assert found["names"] == ["run", "run (2)"]
    assert found["best"] == {"kernel distance": None} or found["best"] == {"kid": None}
    assert len(found["reports"]) == 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "name the data"),
        (("--data", "fashion-mini", "--html", "x.png"), ".html file"),
        (("--data", "fashion-mini", "--metrics", "kdi"), "did you mean 'kid'"),
        (("--data", "fashion-mini", "--split", "both"), "--split is train, test or all"),
        (("--data", "fashion-mini"), "9×8"),
    ],
)
def test_mistakes(genzoo: Run, vae: Path, more: tuple[str, ...], words: str) -> None:
    genzoo("compare", vae, *more).sentence(words)


def test_plots(genzoo: Run, vae: Path, gan: Path, cvae: Path, images: Path, tmp_path: Path) -> None:
    for number, (command, *more) in enumerate(
        (
            ("samples", vae, "--out", "a.png", "-n", 4),
            ("interpolation", gan, "--out", "b.gif", "-n", 2, "--steps", 4),
            ("interpolation", cvae, "--data", images, "--split", "train", "--out", "c.gif", "-n", 2, "--steps", 3),
            ("traversal", cvae, "--out", "d.png", "--rows", 2, "--label", 1),
            ("traversal", vae, "--data", images, "--split", "train", "--out", "e.gif", "--steps", 4),
            ("curves", vae, gan, "--out", "f.svg"),
            ("training", vae, "--out", "g.gif"),
        )
    ):
        out = tmp_path / str(more[more.index("--out") + 1])
        ran = genzoo("plot", command, *(out if m == out.name else m for m in more))
        assert (ran.code, ran.out) == (0, f"{out}\n"), (number, ran.err)
        assert out.is_file()
    with Image.open(tmp_path / "b.gif") as film:
        assert film.n_frames == 6  # type: ignore[attr-defined]  # four there and two back


@pytest.mark.parametrize(
    ("command", "more", "words"),
    [
        ("traversal", ("--out", "x.png", "--dimensions", "a"), "whole numbers like 0,3,7"),
        ("traversal", ("--out", "x.png", "--dimensions", "9"), "no number 9 in a code of 3"),
        ("traversal", ("--out", "x.txt"), "cannot write a picture"),
        ("interpolation", ("--out", "x.gif", "--label", "1"), "not conditional"),
        ("interpolation", ("--out", "x.gif", "--fps", "0"), "0.1 to 100 frames"),
    ],
)
def test_mistakes_in_plots(
    genzoo: Run, vae: Path, tmp_path: Path, command: str, more: tuple[str, ...], words: str
) -> None:
    more = tuple(str(tmp_path / m) if m.startswith("x.") else m for m in more)
    genzoo("plot", command, vae, *more).sentence(words)
    assert list(tmp_path.iterdir()) == []
