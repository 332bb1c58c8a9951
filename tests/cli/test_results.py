"""What sample, reconstruct, interpolate and encode write is what the model gives."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import genzoo as gz
from genzoo.core.data import to_pixels
from genzoo.core.errors import GenzooError
from genzoo.core.model import Model

Run = Callable[..., Any]  # genzoo(*arguments); see conftest.py


def opened(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


# --- sample -----------------------------------------------------------------------------------------------


def test_npz_holds_the_samples(genzoo: Run, vae: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "x.npz"
    ran = genzoo("sample", vae, "-n", 70, "--seed", 3, "--out", out, "--batch-size", 64)
    assert (ran.code, ran.out, ran.err) == (0, f"{out}\n", "")
    model, stored = gz.load(vae), opened(out)
    assert list(stored) == ["samples"]
    assert (stored["samples"].dtype, stored["samples"].shape) == (np.uint8, (70, 1, 9, 8))
    expected = to_pixels(model.spec, model.sample(70, seed=3)).numpy().astype(int)
    # Another batch size sums in another order: a level may round the other way, once in a while.
    assert np.abs(stored["samples"] - expected).max() <= 1
    assert (stored["samples"] != expected).mean() < 0.01
    assert (stored["samples"] != to_pixels(model.spec, model.sample(70, seed=4)).numpy()).mean() > 0.1


def test_npz_of_a_conditional_model_holds_the_labels(genzoo: Run, cvae: Path, tmp_path: Path) -> None:
    genzoo("sample", cvae, "-n", 7, "--out", tmp_path / "x.npz", "--batch-size", 64)
    stored, model = opened(tmp_path / "x.npz"), gz.load(cvae)
    assert stored["labels"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert stored["labels"].dtype == np.int64
    assert np.array_equal(stored["samples"], to_pixels(model.spec, model.sample(7)).numpy())
    genzoo("sample", cvae, "-n", 5, "--label", 2, "--out", tmp_path / "x.npz")
    stored = opened(tmp_path / "x.npz")
    assert stored["labels"].tolist() == [2] * 5
    assert np.array_equal(stored["samples"], to_pixels(model.spec, model.sample(5, labels=2)).numpy())


def test_vectors_are_written_in_their_own_units(genzoo: Run, flat: Path, tmp_path: Path) -> None:
    genzoo("sample", flat, "-n", 9, "--out", tmp_path / "x.npz")
    stored = opened(tmp_path / "x.npz")["samples"]
    assert stored.dtype == np.float32
    assert np.array_equal(stored, gz.load(flat).sample(9).numpy())
    assert 1 < stored.mean() < 5  # the points are around 3


def test_truncation_and_noise_are_passed_on(genzoo: Run, flat: Path, tmp_path: Path) -> None:
    model = gz.load(flat)
    for given, keywords in ((["--truncation", "0.5"], {"truncation": 0.5}), (["--noise"], {"noise": True})):
        genzoo("sample", flat, "-n", 9, "--out", tmp_path / "x.npz", *given)
        assert np.array_equal(opened(tmp_path / "x.npz")["samples"], model.sample(9, **keywords).numpy())


def test_images_without_levels_are_written_as_they_are(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((20, 9, 8)).astype(np.float32)
    run = gz.fit("vae", x, steps=1, options={"generator": "mlp", "encoder": "mlp"}, device="cpu", progress=False)
    assert run.model.spec.levels is None
    gz.sample(run.model, tmp_path / "x.npz", 5)
    assert np.array_equal(opened(tmp_path / "x.npz")["samples"], run.model.sample(5).numpy())


@pytest.mark.parametrize("name", ["x.png", "x.npz", "folder"])
def test_the_same_seed_gives_the_same_bytes(genzoo: Run, cvae: Path, tmp_path: Path, name: str) -> None:
    def content(seed: int, at: str) -> dict[str, bytes]:
        path = tmp_path / at / name
        assert genzoo("sample", cvae, "-n", 6, "--seed", seed, "--out", path).code == 0
        return {p.name: p.read_bytes() for p in sorted(path.parent.rglob("*")) if p.is_file()}

    assert content(5, "a") == content(5, "b")
    assert content(5, "c") != content(6, "d")


def test_a_folder_takes_one_picture_each(genzoo: Run, vae: Path, cvae: Path, tmp_path: Path) -> None:
    genzoo("sample", vae, "-n", 3, "--out", tmp_path / "a")
    assert sorted(os.listdir(tmp_path / "a")) == ["0000.png", "0001.png", "0002.png"]
    expected = to_pixels(gz.load(vae).spec, gz.load(vae).sample(3)).numpy()
    for i in range(3):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "a" / f"000{i}.png")), expected[i, 0])
    (tmp_path / "b.c").mkdir()  # an empty folder that is there, whatever it is called
    assert genzoo("sample", cvae, "-n", 4, "--out", tmp_path / "b.c").code == 0
    there = sorted(p.relative_to(tmp_path / "b.c").as_posix() for p in (tmp_path / "b.c").rglob("*.png"))
    assert there == ["0/0000.png", "0/0003.png", "1/0001.png", "2/0002.png"]  # its classes have no names
    assert sorted(os.listdir(tmp_path)) == ["a", "b.c"]


def test_a_grid_shows_every_sample(genzoo: Run, vae: Path, cvae: Path, tmp_path: Path) -> None:
    genzoo("sample", vae, "-n", 4, "--out", tmp_path / "x.png")
    # 9×8 pixels are enlarged by 12 to about 112; two rows of two with gaps of 2.
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (2 * (12 * 8 + 2) + 2, 2 * (12 * 9 + 2) + 2)
        corner = np.asarray(picture)[2:-2:110, 2:-2:98, 0][:2, :2]
    assert np.array_equal(corner.flatten(), to_pixels(gz.load(vae).spec, gz.load(vae).sample(4))[:, 0, 0, 0].numpy())
    genzoo("sample", cvae, "-n", 6, "--out", tmp_path / "y.JPG")
    with Image.open(tmp_path / "y.JPG") as picture:
        assert picture.size[0] == 3 * (12 * 8 + 2) + 2  # a column per class


def test_points_are_drawn(genzoo: Run, flat: Path, tmp_path: Path) -> None:
    assert genzoo("sample", flat, "-n", 50, "--out", tmp_path / "x.png").code == 0
    with Image.open(tmp_path / "x.png") as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    blue = (colours[:, 2] > 180) & (colours[:, 0] < 60)
    assert blue.sum() >= 25  # at least a pixel for half of them: points may overlap


@pytest.mark.parametrize("name", ["x.npz", "folder"])
def test_batches_are_written_as_they_come(
    cvae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """No batch is kept: when one is drawn, the one before the last is gone."""
    import weakref

    alive: list[weakref.ref[Tensor]] = []
    real = Model.sample_batches

    def watched(self: Model, n: int, **how: Any) -> Iterator[tuple[Tensor, Tensor | None]]:
        batches = real(self, n, **how)
        for _ in itertools.count():
            assert sum(r() is not None for r in alive) <= 4  # an image and a label batch, or two of them
            try:
                x, y = next(batches)
            except StopIteration:
                return
            assert y is not None
            alive.extend((weakref.ref(x), weakref.ref(y)))
            yield x, y
            del x, y

    monkeypatch.setattr(Model, "sample_batches", watched)
    gz.sample(cvae, tmp_path / name, 640, batch_size=64)
    assert len(alive) == 20


def test_memory_does_not_grow_with_the_number_of_samples(flat: Path, tmp_path: Path) -> None:
    import tracemalloc

    model, peaks = gz.load(flat), []
    for n in (2_000, 200_000):
        tracemalloc.start()
        gz.sample(model, tmp_path / "x.npz", n, batch_size=1000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (tmp_path / "x.npz").stat().st_size > 200_000 * 8
    assert peaks[1] < peaks[0] + 200_000  # bytes; the samples alone are 1,600,000


# --- interruptions and full disks -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.npz", "x.png", "up/folder"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("boom"), GenzooError("boom")], ids=repr)
def test_what_is_interrupted_leaves_nothing(
    vae: Path, tmp_path: Path, untouched: Callable[[], None], monkeypatch: pytest.MonkeyPatch, name: str, error: Any
) -> None:
    real = Model.sample_batches

    def failing(self: Model, n: int, **how: Any) -> Iterator[Any]:
        yield from itertools.islice(real(self, n, **how), 2)
        raise error

    monkeypatch.setattr(Model, "sample_batches", failing)
    for existing in ("x.npz", "x.png"):
        (tmp_path / existing).write_bytes(b"earlier")
    untouched()
    with pytest.raises(type(error)):
        gz.sample(vae, tmp_path / name, 500, batch_size=64)
    untouched()


@pytest.mark.parametrize("limit", [0, 100, 1500])
@pytest.mark.parametrize(
    "command",
    [
        ("sample", "-n", "400", "--out", "x.npz"),
        ("sample", "-n", "400", "--out", "x.png"),
        ("sample", "-n", "40", "--out", "up/folder"),
        ("reconstruct", "--split", "train", "--out", "x.npz"),
        ("reconstruct", "--split", "train", "--out", "x.png"),
        ("interpolate", "-n", "30", "--out", "x.npz"),
        ("encode", "--split", "train", "-n", "30", "--out", "x.npz"),
    ],
    ids=" ".join,
)
def test_out_of_disk(
    genzoo: Run,
    disk: Callable[[int], Any],
    vae: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    untouched: Callable[[], None],
    command: tuple[str, ...],
    limit: int,
) -> None:
    if limit == 1500 and command[-1] in ("up/folder",):
        limit = 60  # every picture is a file of its own
    if limit == 1500 and command[0] == "encode":
        limit = 300
    monkeypatch.chdir(tmp_path)
    for existing in ("x.npz", "x.png"):
        (tmp_path / existing).write_bytes(b"earlier")
    untouched()
    with disk(limit):
        ran = genzoo(command[0], vae, *(["--data", images] if "--split" in command else []), *command[1:])
    ran.sentence(f"no space left to write {command[-1]}", code=1)
    untouched()


@pytest.mark.parametrize(
    ("name", "signal"), [("x.npz", "SIGINT"), pytest.param("folder", "SIGTERM", marks=pytest.mark.slow)]
)
def test_a_signal_while_writing_leaves_nothing(
    start: Run, images: Path, vae: Path, tmp_path: Path, untouched: Callable[[], None], name: str, signal: str
) -> None:
    import signal as signals
    import time

    untouched()
    process = start("sample", vae, "-n", 10_000_000, "--out", tmp_path / "up" / name)
    for _ in range(600):
        if (tmp_path / "up").exists() and list((tmp_path / "up").iterdir()):
            break
        time.sleep(0.05)
    assert process.poll() is None
    process.send_signal(getattr(signals, signal))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (128 + getattr(signals, signal), "", "genzoo: interrupted")
    untouched()


# --- the others -------------------------------------------------------------------------------------------


def test_reconstruct(genzoo: Run, vae: Path, images: Path, tmp_path: Path) -> None:
    model, data = gz.load(vae), gz.load_data(str(images), split="test")
    assert genzoo("reconstruct", vae, "--data", images, "--out", tmp_path / "x.npz", "-n", 100).code == 0
    stored = opened(tmp_path / "x.npz")
    assert np.array_equal(stored["data"], data.x.numpy())  # all four that there are
    assert np.array_equal(stored["reconstructions"], to_pixels(model.spec, model.reconstruct(data.x)).numpy())
    genzoo("reconstruct", vae, "--data", images, "--out", tmp_path / "y.npz", "--seed", 1)
    assert not np.array_equal(opened(tmp_path / "y.npz")["reconstructions"], stored["reconstructions"])
    assert genzoo("reconstruct", vae, "--data", images, "--out", tmp_path / "x.png", "-n", 3).code == 0
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (3 * 98 + 2, 2 * 110 + 2)
        top = np.asarray(picture)[2, 2 : 3 * 98 : 98, 0]
    assert np.array_equal(top, data.x[:3, 0, 0, 0].numpy())


def test_a_conditional_model_reconstructs_by_label(genzoo: Run, cvae: Path, images: Path, tmp_path: Path) -> None:
    model, data = gz.load(cvae), gz.load_data(str(images), split="test")
    assert genzoo("reconstruct", cvae, "--data", images, "--out", tmp_path / "x.npz").code == 0
    expected = to_pixels(model.spec, model.reconstruct(data.x, data.y)).numpy()
    assert np.array_equal(opened(tmp_path / "x.npz")["reconstructions"], expected)


def test_interpolate(genzoo: Run, vae: Path, images: Path, tmp_path: Path) -> None:
    model = gz.load(vae)
    ends = model.codes(0, 6, seed=2)
    for given, path in (([], "spherical"), (["--straight"], "straight")):
        genzoo("interpolate", vae, "-n", 3, "--steps", 5, "--seed", 2, "--out", tmp_path / "x.npz", *given)
        expected = model.interpolate(ends[:3], ends[3:], 5, path=path)
        stored = opened(tmp_path / "x.npz")["interpolations"]
        assert stored.shape == (3, 5, 1, 9, 8)
        assert np.array_equal(stored, to_pixels(model.spec, expected.flatten(0, 1)).view(3, 5, 1, 9, 8).numpy())
    data = gz.load_data(str(images), split="test")
    genzoo("interpolate", vae, "-n", 2, "--steps", 3, "--data", images, "--out", tmp_path / "y.npz")
    stored = opened(tmp_path / "y.npz")["interpolations"]
    ends = to_pixels(model.spec, model.reconstruct(data.x)).numpy().astype(int)
    assert np.abs(stored[:, 0] - ends[:2]).max() <= 1
    assert np.abs(stored[:, -1] - ends[2:4]).max() <= 1
    genzoo("interpolate", vae, "-n", 2, "--steps", 7, "--out", tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (7 * 98 + 2, 2 * 110 + 2)


def test_encode(genzoo: Run, vae: Path, images: Path, flat: Path, points: Path, tmp_path: Path) -> None:
    model, data = gz.load(vae), gz.load_data(str(images), split="train")
    assert genzoo("encode", vae, "--data", images, "--split", "train", "--out", tmp_path / "x.NPZ").code == 0
    stored = opened(tmp_path / "x.NPZ")
    assert data.y is not None
    assert np.array_equal(stored["labels"], data.y.numpy())
    assert np.array_equal(stored["codes"], model.encode(data.x).numpy())
    genzoo("encode", flat, "--data", points, "-n", 4, "--seed", 3, "--out", tmp_path / "y.npz")
    stored, vectors = opened(tmp_path / "y.npz"), gz.load_data(str(points), split="all")
    assert list(stored) == ["codes", "rows"]
    assert np.array_equal(stored["codes"], gz.load(flat).encode(vectors.x[:4], sample=True, seed=3).numpy())


def test_python_takes_models_and_arrays(vae: Path, tmp_path: Path) -> None:
    model = gz.load(vae)
    x = np.random.default_rng(0).integers(0, 256, (4, 9, 8), dtype=np.uint8)
    gz.encode(model, x, tmp_path / "x.npz")
    assert np.array_equal(opened(tmp_path / "x.npz")["codes"], model.encode(x[:, None]).numpy())
    gz.encode(model, torch.from_numpy(x)[:, None], tmp_path / "x.npz", 2)
    assert np.array_equal(opened(tmp_path / "x.npz")["codes"], model.encode(x[:2, None]).numpy())
