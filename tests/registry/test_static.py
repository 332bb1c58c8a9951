"""Options read from the source are those of the imported class."""

from __future__ import annotations

import importlib
import sys

import pytest

from genzoo.core.errors import GenzooError
from genzoo.core.options import OptionInfo, options_of
from genzoo.registry.discovery import static

HEAD = "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom genzoo.core.options import option\n"
BASE = (
    HEAD
    + '''
from typing import ClassVar, Literal

class Base:
    @dataclass(frozen=True)
    class Options:
        """Base options."""
        form: Literal["saturating", "non-saturating"] = option("non-saturating", "which form")
        width: int = 128
        kind: ClassVar[str] = "x"
        betas: tuple[float, float] = option((0.5, 0.999), "Adam's " "momenta", low=0, high=1)

class Plain(Base):
    pass

def factory():
    return Base

value = 3
'''
)
CHILD = (
    HEAD
    + '''
from typing import Generic, TypeVar
from .base import Base as Root, Plain
from . import base as module
import stat_pkg.base
import abc

T = TypeVar("T")

class Child(Root, abc.ABC):
    """What it is.

    And more.
    """

    @dataclass(frozen=True)
    class Options(Root.Options):
        """Child options."""
        gp_weight: float = option(1e-3, "weight λ", low=0)
        width: int = option(-1, "all", low=-1, high=+512)
        sizes: tuple[int, ...] = (128, 64)
        start: float | None = option(None)
        on: bool = option(default=True, doc="by keyword")

class Grandchild(Child):
    """No Options of its own."""

class FromInherited(Plain):
    @dataclass(frozen=True)
    class Options(Plain.Options):
        extra: int = 1

class ByModule(module.Base):
    @dataclass(frozen=True)
    class Options(module.Base.Options):
        extra: int = 2

class ByPackage(stat_pkg.base.Base, Generic[T]):
    @dataclass(frozen=True)
    class Options(stat_pkg.base.Base.Options):
        extra: int = 3

class Left(Root):
    @dataclass(frozen=True)
    class Options(Root.Options):
        width: int = 1
        left: str = "l"

class Right(Root):
    @dataclass(frozen=True)
    class Options(Root.Options):
        form: str = "r"
        right: str = "r"

class Diamond(Left, Right):
    @dataclass(frozen=True)
    class Options(Left.Options, Right.Options):
        own: int = 0

class MixedIn(Left, Right):
    """Python takes Left's."""

@dataclass(frozen=True)
class Shared:
    seed: int = 7

class ByAssignment:
    Options = Shared

Alias = Diamond
'''
)
NAMES = (
    "Child",
    "Grandchild",
    "FromInherited",
    "ByModule",
    "ByPackage",
    "Left",
    "Diamond",
    "MixedIn",
    "ByAssignment",
    "Alias",
)


@pytest.fixture
def package(write):
    init = "from .child import *\nfrom .child import Child as Renamed\nfrom .base import factory, value\n"
    write({"stat_pkg/__init__.py": init, "stat_pkg/base.py": BASE, "stat_pkg/child.py": CHILD})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("module", ["stat_pkg.child", "stat_pkg"])
def test_it_agrees_with_the_imported_class(package, module, name):
    before = static.options(f"{module}:{name}")
    assert "stat_pkg" not in sys.modules
    cls = getattr(importlib.import_module("stat_pkg.child"), name)
    assert before == options_of(cls.Options)
    assert before == static.options(f"{module}:{name}")  # imported or not


def test_the_fields_one_by_one(package):
    assert static.options("stat_pkg:Renamed") == [
        OptionInfo("form", "Literal['saturating', 'non-saturating']", "non-saturating", "which form"),
        OptionInfo("width", "int", -1, "all", -1, 512),
        OptionInfo("betas", "tuple[float, float]", (0.5, 0.999), "Adam's momenta", 0, 1),
        OptionInfo("gp_weight", "float", 0.001, "weight λ", 0),
        OptionInfo("sizes", "tuple[int, ...]", (128, 64)),
        OptionInfo("start", "float | None", None),
        OptionInfo("on", "bool", True, "by keyword"),
    ]


def test_the_docstring(package):
    assert static.docstring("stat_pkg:Renamed") == "What it is.\n\nAnd more."
    assert static.docstring("stat_pkg:MixedIn") == "Python takes Left's."
    assert static.docstring("stat_pkg.base:Base") == ""


def test_our_own_dataclasses():
    from genzoo.core.spec import Latent

    assert static.fields(static.find_class("genzoo.core.spec:Latent")) == options_of(Latent)
    assert "size" in {i.name for i in static.fields(static.find_class("genzoo.core.spec:Latent"))}


def test_our_own_networks_without_importing_torch(site):
    done = site.run("""
        import sys
        from genzoo.registry.discovery import static
        print(static.options("genzoo.core.networks:Critic"), static.docstring("genzoo.core.networks:Critic"))
        print("torch" in sys.modules, "genzoo.core.networks" in sys.modules)
    """)
    assert done.stdout.startswith("[] A network that an objective trains beside the model and throws away.\n")
    assert done.stdout.endswith("\nFalse False\n")


def test_a_class_without_options_has_none(write):
    write({"bare_pkg.py": "import torch\nfrom torch import nn\nclass A(nn.Module, dict): ...\nclass B(A): ...\n"})
    assert static.options("bare_pkg:B") == []


def test_a_nested_namespace_package_that_is_not_imported(write):
    write({"space_pkg/inner/mod.py": HEAD + "@dataclass\nclass A:\n    x: int = 4\n"})
    assert static.fields(static.find_class("space_pkg.inner.mod:A")) == [OptionInfo("x", "int", 4)]
    assert "space_pkg" not in sys.modules


def test_type_checking_and_try_imports_are_followed(write):
    lazy = """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from lazy_pkg.real import A
        try:
            from lazy_pkg.real import B
        except ImportError:
            B = None
    """
    real = HEAD + "@dataclass\nclass A:\n    x: int = 1\n@dataclass\nclass B:\n    x: int = 2\n"
    write({"lazy_pkg/__init__.py": lazy, "lazy_pkg/real.py": real})
    assert static.fields(static.find_class("lazy_pkg:A"))[0].default == 1
    assert static.fields(static.find_class("lazy_pkg:B"))[0].default == 2


def test_a_changed_file_is_read_again(write):
    folder = write({"change_pkg.py": HEAD + "@dataclass\nclass A:\n    x: int = 1\n"})
    assert static.fields(static.find_class("change_pkg:A"))[0].default == 1
    (folder / "change_pkg.py").write_text(HEAD + "@dataclass\nclass A:\n    xyz: int = 22\n")
    assert static.fields(static.find_class("change_pkg:A")) == [OptionInfo("xyz", "int", 22)]


OPTIONS = "class A:\n    @dataclass\n    class Options:\n        "
WRONG = {
    "no_module": (None, "there is no module 'wrong_no_module'"),
    "no_attribute": ("class B: ...", "module 'wrong_no_attribute' has no 'A'"),
    "function": ("def A(): ...", "wrong_function:A is a function, not a class"),
    "value": ("A = 3", "wrong_value:A is a value, not a class"),
    "module": ("import wrong_module as A", "wrong_module:A is a module, not a class"),
    "circle": ("from wrong_circle import A", "circle"),
    "syntax": ("class A:\n  def", "wrong_syntax.py:5 cannot be read: invalid syntax"),
    "computed": (OPTIONS + "x: int = 2 ** 16", "wrong_computed.py:7: option 'x' of A.Options is read without"),
    "named": (OPTIONS + "x: int = option(SIZE)", "so option(SIZE) must be a literal"),
    "called": (OPTIONS + "x: int = make()", "so make() must be a literal"),
    "type": (OPTIONS + "x: dict[str, int] = None", "dict[str, int] is no option type"),
    "no_dataclass": ("class A:\n    class Options:\n        x: int = 1", "A.Options is not a dataclass"),
    "half_dataclass": (
        "class B:\n    @dataclass\n    class Options: ...\nclass A:\n    class Options(B.Options):\n        x: int = 1",
        "A.Options is not a dataclass",
    ),
    "no_base": ("class A:\n    @dataclass\n    class Options(Gone): ...", "has no 'Gone'"),
    "made_base": ("class A(make()): ...", "its base make() is not written as a class"),
    "self": ("class A(B): ...\nclass B(A): ...", "inherits from itself"),
    "foreign": ("from torch.nn import Module as A", "part of a library whose source"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_said_with_the_place(write, name):
    code, expected = WRONG[name]
    if code is not None:
        write({f"wrong_{name}.py": HEAD + code + "\n"})
    with pytest.raises(GenzooError) as e:
        static.options(f"wrong_{name}:A")
    assert expected in str(e.value)
