"""Names to entries to classes, and what is said when there is none, or two."""

from __future__ import annotations

import pytest

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import OptionInfo
from genzoo.registry import Entry, Registry, hookimpl


class Plugin:
    def __init__(self, register):
        self.register = register

    @hookimpl
    def genzoo_register(self, registry):
        self.register(registry)


def first(r):
    for kind in ("generator", "encoder", "critic"):
        getattr(r, kind)("mlp", f"zoo_pkg.nets:{kind.title()}", modalities=("vector", "image"), tags=("plain",))
    r.generator("conv", "zoo_pkg.nets:Generator", modalities=("image",))
    r.objective("wgan-gp", "zoo_pkg.losses:WGANGP", recipe={"generator": "mlp", "critic": "mlp"}, tags=("gan",))
    r.dataset("ring8", "zoo_pkg.data:Ring", modalities=["vector"])


def second(r):
    r.critic("mlp", "other_pkg:Sharper")
    r.recipe("sharp", objective="wgan-gp", generator="mlp", critic="mlp", options={"objective.gp_weight": 5})


@pytest.fixture
def registry():
    r = Registry()
    assert r.add(Plugin(first), "nets", "zoo", "1.0").error is None
    assert r.add(Plugin(second), "extra", "other", "2.0").error is None
    return r


def test_get_and_address(registry):
    assert registry.get("generator", "conv").target == "zoo_pkg.nets:Generator"
    assert registry.get("critic", "nets:mlp").version == "1.0"
    assert registry.get("critic", "extra:mlp").target == "other_pkg:Sharper"
    assert registry.get("critic", "other/extra:mlp") == registry.get("critic", registry.entries("critic")[0].address)
    assert registry.get("critic", "mlp", prefer="extra").plugin == "extra"
    assert registry.get("generator", "mlp", prefer="extra").plugin == "nets"


def test_a_name_claimed_twice_names_both(registry):
    sentence = (
        "critic 'mlp' is claimed by plugin 'nets' (zoo 1.0) and by plugin 'extra' (other 2.0): "
        "say which, 'nets:mlp' or 'extra:mlp'"
    )
    with pytest.raises(UsageError) as e:
        registry.get("critic", "mlp")
    assert str(e.value) == sentence
    with pytest.raises(UsageError) as e:
        registry.find("mlp")
    assert str(e.value) == sentence


@pytest.mark.parametrize(
    ("kind", "name", "sentence"),
    [
        ("generator", "conf", "there is no generator 'conf' (did you mean 'conv'?)"),
        ("recipe", "zzz", "there is no recipe 'zzz'; see 'genzoo list recipe'"),
        ("recipe", "mlp", "there is no recipe 'mlp', but a generator and an encoder and a critic of that name"),
        ("sotre", "mlp", "there is no kind 'sotre' (did you mean 'store' or 'tracker'?)"),
        ("critic", "netss:mlp", "there is no critic 'netss:mlp', and no plugin 'netss' (did you mean 'nets'?)"),
        ("critic", "extra:mpl", "there is no critic 'extra:mpl' (did you mean 'mlp'?)"),
    ],
)
def test_unknown_names(registry, kind, name, sentence):
    with pytest.raises(UsageError) as e:
        registry.get(kind, name)
    assert str(e.value) == sentence


def test_a_name_of_a_failed_plugin_says_why(registry):
    def fails(r):
        raise ValueError("no luck")

    record = registry.add(Plugin(fails), "unlucky", "bad-dist", "0.1")
    assert record.error == "ValueError: no luck"
    with pytest.raises(UsageError, match=r"plugin 'unlucky' \(bad-dist 0.1\) failed \(ValueError: no luck\)"):
        registry.get("critic", "unlucky:x")


def test_find_over_all_kinds(registry):
    assert [e.kind for e in registry.find("wgan-gp")] == ["recipe", "objective"]
    assert [e.kind for e in registry.find("nets:mlp")] == ["generator", "encoder", "critic"]
    assert [e.kind for e in registry.find("encoder:mlp")] == ["encoder"]
    assert [e.plugin for e in registry.find("critic:extra:mlp")] == ["extra"]
    with pytest.raises(UsageError, match=r"nothing in the zoo is called 'wgangp' .did you mean 'wgan-gp'"):
        registry.find("wgangp")


def test_filters(registry):
    def names(*args, **filters):
        return [f"{e.kind} {e.name}" for e in registry.entries(*args, **filters)]

    assert names() == [
        "recipe sharp",
        "recipe wgan-gp",
        "objective wgan-gp",
        "generator conv",
        "generator mlp",
        "encoder mlp",
        "critic mlp",
        "critic mlp",
        "dataset ring8",
    ]
    assert names("generator", modality="vector") == ["generator mlp"]
    assert names("objective", modality="image") == ["objective wgan-gp"]  # names none: any
    assert names(tag="gan") == ["recipe wgan-gp", "objective wgan-gp"]
    assert names(plugin="extra") == names(plugin="other") == ["recipe sharp", "critic mlp"]
    with pytest.raises(UsageError, match=r"no plugin 'extre' .did you mean 'extra'"):
        registry.entries(plugin="extre")


def test_entries_are_plain_data(registry):
    import json

    entry = registry.get("recipe", "sharp")
    again = json.loads(json.dumps(entry.to_dict()))
    assert again["data"]["options"] == {"objective.gp_weight": 5}
    assert again["distribution"] == "other"
    assert len({entry, registry.get("recipe", "sharp")}) == 1
    with pytest.raises(AttributeError):
        entry.name = "other"


def test_records(registry):
    assert [(p.name, p.distribution, p.version, p.module, len(p.entries)) for p in registry.plugins()] == [
        ("nets", "zoo", "1.0", "Plugin", 7),
        ("extra", "other", "2.0", "Plugin", 2),
    ]


def test_one_module_behind_two_entry_points(registry):
    plugin = Plugin(lambda r: r.prior("p", "a:B"))
    assert registry.add(plugin, "one", "d").error is None
    assert registry.add(plugin, "two", "d").error == "Plugin is already the plugin d/one"


ZOO = {
    "zoo_pkg/__init__.py": "print('LOUD')\n",
    "zoo_pkg/nets.py": "class Generator: ...\nclass Encoder: ...\nclass Critic: ...\n",
    "zoo_pkg/losses.py": """
        from dataclasses import dataclass
        from genzoo.core.options import option
        class WGANGP:
            '''A penalty.'''
            @dataclass
            class Options:
                gp_weight: float = option(10.0, "weight", low=0)
    """,
    "zoo_pkg/data.py": "def Ring(): ...\n",
    "zoo_pkg/pictures/a.txt": "",
    "other_pkg.py": "import sys\nsys.exit(1)\nclass Sharper: ...\n",
}


def test_load(registry, write, capsys):
    write(ZOO)
    cls = registry.load(registry.get("generator", "conv"))
    assert (cls.__module__, cls.__name__) == ("zoo_pkg.nets", "Generator")
    assert registry.load(registry.get("generator", "mlp"), cls) is cls
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("entry", "expected", "sentence"),
    [
        (Entry("critic", "x", "zoo_pkg.nets:Gone"), None, "from zoo_pkg.nets:Gone: AttributeError: module 'zoo_pkg.n"),
        (Entry("critic", "x", "zoo_pkg.gone:A"), None, "ModuleNotFoundError: No module named 'zoo_pkg.gone'"),
        (Entry("critic", "x", "other_pkg:Sharper"), None, "SystemExit: 1"),
        (Entry("dataset", "x", "zoo_pkg.data:Ring"), None, "zoo_pkg.data:Ring is a function, not a class"),
        (Entry("critic", "x", "zoo_pkg.nets:Critic"), dict, "zoo_pkg.nets:Critic is not a subclass of builtins.dict"),
        (Entry("recipe", "x"), None, "is no class to be loaded"),
    ],
)
def test_a_target_that_cannot_be_loaded_names_the_plugin(write, entry, expected, sentence):
    from dataclasses import replace

    write(ZOO)
    entry = replace(entry, plugin="plug", distribution="dist", version="1.0")
    with pytest.raises(GenzooError) as e:
        Registry().load(entry, expected)
    assert str(e.value).startswith(f"{entry.kind} 'x' of plugin 'plug' (dist 1.0)")
    assert sentence in str(e.value)
    assert "\n" not in str(e.value)


def test_options_and_docstring(registry, write):
    write(ZOO)
    weight = OptionInfo("gp_weight", "float", 10.0, "weight", 0)
    assert registry.options(registry.get("objective", "wgan-gp")) == [weight]
    assert registry.docstring(registry.get("objective", "wgan-gp")) == "A penalty."
    sharp = registry.get("recipe", "sharp")
    assert registry.options(sharp)[0] == OptionInfo("objective.gp_weight", "float", 5.0, "weight", 0)
    assert {o.name.partition(".")[0] for o in registry.options(sharp)[1:]} == {"latent", "train"}
    assert registry.docstring(sharp) == ""
    with pytest.raises(GenzooError, match=r"^dataset 'ring8' of plugin 'nets' \(zoo 1.0\): zoo_pkg.data:Ring is a fu"):
        registry.options(registry.get("dataset", "ring8"))


def test_check_targets_imports_nothing(write):
    import sys

    def register(r):
        r.critic("gone", "zoo_pkg.nets:Gone")
        r.critic("fine", "zoo_pkg.nets:Critic")
        r.generator("g", "zoo_pkg.nets:Generator")
        r.dataset("ring", "zoo_pkg.data:Ring")
        r.objective("wgan-gp", "zoo_pkg.losses:WGANGP")
        r.weights("wgan-gp/pictures", "zoo_pkg:pictures")
        r.weights("wgan-gp/gone", "zoo_pkg.nets:gone")
        common = {"objective": "wgan-gp", "generator": "g"}
        r.recipe("ok", **common, critic="fine", presets={"vector": {"objective.gp_weight": 1, "train.lr": 1}})
        r.recipe("no-part", **common, critic="fin")
        r.recipe("no-option", **common, options={"objective.gp_wight": 1})
        r.recipe("out-of-range", **common, presets={"vector": {"objective.gp_weight": -1}})
        r.recipe("swap", **common, presets={"vector": {"generator": "h"}})

    write(ZOO)
    registry = Registry()
    assert registry.add(Plugin(register), "plug", "dist").error is None
    assert {e.name: why for e, why in registry.check_targets()} == {
        "gone": "zoo_pkg.nets:Gone: module 'zoo_pkg.nets' has no 'Gone'",
        "ring": "zoo_pkg.data:Ring is a function, not a class",
        "wgan-gp/gone": "there is no folder 'gone' beside zoo_pkg.nets",
        "no-part": "there is no critic 'fin' (did you mean 'fine'?)",
        "no-option": "there is no option 'objective.gp_wight' (did you mean 'objective.gp_weight'?)",
        "out-of-range": "preset 'vector': objective.gp_weight must be at least 0, not -1",
        "swap": "preset 'vector': there is no generator 'h'; see 'genzoo list generator'",
    }
    assert "zoo_pkg" not in sys.modules


@pytest.mark.parametrize("name", ["one/net", "one:net", "dist-one/net", "Dist_One:net", "dist-one/one:net"])
def test_a_part_is_named_by_its_plugin_with_a_slash_too(name):
    registry = Registry()
    for plugin in ("one", "two"):
        registry.add(Plugin(lambda r: r.critic("net", "x.y:Z")), plugin, f"dist-{plugin}", "1.0")
    assert registry.get("critic", name).plugin == "one"
    assert [e.plugin for e in registry.find(name)] == ["one"]
    with pytest.raises(UsageError, match="no plugin 'tow'"):
        registry.get("critic", "tow/net")
    with pytest.raises(UsageError, match="did you mean 'net'"):
        registry.get("critic", "one/nte")
