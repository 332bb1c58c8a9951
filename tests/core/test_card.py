"""Model cards: what the Hub reads in them, and what people do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import genzoo
from genzoo.core.evaluation.report import Absent, Interval, Report, Result
from genzoo.core.record import TrainingRecord
from genzoo.core.spec import DataSpec
from genzoo.core.storage.card import card, metadata, results


def config(recipe: str = "wgan-gp", **options: Any):
    spec = DataSpec.image(1, 28, 28, classes=3, class_names=("a", "b", "c"), name="letters")
    return genzoo.create(recipe, spec, options={"generator.width": 8, **options}).config


def plain(**more: Any) -> dict[str, Any]:
    data = {"name": "letters", "license": "MIT", "observations": 1000, "held_out": 50, "fingerprint": "ab" * 32}
    return {
        "recipe": "wgan-gp", "data": data, "seed": 7, "steps": 200, "of": 200, "seen": 12800, "seconds": 61.0,
        "hardware": {"device": "cpu", "name": "x86_64", "threads": 2, "torch": "2.13.0"}, "python": "3.11.7",
        "parameters": 12345, "metrics": {}, "about": {"paper": "arXiv:1704.00028", "summary": "a penalty", "tags": []},
        **more,
    }  # fmt: skip


def record(**more: Any) -> TrainingRecord:
    return TrainingRecord.from_dict(plain(**more))


def head(text: str) -> dict[str, Any]:
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1])


def test_metadata() -> None:
    found = head(card(config(), record(), picture="samples.png", license="mit"))
    assert found == {
        "library_name": "genzoo",
        "license": "mit",
        "datasets": ["letters"],
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["genzoo", "wgan-gp", "image", "arxiv:1704.00028"],
    }
    conditional = metadata(config(conditional=True), record())
    assert "class-conditional" in conditional["tags"]
    assert "license" not in conditional


def test_text() -> None:
    text = card(config(conditional=True), record(), picture="samples.png", name="hf:zoo/letters", license="mit")
    for part in (
        "# wgan-gp on letters",
        "![Samples from seed 0](samples.png)",
        "one column per class",
        "conditioned on one of 3 classes",
        "12,345 parameters",
        "Labels: 0 a, 1 b, 2 c.",
        'genzoo.load("hf:zoo/letters")',
        "model.sample(64, labels=2)",
        "genzoo sample hf:zoo/letters -n 64 --out samples.png",
        "1,000 observations, 50 held out",
        "200 with batches of 64 (12.8 passes over the data)",
        "| seed | 7 |",
        "took | 61 s on cpu (x86_64), 2 threads",
        "[arXiv:1704.00028](https://arxiv.org/abs/1704.00028)",
        "- weights: mit",
        "- data (letters): MIT",
        "mode collapse",
    ):
        assert part in text, part
    assert "reconstruct" not in text  # it has no encoder
    assert "This is its state after" not in text
    assert card(config(conditional=True), record(), picture="samples.png", name="hf:zoo/letters", license="mit") == text
    early = card(config(), record(steps=150))
    assert "This is its state after 150 of 200 steps." in early
    assert "path/to/this/folder" in early
    assert "samples.png)" not in early


def test_an_encoder_is_told_how_to_use() -> None:
    text = card(config("vae", **{"encoder.width": 8}), record())
    assert "codes = model.encode(test.x[:8])  # (8, 16)" in text
    assert "genzoo reconstruct path/to/this/folder --data letters" in text
    assert "smoother than data" in text


def test_metrics_with_counts_intervals_and_those_that_are_absent() -> None:
    measured = (
        Result("kid", 0.0123, Interval(0.011, 0.0136, 0.95, "bootstrap of 50"), 500, 400, title="KID",
               direction="lower", extractor="fashion-classifier", seed=3),
        Result("frechet", float("inf"), Interval(how="too few"), 500, 400),
    )  # fmt: skip
    report = Report("it", measured, (Absent("log-likelihood", "a GAN has none"), Absent("elbo", "a GAN has none")))
    told = record(metrics={"held-out loss": 12.5, "latent size": 64, "kid": 9.0}, evaluation=report.to_dict())
    assert [r.metric for r in results(told)] == ["kid", "frechet", "held-out loss"]  # the one of the report is newer
    text = card(config(), told)
    assert "| KID ↓ | 0.0123 | [0.011, 0.0136] | 400 samples, 500 real, fashion-classifier |" in text
    assert "| frechet | ∞ |" in text
    assert "Intervals: 95% (bootstrap of 50)." in text
    assert "Not measured: *log-likelihood*, *elbo* (a GAN has none)." in text
    assert "Evaluated on letters (test)." in text
    assert "do not compare" in text
    result, end = head(text)["model-index"][0]["results"]
    assert result["dataset"] == {"type": "letters", "name": "letters", "split": "test"}
    assert end["dataset"]["split"] == "held-out"
    assert [m["type"] for m in result["metrics"]] == ["kid"]  # JSON and YAML know no infinity
    assert [(m["type"], m["value"]) for m in end["metrics"]] == [("held-out-loss", 12.5)]
    assert result["metrics"][0]["value"] == 0.0123
    assert result["metrics"][0]["args"] == {
        "n_real": 500, "n_fake": 400, "extractor": "fashion-classifier", "low": 0.011, "high": 0.0136, "level": 0.95,
        "seed": 3,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["no", "1.5", "a: b", "# x", "naïve – 字", "'", '"', "- x", "x\ny"])
def test_odd_names_stay_names(name: str) -> None:
    found = head(card(config(), record(data=plain()["data"] | {"name": name}), license="mit"))
    assert found["datasets"] == [name]


def test_the_card_in_a_runs_folder(tmp_path: Path) -> None:
    options = {"train.validation": 40, "data.limit": 200, "generator.width": 8, "encoder.width": 8}
    genzoo.fit("vae", "ring8", tmp_path / "run", steps=4, options=options, progress=False)
    text = (tmp_path / "run" / "README.md").read_text()
    assert "# vae on ring8" in text
    assert "--set data.limit=200" in text
    assert head(text)["model-index"][0]["results"][0]["metrics"][0]["type"] == "held-out-loss"
