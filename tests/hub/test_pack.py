"""Packing a run for a package: what lies there is what was measured, pictured and fingerprinted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import genzoo
from genzoo.core.storage.fingerprint import compare
from genzoo.registry.weights.pack import pack
from genzoo.registry.weights.verify import verify


def test_packed_weights_verify_and_are_what_their_card_says(run: Path, tmp_path: Path) -> None:
    folder = pack(run, "vae/ring8", tmp_path / "packed", data="ring8", license="mit", storage="float16")
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md", "config.json", "manifest.json", "model.safetensors", "samples.png", "training.json",
    ]  # fmt: skip
    record = json.loads((folder / "training.json").read_text())
    assert [c.verdict for c in compare(record["fingerprint"], genzoo.load(folder))] == ["same bytes", "same bytes"]
    assert verify(folder, metrics=True).ok
    card = (folder / "README.md").read_text()
    assert 'genzoo.load("vae/ring8")' in card
    assert "license: mit" in card
    by_name = {r["metric"]: r["value"] for r in record["evaluation"]["results"]}
    assert by_name["modes"] == genzoo.evaluate(folder, "ring8", "modes").results[0].value


def test_half_precision_halves_matrices_and_moves_them_by_its_rounding_only(run: Path, tmp_path: Path) -> None:
    whole = pack(run, "vae/ring8", tmp_path / "whole", license="mit", metrics=None)
    half = pack(run, "vae/ring8", tmp_path / "half", license="mit", storage="float16")
    a, b = genzoo.load(whole).state_dict(), genzoo.load(half).state_dict()
    for name, t in a.items():
        expected = t.half().float() if t.dim() > 1 and t.is_floating_point() else t
        assert torch.equal(b[name], expected), name
    assert (half / "model.safetensors").stat().st_size < (whole / "model.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"name": "Vae"}, r"recipe/data in small letters"),
        ({"license": ""}, r"license is not known"),
        ({"storage": "int8"}, r"storage is float32, float16 or bfloat16"),
        ({"data": "ring8", "metrics": "x.json"}, r"not both"),
    ],
)
def test_what_is_missing_is_said_and_nothing_written(run: Path, tmp_path: Path, how: dict[str, str], said: str) -> None:
    given = {"name": "vae/ring8", "license": "mit", **how}
    with pytest.raises(genzoo.GenzooError, match=said):
        pack(run, given.pop("name"), tmp_path / "new", **given)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    with pytest.raises(genzoo.GenzooError, match="is there already"):
        pack(run, "vae/ring8", tmp_path, license="mit")
