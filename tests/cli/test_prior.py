"""`genzoo prior fit`: a second stage from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import genzoo as gz

Run = Callable[..., Any]  # genzoo(*arguments); see conftest.py


def test_a_prior_is_fitted_and_the_model_of_both_is_whole(genzoo: Run, vae: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "second"
    ran = genzoo("prior", "fit", vae, "--prior", "mixture", "--set", "prior.components=2", "--data", images,
                 "--out", out, "--steps", 3, "--batch-size", 4, "--device", "cpu", "--quiet", "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["steps"] == 3
    model = gz.load(out)
    assert model.config is not None
    assert model.config.parts["prior"].options["components"] == 2
    assert model.config.parts["objective"].options["first"] == "vae"
    assert model.config.latent == gz.load(vae).config.latent  # type: ignore[union-attr]
    assert genzoo("sample", out, "-n", 4, "--out", tmp_path / "samples.png").code == 0


def test_what_is_wrong_is_said_in_a_sentence(genzoo: Run, vae: Path, gan: Path, images: Path, tmp_path: Path) -> None:
    out = ("--data", images, "--out", tmp_path / "out")
    genzoo("prior", "fit", vae, *out).sentence("name the prior with --prior", code=2)
    genzoo("prior", "fit", vae, "--prior", "mixture").sentence("name a folder", code=2)
    genzoo("prior", "fit", vae, "--prior", "mixture", *out[2:]).sentence("say where that is with --data", code=2)
    genzoo("prior", "fit", vae, "--prior", "transformer", *out).sentence("over tokens")
    genzoo("prior", "fit", vae, "--prior", "mixtur", *out).sentence("mixture")
    genzoo("prior", "fit", gan, "--prior", "mixture", *out).sentence("no posterior over codes")
    genzoo("prior", "fit", tmp_path / "nothing", "--prior", "mixture", *out).sentence("nothing")
    assert not (tmp_path / "out").exists()
