"""Recipes that are like others, and what the shipped ones come to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genzoo.core.config import TrainOptions
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import options_of
from genzoo.core.spec import DataSpec, Latent
from genzoo.registry import Registrar, Registry, hookimpl, the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.recipes.inherit import settled

SHIPPED = Path(__file__).with_name("shipped_recipes.json")
IMAGE = DataSpec.image(1, 28, 28, classes=10)
STACKED = DataSpec.image(3, 28, 28, classes=10, name="stacked-digits")
CIFAR = DataSpec.image(3, 32, 32, classes=10, name="cifar10")
RING = DataSpec("vector", (2,), name="ring8", classes=8)
OF_01 = ("beta-vae", "cvae", "gan", "r3gan", "vae", "wgan", "wgan-gp")
DATA = {"image": IMAGE, "stacked": STACKED, "cifar10": CIFAR, "vector": RING}


def told(registry: Registry, recipe: str, spec: DataSpec) -> dict[str, Any]:
    """A composition: its parts, and every option that is not its part's default."""
    config = compose(registry, spec, recipe)
    defaults = {f"latent.{i.name}": i.default for i in options_of(Latent)}
    defaults |= {f"train.{i.name}": i.default for i in options_of(TrainOptions)}
    for kind, part in config.components():
        group = kind if kind in config.parts else f"{kind}.{part.name}"
        infos = registry.options(registry.get(kind, part.name, prefer=part.plugin))
        defaults |= {f"{group}.{i.name}": i.default for i in infos}
    return {k: v for k, v in config.flat().items() if k not in defaults or defaults[k] != v}


def shipped() -> dict[str, Any]:
    registry = the_registry()
    return {f"{name} {data}": told(registry, name, spec) for name in OF_01 for data, spec in DATA.items()}


def test_shipped_recipes_come_to_what_they_came_to() -> None:
    """A change is meant, or none: run this file as a script to write the new ones."""
    now = json.loads(json.dumps(shipped()))
    then = json.loads(SHIPPED.read_text(encoding="utf-8"))
    assert now == then


class Plugin:
    """A plugin whose recipes are given as keywords."""

    def __init__(self, *recipes: dict[str, Any]) -> None:
        self.recipes = recipes

    @hookimpl
    def genzoo_register(self, registry: Registrar) -> None:
        for recipe in self.recipes:
            registry.recipe(**recipe)


@pytest.fixture
def of() -> Callable[..., Registry]:
    def make(*recipes: dict[str, Any]) -> Registry:
        registry = Registry.discover()
        assert registry.add(Plugin(*recipes), "plug", "dist").error is None
        return registry

    return make


def test_own_values_go_over_inherited_ones_and_over_inherited_presets(of: Callable[..., Registry]) -> None:
    registry = of(
        {"name": "a", "like": "gan", "options": {"train.lr": 0.5}, "presets": {"vector": {"train.average": 7}}},
        {
            "name": "b",
            "like": "a",
            "critic": "mlp",
            "presets": {"vector": {"train.lr": 0.25}, "ring8": {"latent.size": 5}},
        },
        {"name": "c", "like": "b", "objective": "wgan", "conditional": True},
    )
    base = told(registry, "gan", RING)
    assert told(registry, "a", RING) == base | {"train.lr": 0.5, "train.average": 7}
    assert told(registry, "a", IMAGE) == told(registry, "gan", IMAGE) | {"train.lr": 0.5}
    # In the plane b's critic is the one that gan's preset names, with its options; among images it is another.
    assert told(registry, "b", RING) == base | {"train.lr": 0.25, "train.average": 7, "latent.size": 5}
    images = told(registry, "a", IMAGE)
    assert images.pop("critic.spectral_norm") is True
    assert told(registry, "b", IMAGE) == images | {"critic": "mlp"}
    found = told(registry, "c", RING)
    assert (found["objective"], found["conditional"], found["train.lr"]) == ("wgan", True, 0.25)
    entry = registry.get("recipe", "c")
    assert entry.data["family"] == ("b", "a", "gan")
    assert [e for e in registry.entries("recipe") if e.name == "c"] == [entry]
    assert registry.check_targets([e for e in registry.entries("recipe") if e.plugin == "plug"]) == []


def test_options_of_another_objective_are_not_inherited(of: Callable[..., Registry]) -> None:
    registry = of({"name": "x", "like": "wgan-gp", "objective": "gan"})
    assert not any(k.startswith("objective.") for k in registry.get("recipe", "x").data["presets"]["vector"])
    assert told(registry, "x", RING)["train.betas"] == (0.5, 0.9)


def test_a_network_that_nobody_names_goes_by_the_data(of: Callable[..., Registry]) -> None:
    registry = of({"name": "bare", "objective": "vae"})
    for spec, network in ((IMAGE, "conv"), (RING, "mlp")):
        found = told(registry, "bare", spec)
        assert (found["generator"], found["encoder"]) == (network, network)


def test_circles_and_unknown_names_are_said(of: Callable[..., Registry]) -> None:
    registry = of({"name": "a", "like": "b"}, {"name": "b", "like": "a"}, {"name": "c", "like": "gna"},
                  {"name": "d", "like": "d"}, {"name": "e", "like": "c"})  # fmt: skip
    for name, words in {"a": "circle: 'a' is like 'b' is like 'a'", "c": r"recipe 'c' is like .*'gna' .*'gan'",
                        "d": "'d' is like 'd'", "e": "recipe 'c' is like"}.items():  # fmt: skip
        with pytest.raises(UsageError, match=words):
            registry.get("recipe", name)
    mine = [e for e in registry.entries("recipe") if e.plugin == "plug"]
    assert [e.name for e, _ in registry.check_targets(mine)] == ["a", "b", "c", "d", "e"]
    with pytest.raises(GenzooError, match="no objective, and no recipe that it is like"):
        Registrar("p").recipe("x")


def test_names_mean_what_the_parent_means(of: Callable[..., Registry]) -> None:
    registry = of({"name": "a", "like": "gan"})

    class Other:
        @hookimpl
        def genzoo_register(self, registry: Registrar) -> None:
            registry.generator("conv", "genzoo.plugins.nets.mlp:MLPGenerator")
            registry.recipe("mine", like="gan")

    registry.add(Other(), "other", "else")
    config = compose(registry, IMAGE, "mine")
    assert (config.parts["generator"].plugin, config.parts["generator"].distribution) == ("nets", "genzoo")


def test_files_say_like(tmp_path: Path) -> None:
    registry, file = the_registry(), tmp_path / "f.toml"
    file.write_text('like = "wgan-gp"\n[objective]\ngp_weight = 2.0\n[presets.vector.critic]\ndepth = 4\n')
    config = compose(registry, RING, file)
    base = compose(registry, RING, "wgan-gp").flat()
    assert config.flat() == base | {"objective.gp_weight": 2.0, "critic.depth": 4}
    wrong = {'like = "wgna"': r"f.toml:1: .*'wgna'.*'wgan'", "like = 3": "f.toml:1: .*like must be the name of"}
    wrong['like = "gan"\n[objective]\ngp = 1'] = r"\[objective\]: objective 'gan' has no option"
    for text, words in wrong.items():
        file.write_text(text)
        with pytest.raises(UsageError, match=words):
            compose(registry, RING, file)


def test_settled_is_what_a_run_gets() -> None:
    registry = the_registry()
    for entry in registry.entries("recipe", plugin="genzoo"):
        for spec in (s for s in DATA.values() if entry.fits(s.modality)):
            there = settled(registry, entry, spec.modality, spec.name)
            flat = compose(registry, spec, entry.name).flat()
            shown = {i.name: i.default for i in registry.options(there)}
            if entry.name not in OF_01:  # a generator may say the codes that it makes of data of some size
                flat |= {k: v for k, v in shown.items() if k.startswith("latent.")}
            assert {k: flat[k] for k in shown} == shown


if __name__ == "__main__":
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in shipped().items()]
    SHIPPED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
