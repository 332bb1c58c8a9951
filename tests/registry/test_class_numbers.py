"""Classes go by name between a model and data of anybody's: folders in another order, data that lack some of them."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genzoo
from genzoo.core.data import Data
from genzoo.core.data.labels import among, renumbered
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.math.traversal import traverse
from genzoo.plugins.apps.compress.compress import compress, decompress

HERE, FOREIGN = ("a/b", "Cat", "dog"), ("dog", "a-b", "cat")


def spec(*names: str, classes: int = 0) -> genzoo.DataSpec:
    return genzoo.DataSpec.image(1, 8, 8, classes=classes or len(names), class_names=names)


@pytest.mark.parametrize(
    ("own", "known", "numbers"),
    [
        (spec(*FOREIGN), spec(*HERE), [2, 0, 1]),  # another order, a folder's name, a capital
        (spec("dog", "cow"), spec(*HERE), [2, -1]),
        (spec(*HERE), spec(*FOREIGN), [1, 2, 0]),
        (spec("Dog", "dog"), spec("dog", "cat"), [-1, 0]),  # each is taken once, the very name first
        (spec("", "dog"), spec(*HERE), [-1, 2]),
        (spec("2", "1"), spec(*HERE), [2, 1]),  # no name is a class: numbers
        (spec("02", "10"), spec(*HERE, *"defghijk"), [2, 10]),
        (spec("2", "0"), spec("5", "2", "7"), [1, -1]),  # one is: names
        (spec(classes=2), spec(*HERE), [0, 1]),
        (spec(classes=4), spec(*HERE), [0, 1, 2, -1]),
        (spec(classes=3), spec("5", "2", "7"), [-1, -1, 1]),
        (spec("2", "1"), spec(classes=2), [-1, 1]),
        (spec("02", "10"), spec(classes=11), [2, 10]),
        (spec(*map(str, range(11))), spec(classes=11), [*range(11)]),
        (spec("3", "11", "012"), spec(classes=100), [3, 11, 12]),
        (spec(classes=3), spec("00", "01", "02"), [0, 1, 2]),
        (spec("dog", "cat"), spec(classes=3), [-1, -1]),
        (spec("dog"), spec(), [-1]),
    ],
)
def test_numbers_of_classes(own, known, numbers):
    assert among(own, known) == numbers
    y = torch.arange(own.classes)
    assert renumbered(y, own, known).tolist() == (numbers if known.classes else y.tolist())


def test_words_and_as_many_numbers_are_the_same_in_their_order():
    y = torch.tensor([2, 0, 1])
    assert renumbered(y, spec(*HERE), spec(classes=3)) is y
    assert renumbered(y, spec(classes=3), spec(*HERE)).tolist() == y.tolist()
    assert renumbered(y, spec(*HERE), spec("x", "y", "z")).tolist() == [-1, -1, -1]


@pytest.fixture(scope="module")
def clothes():
    whole = genzoo.load_data("fashion-mini", split="test")
    return whole.take((whole.y > 2).nonzero().flatten()[:100])


def write(root: Path, data: Data) -> str:
    """Pictures in a folder for each class, whose names are in small letters."""
    for i, (x, y) in enumerate(zip(data.x, data.y, strict=True)):
        (place := root / data.spec.class_names[y].replace("/", "-").lower()).mkdir(exist_ok=True)
        Image.fromarray(x[0].numpy()).save(place / f"{i:03}.png")
    return str(root)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clothes):
    return write(tmp_path_factory.mktemp("clothes"), clothes)


@pytest.fixture(scope="module")
def wardrobe(tmp_path_factory):
    return write(tmp_path_factory.mktemp("wardrobe"), genzoo.load_data("fashion-mini", split="test").take(slice(400)))


@pytest.fixture(scope="module")
def cvae():
    return genzoo.load("cvae/fashion-mnist", device="cpu")


def psnr(model, data, **how):
    return pytest.approx(genzoo.evaluate(model, data, "psnr", **how)["psnr"].value, abs=1e-9)


@pytest.mark.parametrize("form", ["numbers", "names", "data"])
def test_a_conditional_model_is_told_the_classes_of_foreign_data(form, clothes, cvae):
    names = np.array([clothes.spec.class_names[k] for k in clothes.y])
    given = {
        "numbers": (clothes.x, clothes.y),
        "names": (clothes.x, names),
        "data": genzoo.load_data(clothes.x, labels=clothes.y),
    }
    assert psnr(cvae, given[form]) == genzoo.evaluate(cvae, clothes, "psnr")["psnr"].value


def test_a_folder_in_the_order_of_the_alphabet(clothes, folder, cvae, tmp_path):
    order = [int(name[-7:-4]) for name in genzoo.load_data(folder, split="all").read.files]
    own = clothes.take(order)
    assert psnr(cvae, folder, split="all") == genzoo.evaluate(cvae, own, "psnr")["psnr"].value
    with np.load(genzoo.encode(cvae, folder, tmp_path / "codes.npz")) as found:
        order = [int(name[-7:-4]) for name in found["files"]]
        torch.testing.assert_close(torch.from_numpy(found["codes"]), cvae.encode(clothes.x[order], clothes.y[order]))
        assert found["labels"].tolist() == clothes.y[order].tolist()  # as what decodes them numbers them
        assert tuple(found["class_names"]) == cvae.spec.class_names
    with np.load(genzoo.encode("vae/fashion-mnist", folder, tmp_path / "codes.npz")) as found:
        names = [clothes.spec.class_names[k].replace("/", "-").lower() for k in clothes.y[order]]
        assert found["class_names"][found["labels"]].tolist() == names


def test_a_folder_keeps_its_own_classes(wardrobe, tmp_path):
    genzoo.fit("cvae", wardrobe, init="cvae/fashion-mnist", steps=1, out=tmp_path / "run")
    assert genzoo.load(tmp_path / "run").spec.class_names[0] == "ankle boot"
    genzoo.fit(resume=tmp_path / "run", steps=2)  # as the same data
    digits = genzoo.evaluate("vae/fashion-mnist", "digits", "classes", n=200)
    assert [*digits["classes"].details["shares"]] == [str(k) for k in range(10)]
    told, plain = (genzoo.evaluate(w, wardrobe, "psnr", n=20) for w in ("cvae/fashion-mnist", "vae/fashion-mnist"))
    assert told.record["fingerprint"] == plain.record["fingerprint"]


def test_conditional_accuracy_goes_by_name(clothes, wardrobe, cvae, tmp_path):
    kinds = ["conditional-accuracy"]
    how = {"training": wardrobe, "split": "all", "n": 200, "cache": False}
    found = genzoo.evaluate(cvae, wardrobe, kinds, **how)[kinds[0]].value
    assert found > 0.5  # by the folder's own numbers it is a tenth
    samples = genzoo.sample(cvae, tmp_path / "samples.npz", 200)
    assert genzoo.evaluate(samples, wardrobe, kinds, **how)[kinds[0]].value == found
    names = cvae.spec.class_names
    other = copy(cvae)  # the same network, whose classes are called by another's name
    other.spec = replace(cvae.spec, class_names=(*names[1:], names[0]))
    whole = genzoo.load_data("fashion-mini", split="test").take(slice(200))
    alone = [genzoo.evaluate(m, whole, kinds, n=200)[kinds[0]].value for m in (cvae, other)]
    for models in ([cvae, other], [other, cvae]):
        both = genzoo.compare(models, whole, kinds, n=200, names=["one", "other"])
        assert [r[kinds[0]].value for r in both.reports] == (alone if models[0] is cvae else alone[::-1])
    assert alone[0] > alone[1] + 0.3
    few = genzoo.evaluate(cvae, genzoo.load_data(clothes.x, labels=clothes.y + 10), kinds, n=20, strict=False)
    assert [a.reason for a in few.absent] == ["the samples were not asked to be of classes of the data"]


@pytest.mark.parametrize("metric", ["reconstruction-accuracy", "linear-probe"])
def test_training_data_with_classes_that_the_data_lack(metric):
    train, test = (genzoo.load_data("fashion-mini", split=s).take(slice(n)) for s, n in (("train", 600), ("test", 200)))
    names = [train.spec.class_names[k] for k in train.y]
    more = train.x, np.array(["A hat" if name == "Coat" else name for name in names])  # which comes first
    vae = genzoo.load("vae/fashion-mnist", device="cpu")
    without = train.take((train.y != train.spec.class_names.index("Coat")).nonzero().flatten())
    how = {"extractor": "scattering", "cache": False}
    found = genzoo.evaluate(vae, test, metric, training=more, **how)[metric].value
    assert found == pytest.approx(genzoo.evaluate(vae, test, metric, training=without, **how)[metric].value, abs=0.06)
    strange = train.x, np.array([f"not {name}" for name in names])
    with pytest.raises(GenzooError, match="the training data have none of the data's classes"):
        genzoo.evaluate(vae, test, metric, training=strange, **how)


def test_samples_in_a_file_keep_the_classes_of_their_model(cvae, tmp_path):
    train, test = (genzoo.load_data("fashion-mini", split=split) for split in ("train", "test"))
    plain = genzoo.load_data(test.x[:300], labels=test.y[:300])  # whose classes are numbers without names
    kind, how = "conditional-accuracy", {"n": 200, "cache": False, "training": (train.x, train.y)}
    whole = genzoo.evaluate(cvae, plain, kind, **how)[kind].value
    assert whole > 0.5
    path = genzoo.sample(cvae, tmp_path / "all.npz", 200)
    assert genzoo.evaluate(path, plain, kind, **how)[kind].value == whole
    pictures = genzoo.sample(cvae, tmp_path / "all", 200)  # in folders: nobody knows which word is which number
    with pytest.raises(UsageError, match="were not asked to be of classes of the data"):
        genzoo.evaluate(pictures, plain, kind, **how)
    named = how | {"training": train}
    as_named = genzoo.evaluate(cvae, test, kind, **named)[kind].value
    assert genzoo.evaluate(pictures, test, kind, **named)[kind].value == as_named
    bags = genzoo.evaluate(genzoo.sample(cvae, tmp_path / "bags.npz", 200, labels="Bag"), plain, kind, **how)[kind]
    assert bags.details["accuracy by class"] == {"8": bags.value}
    assert bags.value > 0.5
    with np.load(path) as found:
        x, y, names = (found[k] for k in ("samples", "labels", "class_names"))
    for form, called in (
        (9.0 - y, names[::-1]),
        (np.eye(10)[9 - y], names[::-1]),
        (9 - y[:, None], np.char.encode(names[::-1])),
        (y, np.array("Bag")),  # no names of ten
        (y, names.astype(object)),  # are not read
        (y, np.array(["Bag"] * 10)),
    ):
        np.savez(tmp_path / "form.npz", samples=x, labels=form, class_names=called)
        assert genzoo.evaluate(tmp_path / "form.npz", test, kind, **named)[kind].value == as_named


def test_data_in_a_file_have_the_classes_that_it_names(folder, cvae, tmp_path):
    own = genzoo.load_data(folder, split="all")
    path = tmp_path / "own.npz"
    np.savez(path, x=own.x.numpy(), y=own.y.numpy(), class_names=np.array(own.spec.class_names))
    found = genzoo.load_data(str(path), split="all")
    assert (found.spec.class_names, found.y.tolist()) == (own.spec.class_names, own.y.tolist())
    assert psnr(cvae, str(path), split="all") == genzoo.evaluate(cvae, own, "psnr")["psnr"].value
    x, y, names = own.x.numpy(), own.y.numpy(), np.array(own.spec.class_names)
    np.savez(path, x=x, y=y + 5, class_names=names)  # they are of others
    assert genzoo.load_data(str(path)).spec.class_names == tuple(map(str, range(5, 5 + own.spec.classes)))
    np.savez(path, x=x, y=y, class_names=names.astype(object))  # are not read
    assert genzoo.load_data(str(path)).spec.class_names == ()
    y = np.arange(len(own)) % 3
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y + 1, class_names=np.array(["a", "b", "c"]))
    with pytest.raises(UsageError, match="has the label 3 to test, which is none of those to train on"):
        genzoo.load_data(str(path))


def test_labels_of_samples_go_by_names_that_are_numbers(clothes):
    few = clothes.take((clothes.y < 6).nonzero().flatten())
    data = genzoo.load_data(few.x, labels=few.y - 2)  # of classes called 1, 2, 3
    some = few.take((few.y < 5).nonzero().flatten())
    kind, y = "conditional-accuracy", some.y - 2
    for given in ((some.x, y), (some.x, y.numpy().astype(str)), genzoo.load_data(some.x, labels=y), (few.x, few.y - 3)):
        assert genzoo.evaluate(given, data, kind, training=data, cache=False)[kind].value > 0.8


def test_what_is_decompressed_has_the_classes_of_its_model(folder, cvae, tmp_path):
    compress(cvae, folder, tmp_path / "c.gz", n=20)
    decompress(tmp_path / "c.gz", tmp_path / "again.npz", cvae)
    own = genzoo.load_data(folder, split="all").take(slice(20))
    with np.load(tmp_path / "again.npz") as found:
        names = [name.replace("/", "-").lower() for name in found["class_names"][found["labels"]]]
    assert names == [own.spec.class_names[k] for k in own.y]


def test_weights_that_start_a_run_say_that_classes_have_other_numbers(wardrobe, clothes, capsys):
    other = "classes are others here, or in another order, and start by number: 'ankle boot' as 'T-shirt/top'"
    for data, said in ((wardrobe, other), (clothes, ""), ((clothes.x, np.arange(len(clothes)) % 10), "")):
        for more in ({}, {"init_partial": True, "options": {"latent.size": 5}}):
            genzoo.fit("cvae", data, init="cvae/fashion-mnist", steps=1, progress=True, **more)
            told = capsys.readouterr().err
            assert said in told
            assert bool(said) == ("start by number" in told)


def test_classes_that_the_model_lacks(clothes, cvae, tmp_path):
    names = np.array(["Hat" if k == 3 else clothes.spec.class_names[k] for k in clothes.y])
    strange = genzoo.load_data(clothes.x, labels=names)
    no_hat = r"model 'cvae' has no class 'Hat' .*: its classes are T-shirt/top, Trouser"
    for call in (
        lambda: genzoo.evaluate(cvae, strange, "psnr"),
        lambda: genzoo.encode(cvae, strange, tmp_path / "codes.npz"),
        lambda: genzoo.reconstruct(cvae, strange, tmp_path / "again.png"),
    ):
        with pytest.raises(UsageError, match=no_hat):
            call()
    with pytest.raises(UsageError, match="has no class '10'"):
        genzoo.evaluate(cvae, (clothes.x[:11], np.arange(11)), "psnr")
    assert not [*tmp_path.iterdir()]
    for weights, metric in (("vae/fashion-mnist", "psnr"), ("gan/fashion-mnist-labels", "frechet")):  # are told nothing
        found = genzoo.evaluate(weights, strange, metric, n=100, cache=False)
        assert found[metric].value > 0
    assert len(genzoo.score("gan/fashion-mnist-labels", strange, training=clothes).names) == 100
    found = genzoo.score(cvae, strange, training=clothes)
    assert [*found.columns] == ["distance"]
    assert all("has no class 'Hat'" in found.record["absent"][by] for by in ("bound", "reconstruction"))
    assert traverse(cvae, data=strange).measure == "mean change"
    assert traverse(cvae, data=clothes).measure == "nats"
    assert "has no class 'Hat'" in genzoo.diagnose(cvae, strange, n=100)["posterior-collapse"].says
    both = genzoo.compare(["vae/fashion-mnist", cvae], strange, "psnr", n=50, names=["plain", "told"])
    both.save(tmp_path / "page.html")
    assert "has no class" in (tmp_path / "page.html").read_text()


def test_texts_of_classes_that_the_model_lacks(tmp_path):
    def lines(name: str, classes: str) -> str:
        (tmp_path / name).write_text("".join(json.dumps({"text": f"a {k.lower()}{i}", "label": k}) + "\n"
                                             for i in range(30) for k in classes))  # fmt: skip
        return str(tmp_path / name)

    model = genzoo.fit("lm", lines("ours.jsonl", "xyz"), steps=2, options={"conditional": True}).model
    with pytest.raises(UsageError, match="has no class 'w'"):
        compress(model, lines("theirs.jsonl", "wy"), tmp_path / "theirs.gz")
    assert not (tmp_path / "theirs.gz").exists()
    kind, data = "conditional-accuracy", lines("others.jsonl", "ZYX")
    whole = genzoo.evaluate(model, data, kind, n=60, training=data, split="all")[kind].value
    for name in ("s.npz", "s.jsonl"):
        samples = genzoo.sample(model, tmp_path / name, 60)
        assert genzoo.evaluate(samples, data, kind, training=data, split="all")[kind].value == whole
    own = genzoo.load_data(data, split="all")
    nameless = replace(own, spec=replace(own.spec, class_names=()))
    found = genzoo.evaluate(samples, nameless, kind, training=nameless, strict=False)
    assert found.why_not(kind) == "the samples were not asked to be of classes of the data"


def test_labels_without_classes_stay(cvae, clothes):
    bare = replace(clothes, spec=replace(clothes.spec, classes=0, class_names=()))
    assert bare.told(cvae)["labels"] is bare.y
    assert genzoo.evaluate(bare, clothes, "frechet", cache=False)["frechet"].value < 1e-6
