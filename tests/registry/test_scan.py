"""Declarations beside the class are read from the source, none of it run."""

from __future__ import annotations

import re
import sys
import time

import pytest

from genzoo.core.errors import GenzooError
from genzoo.registry import Registrar
from genzoo.registry.discovery.scan import declarations

VARIANT = '''
import no_such_module
from genzoo.registry import declare

raise SystemExit("this file must not be run")

@declare.objective(
    "wgan-gp",
    paper="arXiv:1704.00028",
    tags=("gan", "penalty"),
    recipe={"generator": "conv", "critic": "conv", "options": {"objective.gp_weight": 10, "train.lr": -1e-4},
            "presets": {"vector": {"generator": "mlp", "critic": "mlp", "objective.gp_weight": 0.1}}},
)
class WGANGP(no_such_module.Adversarial):
    """Wasserstein critic with a gradient penalty.

    More.
    """

declare.recipe("cond-wgan-gp", objective="wgan-gp", generator="conv", critic="conv", conditional=True)
'''
NETS = """
from genzoo.registry import declare

@declare.generator("twin", modalities=("image",), summary="One class, two kinds.")
@declare.encoder("twin")
class Twin:
    pass

class NotDeclared:
    pass
"""


def scan(write, name, files):
    write({f"{name}/{path}": text for path, text in files.items()} | {f"{name}/__init__.py": ""})
    registrar = Registrar("plug", "dist", "1.0")
    registrar.scan(name)
    return {(e.kind, e.name): e for e in registrar.entries}


def test_decorators_become_entries(write):
    got = scan(write, "scan_a", {"wgan_gp.py": VARIANT, "nets.py": NETS, "sub/__init__.py": "", "sub/nets.py": NETS})
    assert set(got) == {
        ("generator", "twin"),
        ("encoder", "twin"),
        ("objective", "wgan-gp"),
        ("recipe", "wgan-gp"),
        ("recipe", "cond-wgan-gp"),
    }
    assert not [m for m in sys.modules if m.startswith("scan_a")]
    objective = got["objective", "wgan-gp"]
    assert objective.target == "scan_a.wgan_gp:WGANGP"
    assert objective.summary == "Wasserstein critic with a gradient penalty."
    assert (objective.plugin, objective.distribution, objective.version) == ("plug", "dist", "1.0")
    recipe = got["recipe", "wgan-gp"]
    assert (recipe.summary, recipe.paper, recipe.tags, recipe.target) == (
        objective.summary,
        "arXiv:1704.00028",
        ("gan", "penalty"),
        "",
    )
    assert recipe.data == {
        "objective": "wgan-gp",
        "generator": "conv",
        "encoder": None,
        "critic": "conv",
        "likelihood": None,
        "posterior": None,
        "prior": None,
        "regularizer": (),
        "augmentation": (),
        "conditional": False,
        "options": {"objective.gp_weight": 10, "train.lr": -1e-4},
        "presets": {"vector": {"generator": "mlp", "critic": "mlp", "objective.gp_weight": 0.1}},
    }
    assert got["recipe", "cond-wgan-gp"].data["conditional"] is True
    assert got["generator", "twin"].modalities == ("image",)
    assert got["encoder", "twin"].target == "scan_a.nets:Twin"
    assert got["encoder", "twin"].summary == ""


def test_several_recipes_of_one_objective(write):
    text = '''
        from genzoo.registry import declare
        @declare.objective("vae", summary="Own words.", recipe=[
            {"generator": "mlp", "encoder": "mlp"},
            {"name": "cvae", "generator": "mlp", "encoder": "mlp", "conditional": True, "summary": "With labels."}])
        class VAE:
            """Not these."""
    '''
    got = scan(write, "scan_b", {"vae.py": text})
    assert got["recipe", "vae"].summary == "Own words."
    assert got["recipe", "cvae"].summary == "With labels."
    assert got["recipe", "cvae"].data["objective"] == "vae"


def test_a_single_module_can_be_scanned(write):
    write({"scan_single.py": NETS})
    registrar = Registrar("plug")
    assert [e.kind for e in registrar.scan("scan_single")] == ["generator", "encoder"]


def test_the_decorators_change_nothing_at_run_time():
    from genzoo.registry import declare

    class Thing:
        pass

    for kind in ("generator", "encoder", "critic", "likelihood", "prior", "dataset", "metric", "extractor", "store"):
        assert getattr(declare, kind)("x", summary="…")(Thing) is Thing
    assert declare.objective("x", recipe={"generator": "y"})(Thing) is Thing
    assert declare.recipe("x", objective="x", generator="y") is None


BAD = {
    "non_literal": ("@declare.critic('x', summary=TEXT)\nclass A: ...", "summary=TEXT must be a literal"),
    "computed_name": ("@declare.critic('x' + y)\nclass A: ...", "name='x' + y must be a literal"),
    "unpacked": ("@declare.critic('x', **more)\nclass A: ...", "**more must be a literal"),
    "kind": ("@declare.objectiv('x')\nclass A: ...", "no declare.objectiv (did you mean 'objective'?)"),
    "no_call": ("@declare.critic\nclass A: ...", "declare.critic needs a name"),
    "no_name": ("@declare.critic()\nclass A: ...", "missing 1 required positional argument: 'name'"),
    "two_names": ("@declare.critic('x', 'y')\nclass A: ...", "one argument without a keyword"),
    "target": ("@declare.critic('x', target='a:B')\nclass A: ...", "takes no target"),
    "keyword": ("@declare.critic('x', papre='z')\nclass A: ...", "unknown keyword 'papre' (did you mean 'paper'?)"),
    "function": ("@declare.critic('x')\ndef f(): ...", "decorates a class, and 'f' is none"),
    "statement": ("declare.critic('x')\nclass A: ...", "declare.critic decorates a class"),
    "decorator": ("@declare.recipe('x', objective='a', generator='b')\nclass A: ...", "statement of its own"),
    "recipe": ("declare.recipe('x', generator='a')", "names no objective, and no recipe that it is like"),
    "nested": ("if True:\n    @declare.critic('x')\n    class A: ...", "top level of its module"),
    "from": ("from genzoo.registry.declare import critic", "write 'from genzoo.registry import declare'"),
    "renamed": ("from genzoo.registry import declare as d", "write 'from genzoo.registry import declare'"),
    "import": ("import genzoo.registry.declare", "write 'from genzoo.registry import declare'"),
    "syntax": ("@declare.critic('x')\nclass A(", "SyntaxError"),
    "modality": (
        "@declare.critic('x', modalities=('an image',))\nclass A: ...",
        "'an image' is no name for a modality",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_declaration_is_named_with_file_and_line_and_the_good_ones_stay(write, name):
    code, expected = BAD[name]
    folder = write(
        {
            f"bad_{name}/__init__.py": "",
            f"bad_{name}/a.py": "# declare\n\n" + code + "\n",
            f"bad_{name}/nets.py": NETS,
        }
    )
    registrar = Registrar("plug")
    with pytest.raises(GenzooError) as e:
        registrar.scan(f"bad_{name}")
    place = re.match(r"(.*a\.py):(\d+): ", str(e.value))
    assert place
    assert place[1] == str(folder / f"bad_{name}" / "a.py")
    assert int(place[2]) in (3, 4)
    assert expected in str(e.value)
    assert [(x.kind, x.name) for x in registrar.entries] == [("generator", "twin"), ("encoder", "twin")]


def test_a_duplicate_across_files_is_an_error(write):
    with pytest.raises(GenzooError, match=r"b\.py:4: generator 'twin' is registered twice \(dup\.a:Twin and dup\.b"):
        scan(write, "dup", {"a.py": NETS, "b.py": NETS})


def test_a_missing_package():
    with pytest.raises(GenzooError, match=r"no package 'no_such_pkg_at_all\.x'"):
        Registrar("plug").scan("no_such_pkg_at_all.x")


ODD = {
    "string": ['X = """', "@declare.critic('no')", "class A: ...", '"""'],
    "prose": ['"""Every class must declare.itself."""', "DECLARED = 1"],
    "spread": ["@declare.critic(", "    'a',", ")", "@other", "class A(", "    B,", "):", "    '''Long", "", "x.'''"],
    "code_in_docstring": ["@declare.critic('a')", "class A:", "    '''Say", "", "    def f(): ...", "    '''"],
    "none": ["@declare.critic('a')", "class A:", "  def f(self): ...", "", "@declare.critic('b')", "class B: ..."],
    "other_first": ["@other", "@declare.critic('a')", "class A:", "    '''Doc.'''", "    x: int = 1"],
    "semicolon": ["y = 1; declare.recipe('r', objective='o', generator='g')"],
    "mentioned": ["# as declare.critic does", "@declare.critic('a')", "class A:", "    '''Doc.'''"],
    "closed_late": ["declare.recipe(", "    'r',", "    objective='o',", "    generator='g',", ")", "y = 1"],
}
FOUND = {
    "string": [],
    "prose": [],
    "spread": [("a", "Long", 3)],
    "code_in_docstring": [("a", "Say", 3)],
    "none": [("a", "", 3), ("b", "", 7)],
    "other_first": [("a", "Doc.", 4)],
    "semicolon": [("r", "", 3)],
    "mentioned": [("a", "Doc.", 4)],
    "closed_late": [("r", "", 3)],
}


@pytest.mark.parametrize("name", ODD)
def test_odd_ways_to_write_it(write, name):
    write({f"odd_{name}.py": "\n\n" + "\n".join(ODD[name]) + "\n"})
    found = [(d.keywords["name"], d.keywords.get("summary", ""), d.place) for d in declarations(f"odd_{name}")]
    assert [(n, s, int(place.rpartition(":")[2])) for n, s, place in found] == FOUND[name]


def test_scanning_is_quick(write):
    body = "".join(f"    def method_{i}(self, x, y=1):\n        return [x * {i}, y + {i}]\n" for i in range(45))
    for i in range(20):
        text = f"from genzoo.registry import declare\n@declare.critic('c{i}', tags=('a',))\nclass C:\n" + body
        write({f"quick/m{i}.py": text + "# end\n" * 6})
    write({"quick/__init__.py": ""})

    def seconds():
        start = time.process_time()
        assert len(Registrar("plug").scan("quick")) == 20
        return time.process_time() - start

    assert min(seconds() for _ in range(15)) < 0.2  # of the processor: others use the machine too
