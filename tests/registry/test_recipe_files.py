"""Every recipe trains on every size of image with both architectures, then samples, and encodes where it can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo

RECIPES = ("vae", "beta-vae", "cvae", "gan", "wgan", "wgan-gp", "r3gan")
SHAPES = {"28x28": (28, 28, 0), "48x48 colour": (48, 48, 3), "30x44": (30, 44, 0)}


def options(recipe: str, net: str, data: str = "") -> dict[str, Any]:
    kinds = ("generator", "encoder") if recipe.endswith("vae") else ("generator", "critic")
    small: dict[str, Any] = {k: net for k in kinds} | {f"{k}.width": 4 for k in kinds}
    return small | {"latent.size": 3, "train.batch_size": 4, "train.validation": 0}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """28×28 by name, colour 48×48 as a folder with classes, 30×44 as arrays."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")
    for i in range(20):
        place = root / f"class{i % 2}"
        place.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(place / f"{i}.png")
    odd = rng.integers(0, 256, (20, 30, 44), dtype=np.uint8), np.arange(20) % 2
    return {"28x28": "fashion-mini", "48x48 colour": str(root), "30x44": odd}


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("net", ["conv", "mlp"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_train_and_use(sources: dict[str, Any], tmp_path: Path, recipe: str, net: str, size: str) -> None:
    height, width, channels = SHAPES[size]
    shape = (channels or 1, height, width)
    limit = {"data.limit": 24} if size != "30x44" else {}
    run = genzoo.fit(recipe, sources[size], steps=2, options=options(recipe, net) | limit, device="cpu", progress=False)
    assert (run.finished, run.steps) == (True, 2)
    assert {p.name for k, p in run.config.parts.items() if k in ("generator", "encoder", "critic")} == {net}
    model = run.model
    assert model.classes == (0 if recipe != "cvae" else model.spec.classes)
    samples = model.sample(3)
    assert samples.shape == (3, *shape)
    assert samples.min() >= 0
    assert samples.max() <= 1
    genzoo.sample(model, tmp_path / "samples.png", 4)
    genzoo.interpolate(model, tmp_path / "paths.png", 2, steps=3)
    with Image.open(tmp_path / "paths.png") as picture:
        assert picture.size[0] >= 3 * width
    if model.encoder is None:
        return
    data = genzoo.load_data(sources[size], labels=None, options={"limit": 4})
    genzoo.reconstruct(model, data, tmp_path / "pairs.png", 2)
    genzoo.encode(model, data, tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz") as stored:
        assert stored["codes"].shape == (4, 3)
        assert np.isfinite(stored["codes"]).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["codes.npz", "pairs.png", "paths.png", "samples.png"]


@pytest.mark.parametrize("net", ["conv", "mlp"])
@pytest.mark.parametrize("recipe", [r for r in RECIPES if r != "cvae"])
def test_every_recipe_can_be_conditional(pictures: Callable[..., Any], tmp_path: Path, recipe: str, net: str) -> None:
    x, y = pictures(), np.arange(12) % 3
    given = options(recipe, net) | {"conditional": True, "train.lr": 0.02}
    run = genzoo.fit(recipe, (x, y), tmp_path / "run", steps=3, options=given, device="cpu", progress=False)
    model = genzoo.load(tmp_path / "run")
    assert model.classes == 3
    assert torch.equal(model.sample(6), run.model.sample(6))
    # The label makes a difference, whatever the code.
    codes = model.codes(0, 5)
    first, second = (model.decode(codes, torch.full((5,), label)) for label in (0, 1))
    assert (first - second).abs().amax(dim=(1, 2, 3)).min() > 1e-4
    if model.encoder is not None:
        a, b = (model.encode(x[:, None], np.full(12, label)) for label in (0, 1))
        assert (a - b).abs().amax(dim=1).min() > 1e-4


@pytest.mark.parametrize("recipe", RECIPES)
def test_vectors(recipe: str) -> None:
    given = {"train.batch_size": 8, "data.samples": 100} | ({"conditional": True} if recipe != "cvae" else {})
    run = genzoo.fit(recipe, "ring8", steps=2, options=given, device="cpu", progress=False)
    assert run.model.sample(5).shape == (5, 2)
    assert run.model.classes == 8
    assert {p.name for k, p in run.config.parts.items() if k in ("generator", "encoder", "critic")} == {"mlp"}
