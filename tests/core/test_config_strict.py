"""A config is read as it was written or not at all."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genzoo
from genzoo.core.config import Config
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import OptionInfo
from genzoo.core.spec import DataSpec
from genzoo.core.storage.strict import exact
from genzoo.core.storage.weights import model_files, read_config

SPECS = [
    DataSpec.image(3, 32, 31, classes=2, class_names=("Bär", "T-Shirt / top"), name="fashion-mini"),
    DataSpec("vector", (4,), scale=(1.0, 2.0, 0.5, 1e-3), shift=(0.0, -1.0, 3.0, 1e9)),
    DataSpec.image(1, 8, 8, levels=2),
]


@pytest.fixture
def plain() -> dict[str, Any]:
    model = genzoo.create("vae", SPECS[0], options={"generator.width": 4, "encoder.width": 4, "conditional": True})
    assert model.config is not None
    raw: dict[str, Any] = json.loads(json.dumps(model.config.to_dict()))
    return raw


@pytest.mark.parametrize("recipe", ["gan", "wgan-gp", "r3gan", "vae", "beta-vae", "cvae"])
@pytest.mark.parametrize("spec", SPECS, ids=["image", "vector", "binary"])
def test_every_recipe_comes_back_equal(recipe: str, spec: DataSpec) -> None:
    if recipe == "cvae" and not spec.classes:
        pytest.skip("needs labels")
    config = genzoo.create(recipe, spec).config
    assert config is not None
    text = json.dumps(config.to_dict())
    again = Config.from_dict(json.loads(text))
    assert again == config
    assert json.dumps(again.to_dict()) == text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("recipe"), "it lacks 'recipe'"),
        (lambda c: c.pop("objective"), "it lacks 'objective'"),
        (lambda c: c.update(recipes="x"), "it says 'recipes', which this genzoo does not know (did you mean 'recipe'"),
        (lambda c: c.update(recipe=3), "recipe must be text"),
        (lambda c: c.update(recipe="x" * 1001), "recipe must be text of at most 1000"),
        (lambda c: c.update(conditional=1), "conditional must be true or false"),
        (lambda c: c.update(conditional="true"), "conditional must be true or false"),
        (lambda c: c.update(data=[]), "data must be an object"),
        (lambda c: c["data"].pop("shape"), "data lacks 'shape'"),
        (lambda c: c["data"].update(colour="red"), "data says 'colour'"),
        (lambda c: c["data"].update(modality="smell"), "smell"),
        (lambda c: c["data"].update(modality=["image"]), "data.modality must be text"),
        (lambda c: c["data"].update(shape="3,32,31"), "data.shape"),
        (lambda c: c["data"].update(shape=[3, 32, 31.0]), "data.shape must be recorded as"),
        (lambda c: c["data"].update(shape=[3, 32, True]), "data.shape"),
        (lambda c: c["data"].update(shape=[3, 32, "31"]), "data.shape must be recorded as"),
        (lambda c: c["data"].update(shape=[3, 0, 31]), "shape"),
        (lambda c: c["data"].update(shape=[2**20, 2**20, 1]), "more than 2,147,483,648 numbers"),
        (lambda c: c["data"].update(levels=256.0), "data.levels must be recorded as"),
        (lambda c: c["data"].update(levels=True), "data.levels"),
        (lambda c: c["data"].update(levels=1), "2 to 65536"),
        (lambda c: c["data"].update(classes=3), "3 classes do not go with 2 names"),
        (lambda c: c["data"].update(classes="2"), "data.classes"),
        (lambda c: c["data"].update(classes=-1, class_names=[]), "classes"),
        (lambda c: c["data"].update(classes=2**21, class_names=[]), "more than 1,048,576 classes"),
        (lambda c: c["data"].update(class_names=["a", 3]), "data.class_names"),
        (lambda c: c["data"].update(scale=[0.0]), "positive"),
        (lambda c: c["data"].update(scale=["1"]), "data.scale"),
        (lambda c: c["data"].update(scale=1.0), "data.scale must be recorded as"),
        (lambda c: c["data"].update(scale=[1.0] * 10_001), "data 'scale'"),
        (lambda c: c["data"].update(name=None), "data.name"),
        (lambda c: c["latent"].update(size="16"), "latent.size must be recorded as int, not as '16'"),
        (lambda c: c["latent"].update(size=16.0), "latent.size must be recorded as int, not as 16.0"),
        (lambda c: c["latent"].update(size=-1), "latent.size must be at least 0"),
        (lambda c: c["latent"].update(shape=[4]), "latent has no option 'shape'"),
        (lambda c: c.update(latent=16), "latent"),
        (lambda c: c["train"].update(lr="1e-3"), "train.lr must be recorded as float"),
        (lambda c: c["train"].update(betas=[0.9]), "train.betas"),
        (lambda c: c["train"].update(betas="0.9,0.999"), "train.betas must be recorded as"),
        (lambda c: c["train"].update(optimizer="lion"), "train.optimizer takes one of"),
        (lambda c: c["train"].update(bogus=1), "train has no option 'bogus'"),
        (lambda c: c.update(generator="mlp"), "generator must be an object"),
        (lambda c: c["generator"].pop("name"), "generator lacks 'name'"),
        (lambda c: c["generator"].update(name=3), "generator.name must be text"),
        (lambda c: c["generator"].update(cls="x"), "generator says 'cls'"),
        (lambda c: c["generator"].update(options=None), "generator.options must be an object"),
        (lambda c: c["generator"].update(options={str(i): 0 for i in range(201)}), "at most 200 options"),
        (lambda c: c["generator"]["options"].update(width={"a": 1}), "generator.options 'width' must be a number"),
        (lambda c: c["generator"]["options"].update(width=[[[[[[1]]]]]]), "generator.options 'width' must be a number"),
        (lambda c: c["generator"].update(version="1\x1b[2J"), "generator.version must be one line"),
    ],
)
def test_what_was_not_written_so_is_refused(
    plain: dict[str, Any], change: Callable[[dict[str, Any]], object], words: str
) -> None:
    raw = copy.deepcopy(plain)
    change(raw)
    with pytest.raises(UsageError) as caught:
        Config.from_dict(raw)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("int", [0, -3, 2**40], [True, 1.0, "1", None, [1], {}]),
        ("float", [0.5, 2, -1e300], [True, "1", "nan", None, [1.0]]),
        ("bool", [True, False], [0, 1, "true", None]),
        ("str", ["", "none", "1"], [1, None, True, ["a"]]),
        ("float | None", [None, 1.5, 2], ["none", "1", True]),
        ("Literal['a', 'b']", ["a"], ["c", 1, None]),
        ("Literal[1, 2]", [1], [True, "1", 1.0]),
        ("tuple[int, ...]", [[], [1, 2]], ["1,2", [1.0], ["1"], 1, [True]]),
        ("tuple[float, float]", [[0.5, 1], [1, 2]], [[1.0], [1, 2, 3], "1,2"]),
    ],
)
def test_recorded_values_are_of_their_type(kind: str, good: list[Any], bad: list[Any]) -> None:
    info = OptionInfo("x", kind, None)
    for value in good:
        read = exact([info], {"x": value}, "here")["x"]
        assert read == (tuple(value) if isinstance(value, list) else value)
    for value in bad:
        with pytest.raises(UsageError, match=r"here.*x"):
            exact([info], {"x": value}, "here")


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    for name in ("line\nbreak", "half \ud800 a character"):
        model = genzoo.create("gan", DataSpec("vector", (2,), name=name))
        with pytest.raises(GenzooError, match=r"config"):
            model_files(model)


@pytest.mark.parametrize("content", [b"[]", b"null", b"{}", b'{"format": 1}', b'{"format": true}', b'{"format": 0}'])
def test_what_is_no_config(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(GenzooError, match=r"config\.json is no genzoo config: "):
        read_config(tmp_path)


def test_a_superfluous_part_is_refused_by_name(tmp_path: Path) -> None:
    genzoo.create("gan", SPECS[2], options={"generator.width": 4, "critic.width": 4}).save(tmp_path / "gan")
    path = tmp_path / "gan" / "config.json"
    raw = json.loads(path.read_text())
    for kind, name in (("encoder", "conv"), ("likelihood", "bernoulli")):
        path.write_text(json.dumps({**raw, kind: {"name": name, "options": {}}}))
        manifest = json.loads((path.parent / "manifest.json").read_text())
        content = path.read_bytes()
        manifest["files"]["config.json"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (path.parent / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(GenzooError, match=f"no use for {kind} '{name}'"):
            genzoo.load(path.parent)
