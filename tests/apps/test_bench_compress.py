"""Models beside generic codecs: sheets, sizes of files, rates and distortions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import genzoo
from genzoo import DataSpec
from genzoo.core.data import Data
from genzoo.core.errors import UsageError
from genzoo.plugins.apps.bench import codecs
from genzoo.plugins.apps.bench import compression as bench
from genzoo.plugins.apps.bench.compression import compression, point_table, size_table
from genzoo.plugins.apps.bench.rates import LADDERS, Point, margins

pytest.importorskip("constriction")


@pytest.mark.parametrize("n", [1, 6, 7])
def test_a_sheet_is_cut_into_its_pictures(n: int) -> None:
    pictures = [np.random.default_rng(i).integers(0, 256, (3, 5), np.uint8) for i in range(n)]
    whole = codecs.sheet(pictures)
    assert whole.size == n * 15
    for a, b in zip(pictures, codecs.unsheet(whole, n, 3, 5), strict=True):
        assert (a == b).all()
    assert codecs.sheet(pictures, tall=True).shape == (3 * n, 5)


def test_models_and_codecs_in_one_table(tmp_path: Path) -> None:
    x = torch.randint(0, 256, (6, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    np.savez(tmp_path / "x.npz", x=x.numpy())
    spec = DataSpec.image(1, 8, 8)
    genzoo.create("multiscale", spec, options={"likelihood.hidden": 4, "likelihood.layers": 0}).save(tmp_path / "exact")
    lossy = {"latent.grid": 4, "latent.size": 5, "prior.side": 2, "prior.width": 4}
    genzoo.create("hyperprior", spec, options=lossy).save(tmp_path / "lossy")
    weights = [tmp_path / "exact", tmp_path / "lossy"]
    found = compression(weights, [str(tmp_path / "x.npz")], 6, out=tmp_path / "out")
    sizes = {s.name: s for s in found.sizes}
    mine = sizes[str(tmp_path / "exact")]
    written = len(genzoo.load(tmp_path / "exact").compress(x))
    assert mine.together == pytest.approx(8 * written / x.numel())
    assert mine.bound is not None
    assert mine.bound < mine.together < mine.each
    assert sizes["PNG"].together > 7.5  # noise is not compressed
    assert not sizes["gzip -9"].absent
    assert all(s.together or s.absent for s in found.sizes)
    points = [p for p in found.points if p.name == "JPEG, one sheet"]
    assert [p.bits for p in points] == sorted(p.bits for p in points)
    assert points[-1].psnr > points[0].psnr
    assert [p.bits > 0 for p in found.points if p.name == "hyperprior"] == [True]
    assert (tmp_path / "out" / "rate-distortion.svg").read_text().count("<path") > 4
    assert len(size_table(found).rows) == len(found.sizes)
    assert len(point_table(found).rows) == len(found.points)
    with pytest.raises(UsageError, match="other data than digits"):
        compression(weights, ["digits"], 2)


def test_texts_and_rows_stand_beside_what_compresses_bytes(tmp_path: Path) -> None:
    small = {"likelihood.hidden": 4, "likelihood.embed": 4}
    genzoo.create("lm", genzoo.load_data("kjv-mini").spec, options=small).save(tmp_path / "lm")
    found = compression([tmp_path / "lm"], ["kjv-mini"], 3)
    assert {s.unit for s in found.sizes} == {"character"}
    assert not found.points
    mine = found.sizes[0]
    assert mine.bound is not None
    assert mine.bound < mine.together < mine.bound + 8 * 200 / 300


def test_time_in_a_program_that_is_called_counts() -> None:
    said, seconds = bench._timed(lambda: subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True))
    assert said.returncode == 0
    assert seconds > 0.03  # to start it alone takes as long, none of it in this process


def test_what_is_compressed_was_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a data set without a test split of its own a tenth is held out, and that is what is compressed."""
    seen = list[Data]()
    monkeypatch.setattr(bench, "_of_codecs", lambda called, some, progress: seen.append(some) or [])
    compression([], ["kjv-mini"], 5)
    assert torch.equal(seen[0].x, genzoo.load_data("kjv-mini", split="test").x[:5])


def test_a_point_is_over_the_best_codec_at_its_rate() -> None:
    line = [("A, a file each", 1.0, 20.0), ("A, a file each", 2.0, 30.0), ("B, a file each", 1.0, 22.0),
            ("B, a file each", 3.0, 26.0), ("A, one sheet", 0.5, 10.0), ("A, one sheet", 0.7, 16.0)]  # fmt: skip
    points = [Point(name, "x", bits, db, "") for name, bits, db in line]
    found = margins(points, Point("model", "x", 1.5, 28.0, ""))
    assert found["a file each"] == (3.0, "A")  # 25 by A, 23 by B
    assert found["one sheet"] == (12.0, "A")  # at its highest rate
    assert margins(points, Point("model", "x", 1.25, 28.0, ""))["a file each"] == (pytest.approx(5.5), "A")
    assert margins(points, Point("model", "x", 0.6, 28.0, "")) == {"one sheet": (pytest.approx(15.0), "A")}
    assert margins(points, Point("model", "y", 0.6, 28.0, "")) == {}


def test_what_cannot_be_trained_at_several_rates_is_refused_before_anything_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name one with out"):
        compression([], ["digits"], 2, lossy=True)
    with pytest.raises(UsageError, match="vae is not trained at several rates: choose of hyperprior"):
        compression([], ["digits"], 2, lossy=["vae"], out=tmp_path)
    with pytest.raises(UsageError, match="kjv-mini are no pictures"):
        compression([], ["digits", "kjv-mini"], 2, lossy=True, out=tmp_path)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_lossy_models_are_trained_at_several_rates_once(tmp_path: Path) -> None:
    small = {"generator.width": 4, "encoder.width": 4}
    how = {"lossy": ["hyperprior", "vq-vae"], "steps": 3, "options": small, "out": tmp_path}
    found = compression([], ["emoji"], 4, **how)
    names = [p.name for p in found.points if "," not in p.name]
    assert sorted(set(names)) == ["hyperprior", "vq-vae"]
    assert len(names) == len(LADDERS["hyperprior"]) + len(LADDERS["vq-vae"])
    runs = {run: (run / "training.json").stat().st_mtime_ns for run in (tmp_path / "runs").iterdir()}
    assert compression([], ["emoji"], 4, **how).points == found.points
    assert {run: (run / "training.json").stat().st_mtime_ns for run in (tmp_path / "runs").iterdir()} == runs
