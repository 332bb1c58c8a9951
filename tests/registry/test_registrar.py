"""What a plugin may and may not register."""

from __future__ import annotations

import pytest

from genzoo.core.errors import GenzooError
from genzoo.registry import KINDS, Registrar

PARTS = {"objective": "o", "generator": "g"}


def test_every_kind_has_its_method():
    registrar = Registrar("plug", "dist", "1.0")
    about = {"summary": "s", "paper": "p", "modalities": ["image"], "tags": ["t"]}
    for kind in KINDS:
        if kind == "recipe":
            registrar.recipe("x", **PARTS, **about)
        else:
            getattr(registrar, kind)("x", "a.b:C", **about)
    assert [e.kind for e in registrar.entries] == list(KINDS)
    for e in registrar.entries:
        assert (e.name, e.summary, e.paper, e.modalities, e.tags) == ("x", "s", "p", ("image",), ("t",))
        assert (e.plugin, e.distribution, e.version) == ("plug", "dist", "1.0")


@pytest.mark.parametrize("name", ["", "A", "a b", "a/b", "-a", ".a", "a:b", "é", 3, None])
def test_bad_names(name):
    with pytest.raises(GenzooError, match=r"is no name for an encoder: lowercase"):
        Registrar("plug").encoder(name, "a:B")


@pytest.mark.parametrize("name", ["a", "beta-vae", "r3gan_2.1", "8bit"])
def test_good_names(name):
    registrar = Registrar("plug")
    registrar.encoder(name, "a:B")
    registrar.weights(f"{name}/fashion-mnist", "a:weights/first")
    with pytest.raises(GenzooError, match=r"one '/' at most"):
        registrar.weights("a/b/c", "a:b")
    assert [e.name for e in registrar.entries] == [name, f"{name}/fashion-mnist"]


@pytest.mark.parametrize("target", ["", "a.b", "a:", ":B", "a-b:C", "a..b:C", "a:B:C", "a:B()", "../a:B", None])
def test_bad_targets(target):
    with pytest.raises(GenzooError, match=r"not of the form 'package.module:attribute'"):
        Registrar("plug").encoder("x", target)


@pytest.mark.parametrize("target", ["a:../b", "a:/etc", "a:"])
def test_bad_folders(target):
    with pytest.raises(GenzooError, match=r"not of the form 'package.module:folder'"):
        Registrar("plug").weights("x", target)


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"summary": 3}, "critic 'x': summary must be text of at most 1000 characters, not 3"),
        ({"paper": "a\nb"}, "paper must be one line of text"),
        ({"tags": "gan"}, "tags must be a tuple of words, not 'gan'"),
        ({"modalities": ("A picture",)}, "'A picture' is no name for a modality"),
        ({"sumary": "s"}, "critic 'x' was given the unknown keyword 'sumary' (did you mean 'summary'?)"),
    ],
)
def test_bad_metadata(about, sentence):
    with pytest.raises(GenzooError) as e:
        Registrar("plug").critic("x", "a:B", **about)
    assert sentence in str(e.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"critic": 3}, "critic must be the name of a critic, not 3"),
        ({"generator": "My Net"}, "generator must be the name of a generator, not 'My Net'"),
        ({"conditional": 1}, "conditional must be true or false, not 1"),
        ({"options": {"gp_weight": 1}}, "options has 'gp_weight' where a name like 'objective.beta' belongs"),
        ({"options": {"generator": "mlp"}}, "options has 'generator' where"),
        ({"options": {"objective.x": {}}}, "options: 'objective.x' must be a number, a text or a list"),
        ({"options": [1]}, "options must be a dict"),
        ({"presets": {"vector": 3}}, "preset 'vector' must be a dict"),
        ({"presets": {"vector": {"objective": "o"}}}, "preset 'vector' has 'objective' where"),
        ({"presets": [3]}, "presets must be a dict"),
    ],
)
def test_bad_recipes(given, sentence):
    with pytest.raises(GenzooError) as e:
        Registrar("plug").recipe("r", **(PARTS | given))
    assert str(e.value).startswith("recipe 'r': ")
    assert sentence in str(e.value)


def test_parts_of_other_plugins_and_lists():
    registrar = Registrar("plug")
    registrar.recipe("r", objective="a-dist/plug:o", generator="plug:g", options={"generator.widths": [1, [2]]})
    assert registrar.entries[0].data["objective"] == "a-dist/plug:o"
    assert registrar.entries[0].data["options"] == {"generator.widths": (1, (2,))}


def test_a_recipe_in_an_objective_with_a_wrong_keyword():
    with pytest.raises(GenzooError, match=r"recipe 'x' was given the unknown keyword 'critics'"):
        Registrar("plug").objective("x", "a:B", recipe={"critics": "c"})
    with pytest.raises(GenzooError, match=r"objective 'x': recipe must be a dict or a tuple of dicts, not 'a'"):
        Registrar("plug").objective("x", "a:B", recipe="abc")
