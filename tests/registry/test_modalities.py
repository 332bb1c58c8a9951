"""Kinds of data: one lookup, torch-free, and nobody else asks which one it is."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.config import Config
from genzoo.core.data import from_arrays
from genzoo.core.errors import UsageError
from genzoo.core.modality import every, of, recognized
from genzoo.core.spec import DataSpec

ROOT = Path(__file__).parents[2]
PLACES = ("core", "registry", "cli", "plugins")


def test_nothing_asks_which_modality_it_is():
    asks = re.compile(r"modality *(==|!=|in\b)|modality[\"']\] *(==|!=)|len\([\w.]*spec\.shape\) *(==|!=)")
    found = [
        f"{path.relative_to(ROOT)}:{i}: {line.strip()}"
        for place in PLACES
        for path in sorted((ROOT / place).rglob("*.py"))
        if path.parent.name != "modalities"
        for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if asks.search(line) and not line.lstrip().startswith(("#", '"""'))
    ]
    assert found == []


def test_a_spec_is_described_without_torch():
    code = (
        "import sys, genzoo\nfrom genzoo.core.modality import of\ns = genzoo.DataSpec.image(3, 8, 8)\n"
        "of(s).check(s), of(s).describe(s), of(s).likelihood(s), of(s).network('critic'), of(s).examples(2)\n"
        "genzoo.DataSpec('vector', (2,)).to_dict()\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


def test_genzoos_own():
    assert {"audio", "image", "spectrogram", "vector"} <= {m.name for m in every()}
    assert of("image") is of(DataSpec.image(1, 2, 2))
    with pytest.raises(UsageError, match=r"no modality 'imgae' \(did you mean 'image'\?\)"):
        DataSpec("imgae", (1, 2, 2))


def test_specs_of_images_and_vectors_are_recorded_as_before():
    image = {
        "modality": "image", "shape": [1, 4, 4], "levels": 256, "classes": 0, "class_names": [], "scale": [0.5],
        "shift": [0.5], "name": "",
    }  # fmt: skip
    assert DataSpec.image(1, 4, 4).to_dict() == image
    assert list(DataSpec("vector", (2,)).to_dict()) == list(image)
    assert DataSpec.from_dict(image) == DataSpec.image(1, 4, 4)


@pytest.mark.parametrize("facts", [{"rate": 3}, [1], "x"])
def test_facts_that_the_modality_does_not_know_are_refused(facts):
    plain = genzoo.create("vae", DataSpec("vector", (2,))).config.to_dict()
    plain["data"]["facts"] = facts
    with pytest.raises(UsageError, match="facts"):
        Config.from_dict(plain)
    with pytest.raises(UsageError, match="rate"):
        DataSpec("vector", (2,), facts={"rate": 3})


@pytest.mark.parametrize(
    ("x", "name"),
    [
        (np.zeros((4, 2), np.float32), "vector"),
        (torch.zeros(4, 2), "vector"),
        (np.zeros((4, 5, 5), np.uint8), "image"),
        (torch.zeros(4, 3, 5, 5), "image"),
    ],
)
def test_arrays_are_recognized_by_rank(x, name):
    assert from_arrays(x).spec.modality == name
    assert from_arrays(x, modality=name).spec.modality == name


def test_what_is_nobodys_is_a_sentence():
    with pytest.raises(UsageError, match="has shape"):
        from_arrays(np.zeros(3))
    with pytest.raises(UsageError, match=r"is a dict, which is none of .*images, .*vectors"):
        recognized({}, "the data")
    with pytest.raises(UsageError, match=r"give vectors as \(N, D\)"):
        from_arrays(np.zeros((2, 3, 3)), modality="vector")
    with pytest.raises(UsageError, match="no modality 'tabel'"):
        from_arrays(np.zeros((2, 3)), modality="tabel")


def test_the_kind_of_an_array_may_be_named(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(12).reshape(6, 2))
    with pytest.raises(UsageError, match="convert to float32"):
        genzoo.load_data(tmp_path / "x.npy")
    assert genzoo.load_data(tmp_path / "x.npy", options={"modality": "vector"}).spec.shape == (2,)
    assert genzoo.load_data(np.zeros((6, 2), int), options={"modality": "vector"}).spec.shape == (2,)


def test_two_that_open_a_path_are_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(type(of("vector")), "opens", lambda self, path: "array")
    says = r'could be images or vectors: say which, data="folder" .* or data="array"'
    with pytest.raises(UsageError, match=says):
        genzoo.load_data(tmp_path)


def test_pixels_are_drawn_and_rounded():
    spec = DataSpec.image(1, 2, 2)
    x = torch.tensor([[[[0.0, 0.2], [0.501, 1.0]]]])
    assert of(spec).to_array(spec, x).tolist() == [[[[0, 51], [128, 255]]]]
    assert of(spec).to_array(spec, x.clone(), spare=True).tolist() == [[[[0, 51], [128, 255]]]]
    assert of(spec).array_dtype(DataSpec.image(1, 2, 2, levels=None)) == "float32"
    assert of(spec).rounded(spec, x) == bytes([0, 51, 128, 255])
    assert of("vector").rounded(DataSpec("vector", (2,)), torch.zeros(1, 2)) is None


def test_they_are_described():
    assert of("image").describe(DataSpec.image(1, 8, 8)) == "images of 1×8×8 (channels, height, width)"
    assert of("vector").describe(DataSpec("vector", (3,))) == "vectors of 3 numbers"
