"""Weights that are missing, damaged or made elsewhere: each is named in one sentence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genzoo.core.storage.files import manifest_of

Run = Callable[..., Any]  # genzoo(*arguments); see conftest.py


@pytest.fixture
def weights(vae: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(vae, tmp_path / "weights", ignore=shutil.ignore_patterns("checkpoints")))


def refuse(genzoo: Run, weights: Path, *words: str) -> None:
    out = weights.parent / "x.npz"
    genzoo("sample", weights, "--out", out).sentence(*words, code=1)
    assert not out.exists()


def signed(folder: Path) -> None:
    """Write a manifest that fits what is there: somebody wanted it so."""
    names = ["config.json", "model.safetensors"]
    (folder / "manifest.json").write_text(json.dumps(manifest_of(folder, names)))


def edited(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    signed(folder)


def test_whole_weights_are_accepted(genzoo: Run, weights: Path) -> None:
    assert genzoo("sample", weights, "--out", weights.parent / "x.npz").code == 0


def test_no_such_folder(genzoo: Run, weights: Path) -> None:
    refuse(genzoo, weights.parent / "weighst", "no weights folder", "did you mean 'weights'")


def test_a_folder_without_weights(genzoo: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refuse(genzoo, tmp_path / "empty", "holds no weights")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "manifest.json"])
def test_a_file_is_missing(genzoo: Run, weights: Path, name: str) -> None:
    (weights / name).unlink()
    refuse(genzoo, weights, str(weights), name)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "manifest.json"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "garbage", "longer"])
def test_a_file_is_damaged(genzoo: Run, weights: Path, name: str, damage: str) -> None:
    path = weights / name
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[:-20], "empty": b"", "garbage": os.urandom(100), "longer": whole + b"!"}[damage]
    )
    refuse(genzoo, weights, str(path))


@pytest.mark.parametrize("place", [0, 9, 200, -1])
def test_one_bit_of_the_tensors_is_flipped(genzoo: Run, weights: Path, place: int) -> None:
    path = weights / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    refuse(genzoo, weights, str(path), "damaged", "does not match manifest.json")


def test_a_link_is_no_file(genzoo: Run, weights: Path) -> None:
    path = weights / "model.safetensors"
    path.rename(weights.parent / "elsewhere")
    path.symlink_to(weights.parent / "elsewhere")
    refuse(genzoo, weights, str(path), "no plain file")


@pytest.mark.parametrize(
    "manifest",
    ["[]", "null", "3", "{}", '{"format": 1}', '{"format": 1, "files": []}', '{"format": 1, "files": {"a": 1}}',
     '{"format": "x", "files": {}}', '{"format": 1, "files": {"../up": {"size": 1, "sha256": ""}}}',
     '{"format": 1, "files": {"config.json": {"size": "1", "sha256": ""}}}', "[" * 100_000],
    ids=range(11),
)  # fmt: skip
def test_manifests_that_make_no_sense(genzoo: Run, weights: Path, manifest: str) -> None:
    (weights / "manifest.json").write_text(manifest)
    refuse(genzoo, weights, str(weights / "manifest.json"), "damaged")


def test_a_manifest_of_a_later_format(genzoo: Run, weights: Path) -> None:
    (weights / "manifest.json").write_text('{"format": 2, "files": {}}')
    refuse(genzoo, weights, "format 2", "reads up to 1", "upgrade")


@pytest.mark.parametrize(
    "config", ["[]", "null", "{}", '{"format": 1}', '{"format": "1"}', '{"format": null}', '"text"', "[" * 100_000]
)
def test_configs_that_make_no_sense(genzoo: Run, weights: Path, config: str) -> None:
    (weights / "config.json").write_text(config)
    signed(weights)
    refuse(genzoo, weights, str(weights / "config.json"), "no genzoo config")


def test_a_config_of_a_later_format(genzoo: Run, weights: Path) -> None:
    edited(weights, lambda c: c.update(format=99))
    refuse(genzoo, weights, "format 99", "reads up to 2", "upgrade")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("recipe"), ["lacks 'recipe'"]),
        (lambda c: c["data"].update(shape=[]), ["shape"]),
        (lambda c: c["data"].update(shape=["a", "b", "c"]), ["config.json"]),
        (lambda c: c["data"].update(shape=[1, 9.5, 8]), ["config.json"]),
        (lambda c: c["data"].update(shape=[1, 9, 9]), ["does not fit its config", "shape"]),
        (lambda c: c["data"].update(colour="red"), ["config.json"]),
        (lambda c: c["latent"].update(size="many"), ["config.json"]),
        (lambda c: c["latent"].update(size=4), ["does not fit its config", "shape"]),
        (lambda c: c["generator"]["options"].update(widht=3), ["generator has no option 'widht'"]),
        (lambda c: c["generator"]["options"].update(width="x"), ["generator.width takes a whole number"]),
        (lambda c: c["generator"]["options"].update(norm="weird"), ["generator.norm takes one of"]),
        (lambda c: c["generator"].update(name="mlpp"), ["no generator 'mlpp'", "did you mean 'mlp'"]),
        (lambda c: c["generator"].update(options=[]), ["config.json"]),
        (lambda c: c.update(generator="mlp"), ["config.json"]),
        (lambda c: c.pop("encoder"), ["objective 'vae' cannot do without its encoder"]),
        (lambda c: c["train"].update(bogus=1), ["config.json"]),
        (lambda c: c.update(conditional=True), ["does not fit its config"]),
        (
            lambda c: c["likelihood"].update(name="bernoulli", options={}),
            ["bernoulli likelihood is for binary"],
        ),
    ],
)
def test_configs_that_were_changed(
    genzoo: Run, weights: Path, change: Callable[[dict[str, Any]], object], words: list[str]
) -> None:
    edited(weights, change)
    refuse(genzoo, weights, str(weights), *words)


def test_tensors_that_are_none(genzoo: Run, weights: Path) -> None:
    (weights / "model.safetensors").write_bytes(b"\xff" * 100)
    signed(weights)
    refuse(genzoo, weights, "no safetensors file")


def test_a_plugin_that_is_not_installed_is_named(genzoo: Run, weights: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["generator"].update(name="tiny", plugin="tiny_nets", distribution="genzoo-tiny", version="1.2")

    edited(weights, change)
    refuse(genzoo, weights, "generator 'tiny' comes from plugin 'tiny_nets' of genzoo-tiny 1.2", "install genzoo-tiny")


def test_loading_leaves_the_random_stream_alone(vae: Path) -> None:
    import torch

    import genzoo

    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    model = genzoo.load(vae)
    assert torch.equal(torch.rand(3), expected)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
