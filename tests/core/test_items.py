"""Items of torch data sets, of DataLoaders and of what else people have."""

from __future__ import annotations

import itertools
from collections import namedtuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import genzoo
from genzoo.core.errors import UsageError

X = torch.arange(64, dtype=torch.uint8).add(100).reshape(64, 1, 1, 1).expand(64, 1, 4, 5).contiguous()
Y = torch.arange(64) % 4
WHOLE = TensorDataset(X, Y)


class Items(Dataset):
    def __init__(self, items, **more):
        self.items = items
        self.__dict__.update(more)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Stream(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items() if callable(self.items) else self.items)


def negative(batch):
    return torch.stack([255 - x for x, _ in batch]), torch.tensor([7 for _ in batch])


def numbers(data):
    return sorted(data.x[:, 0, 0, 0].sub(100).tolist())


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_loader_that_visits_all_is_its_data_set():
    for loader in (
        DataLoader(WHOLE, 8),
        DataLoader(WHOLE, 8, shuffle=True),
        DataLoader(WHOLE, None),
        DataLoader(WHOLE, 7, drop_last=True),
    ):
        data = genzoo.load_data(loader)
        assert torch.equal(data.x, X)
        assert torch.equal(data.y, Y)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_loader_with_ways_of_its_own_is_iterated():
    some = [3, 5, 60]
    for loader in (
        DataLoader(WHOLE, 2, sampler=SubsetRandomSampler(some)),
        DataLoader(WHOLE, 2, sampler=some),
        DataLoader(WHOLE, batch_sampler=[[3, 5], [60]]),
        DataLoader(WHOLE, None, sampler=some),
        DataLoader(Subset(WHOLE, some), 2),
        DataLoader(Items([WHOLE[i] for i in range(64)]), 2, sampler=some, collate_fn=list),
    ):
        assert numbers(genzoo.load_data(loader, options={"labels": "auto"})) == some
    with pytest.warns(UserWarning, match="iterated once, as it has a sampler of its own"):
        assert len(genzoo.load_data(DataLoader(WHOLE, 8, sampler=RandomSampler(WHOLE, num_samples=20)))) == 20
    weights = WeightedRandomSampler([1.0] * 10 + [0.0] * 54, 30)
    with pytest.warns(UserWarning, match="a sampler"):
        assert max(numbers(genzoo.load_data(DataLoader(WHOLE, 8, sampler=weights)))) < 10
    with pytest.warns(UserWarning, match="a collate_fn"):
        data = genzoo.load_data(DataLoader(WHOLE, 8, collate_fn=negative))
    assert torch.equal(data.x, 255 - X)
    assert data.spec.class_names == ("7",)
    again = genzoo.load_data(DataLoader(WHOLE, 8, sampler=weights))
    assert again.fingerprint() == genzoo.load_data(DataLoader(WHOLE, 8, sampler=weights)).fingerprint()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("keys", [("image", "label"), ("img", "labels"), ("pixel_values", "target"), ("Image", "y")])
def test_items_that_are_dicts(keys):
    items = [dict(zip(keys, (X[i], int(Y[i])), strict=True), extra="words") for i in range(16)]
    for source in (Items(items), Stream(items), items, DataLoader(Items(items), 4, sampler=range(16))):
        data = genzoo.load_data(source)
        assert (len(data), data.spec.classes, torch.equal(data.x, X[:16])) == (16, 4, True)
        assert genzoo.load_data(source, labels=False).y is None


def test_which_part_is_what_can_be_said():
    odd = Items([{"face": X[i], "who": f"p{i % 2}"} for i in range(8)])
    with pytest.raises(UsageError, match=r'options=\{"x": "face"\}'):
        genzoo.load_data(odd)
    data = genzoo.load_data(odd, options={"x": "face", "y": "who"})
    assert data.spec.class_names == ("p0", "p1")
    three = Items([(i, X[i], i % 2) for i in range(8)])
    with pytest.raises(UsageError, match=r'3 parts.*options=\{"x": "0", "y": "1"\}'):
        genzoo.load_data(three)
    assert genzoo.load_data(three, options={"x": "1", "y": "2"}).spec.classes == 2
    assert genzoo.load_data(three, options={"x": "1"}).y is None
    with pytest.raises(UsageError, match="numbered from 0"):
        genzoo.load_data(three, options={"x": "3"})
    Pair = namedtuple("Pair", "picture kind")
    assert genzoo.load_data(Items([Pair(X[i], i % 2) for i in range(8)])).spec.classes == 2


def test_the_package_datasets_by_its_form():
    class Names:
        names = ("cat", "dog", "newt")

    class Hub:
        features = {"image": object(), "label": Names()}  # noqa: RUF012

        def __len__(self):
            return 6

        def __getitem__(self, i):
            return {"image": Image.new("L", (5, 4), 100 + i), "label": i % 3}

        def __iter__(self):
            return (self[i] for i in range(6))

    data = genzoo.load_data(Hub())
    assert (len(data), data.spec.class_names, numbers(data)) == (6, ("cat", "dog", "newt"), list(range(6)))
    assert len(genzoo.load_data({"train": Hub(), "test": Items([X[0]] * 2)}, split="test")) == 2
    assert numbers(genzoo.load_data([Image.new("L", (5, 4), 100 + i) for i in range(3)])) == [0, 1, 2]


def test_classes_of_a_part_are_those_that_it_has():
    whole = Items([(X[i], i % 4) for i in range(64)], classes=["a", "b", "c", "d"])
    assert genzoo.load_data(whole).spec.class_names == ("a", "b", "c", "d")
    assert genzoo.load_data(Subset(whole, [1, 3, 5])).spec.class_names == ("b", "d")
    assert genzoo.load_data(Subset(Items([(X[i], i % 4) for i in range(64)]), [1, 3])).spec.class_names == ("1", "3")


def test_attributes_and_one_hot_rows_of_items():
    hot = genzoo.load_data(Items([(X[i], torch.eye(3)[i % 3]) for i in range(9)]))
    assert hot.spec.classes == 3
    with pytest.warns(UserWarning, match="attributes"):
        many = genzoo.load_data(Items([(X[i], torch.tensor([1, i % 2, 1])) for i in range(9)]))
    assert (many.spec.classes, many.condition.shape) == (0, (9, 3))


def test_streams_without_an_end(monkeypatch):
    monkeypatch.setattr("genzoo.core.data.items.MOST_ITEMS", 50)

    def endless():
        return (X[i % 64] for i in itertools.count())

    for source in (
        Stream(endless),
        DataLoader(Stream(endless), 4),
        DataLoader(WHOLE, batch_sampler=map(lambda i: [i % 64], itertools.count())),
    ):
        with pytest.raises(UsageError, match=r'endless or large.*options=\{"limit": "'):
            genzoo.load_data(source)
    assert numbers(genzoo.load_data(Stream(endless), options={"limit": "10"})) == list(range(10))
    assert len(genzoo.load_data(Items([X[i] for i in range(64)]), options={"limit": 7})) == 7


def test_items_that_differ_when_read_twice_are_told():
    class Noisy(Items):
        def __getitem__(self, i):
            return self.items[i] + torch.randint(2, (1, 4, 5), dtype=torch.uint8), 0

    with pytest.warns(UserWarning, match=r'random transforms.*options=\{"mirror": "true"\}'):
        data = genzoo.load_data(Noisy(X))
    with pytest.warns(UserWarning, match="random transforms"):
        assert data.fingerprint() == genzoo.load_data(Noisy(X)).fingerprint()


def test_labels_false_everywhere(tmp_path):
    np.savez(tmp_path / "d.npz", x=X.numpy(), y=Y.numpy())
    for source in (WHOLE, (X, Y), DataLoader(WHOLE, 8), str(tmp_path / "d.npz"), "digits", X):
        data = genzoo.load_data(source, labels=False)
        assert (data.y, data.spec.classes, data.spec.class_names) == (None, 0, ())
