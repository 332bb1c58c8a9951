"""`genzoo eval`: what people and programs read of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genzoo as gz

Run = Callable[..., Any]  # genzoo(*arguments); see conftest.py


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def clothes(tmp_path: Path) -> Path:
    """A file of 60 training and 40 test images, with labels."""
    train, test = (gz.load_data("fashion-mini", split=s) for s in ("train", "test"))  # type: ignore[arg-type]
    assert train.y is not None
    assert test.y is not None
    path = tmp_path / "clothes.npz"
    arrays = {"x_train": train.x[:60], "y_train": train.y[:60], "x_test": test.x[:40], "y_test": test.y[:40]}
    np.savez(path, **{k: v.numpy() for k, v in arrays.items()})  # type: ignore[arg-type]
    return path


def test_json_is_what_python_gives(genzoo: Run, gan: Path, images: Path) -> None:
    ran = genzoo("eval", gan, "--data", images, "--metrics", "kid,fidelity", "--n", 12, "--split", "train", "--json")
    assert (ran.code, ran.err.count("\n")) == (0, 1)  # what was read
    found = json.loads(ran.out)
    report = gz.evaluate(gan, images, "kid,fidelity", n=12, split="train")
    del found["record"]["seconds"]
    expected = json.loads(json.dumps(report.to_dict()))
    del expected["record"]["seconds"]
    assert found == expected
    assert [r["metric"] for r in found["results"]] == ["kid", "precision", "recall", "density", "coverage"]
    assert set(found["results"][0]["interval"]) == {"low", "high", "level", "how", "covers"}


def test_a_table_with_arrows_and_intervals(genzoo: Run, vae: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    metrics = "kid,active-units,memorization"
    ran = genzoo("eval", vae, "--data", images, "--split", "train", "--metrics", metrics, "--out", out)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].split() == ["metric", "value", "95", "%", "interval", "unit", "measured", "on"]
    assert lines[1].startswith("kernel distance ↓")
    assert "[" in lines[1]
    assert "active-units ↑" in lines[2]
    assert lines[-1] == str(out)
    assert (out / "report.json").is_file()
    assert (out / "memorization-nearest.png").is_file()


def test_options_of_metric_and_data(genzoo: Run, gan: Path, images: Path) -> None:
    ran = genzoo("eval", gan, "--data", images, "--split", "train", "--metrics", "kid", "--set", "kid.size=3",
                 "--set", "data.limit=8", "--json")  # fmt: skip
    (result,) = json.loads(ran.out)["results"]
    assert result["details"]["size"] == 3
    assert result["n_real"] == 8
    assert " size=3 " in result["protocol"]


def test_samples_in_place_of_a_model(genzoo: Run, clothes: Path, tmp_path: Path) -> None:
    test = gz.load_data(clothes, split="test")
    np.savez(tmp_path / "s.npz", samples=test.x.numpy())
    ran = genzoo("eval", tmp_path / "s.npz", "--data", clothes, "--metrics", "frechet,memorization", "--json")
    report = json.loads(ran.out)
    values = {r["metric"]: r["value"] for r in report["results"]}
    assert abs(values["frechet"]) < 1e-6
    assert values["memorization"] == 0


def test_what_is_absent_is_said_with_the_reason(genzoo: Run, gan: Path, images: Path) -> None:
    ran = genzoo("eval", gan, "--data", images, "--split", "train", "--metrics", "precision,likelihood")
    assert ran.code == 0
    absent = next(line for line in ran.err.splitlines() if "absent: log-likelihood, elbo, ais, " in line)
    assert "bits-per-dimension" in absent
    assert " (the model has no likelihood: a GAN" in absent
    ran = genzoo("eval", gan, "--data", images, "--split", "train", "--metrics", "precision,elbo")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("genzoo: elbo cannot be measured here: the model has no likelihood")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--metrics", "frechett", "--data", "ring8"],
            "there is no metric 'frechett' (did you mean 'frechet' or 'frechet-infinity'?)",
        ),
        (["--metrics", "kid"], "name the data with --data"),
        (["--data", "ring8", "--split", "both"], "--split is train, test or all, not 'both'"),
        (["--data", "ring88"], "did you mean 'ring8'"),
        (["--data", "ring8", "--extractor", "none"], "there is no extractor 'none'"),
        (["--data", "ring8", "--set", "kid.size"], "--set takes NAME=VALUE"),
        (["--data", "ring8", "--out", "x.txt"], "a report is written to a .json file or a folder"),
    ],
)
def test_wrong_requests(genzoo: Run, flat: Path, arguments: list[str], sentence: str) -> None:
    ran = genzoo("eval", flat, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err
    assert ran.err.count("\n") <= 2
