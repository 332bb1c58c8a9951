"""Names as people type them: classes by name, capitals, wildcards."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import genzoo as gz
from genzoo.core.data import from_arrays
from genzoo.core.errors import UsageError, did_you_mean, folded

Run = Callable[..., Any]  # genzoo(*arguments); see conftest.py
CLASSES = ("10", "Cat", "dog", "T-shirt/top")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a conditional VAE whose classes are called as `CLASSES`."""
    out = tmp_path_factory.mktemp("named") / "run"
    x = torch.randint(0, 256, (40, 1, 9, 8), dtype=torch.uint8)
    parts = {"generator": "mlp", "generator.width": 8, "encoder": "mlp", "encoder.width": 8, "latent.size": 3}
    data = from_arrays(x, np.arange(40) % 4, class_names=CLASSES)
    gz.fit("cvae", data, out, steps=2, batch_size=8, options=parts | {"train.validation": 0}, progress=False)
    return out


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in folders of those classes (one with another name, as folders have it)."""
    from PIL import Image

    root = tmp_path_factory.mktemp("labelled")
    for name in ("Cat", "dog"):
        (root / name).mkdir()
        for i in range(20):
            pixels = np.random.default_rng(i).integers(0, 255, (9, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def samples(path: Path) -> np.ndarray:
    with np.load(path) as stored:
        return np.asarray(stored["labels"])


@pytest.mark.parametrize(
    ("typed", "number"), [("Cat", 1), ("cat", 1), ("DOG", 2), ("10", 0), ("2", 2), ("T-Shirt/Top", 3), (" dog ", 2)]
)
def test_a_class_goes_by_name_and_only_then_by_number(
    genzoo: Run, named: Path, tmp_path: Path, typed: str, number: int
) -> None:
    assert genzoo("sample", named, "-n", 3, "--label", typed, "--out", tmp_path / "x.npz").code == 0
    assert samples(tmp_path / "x.npz").tolist() == [number] * 3
    model = gz.load(named)
    assert torch.equal(model.sample(3, labels=typed), model.sample(3, labels=number))


def test_a_class_that_is_not_there(genzoo: Run, named: Path, vae: Path, cvae: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "x.npz")
    genzoo("sample", named, "--label", "cta", *out).sentence("no class 'cta'", "'Cat'", "10, Cat, dog, T-shirt", code=2)
    genzoo("sample", named, "--label", "4", *out).sentence("label 4 is out of range", code=2)
    genzoo("sample", named, "--label", "-1", *out).sentence("label -1", code=2)
    genzoo("sample", cvae, "--label", "cat", *out).sentence("no class 'cat'", "numbers from 0 to 2", code=2)
    genzoo("sample", vae, "--label", "cat", *out).sentence("not conditional", code=2)
    genzoo("interpolate", named, "--label", "rat", *out).sentence("no class 'rat'", code=2)
    genzoo("plot", "traversal", named, "--label", "rat", "--out", tmp_path / "x.png").sentence("no class 'rat'", code=2)
    assert not list(tmp_path.iterdir())


def test_labels_by_name_in_python(named: Path) -> None:
    model = gz.load(named)
    by_number = model.sample(3, labels=[1, 2, 0])
    for labels in (["Cat", "dog", "10"], ("cat", 2, "10"), np.array(["Cat", "dog", "10"]), [np.str_("Cat"), "DOG", 0]):
        assert torch.equal(model.sample(3, labels=labels), by_number)
    assert torch.equal(model.sample(3, labels=np.array(["Cat", "dog", 0], object)), by_number)
    x = model.sample(2, labels=1)
    assert torch.equal(model.encode(x, "Cat"), model.encode(x, torch.tensor([1, 1])))
    z = model.encode(x, ["Cat", "dog"])
    assert torch.equal(model.decode(z, ["Cat", "dog"]), model.decode(z, torch.tensor([1, 2])))
    with pytest.raises(UsageError, match="3 labels are needed"):
        model.sample(3, labels=["Cat", "dog"])
    with pytest.raises(UsageError, match="whole numbers"):
        model.sample(3, labels=0.5)


def test_paths_from_class_to_class(genzoo: Run, named: Path, vae: Path, labelled: Path, tmp_path: Path) -> None:
    model, ends = gz.load(named), ("--from-label", "cat", "--to-label", "10")
    ran = genzoo("interpolate", named, "-n", 2, "--steps", 3, *ends, "--out", tmp_path / "x.npz")
    assert ran.code == 0, ran.err
    with np.load(tmp_path / "x.npz") as stored:
        found = stored["interpolations"].astype(int)
    codes = model.codes(0, 2, seed=0)
    for at, label in ((0, "Cat"), (2, "10")):
        expected = model.decode(codes, [label] * 2).mul(255).round().numpy()
        assert np.abs(found[:, at] - expected).max() <= 1
    assert np.abs(found[:, 1] - found[:, 0]).max() > 0
    # Codes of data, of a conditional model and of one that knows no classes.
    for weights, size in ((named, ()), (vae, ())):
        more = ("--data", labelled, "-n", 1, "--from-label", "DOG", "--to-label", "Cat")
        ran = genzoo("interpolate", weights, *more, *size, "--out", tmp_path / f"{weights.parent.name}.npz")
        assert ran.code == 0 or "no class" in ran.err, ran.err


def test_what_a_path_between_classes_needs(genzoo: Run, named: Path, vae: Path, images: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "x.png")
    genzoo("interpolate", named, "--from-label", "cat", *out).sentence("--from-label and --to-label", code=2)
    both = ("--from-label", "cat", "--to-label", "dog")
    genzoo("interpolate", named, "--label", "cat", *both, *out).sentence("no --label", code=2)
    genzoo("interpolate", vae, *both, *out).sentence("give data with classes", code=2)
    genzoo("interpolate", named, "--from-label", "x", "--to-label", "dog", *out).sentence("no class 'x'", code=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("typed", ["VAE", "WGAN-GP", "FID", "Kid", "Recipe:VAE", "VAE/Fashion-MNIST", "Fashion-Mini"])
def test_show_goes_by_small_letters(genzoo: Run, typed: str) -> None:
    ran = genzoo("show", typed, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["name"] == typed.lower().rpartition(":")[2]


def test_capitals_in_every_look_up(genzoo: Run, images: Path, tmp_path: Path) -> None:
    ran = genzoo(
        "TRAIN", "VAE", "--data", images, "--out", tmp_path / "run", "--steps", 1, "--quiet", "--device", "CPU",
        "--generator", "MLP", "--encoder", "Mlp", "--likelihood", "Gaussian", "--prior", "Normal",
        "--precision", "Float32", "--on-nan", "Stop", "--set", "generator.Width=8",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["generator"]["options"]["width"] == 8
    named = ("--metrics", "Reconstruction-Error,MMD", "--split", "Test", "--device", "Cpu", "--quiet", "--no-cache")
    ran = genzoo("eval", tmp_path / "run", "--data", images, *named, "--json")
    assert ran.code == 0 or "cannot be measured" in ran.err or "did you mean" in ran.err, ran.err
    given = {"generator": "MLP", "critic": "MLP", "regularizer": ["R1=0.5"], "regularizer.r1.weight": 2}
    config = gz.create("GAN", gz.load_data(str(images)).spec, options=given).config
    assert config is not None
    assert config.lists["regularizer"][0].name == "r1"
    assert config.recipe == "gan"


def test_a_folder_of_that_very_name_comes_first(genzoo: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Digits").mkdir()
    with pytest.raises(gz.GenzooError, match="no images"):
        gz.load_data("Digits")
    assert gz.load_data("DIGITS").name == "digits"


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (("*vq*",), {"recipe", "posterior", "objective", "weights"}),
        (("VAE*",), {"recipe", "objective", "weights"}),
        (("recipe", "vae*"), {"recipe"}),
        (("Recipes", "*GAN*"), {"recipe"}),
        (("weights", "*/emoji"), {"weights"}),
    ],
)
def test_wildcards(genzoo: Run, words: tuple[str, ...], kinds: set[str]) -> None:
    found = json.loads(genzoo("list", *words, "--json").out)
    assert {e["kind"] for e in found} <= kinds
    assert found
    core = words[-1].strip("*").lower()
    assert all(core in e["name"] for e in found)
    assert [e.name for e in gz.list(*words)] == [e["name"] for e in found]
    assert genzoo("list", *words).code == 0


def test_no_kind_but_a_name(genzoo: Run) -> None:
    said = genzoo("list", "VAE").sentence("no kind 'VAE'", code=2)
    command = said[said.index("'genzoo ") + 1 :].partition("'")[0]
    assert command == 'genzoo list "*vae*"'
    assert genzoo("list", "*vae*").code == 0
    genzoo("show", "*vq*").sentence("""see 'genzoo list "*vq*"'""", code=2)
    assert "nothing" in genzoo("list", "*nothing-like-it*").err


def test_suggestions_and_folding() -> None:
    assert did_you_mean("FRECHETT", ["frechet", "kid"]) == " (did you mean 'frechet'?)"
    assert did_you_mean("snaeker", ["Sneaker", "Bag"]) == " (did you mean 'Sneaker'?)"
    assert folded("A", ["a", "b"]) == "a"
    assert folded("A", ["a", "A"]) == "A"
    assert folded("Ab", ["aB", "ab"]) == "Ab"  # two, so none is meant


def test_a_path_that_is_something_else(genzoo: Run, vae: Path, labelled: Path, images: Path, tmp_path: Path) -> None:
    def weights(path: Path, *words: str) -> None:
        for command in (
            ("sample", path, "--out", tmp_path / "x.png"),
            ("verify", path),
            ("eval", path, "--data", images),
        ):
            if command[0] == "eval" and path.suffix == ".npz":
                continue  # samples are judged
            if command[0] != "sample" and path.is_dir():
                continue
            genzoo(*command).sentence(str(path), *words)

    weights(vae / "model.safetensors", "one file of a model", f"give its folder, {vae}")
    weights(vae / "config.json", "one file of a model")
    weights(labelled, "holds no weights", ".png files", "config.json")
    weights(labelled / "Cat/0.png", "a picture, not weights")
    weights(images, "samples or data, not weights")
    weights(vae.parent, "holds folders with weights", f"give one of them, {vae}")
    (tmp_path / "x.pt").write_bytes(b"x")
    weights(tmp_path / "x.pt", "a file of another program, which is not opened")
    for path, said in (
        (vae, "a trained model, not data"),
        (vae / "model.safetensors", "a file of a trained model, not data"),
        (labelled / "Cat/0.png", f"one picture: give its folder, {labelled / 'Cat'}"),
        (tmp_path / "x.pt", ".npz"),
    ):
        out = ("--out", tmp_path / "run")
        genzoo("train", "vae", "--data", path, *out, "--steps", 1).sentence(str(path), said, code=2)
        genzoo("encode", vae, "--data", path, "--out", tmp_path / "c.npz").sentence(str(path), said, code=2)
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


@pytest.mark.parametrize(
    "line",
    [
        "train vae --steps 1 --steps 2",
        "train vae --set train.lr=1 --set train.lr=1",
        "train vae --conditional --no-conditional",
        "train vae --generator mlp --set generator=conv",
        "train vae --steps 1 --set train.steps=2",
        "sample vae/emoji -n 1 --number 2",
        "eval x --data a --data b",
        "compare x y --data a --data b",
        "list --tag a --tag b",
        "plot samples x --out a --out b",
        "plugins check --check a --json --entry b --entry b --nothing",
    ],
)
def test_an_option_given_twice_is_refused(genzoo: Run, line: str) -> None:
    words = line.replace("train vae", "train vae --data digits --out never").split()
    genzoo(*words).sentence("no such option" if "--nothing" in line else "given twice", code=2)


@pytest.mark.parametrize(
    "command",
    ["", "list", "show", "train", "sample", "reconstruct", "interpolate", "encode", "eval", "compare", "export",
     "cache", "cache ls", "cache rm", "plugins", "plugins new", "plugins check", "plugins doctor", "plot",
     "plot samples", "plot traversal", "plot curves", "bench", "bench zoo", "bench weights", "bench vaes",
     "bench modes"],
)  # fmt: skip
def test_help_fits_a_screen_and_shows_an_example(
    genzoo: Run, command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    shown = genzoo(*command.split(), "--help").out
    assert len(shown.splitlines()) <= 56
    example = " ".join(shown[shown.index("Example: genzoo ") :].partition("\n\n")[0].split()[2:])
    assert example in shown  # on one line, so that it can be pasted
    if command in ("", "list", "show", "sample", "reconstruct", "interpolate", "encode"):
        assert genzoo(*shlex.split(example)).code == 0
