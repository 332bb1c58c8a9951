# ruff: noqa: E501
"""Recipes as TOML: what is saved is what is trained, and what is wrong is named with file, line and the right word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.networks import Generator
from genzoo.core.spec import DataSpec
from genzoo.registry import Registry, hookimpl, the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.recipes.read import read
from genzoo.registry.recipes.save import recipe_text

DATA = (
    DataSpec.image(1, 28, 28),
    replace(DataSpec.image(3, 32, 32), name="faces"),
    DataSpec("vector", (2,), name="ring8"),
    DataSpec("vector", (5,)),
)
RECIPES = [e.name for e in the_registry().entries("recipe") if e.distribution == "genzoo"]
EXEMPLARS = {"gan", "r3gan", "ali", "vae", "vq-vae", "vae-iaf", "factor-vae", "top-down-vae", "pixelcnn", "spec-vae"}
GIVEN = (
    {},
    {"train.lr": "0.005", "latent.size": 3, "train.betas": (0.25, 0.5)},
    {"generator": "mlp", "generator.depth": "1", "train.batch_size": 7},
)


def same(a, b) -> None:
    assert replace(a, recipe="") == replace(b, recipe="")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_saved_recipe_is_the_recipe(recipe: str, tmp_path: Path) -> None:
    """With what is given over it; the exemplars of each way to say a recipe, with each kind of options."""
    registry = the_registry()
    for number, given in enumerate(GIVEN if recipe in EXEMPLARS else GIVEN[1:2]):
        file = genzoo.save_recipe(recipe, tmp_path / f"r{number}.toml", options=given)
        for spec in DATA:
            if not registry.get("recipe", recipe).fits(spec.modality):
                continue
            if registry.get("recipe", recipe).data["conditional"]:
                spec = replace(spec, classes=3)
            one, two = compose(registry, spec, str(file)), compose(registry, spec, recipe, given)
            made = registry.load(registry.get("generator", one.parts["generator"].name))
            if made.code_shape.__func__ is not Generator.code_shape.__func__:  # it says its codes, whatever a file says
                one = replace(one, latent=two.latent)
            same(one, two)
        again = genzoo.save_recipe(file, tmp_path / f"again{number}.toml")
        assert (
            again.read_text().split("format =")[1].replace(f"again{number}", f"r{number}")
            == (file.read_text().split("format =")[1])
        )


def test_it_trains_and_a_run_gives_its_recipe_back(tmp_path: Path) -> None:
    given = {"train.lr": 0.003, "generator.width": 8, "encoder.width": 8}
    file = genzoo.save_recipe("vae", tmp_path / "My Own.toml", options=given)
    few = {"steps": 2, "batch_size": 8, "device": "cpu", "progress": False}
    run = genzoo.fit(file, "ring8", tmp_path / "run", **few)
    assert run.config.recipe == "my-own"
    assert run.config.train.lr == 0.003
    back = genzoo.save_recipe(tmp_path / "run", tmp_path / "back.toml")
    assert "trained on ring8" in back.read_text()
    same(compose(the_registry(), run.config.data, back), run.config)


def test_show_takes_a_file(tmp_path: Path) -> None:
    file = genzoo.save_recipe("wgan-gp", tmp_path / "mine.toml", options={"objective.gp_weight": 5})
    shown = genzoo.show(str(file))
    assert (shown["kind"], shown["name"]) == ("recipe", "mine")
    assert {o["name"]: o["default"] for o in shown["options"]}["objective.gp_weight"] == 5.0


def test_parts_without_a_recipe(tmp_path: Path) -> None:
    file = genzoo.save_recipe(None, tmp_path / "p.toml", options={"objective": "wgan-gp", "critic": "mlp"})
    parts = {"objective": "wgan-gp", "critic": "mlp"}
    same(compose(the_registry(), DATA[0], file), compose(the_registry(), DATA[0], None, parts))


MINIMAL = '[parts]\nobjective = "wgan-gp"\ngenerator = "mlp"\n'
WRONG = {
    "key": ("nmae = 'x'\n" + MINIMAL, r"f\.toml:1: there is no 'nmae' \(did you mean 'name'\?\)"),
    "format": ("format = 2\n" + MINIMAL, r"f\.toml:1: format is 2, which a newer genzoo reads"),
    "syntax": ("x = \n", r"f\.toml is no TOML: .*line 1"),
    "part": (MINIMAL + 'critik = "mlp"\n', r"f\.toml:4, table \[parts\]: there is no 'critik' \(did you mean 'critic'"),
    "name": (MINIMAL + 'critic = "mpl"\n', r"f\.toml:4, table \[parts\]: there is no critic 'mpl' \(did you mean 'mlp'"),
    "no objective": ('[parts]\ngenerator = "mlp"\n', "parts needs an objective"),
    "option": (
        MINIMAL + "\n[objective]\ngp_wieght = 1\n",
        r"f\.toml:6, table \[objective\]: objective 'wgan-gp' has no option 'gp_wieght' \(did you mean 'gp_weight'\?\)",
    ),
    "text for a number": (MINIMAL + "[train]\nlr = '0.1'\n", r"f\.toml:5, table \[train\]: lr takes a number or a list .*, not the te"),
    "range": (MINIMAL + "[objective]\ngp_weight = -1\n", r"f\.toml:5, .*gp_weight must be at least 0, not -1"),
    "nan": (MINIMAL + "[train]\nlr = nan\n", r"f\.toml:5, .*lr takes a finite number"),
    "bool for int": (MINIMAL + "[train]\nsteps = true\n", r"f\.toml:5, .*steps takes a whole number"),
    "date": (MINIMAL + "[train]\nlr = 2020-01-01\n", r"f\.toml:5, .*lr takes a number"),
    "choice": (MINIMAL + "[train]\noptimizer = 'adma'\n", r"f\.toml:5, .*one of 'adam'"),
    "no table": ("train = 3\n" + MINIMAL, r"f\.toml:1: train must be a table, \[train\]"),
    "unnamed part": (MINIMAL + "[critic]\nwidth = 3\n", r"f\.toml:4, table \[critic\]: .*parts names none"),
    "preset": (
        MINIMAL + "[presets.image.parts]\ngenerator = 'conv'\n[presets.image.generator]\ndepth = 3\n",
        r"f\.toml:7, table \[presets\.image\.generator\]: generator 'conv' has no option 'depth'",
    ),
    "needs": ("needs = ['no-such-dist 1.5']\n" + MINIMAL, r"f\.toml:1: it needs no-such-dist 1\.5, which is not installed: "
                                                        r"pip install 'no-such-dist==1\.5'"),
    "conditional": ("conditional = 1\n" + MINIMAL, r"f\.toml:1: .*conditional must be true or false, not 1"),
    "bad name": ("name = 'A B'\n" + MINIMAL, r"f\.toml:1: 'A B' is no name for a recipe"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named(what: str, tmp_path: Path) -> None:
    text, match = WRONG[what]
    (tmp_path / "f.toml").write_text(text)
    with pytest.raises(UsageError, match=match):
        read(the_registry(), tmp_path / "f.toml")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.toml: no such file"):
        read(the_registry(), tmp_path / "gone.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"b\.toml is no TOML"):
        read(the_registry(), tmp_path / "b.toml")
    file = genzoo.save_recipe("vae", tmp_path / "v.toml")
    with pytest.raises(UsageError, match="exists: choose another name"):
        genzoo.save_recipe("gan", file)
    with pytest.raises(UsageError, match=r"a recipe is a \.toml file"):
        genzoo.save_recipe("gan", tmp_path / "v.txt")


def test_wrong_options_write_nothing(tmp_path: Path) -> None:
    for given, match in (
        ({"objective.gp_wieght": 1}, "has no option 'gp_wieght'"),
        ({"train.lr": "fast"}, "train.lr takes a number.*, not 'fast'"),
        ({"objectiv.gp_weight": 1}, "there is no group 'objectiv'"),
        ({"critic": "mpl"}, "there is no critic 'mpl'"),
    ):
        with pytest.raises(UsageError, match=match):
            genzoo.save_recipe("wgan-gp", tmp_path / "x.toml", options=given)
    assert list(tmp_path.iterdir()) == []


def test_a_strangers_parts_are_named_with_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry.discover(plugins=False)

    class Stranger:
        @hookimpl
        def genzoo_register(self, registry):
            registry.critic("mlp", "genzoo.plugins.nets.mlp:MLPCritic")
            registry.recipe("odd", objective="wgan-gp", generator="mlp", critic="mlp")

    registry.add(Stranger(), "other", "other-dist", "2.5")
    monkeypatch.setattr("genzoo.registry.recipes.save.the_registry", lambda: registry)
    text = recipe_text("odd")
    assert 'needs = ["other-dist 2.5"]' in text
    assert 'critic = "other:mlp"' in text  # the recipe's own plugin's; plain names would mean two
    assert 'generator = "mlp"' in text
