"""The digits that ship, stacks of them, and who judges both."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.errors import GenzooError
from genzoo.plugins.apps.bench import bench_cli
from genzoo.plugins.datasets.bundled import Digits
from genzoo.plugins.extractors.shipped import DigitClassifier
from genzoo.plugins.metrics.modes import distinct, modes_of, stacked


@pytest.fixture(scope="module")
def splits():
    return genzoo.load_data("digits"), genzoo.load_data("digits", split="test")


def test_what_ships(splits):
    train, test = splits
    assert (len(train), len(test), train.spec.shape, train.license) == (9000, 1000, (1, 28, 28), "MIT")
    counts = [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]  # of each digit in the package
    assert test.y.bincount().tolist() == [100] * 10
    assert (train.y.bincount() + 100).tolist() == counts
    both = torch.cat([train.x, test.x]).flatten(1).numpy()
    assert len(np.unique(both, axis=0)) == 10_000  # none is in both


def test_the_file_is_made_of_the_package(tmp_path):
    """Each picture comes back, under its digit, as the 8-bit numbers that the shares were made of."""
    random, folder = np.random.default_rng(0), tmp_path / "src" / "digits"
    folder.mkdir(parents=True)
    pictures = {d: random.integers(0, 256, (101 + d, 784)) for d in range(10)}
    for d, x in pictures.items():
        cut = np.floor(x / 255 * 1000) / 1000  # as the package has them
        (folder / f"{d}.json").write_text(json.dumps({"data": cut.ravel().tolist()}))
    bench_cli.laboratory()
    from genzoo_bench import bundled_data

    bundled_data.digits(tmp_path, tmp_path)
    with np.load(tmp_path / "digits.npz", allow_pickle=False) as made:
        x = np.concatenate([made["train_images"], made["test_images"]]).reshape(-1, 784)
        y = np.concatenate([made["train_labels"], made["test_labels"]])
        assert np.bincount(made["test_labels"]).tolist() == [100] * 10
    for d, expected in pictures.items():
        assert sorted(map(bytes, x[y == d])) == sorted(map(bytes, expected.astype(np.uint8)))


def test_a_damaged_file_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(Digits, "file", tmp_path / "digits.npz")
    (tmp_path / "digits.npz").write_bytes(b"PK")
    with pytest.raises(GenzooError, match=r"digits\.npz, which comes with genzoo, is damaged"):
        genzoo.load_data("digits")


def test_the_classifier_knows_digits_that_it_has_not_seen(splits):
    assert DigitClassifier.pretrained().accuracy(splits[1]) >= 0.99


def test_it_is_the_judge_of_digits(splits):
    real = splits[0].x[:100]
    report = genzoo.evaluate(real, "digits", "classes,frechet", n=100)
    assert report["classes"].details["classifier"] == "digit-classifier"
    assert report["frechet"].extractor == "digit-classifier"


@pytest.mark.parametrize("name", ["stacked-digits", "stacked-fashion"])
def test_stacks_are_three_pictures(name):
    data = genzoo.load_data(name, split="test", options={"samples": 30})
    base = genzoo.load_data({"stacked-digits": "digits", "stacked-fashion": "fashion-mini"}[name], split="test")
    known = {bytes(x) for x in base.x.flatten(1).numpy()}
    assert (data.spec.shape, data.y) == ((3, 28, 28), None)
    assert {bytes(x) for x in data.x.flatten(0, 1).flatten(1).numpy()} <= known


def test_the_mode_is_the_number_that_is_written(splits):
    x, y = splits[1].x[:90], splits[1].y[:90]
    right = DigitClassifier.pretrained().predict(x.float() / 255) == y
    three = right.view(30, 3).all(1)
    stacks = x.view(30, 3, 28, 28)[three].float() / 255
    expected = (y.view(30, 3)[three] * torch.tensor([100, 10, 1])).sum(1)
    assert len(expected) > 25
    assert torch.equal(modes_of(stacks, "digit-classifier"), expected)
    assert torch.equal(stacked(y.view(30, 3)[three]), expected)


def test_channels_that_are_the_same_are_judged_once(splits):
    few = splits[1].x[:4].float() / 255
    index = torch.tensor([[0, 1, 2], [3, 3, 0], [2, 1, 1]])
    stacks = few[:, 0][index]
    channels, back = distinct(stacks)
    assert len(channels) == 4
    assert torch.equal(channels[back].view(3, 3, 28, 28), stacks)
