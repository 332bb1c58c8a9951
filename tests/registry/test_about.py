"""The command on a card: it makes the same model again, to the byte, and says no more than it must."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

import genzoo
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.recipes.save import about, command


def trained(out: Path, recipe: str | None, data: Any, **more: Any) -> dict[str, Any]:
    genzoo.fit(recipe, data, out, device="cpu", progress=False, **more)
    return json.loads((out / "training.json").read_text())


@pytest.mark.parametrize(
    ("recipe", "data", "more"),
    [
        ("vae", "ring8", {"steps": 3}),
        ("wgan-gp", "grid25", {"steps": 2, "seed": 5, "batch_size": 32, "options": {"objective.gp_weight": 3}}),
        ("vae", "ring8", {"epochs": 0.05, "options": {"data.limit": 300, "train.betas": (0.5, 0.9), "latent.size": 3,
                                                     "train.validation": 50}}),
        ("gan", "ring8", {"steps": 2, "options": {"conditional": True, "generator.activation": "gelu"}}),
        (None, "ring8", {"steps": 2, "options": {"objective": "gan", "generator.width": 16}}),
        ("cvae", "fashion-mini", {"steps": 1, "options": {"generator": "mlp", "encoder": "mlp", "data.limit": 128,
                                                          "likelihood": "gaussian", "likelihood.sigma": "fixed"}}),
        ("cvae", "fashion-mini", {"steps": 1, "options": {"conditional": False, "data.limit": 128, "generator": "mlp",
                                                          "encoder": "mlp", "data.binarize": "static"}}),
    ],
)  # fmt: skip
def test_the_command_makes_the_same_bytes(tmp_path: Path, recipe: str | None, data: str, more: dict[str, Any]) -> None:
    record = trained(tmp_path / "first", recipe, data, **more)
    words = record["about"]["command"]
    out = tmp_path / "again"
    words[words.index("--out") + 1] = str(out)
    _run([*words[1:], "--quiet", "--device", "cpu"])
    for name in ("config.json", "model.safetensors"):
        one, two = (hashlib.sha256((folder / name).read_bytes()).hexdigest() for folder in (tmp_path / "first", out))
        assert one == two, (name, shlex.join(words))


def test_the_command_says_where_training_started(tmp_path: Path) -> None:
    trained(tmp_path / "first", "vae", "ring8", steps=2)
    words = trained(tmp_path / "then", "vae", "ring8", steps=1, init=tmp_path / "first")["about"]["command"]
    assert words[words.index("--init") + 1] == "path/to/first"  # and not where that is on this machine
    words[words.index("--init") + 1], words[words.index("--out") + 1] = str(tmp_path / "first"), str(tmp_path / "again")
    _run([*words[1:], "--quiet", "--device", "cpu"])
    one, two = ((tmp_path / folder / "model.safetensors").read_bytes() for folder in ("then", "again"))
    assert one == two
    registry = the_registry()
    config = compose(registry, genzoo.load_data("ring8", options={"limit": 10}).spec, "vae", {})
    named = command(registry, config, "ring8", seed=0, init="vae/fashion-mnist@1", init_partial=True)
    assert named[7:10] == ["--init", "vae/fashion-mnist@1", "--init-partial"]


def _run(words: list[str]) -> None:
    from genzoo.cli.main import app

    app(words, standalone_mode=False)


def test_what_goes_without_saying_is_not_said() -> None:
    registry = the_registry()
    data = genzoo.load_data("ring8", options={"limit": 10})
    config = compose(registry, data.spec, "vae", {})
    assert command(registry, config, "ring8", seed=0) == [
        "genzoo", "train", "vae", "--data", "ring8", "--out", "runs/vae", "--seed", "0", "--precision", "float32",
    ]  # fmt: skip


def test_the_recipe_is_composed_once_for_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And not at all where no card is written."""
    from genzoo.registry.recipes import save

    calls: list[Any] = []
    monkeypatch.setattr(save, "compose", lambda *a: (calls.append(a), compose(*a))[1])
    tiny = {"generator.width": 8, "encoder.width": 8, "train.batch_size": 8}
    genzoo.fit("vae", "ring8", steps=1, options=tiny, device="cpu", progress=False)
    assert len(calls) == 0
    genzoo.fit("vae", "ring8", tmp_path / "a", steps=1, options=tiny, device="cpu", progress=False)
    assert len(calls) == 1


def test_paths_are_told_by_their_last_part(tmp_path: Path) -> None:
    registry = the_registry()
    data = genzoo.load_data("ring8", options={"limit": 10})
    config = compose(registry, data.spec, "vae", {})
    words = command(registry, config, tmp_path / "mine.npy", seed=0, data_options={"path": str(tmp_path / "x")})
    assert str(tmp_path) not in " ".join(words)
    assert words[words.index("--data") + 1] == "path/to/mine.npy"
    assert "data.path=path/to/x" in words
    assert "path/to/data.npz" in command(registry, config, data.x, seed=0)


def test_paper_summary_and_tags_come_from_the_registry() -> None:
    registry = the_registry()
    data = genzoo.load_data("ring8", options={"limit": 10})
    found = about(registry, compose(registry, data.spec, "wgan-gp", {}), "ring8", seed=0, called={"data": {}})
    assert found["paper"] == "arXiv:1704.00028"
    assert "wasserstein" in found["tags"]
    assert found["summary"].startswith("Wasserstein GAN")
    assert found["data paper"] == registry.get("dataset", "ring8").paper
