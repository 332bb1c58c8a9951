"""Two folders of anybody's, samples that are read back, and results that carry the names of files."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.data.labels import class_folders
from genzoo.core.errors import UsageError

METRICS = "frechet,kid,precision,recall"


def disc(i: int, size: int = 16, grey: bool = False) -> Image.Image:
    rng = np.random.default_rng(i)
    y, x = np.mgrid[:size, :size] / size
    cy, cx, r = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.15, 0.3)
    inside = (y - cy) ** 2 + (x - cx) ** 2 < r**2
    pixels = np.where(inside[..., None], rng.integers(80, 255, 3), rng.integers(0, 40, 3)).astype(np.uint8)
    return Image.fromarray(pixels).convert("L" if grey else "RGB")


def folder(path: Path, n: int = 30, start: int = 0, sizes: tuple[int, ...] = (16,), grey: bool = False) -> Path:
    path.mkdir(parents=True)
    for i in range(start, start + n):
        disc(i, sizes[i % len(sizes)], grey).save(path / f"{i:03}.png")
    return path


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("mine") / "mine")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, mine: Path) -> Path:
    place: Path = tmp_path_factory.mktemp("run") / "vae"
    genzoo.fit("vae", str(mine), steps=2, out=place, options={"latent.size": 3}, progress=False)
    return place


def test_a_folder_is_at_no_distance_from_itself(mine: Path) -> None:
    found = genzoo.evaluate(str(mine), str(mine), METRICS)
    assert (found.record["split"], found.record["real"], found.record["fake"]) == ("all", 30, 30)
    assert abs(found["frechet"].value) < 1e-6
    assert found["kid"].interval.low <= 0 <= found["kid"].interval.high
    assert (found["precision"].value, found["recall"].value) == (1, 1)


def test_arrays_without_splits_are_used_whole_too(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    file = str(tmp_path / "x.npy")
    found = genzoo.evaluate(file, file, "frechet")
    assert (found["frechet"].n_real, found.record["split"]) == (40, "all")
    assert abs(found["frechet"].value) < 1e-6
    assert genzoo.evaluate(file, file, "frechet", split="test")["frechet"].n_real == 4


def test_splits_of_their_own_stay_and_can_be_joined(tmp_path: Path) -> None:
    folder(tmp_path / "d" / "train", 20)
    folder(tmp_path / "d" / "test", 6, start=50)
    assert genzoo.evaluate(str(tmp_path / "d" / "test"), str(tmp_path / "d"), "frechet").record["split"] == "test"
    whole = genzoo.load_data(str(tmp_path / "d"), split="all")
    assert (len(whole), whole.split) == (26, "all")
    assert len(genzoo.load_data("fashion-mini", split="all", options={"limit": 5})) == 10


def test_all_is_in_the_order_of_names(mine: Path) -> None:
    whole = genzoo.load_data(str(mine), split="all")
    assert whole.read.files is not None
    assert list(whole.read.files) == sorted(p.name for p in mine.iterdir())
    assert np.array_equal(whole.x[7].permute(1, 2, 0), np.asarray(Image.open(mine / "007.png")))


def test_a_model_is_judged_on_what_was_held_out_of_its_folder(run: Path, mine: Path, tmp_path: Path) -> None:
    assert genzoo.evaluate(run, str(mine), "psnr").record["split"] == "test"
    assert genzoo.evaluate(genzoo.load(run), str(mine), "psnr").record["split"] == "test"
    assert genzoo.evaluate(run, str(mine), "psnr", split="all")["psnr"].n_real == 30
    copied = folder(tmp_path / "copied")  # known by its bytes
    assert genzoo.evaluate(run, str(copied), "psnr").record["split"] == "test"
    other = folder(tmp_path / "other", 12, start=90)
    assert genzoo.evaluate(run, str(other), "psnr")["psnr"].n_real == 12


def test_samples_are_brought_to_the_data(mine: Path, tmp_path: Path) -> None:
    mixed = folder(tmp_path / "mixed", 12, sizes=(16, 20))
    assert genzoo.evaluate(str(mixed), str(mine), "frechet", data_options={"size": "16"})["frechet"].n_fake == 12
    assert genzoo.evaluate(str(mixed), str(mine), "frechet", samples_options={"size": "16"})["frechet"].n_fake == 12
    with pytest.raises(UsageError, match=r'samples_options=.*"size": "16"'):
        genzoo.evaluate(str(mixed), str(mine), "frechet")
    compared = genzoo.compare([str(mixed), str(mine)], str(mixed), "kid", data_options={"size": "16"})
    assert [r["kid"].n_real for r in compared.reports] == [12, 12]
    assert compared.reports[0]["kid"].value == 0
    grey = folder(tmp_path / "grey", 12, grey=True)
    for a, b in ((grey, mine), (mine, grey)):
        assert genzoo.evaluate(str(a), str(b), "frechet")["frechet"].value < 60
    large = folder(tmp_path / "large", 4, sizes=(24,))
    with pytest.raises(UsageError, match=r"with samples_options=.*16.*, or folders of data with data_options=.*24"):
        genzoo.evaluate(str(large), str(mine), "frechet")
    pixels = np.stack([np.asarray(disc(i, 24, grey=True)) for i in range(6)])
    assert genzoo.evaluate(pixels, str(mine), "frechet", samples_options={"size": "16"})["frechet"].n_fake == 6
    with pytest.raises(UsageError, match="no option 'colour'"):
        genzoo.evaluate(str(mixed), str(mine), "frechet", samples_options={"colour": "grey"})


def test_folders_of_unlike_numbers_are_compared_whole(mine: Path, tmp_path: Path) -> None:
    few = folder(tmp_path / "few", 12, start=60)
    found = genzoo.compare([str(mine), str(few)], str(mine), METRICS)
    assert [r.record["fake"] for r in found.reports] == [30, 12]
    assert {r.record["real"] for r in found.reports} == {30}
    assert abs(found.reports[0]["frechet"].value) < 1e-6
    assert next(row for row in found.rows if row.metric == "frechet").best is None  # it falls with the number
    found.save(tmp_path / "page.html")


def test_class_folders_are_read_back(tmp_path: Path) -> None:
    out = genzoo.sample("cvae/fashion-mnist", tmp_path / "out", 30)
    names = genzoo.load("cvae/fashion-mnist").spec.class_names
    assert sorted(p.name for p in out.iterdir()) == sorted(n.replace("/", "-") for n in names)
    found = genzoo.evaluate(out, "fashion-mini", "conditional-accuracy", n=30)
    assert found["conditional-accuracy"].value > 0.5
    again = genzoo.load_data(str(out), split="all")
    assert (len(again), again.spec.classes) == (30, 10)
    one = genzoo.sample("cvae/fashion-mnist", tmp_path / "one", 6, labels=8)
    assert [p.name for p in one.iterdir()] == ["Bag"]
    assert genzoo.evaluate(one, "fashion-mini", "conditional-accuracy")["conditional-accuracy"].value > 0.5


def test_names_of_class_folders() -> None:
    spec = genzoo.DataSpec.image(1, 8, 8, classes=4, class_names=("a/b", "a:b", "..", "c "))
    assert class_folders(spec) == ["a-b (0)", "a-b (1)", "class 2", "c"]
    assert class_folders(genzoo.DataSpec.image(1, 8, 8, classes=11))[:3] == ["00", "01", "02"]


def test_codes_carry_names(run: Path, mine: Path, tmp_path: Path) -> None:
    names = sorted(p.name for p in mine.iterdir())
    genzoo.encode(run, str(mine), tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz") as found:
        codes = found["codes"]
        assert (codes.shape, list(found["files"])) == ((30, 3), names)
    first = genzoo.load(run).encode(np.asarray(Image.open(mine / names[0])).transpose(2, 0, 1)[None].copy())
    assert np.allclose(codes[0], first[0], atol=1e-5)
    genzoo.encode(run, str(mine), tmp_path / "codes.csv", 4)
    rows = list(csv.DictReader((tmp_path / "codes.csv").open()))
    assert [r["file"] for r in rows] == names[:4]
    assert float(rows[0]["code 2"]) == pytest.approx(codes[0, 2], abs=1e-5)
    points = np.random.default_rng(0).random((12, 16, 16, 3)).astype(np.float32)
    genzoo.encode(run, genzoo.load_data(points), tmp_path / "rows.npz")
    with np.load(tmp_path / "rows.npz") as found:
        assert list(found["rows"]) == list(range(12))


def test_the_odd_ones_are_found(run: Path, mine: Path, tmp_path: Path) -> None:
    odd = folder(tmp_path / "odd", 24)
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(noise).save(odd / "noise.png")
    Image.fromarray(255 - np.asarray(disc(3))).save(odd / "inverted.png")
    found = genzoo.score(run, str(odd), tmp_path / "s.csv")
    assert {r["file"] for r in found.oddest(2)} == {"noise.png", "inverted.png"}
    rows = list(csv.DictReader((tmp_path / "s.csv").open()))
    assert [r["file"] for r in rows] == sorted(p.name for p in odd.iterdir())
    assert list(rows[0]) == ["file", "reconstruction", "bound", "distance", "nearest", "rank"]
    assert {rows[-1]["file"], rows[-2]["file"]} == {"noise.png", "inverted.png"}
    assert all(r["nearest"] != r["file"] for r in rows)
    model, x = genzoo.load(run), genzoo.load_data(str(odd), split="all").x
    error = (model.reconstruct(x) - x / 255).square().flatten(1).mean(1).sqrt()
    assert np.allclose(found.columns["reconstruction"], error, atol=1e-5)
    exact = torch.cat([w.mean(0) for w in model.importance_weights(x, samples=16)])
    assert np.allclose(found.columns["bound"], exact, rtol=1e-4)
    apart = genzoo.score(run, str(odd), training=str(mine), neighbours=1)  # 24 of them are among the others
    held = {r["file"]: r["distance"] for r in apart.oddest(99)}
    assert min(held.values()) > 0
    assert json.loads(json.dumps(apart.to_dict()))["distance to"] == "the 27 observations of mine (train)"
    with pytest.raises(UsageError, match="did you mean 'distance'"):
        genzoo.score(run, str(odd), by="distanse")


def test_a_run_is_shown(run: Path, mine: Path) -> None:
    code = "import genzoo, sys, json; print(json.dumps(genzoo.show(sys.argv[1]))); assert 'torch' not in sys.modules"
    found = json.loads(subprocess.run([sys.executable, "-c", code, run], check=True, capture_output=True).stdout)
    assert (found["kind"], found["recipe"], found["data"], found["steps"]) == ("run", "vae", "mine", 2)
    assert found["options"]["latent.size"] == 3
    assert "30 images" in found["read"][0]
    assert found["command"].startswith("genzoo train vae")
    with pytest.raises(UsageError, match="only a recipe goes by the data"):
        genzoo.show(str(run), data="fashion-mini")


def test_pictures_of_many_sizes_come_in_the_form_that_the_model_knows(run: Path, tmp_path: Path) -> None:
    """So do grey ones; what the user says of size or colours holds."""
    several = folder(tmp_path / "several", sizes=(20, 24), grey=True)
    codes = genzoo.encode(run, several, tmp_path / "codes.npz")
    again = genzoo.encode(run, genzoo.load_data(several, split="all", options={"size": "16", "mode": "colour"}),
                          tmp_path / "again.npz")  # fmt: skip
    assert np.array_equal(np.load(codes)["codes"], np.load(again)["codes"])
    assert len(genzoo.score(run, several, by="reconstruction").names) == 30
    report = genzoo.evaluate(run, several, "mmd,memorization")
    assert not report.absent
    assert "brought to the form that the model knows" in str(report.record["read"])
    with pytest.raises(UsageError, match=r"images differ in size|the data are images of "):
        genzoo.evaluate(run, several, "mmd", data_options={"size": "20"})
