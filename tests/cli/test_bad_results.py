"""What can be asked wrongly of sample, reconstruct, interpolate and encode: one sentence, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]  # genzoo(*arguments); see conftest.py
USAGE = 2


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        ("vae", ["--out", "{}/x.png", "-n", "0"], ["number of samples must be at least 1, not 0"]),
        ("vae", ["--out", "{}/x.npz", "-n", "-3"], ["number of samples must be at least 1, not -3"]),
        ("vae", ["--out", "{}/x.png", "-n", "10001"], ["a grid of 10,001 images is too large", ".npz"]),
        ("vae", ["--out", "{}/x.png", "-n", "many"], ["'-n'", "int"]),
        ("vae", ["--out", "{}/x.txt"], ["cannot tell what to write from 'x.txt'", ".png or .npz or a folder"]),
        ("vae", ["--out", "{}/x.npy"], ["cannot tell what to write from 'x.npy'"]),
        ("vae", [], ["--out"]),
        ("vae", ["--out", "{}/x.npz", "--label", "1"], ["model 'vae' is not conditional"]),
        ("cvae", ["--out", "{}/x.npz", "--label", "3"], ["label 3 is out of range", "0 to 2"]),
        ("cvae", ["--out", "{}/deep/x", "--label", "-1"], ["label -1 is out of range"]),
        ("vae", ["--out", "{}/x.npz", "--truncation", "0"], ["truncation is a positive number", "not 0"]),
        ("vae", ["--out", "{}/x.npz", "--truncation", "nan"], ["truncation is a positive number"]),
        ("vae", ["--out", "{}/x.npz", "--batch-size", "0"], ["'--batch-size'"]),
        ("vae", ["--out", "{}/x.npz", "--device", "warp"], ["no device 'warp'"]),
        ("flat", ["--out", "{}/folder"], ["this model makes vectors", ".npz"]),
        ("vae", ["--out", "{}/full"], ["not an empty folder", "nothing is overwritten"]),
        ("vae", ["--out", "{}/file"], ["not an empty folder"]),
        ("vae", ["--out", "{}/file/x.png"], ["cannot write", "is a file, not a folder"]),
        ("vae", ["--out", "{}/file/deep/x.npz"], ["cannot write", "is a file, not a folder"]),
        ("vae", ["--out", "{}/file/deep/folder"], ["cannot write", "is a file, not a folder"]),
        ("vae", ["--out", "{}/full.png"], ["cannot write", "is a directory"]),
        ("vae", ["--out", "/proc/genzoo/x.png"], ["cannot write /proc/genzoo/x.png"]),
        ("vae", ["--out", "/proc/genzoo"], ["cannot write /proc/genzoo"]),
    ],
)
def test_sample(
    genzoo: Run,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    untouched: Callable[[], None],
    model: str,
    arguments: list[str],
    words: list[str],
) -> None:
    weights = request.getfixturevalue(model)
    for folder in ("full", "full.png"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    untouched()
    genzoo("sample", weights, *(a.format(tmp_path) for a in arguments)).sentence(*words)
    untouched()


@pytest.mark.parametrize("command", ["reconstruct", "encode", "interpolate"])
def test_a_gan_has_no_encoder(genzoo: Run, gan: Path, images: Path, tmp_path: Path, command: str) -> None:
    ran = genzoo(command, gan, "--data", images, "--out", tmp_path / "x.npz")
    ran.sentence(str(gan), "(gan) has no encoder", "can sample and interpolate", code=1)
    assert list(tmp_path.iterdir()) == []
    assert genzoo("interpolate", gan, "--out", tmp_path / "x.npz").code == 0  # between random codes it can


@pytest.fixture
def other(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Data that do not fit the models."""
    rng, folder, found = np.random.default_rng(0), tmp_path_factory.mktemp("other"), {}
    arrays = {
        "larger": rng.integers(0, 256, (20, 10, 8), dtype=np.uint8),
        "colour": rng.integers(0, 256, (20, 9, 8, 3), dtype=np.uint8),
        "binary": rng.integers(0, 2, (20, 9, 8)).astype(bool),
        "unlabelled": rng.integers(0, 256, (20, 9, 8), dtype=np.uint8),
        "vectors": rng.normal(size=(20, 2)).astype(np.float32),
    }
    for name, x in arrays.items():
        found[name] = folder / f"{name}.npy"
        np.save(found[name], x)
    return found


@pytest.mark.parametrize("command", ["reconstruct", "encode", "interpolate"])
@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        ("vae", "larger", ["images of 1×9×8", "images of 1×10×8", "data.size=9x8"]),
        ("vae", "colour", ["images of 1×9×8", "images of 3×9×8"]),
        ("vae", "vectors", ["images of 1×9×8", "vectors of 2 numbers"]),
        ("flat", "unlabelled", ["vectors of 2 numbers", "images of 1×9×8"]),
        ("vae", "binary", ["the data is binary", "trained on grey values"]),
        ("cvae", "unlabelled", ["conditional", "no labels"]),
    ],
)
def test_data_that_the_model_does_not_take(
    genzoo: Run,
    request: pytest.FixtureRequest,
    other: dict[str, Path],
    tmp_path: Path,
    command: str,
    model: str,
    data: str,
    words: list[str],
) -> None:
    weights = request.getfixturevalue(model)
    ran = genzoo(command, weights, "--data", other[data], "--out", tmp_path / "x.npz", "-n", 1)
    ran.sentence(*words, code=USAGE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reconstruct", "--out", "x.png", "-n", "0"], ["number of observations must be at least 1, not 0"]),
        (["reconstruct", "--out", "x"], ["cannot tell what to write from 'x'", ".png or .npz"]),
        (["reconstruct", "--out", "x.png", "-n", "6000"], ["12,000 images is too large"]),
        (
            ["reconstruct", "--out", "x.png", "--split", "validation"],
            ["--split is train, test or all, not 'validation'"],
        ),
        (["reconstruct", "--out", "x.png", "--set", "train.lr=1"], ["only data.… options", "'train.lr'"]),
        (["reconstruct", "--out", "x.png", "--set", "data.bin=1"], ["data has no option 'bin'"]),
        (["reconstruct", "--out", "."], ["is a folder", ".png or .npz"]),
        (["encode", "--out", "x.png"], ["codes are written to an .npz or a .csv file, not to 'x.png'"]),
        (["encode", "--out", "x.npz", "-n", "-1"], ["number of observations must be at least 1, not -1"]),
        (["interpolate", "--out", "x.png", "-n", "0"], ["number of paths must be at least 1, not 0"]),
        (["interpolate", "--out", "x.png", "-n", "3"], ["3 paths need 6 observations, and the data has 4"]),
        (["interpolate", "--out", "x.png", "-n", "1", "--steps", "1"], ["at least 2 steps, not 1"]),
        (["interpolate", "--out", "x.png", "-n", "1", "--label", "1"], ["not conditional"]),
        (["interpolate", "--out", "x.jpeg.zip", "-n", "1"], ["cannot tell what to write from 'x.jpeg.zip'"]),
    ],
    ids=lambda value: " ".join(value) if value[0].isalpha() else "",
)
def test_requests_that_make_no_sense(
    genzoo: Run,
    vae: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    genzoo(arguments[0], vae, "--data", images, *arguments[1:]).sentence(*words, code=USAGE)
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_binary_images_asks_for_binary_images(genzoo: Run, train: Run, images: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "x.npz"
    ran = train("vae", images, run, "--steps", 1, "--set", "data.binarize=dynamic", narrow=True)
    assert ran.code == 0, ran.err
    genzoo("reconstruct", run, "--data", images, "--out", out).sentence("--set data.binarize=static")
    for how in ("static", "dynamic"):
        ran = genzoo("reconstruct", run, "--data", images, "--out", out, "--set", f"data.binarize={how}")
        assert ran.code == 0, ran.err
        with np.load(out) as stored:
            assert set(np.unique(stored["data"])) == {0, 255}
