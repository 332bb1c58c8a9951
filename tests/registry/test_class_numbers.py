"""Classes go by name between a model and data of anybody's: folders in another order, data that lack some of them."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.data.labels import among, renumbered, strange
from genzoo.core.errors import UsageError

HERE, FOREIGN = ("a/b", "Cat", "dog"), ("dog", "a-b", "cat")


def spec(*names: str, classes: int = 0) -> genzoo.DataSpec:
    return genzoo.DataSpec.image(1, 8, 8, classes=classes or len(names), class_names=names)


@pytest.mark.parametrize(
    ("own", "known", "numbers"),
    [
        (spec(*FOREIGN), spec(*HERE), [2, 0, 1]),  # another order, a folder's name, a capital
        (spec("dog", "cow"), spec(*HERE), [2, -1]),
        (spec("2", "1"), spec(*HERE), [2, 1]),  # no name is a class: numbers
        (spec("2", "0"), spec("5", "2", "7"), [1, -1]),  # one is: names
        (spec(classes=2), spec(*HERE), [0, 1]),
        (spec(classes=4), spec(*HERE), [0, 1, 2, -1]),
        (spec("02", "10"), spec(classes=11), [2, 10]),
        (spec("dog", "cat"), spec(classes=2), [-1, -1]),
        (spec("dog"), spec(), [-1]),
    ],
)
def test_numbers_of_classes(own, known, numbers):
    assert among(own, known) == numbers
    y = torch.arange(own.classes)
    assert renumbered(y, own, known).tolist() == (y.tolist() if -1 in numbers else numbers)
    assert strange(own, known) == ("" if -1 not in numbers else [*(own.class_names or "0123")][numbers.index(-1)])


def test_data_in_the_classes_of_a_spec():
    x = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    found = genzoo.Data(spec(*FOREIGN), x, torch.tensor([0, 1, 2, 2])).in_classes_of(spec(*HERE))
    assert (found.y.tolist(), found.spec) == ([2, 0, 1, 1], spec(*HERE))
    assert found.in_classes_of(spec(*HERE)) is found
    cow = genzoo.Data(spec("cow", "dog"), x, torch.tensor([0, 1, 1, 0]))
    assert cow.in_classes_of(spec(*HERE)) is cow
    plain = genzoo.Data(spec(), x)
    assert plain.in_classes_of(spec(*HERE)) is plain


@pytest.fixture(scope="module")
def clothes():
    whole = genzoo.load_data("fashion-mini", split="test")
    return whole.take((whole.y > 2).nonzero().flatten()[:100])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clothes):
    root = tmp_path_factory.mktemp("clothes")
    for i, (x, y) in enumerate(zip(clothes.x, clothes.y, strict=True)):
        (place := root / clothes.spec.class_names[y].lower()).mkdir(exist_ok=True)
        Image.fromarray(x[0].numpy()).save(place / f"{i:03}.png")
    return root


@pytest.fixture(scope="module")
def cvae():
    return genzoo.load("cvae/fashion-mnist", device="cpu")


@pytest.mark.parametrize("write", ["numbers", "names", "data", "folder"])
def test_a_conditional_model_is_told_the_classes_of_foreign_data(write, clothes, folder, cvae):
    names = np.array([clothes.spec.class_names[k] for k in clothes.y])
    given = {
        "numbers": (clothes.x, clothes.y),
        "names": (clothes.x, names),
        "data": genzoo.load_data(clothes.x, labels=clothes.y),
        "folder": str(folder),
    }[write]
    if write != "folder":
        whole = genzoo.evaluate(cvae, clothes, "psnr")["psnr"].value
        assert genzoo.evaluate(cvae, given, "psnr")["psnr"].value == pytest.approx(whole, abs=1e-9)
        return
    files = genzoo.load_data(given, split="all")
    in_order = clothes.take([int(name[-7:-4]) for name in files.read.files])
    assert genzoo.evaluate(cvae, given, "psnr", split="all")["psnr"].value == pytest.approx(
        genzoo.evaluate(cvae, in_order, "psnr")["psnr"].value, abs=1e-9
    )


def test_training_from_weights_keeps_their_order_of_the_classes(clothes, cvae, tmp_path):
    names = clothes.spec.class_names
    y = torch.arange(100) % 10
    words = np.array([names[k] for k in y])
    run = genzoo.fit("cvae", (clothes.x, words), init="cvae/fashion-mnist", steps=1, out=tmp_path / "run")
    assert genzoo.load(run.folder).spec.class_names == names
    few = genzoo.fit("cvae", (clothes.x[y < 2], words[y < 2]), init="cvae/fashion-mnist", init_partial=True, steps=1)
    assert few.model.spec.class_names == ("T-shirt/top", "Trouser")


def test_codes_of_a_folder_of_classes(clothes, folder, cvae, tmp_path):
    with np.load(genzoo.encode(cvae, str(folder), tmp_path / "codes.npz")) as found:
        order = [int(name[-7:-4]) for name in found["files"]]
        assert found["labels"].tolist() == clothes.y[order].tolist()
        torch.testing.assert_close(torch.from_numpy(found["codes"]), cvae.encode(clothes.x[order], clothes.y[order]))


def test_conditional_accuracy_goes_by_name(clothes, folder, cvae):
    kinds = ["conditional-accuracy"]
    found = genzoo.evaluate(cvae, str(folder), kinds, training=str(folder), split="all", n=200)
    assert found["conditional-accuracy"].value > 0.5  # by the folder's own numbers it is none
    names = cvae.spec.class_names
    other = copy(cvae)  # the same network, whose classes are called by another's name
    other.spec = replace(cvae.spec, class_names=(*names[1:], names[0]))
    alone = [genzoo.evaluate(m, clothes, kinds, training=clothes, n=200)[kinds[0]].value for m in (cvae, other)]
    both = genzoo.compare([cvae, other], clothes, kinds, training=clothes, n=200, names=["one", "other"])
    found = [r[kinds[0]].value for r in both.reports]
    assert found == pytest.approx(alone, abs=0.1)  # by the extractor, or by a classifier of the data in other's order
    assert alone[0] > alone[1] + 0.3


def test_classes_that_the_model_lacks_are_refused(clothes, cvae):
    names = np.array(["Hat" if k == 3 else clothes.spec.class_names[k] for k in clothes.y])
    with pytest.raises(
        UsageError, match=r"which is told the data's classes, has no class 'Hat' .*: its classes are T-shi"
    ):
        genzoo.evaluate(cvae, (clothes.x, names), "psnr")
    with pytest.raises(UsageError, match="has no class '10'"):
        genzoo.evaluate(cvae, (clothes.x[:11], np.arange(11)), "psnr")
    ae = genzoo.load("vae/fashion-mnist", device="cpu")  # takes no labels
    assert genzoo.evaluate(ae, (clothes.x, names), "psnr")["psnr"].value > 0
