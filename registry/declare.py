"""Registration beside the class: a variant and its line in the zoo are one file.

    from genzoo.registry import declare

    @declare.objective("wgan-gp", paper="arXiv:1704.00028", recipe={"generator": "conv", "critic": "conv"})
    class WGANGP(Adversarial):
        '''The docstring's first line is the summary, unless summary= is given.'''

There is one decorator for each kind that is a class, and the statement ``declare.recipe(…)``; they take what the
`Registrar`'s methods take, but for the target. They do nothing when they run. The plugin's hook says
``registry.scan("my_pkg.losses")``, which reads them from the source without importing it; so every argument must be a
literal, the name must be written ``declare``, and the class must stand at the top level of its module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from genzoo.core.errors import did_you_mean
from genzoo.registry.kinds import DECLARED
from genzoo.registry.registrar import Registrar

Class = TypeVar("Class", bound=type)
Given = ParamSpec("Given")


class Unchanged(Protocol):
    """A decorator that returns the class as it is."""

    def __call__(self, cls: Class, /) -> Class: ...


def _decorator(*_: Any, **__: Any) -> Unchanged:
    return lambda cls: cls


def _like(of: Callable[Concatenate[Registrar, str, str, Given], None]) -> Callable[Concatenate[str, Given], Unchanged]:
    """A decorator that takes what a method of the registrar takes, but for the target."""
    return _decorator


def _statement(of: Callable[Concatenate[Registrar, Given], None]) -> Callable[Given, None]:
    return lambda *_, **__: None


objective, metric, extractor = _like(Registrar.objective), _like(Registrar.metric), _like(Registrar.extractor)
recipe = _statement(Registrar.recipe)


def __getattr__(kind: str) -> Callable[..., Unchanged]:
    if kind in DECLARED:
        return _decorator
    raise AttributeError(f"there is no declare.{kind}{did_you_mean(kind, DECLARED)}")
