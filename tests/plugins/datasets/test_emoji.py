"""The emoji that come with genzoo."""

from __future__ import annotations

import json

import pytest

import genzoo
from genzoo.plugins.datasets.bundled import Emoji

SPLITS = {"train": 1716, "test": 190}


def test_splits_are_disjoint_and_stratified() -> None:
    train, test = (genzoo.load_data("emoji", split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == tuple(SPLITS.values())
    assert train.spec.shape == (3, 32, 32)
    assert train.spec.levels == 256
    assert train.license == "Apache-2.0"
    assert train.y is not None
    assert test.y is not None
    for label in range(9):
        share = (test.y == label).sum() / ((test.y == label).sum() + (train.y == label).sum())
        assert 0.08 < share < 0.12, Emoji.classes[label]


def test_pictures_are_what_their_codes_say() -> None:
    """The red, green and blue hearts are red, green and blue, on white."""
    index = json.loads(Emoji.index.read_text())
    assert len(set(index["codes"])) == len(index["codes"]) == sum(SPLITS.values())
    splits = {split: genzoo.load_data("emoji", split=split).x for split in ("train", "test")}  # type: ignore[arg-type]
    for code, channel in {"2764-FE0F": 0, "1F49A": 1, "1F499": 2}.items():
        i = index["codes"].index(code)
        split = "test" if i % 10 == 9 else "train"
        at = i // 10 if split == "test" else i - i // 10
        heart = splits[split][at].float()
        assert heart[:, 16, 16].argmax() == channel
        assert (heart[:, 0, 0] == 255).all()


def test_small_pixels_are_means_of_four_large_ones() -> None:
    """The same pictures in the same order, of both splits; weights that ship were trained on those of 32×32."""
    assert genzoo.load_data("emoji").fingerprint().startswith("0d7c133fdbb4ea92")
    for split, count in SPLITS.items():
        small, large = (genzoo.load_data(name, split=split) for name in ("emoji", "emoji-64"))  # type: ignore[arg-type]
        assert large.x.shape == (count, 3, 64, 64)
        means = large.x.double().unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
        assert (means - small.x).abs().max() <= 1  # rounded in each direction
        assert small.y is not None
        assert large.y is not None
        assert small.y.equal(large.y)


def test_damaged_atlas_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(Emoji, "file", Emoji.index)
    with pytest.raises(genzoo.GenzooError, match=r"damaged.*install genzoo again"):
        genzoo.load_data("emoji")
