"""`genzoo.fit` takes a name, a path, arrays, a torch Dataset or DataLoader: the same data give the same model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import genzoo
from genzoo.core.data import from_arrays
from genzoo.core.errors import UsageError

SMALL = {"generator": "mlp", "encoder": "mlp", "generator.width": 8, "encoder.width": 8, "latent.size": 2,
         "train.batch_size": 4, "train.validation": 0}  # fmt: skip


def fit(data: Any, recipe: str = "vae", **how: Any) -> genzoo.Run:
    options = SMALL | how.pop("options", {})
    return genzoo.fit(recipe, data, steps=2, options=options, device="cpu", progress=False, **how)


def same(a: genzoo.Run, b: genzoo.Run) -> None:
    """Equal tensors: the runs saw equal data."""
    ours, theirs = a.model.state_dict(), b.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


class Rows(Dataset[Any]):
    def __init__(self, x: Any, y: Any = None) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        return self.x[i] if self.y is None else (self.x[i], int(self.y[i]))


class Stream(IterableDataset[Any]):
    def __init__(self, x: Any) -> None:
        self.x = x

    def __iter__(self) -> Any:
        return iter(self.x)


def test_arrays_tensors_and_data_sets_are_the_same(pictures: Callable[..., Any]) -> None:
    x = pictures()
    reference = fit(x)
    floats = torch.from_numpy(x[:, None]).float() / 255
    for data in (
        torch.from_numpy(x),
        floats,
        floats.numpy(),
        from_arrays(x),
        Rows(x),
        TensorDataset(torch.from_numpy(x)),
        Stream(list(x)),
        DataLoader(Rows(x), batch_size=5, shuffle=True),
        DataLoader(Stream(list(x)), batch_size=5),
    ):
        same(fit(data), reference)


def test_labels_may_come_with_the_data_or_beside_it(pictures: Callable[..., Any]) -> None:
    x, y = pictures(), np.arange(12) % 3
    reference = fit((x, y), "cvae")
    assert reference.model.classes == 3
    same(fit(x, "cvae", labels=y), reference)
    same(fit(x, "cvae", labels=y.tolist()), reference)
    same(fit([torch.from_numpy(x), torch.from_numpy(y)], "cvae"), reference)
    same(fit(Rows(x, y), "cvae"), reference)
    same(fit(DataLoader(Rows(x, y), batch_size=4), "cvae"), reference)
    other = fit(x, "cvae", labels=(y + 1) % 3)
    assert not torch.equal(other.model.sample(3), reference.model.sample(3))


def test_files_and_folders(pictures: Callable[..., Any], folder: Callable[..., Path], tmp_path: Path) -> None:
    x, y = pictures(30), np.arange(30) % 2
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x=x, y=y)
    run = fit(tmp_path / "x.npy")
    assert (run.model.spec.shape, run.model.spec.classes) == ((1, 9, 8), 0)
    same(fit(str(tmp_path / "x.npy")), run)
    run = fit(tmp_path / "x.npz", "cvae")
    assert run.model.spec.class_names == ()
    assert run.model.classes == 2
    run = fit(folder(x, 2), "cvae")
    assert run.model.spec.class_names == ("class0", "class1")
    assert (run.model.spec.name, run.model.spec.shape) == ("pictures", (1, 9, 8))


def test_names_and_their_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = fit("ring8", options={"data.samples": 50, "data.limit": "40"})
    assert (run.model.spec.name, run.model.spec.modality) == ("ring8", "vector")
    same(fit("datasets:ring8", options={"data.samples": 50, "data.limit": 40}), run)
    same(fit("genzoo/datasets:ring8", options={"data.samples": 50, "data.limit": 40}), run)
    # A name means the data set, a path the folder of the same name.
    monkeypatch.chdir(tmp_path)
    np.save("ring8.npy", np.zeros((9, 2), np.float32) + np.arange(9)[:, None])
    (tmp_path / "ring8").mkdir()
    assert fit("ring8", options={"data.samples": 50}).model.spec.name == "ring8"
    with pytest.raises(UsageError, match="ring8 has no images"):
        fit("./ring8")
    assert fit("ring8.npy").model.spec.shape == (2,)


def test_options_of_arrays(pictures: Callable[..., Any]) -> None:
    run = fit(pictures(), options={"data.binarize": "static"})
    assert run.model.spec.levels == 2
    assert run.config.parts["likelihood"].name == "bernoulli"
    with pytest.raises(UsageError, match=r"data has no option 'samples'"):
        fit(pictures(), options={"data.samples": 3})


def test_channels_of_any_number_once_their_place_is_said() -> None:
    many = torch.rand(8, 5, 8, 9)
    for data in (many, (many, [0, 1] * 4), TensorDataset(many)):
        with pytest.raises(UsageError, match=r'say options=.*"first".* or .*"last"'):
            genzoo.load_data(data)
        assert genzoo.load_data(data, options={"layout": "first"}).spec.shape == (5, 8, 9)
        assert genzoo.load_data(data, options={"layout": "last"}).spec.shape == (9, 5, 8)


def test_images_of_any_kind(pictures: Callable[..., Any]) -> None:
    for channels, shape in ((0, (1, 9, 8)), (1, (1, 9, 8)), (3, (3, 9, 8)), (4, (3, 9, 8))):
        assert fit(pictures(channels=channels)).model.spec.shape == shape
    run = fit(pictures() > 99)
    assert (run.model.spec.levels, run.config.parts["likelihood"].name) == (2, "bernoulli")
    run = fit(np.random.default_rng(0).random((12, 9, 8)))
    assert (run.model.spec.levels, run.config.parts["likelihood"].name) == (None, "gaussian")


@pytest.mark.parametrize(
    ("data", "how", "words"),
    [
        (None, {}, "there is nothing to train on: name the data with data="),
        (3, {}, "data is a name, a path.*not int"),
        ([[1, 2], [3, 4]], {}, "data is a name, a path.*not list"),
        ({"x": 1}, {}, "data is a name, a path.*not dict"),
        ("", {}, "the data has no name"),
        ("ring8", {"labels": [1]}, "labels go with arrays"),
        (Rows([1.0]), {"labels": [1]}, "brings its own labels"),
        ((np.zeros((3, 9, 8), np.uint8), [0, 1, 0]), {"labels": [1]}, "brings its own labels"),
        (from_arrays(np.zeros((3, 9, 8), np.uint8)), {"labels": [0, 1, 0]}, "labels go with arrays"),
        (np.zeros((3, 9, 8), np.uint8), {"labels": [0, 1]}, "3 observations need shape"),
        (np.array([[None]]), {}, "Python objects"),
        (Rows([]), {}, "empty"),
        (Stream([]), {}, "empty"),
    ],
)
def test_what_is_no_data(data: Any, how: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        fit(data, out=tmp_path / "run", **how)
    assert list(tmp_path.iterdir()) == []


def test_parts_without_a_recipe(pictures: Callable[..., Any]) -> None:
    run = genzoo.fit(
        None, pictures(), steps=1, device="cpu", progress=False,
        options={"objective": "vae", "generator": "mlp", "train.batch_size": 4, "encoder.width": 4},
    )  # fmt: skip
    assert run.config.recipe == "vae"
    assert {k: p.name for k, p in run.config.parts.items()} == {
        "objective": "vae", "generator": "mlp", "encoder": "conv", "likelihood": "discretized-logistic",
    }  # fmt: skip
    with pytest.raises(UsageError, match="name a recipe, or an objective"):
        genzoo.fit(None, pictures(), steps=1)


def test_create_and_load_data(pictures: Callable[..., Any]) -> None:
    spec = genzoo.DataSpec.image(3, 16, 12)
    model = genzoo.create("vae", spec, seed=1, options={"latent.size": 5})
    assert model.sample(2).shape == (2, 3, 16, 12)
    assert model.latent.size == 5
    again = genzoo.create("vae", spec, seed=1, options={"latent.size": 5})
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    with pytest.raises(UsageError, match="option of a data set"):
        genzoo.create("vae", spec, options={"data.limit": 5})
    data = genzoo.load_data("fashion-mini", split="test", options={"limit": 7})
    assert (len(data), data.split) == (7, "test")
    with pytest.raises(UsageError, match="split is train, test or all"):
        genzoo.load_data("fashion-mini", split="validation")  # type: ignore[arg-type]
