"""Parts that a composition may have beside its networks: posterior, prior, regularizers, augmentations."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import genzoo
from genzoo.core.config import Config
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.spec import DataSpec
from genzoo.registry import Registry
from genzoo.registry import registry as shared
from genzoo.registry.recipes.compose import compose
from genzoo.registry.recipes.save import command

RING = DataSpec("vector", (2,), name="ring8", classes=8)
PLUGIN = '''
from dataclasses import dataclass
from genzoo.core.augmentation import Augmentation
from genzoo.core.options import option
from genzoo.core.posterior import NormalHead
from genzoo.core.prior import NormalPrior
from genzoo.core.regularizer import Regularizer
from genzoo.plugins.gan.gan import GAN
from genzoo.registry import declare, hookimpl

@hookimpl
def genzoo_register(registry):
    registry.scan(__name__)

@declare.posterior("wide")
class Wide(NormalHead):
    @dataclass(frozen=True)
    class Options(NormalHead.Options):
        scale: float = option(2.0, "factor", low=0)

@declare.prior("moved")
class Moved(NormalPrior):
    @dataclass(frozen=True)
    class Options(NormalPrior.Options):
        by: float = option(0.0, "shift")

    def draw(self, draws, y=None):
        return super().draw(draws, y) + self.options.by

@declare.regularizer("ridge")
class Ridge(Regularizer):
    @dataclass(frozen=True)
    class Options:
        weight: float = option(1.0, "weight", low=0)
        every: int = option(1, "turns", low=1)

    def term(self, judged):
        return judged.real_score.square()

@declare.regularizer("bare")
class Bare(Ridge):
    pass

@declare.augmentation("plain")
class Plain(Augmentation):
    def forward(self, x, u):
        return x

@declare.augmentation("blur")
class Blur(Augmentation):
    @dataclass(frozen=True)
    class Options:
        strength: float = option(0.5, "strength", low=0, high=1)

    def forward(self, x, u):
        return x * self.options.strength


@declare.objective("open", recipe={"generator": "mlp", "critic": "mlp", "regularizer": ("ridge=3",), "prior": "moved",
    "options": {"regularizer.ridge.every": 4},
    "presets": {"vector": {"augmentation": ("blur",), "augmentation.blur.strength": 0.25}}})
class Open(GAN):
    """A GAN that takes both."""
'''


@pytest.fixture
def registry(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The zoo with a plugin of such parts."""
    write({"party.py": PLUGIN})
    registry = Registry.discover()
    record = registry.add(importlib.import_module("party"), "party", "party-dist", "1.0")
    assert record.error is None
    monkeypatch.setattr(shared, "_shared", [registry])
    assert registry.check_targets(list(record.entries)) == []
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.0")
    return registry


def values(config: Config, *kinds: str) -> dict[str, Any]:
    return {k: v for k, v in config.flat().items() if k.partition(".")[0] in kinds}


def test_layers_settle_lists_and_their_options(registry: Registry) -> None:
    lists = ("regularizer", "augmentation")
    base = {"regularizer": ("ridge",), "regularizer.ridge.weight": 3.0, "regularizer.ridge.every": 4,
            "augmentation": ("blur",), "augmentation.blur.strength": 0.25}  # fmt: skip
    assert values(compose(registry, RING, "open"), *lists) == base
    # The same part keeps what the recipe says of it; the number goes over that, and a named option over the number.
    config = compose(registry, RING, "open", {"regularizer": ["bare", "ridge"], "augmentation": "none"})
    assert values(config, *lists) == {
        "regularizer": ("bare", "ridge"),
        "regularizer.bare.weight": 1.0,
        "regularizer.bare.every": 1,
        "regularizer.ridge.weight": 3.0,
        "regularizer.ridge.every": 4,
    }  # fmt: skip
    config = compose(registry, RING, "open", {"regularizer": "party:ridge=0.5,bare", "augmentation": []})
    assert values(config, *lists)["regularizer.ridge.weight"] == 0.5
    config = compose(registry, RING, "open", {"regularizer": ["ridge=0.5"], "regularizer.ridge.weight": "0.75"})
    assert values(config, "regularizer")["regularizer.ridge.weight"] == 0.75
    # A preset of images does not hold here, and another objective does not get what suited the recipe's.
    assert "augmentation" not in compose(registry, DataSpec.image(1, 8, 8), "open").lists
    assert compose(registry, RING, "open", {"objective": "vae"}).lists == {}


@pytest.mark.parametrize(
    ("recipe", "given", "words"),
    [
        ("vae", {"regularizer": "ridge"}, ["objective 'vae' takes no regularizer", "ridge"]),
        ("vae", {"augmentation": ["blur"]}, ["objective 'vae' takes no augmentation"]),
        ("gan", {"posterior": "wide"}, ["objective 'gan' takes no posterior"]),
        ("open", {"regularizer": ["ridge", "ridge=2"]}, ["names 'ridge' twice"]),
        ("open", {"regularizer": ["rigde"]}, ["there is no regularizer 'rigde'", "'ridge'"]),
        ("open", {"augmentation": ["plain=1"]}, ["'plain' has no options"]),
        ("open", {"regularizer": ["ridge=much"]}, ["regularizer.ridge.weight takes a number", "'much'"]),
        ("open", {"regularizer": ["ridge=-1"]}, ["at least 0"]),
        ("open", {"regularizer": 3}, ["takes names"]),
        ("open", {"regularizer": [3]}, ["must be the name of a regularizer"]),
        ("open", {"regularizer.weight": 1}, ["regularizer.NAME.OPTION"]),
        ("open", {"regularizer.bare.weight": 1}, ["of a regularizer that is not there", 'regularizer="bare"']),
        ("open", {"regularizer.ridge.wait": 1}, ["no option 'wait'", "regularizer.ridge.weight"]),
        ("vae", {"posterior": "wide", "posterior.scale": -1}, ["posterior.scale must be at least 0"]),
        ("vae", {"prior": "vapm"}, ["there is no prior 'vapm'"]),
    ],
)
def test_what_cannot_be_is_refused(registry: Registry, recipe: str, given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(GenzooError) as e:
        compose(registry, RING, recipe, given)
    assert [w for w in words if w not in str(e.value)] == []


def test_configs_say_only_what_is_there(registry: Registry) -> None:
    for given in ({}, {"posterior": "normal"}, {"prior": "normal"}, {"posterior": ""}):
        plain = compose(registry, RING, "vae", given).to_dict()
        assert plain == compose(registry, RING, "vae").to_dict()
        assert plain["format"] == 1
        assert not {"posterior", "prior", "regularizer", "augmentation"} & set(plain)
    for recipe, given in (("vae", {"posterior": "wide"}), ("vae", {"prior": "moved"}), ("open", {"prior": "normal"})):
        config = compose(registry, RING, recipe, given)
        told = json.loads(json.dumps(config.to_dict()))
        assert told["format"] == 2
        assert Config.from_dict(told) == config
    assert {p["name"]: p["options"]["every"] for p in told["regularizer"]} == {"ridge": 4}
    assert "prior" not in told  # the recipe's is another


@pytest.mark.parametrize("several", [[], {}, "ridge", [3], [{"name": "ridge"}]])
def test_lists_are_read_strictly(registry: Registry, several: Any) -> None:
    told = compose(registry, RING, "open").to_dict()
    one = told["regularizer"][0]
    for wrong in (several, [one, one]):
        with pytest.raises(UsageError, match="regularizer"):
            Config.from_dict({**told, "regularizer": wrong})


def test_recipes_as_files_say_the_same(registry: Registry, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{}, {"augmentation": "none"}, {"regularizer.ridge.every": 9}]
    changes += [{"regularizer": ["bare", "ridge=2"], "prior": "normal"}]
    for number, given in enumerate(changes):
        file = genzoo.save_recipe("open", tmp_path / f"r{number}.toml", options=given)
        assert compose(registry, RING, file).flat() == compose(registry, RING, "open", given).flat(), file.read_text()
    text = (tmp_path / "r2.toml").read_text()
    assert "[regularizer.ridge]" in text
    assert 'regularizer = ["ridge"]' in text  # its number stands below, by value
    (tmp_path / "wrong.toml").write_text(text.replace("\nevery", "\nevry"))
    with pytest.raises(UsageError, match=r"wrong.toml:\d+, table \[regularizer.ridge\].*'every'"):
        compose(registry, RING, tmp_path / "wrong.toml")


def test_training_keeps_them_and_the_command_makes_them_again(registry: Registry, tmp_path: Path) -> None:
    tiny = {"generator.width": 8, "critic.width": 8, "train.batch_size": 16}
    seen: list[Any] = []
    run = genzoo.fit(
        "open", "ring8", tmp_path / "a", steps=2, regularizer=["ridge=0.5", "bare"], prior="normal", device="cpu",
        options={**tiny, "regularizer.ridge.every": 2}, on_start=lambda trainer, config: seen.append(trainer.objective),
        progress=False,
    )  # fmt: skip
    parts = {**seen[0].regularizers, **seen[0].augmentations}
    assert {k: type(v).__name__ for k, v in parts.items()} == {"ridge": "Ridge", "bare": "Bare", "blur": "Blur"}
    assert (parts["ridge"].options.weight, parts["ridge"].options.every) == (0.5, 2)
    assert parts["blur"].options.strength == 0.25
    assert json.loads((tmp_path / "a" / "config.json").read_text())["format"] == 2
    assert genzoo.load(tmp_path / "a").config == run.config
    words = command(registry, run.config, "ring8", seed=0)
    assert words[words.index("--regularizer") :][:4] == ["--regularizer", "ridge", "--regularizer", "bare"]
    assert words[words.index("--prior") + 1] == "normal"
    from genzoo.cli.main import app

    words[words.index("--out") + 1] = str(tmp_path / "b")
    app([*words[1:], "--quiet", "--device", "cpu"], standalone_mode=False)
    again = [hashlib.sha256((tmp_path / f / "model.safetensors").read_bytes()).hexdigest() for f in "ab"]
    assert again[0] == again[1]
    text = genzoo.save_recipe(tmp_path / "a", tmp_path / "r.toml").read_text()
    assert 'regularizer = ["ridge", "bare"]' in text


def test_a_model_has_the_posterior_and_prior_that_were_named(registry: Registry, tmp_path: Path) -> None:
    words = [
        "train",
        "vae",
        "--data",
        "ring8",
        "--posterior",
        "wide",
        "--prior",
        "moved",
        "--set",
        "prior.by=0.5",
        "--steps",
        "2",
        "--set",
        "generator.width=8",
        "--set",
        "encoder.width=8",
        "--out",
        str(tmp_path / "v"),
    ]
    from genzoo.cli.main import app

    app([*words, "--quiet", "--device", "cpu"], standalone_mode=False)
    model = genzoo.load(tmp_path / "v")
    assert (type(model.head).__name__, type(model.prior).__name__, model.prior.options.by) == ("Wide", "Moved", 0.5)
    assert "posterior `wide`" in (tmp_path / "v" / "README.md").read_text()


def test_show_and_list_know_them(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    from genzoo.cli.main import app

    shown = genzoo.show("recipe:open")
    assert {o["name"]: o["default"] for o in shown["options"]}["regularizer.ridge.weight"] == 3.0
    app(["show", "recipe:open"], standalone_mode=False)
    assert "regularizer ridge=3" in capsys.readouterr().out
    app(["show", "ridge"], standalone_mode=False)
    assert "regularizer.ridge.every" in capsys.readouterr().out
    app(["list", "regularizers"], standalone_mode=False)
    assert "bare" in capsys.readouterr().out


def test_a_condition_is_short_for_conditional_and_the_critics_way():
    spec = DataSpec.image(1, 8, 8, classes=3)
    registry = Registry.discover(plugins=False)
    config = compose(registry, spec, "gan", {"condition": "concat"})
    assert (config.conditional, config.parts["critic"].options["condition"]) == (True, "concat")
    with pytest.raises(UsageError, match="has no critic"):
        compose(registry, spec, "vae", {"condition": "concat"})
    with pytest.raises(UsageError, match="projection"):
        compose(registry, spec, "gan", {"condition": "telepathy"})


@pytest.mark.parametrize("recipe", ["sngan", "fastgan"])
def test_a_recipe_for_pictures_refuses_points(recipe):
    with pytest.raises(UsageError, match=f"recipe '{recipe}' is for images, and the data are vectors: 'genzoo list"):
        compose(shared.the_registry(), RING, recipe)
