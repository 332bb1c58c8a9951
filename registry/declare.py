"""Registration beside the class: a variant and its line in the zoo are one file.

    from genzoo.registry import declare

    @declare.objective("wgan-gp", paper="arXiv:1704.00028", recipe={"generator": "conv", "critic": "conv"})
    class WGANGP(Adversarial):
        '''The docstring's first line is the summary, unless summary= is given.'''

The decorators do nothing when they run. The plugin's hook says ``registry.scan("my_pkg.losses")``, which
reads them from the source without importing it; so every argument must be a literal, the name must be
written ``declare``, and the class must stand at the top level of its module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from genzoo.core.errors import did_you_mean
from genzoo.registry.kinds import TABLE

if TYPE_CHECKING:
    from typing import Unpack

    from genzoo.registry.registrar import About

Class = TypeVar("Class", bound=type)


class Decorator(Protocol):
    """What ``@declare.generator`` and the like are: a name and an `About`, then the class itself."""

    def __call__(self, name: str, **about: Unpack[About]) -> Callable[[Class], Class]:
        """Return a decorator that changes nothing."""


def _decorator(name: str, **about: Unpack[About]) -> Callable[[Class], Class]:
    return _unchanged


def _unchanged(cls: Class) -> Class:
    return cls


def __getattr__(kind: str) -> Decorator:
    if kind in TABLE and TABLE[kind].declared:
        return _decorator
    raise AttributeError(f"there is no declare.{kind}{did_you_mean(kind, [k for k in TABLE if TABLE[k].declared])}")


def objective(
    name: str, *, recipe: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (), **about: Unpack[About]
) -> Callable[[Class], Class]:
    """Declare an objective, and with ``recipe`` what trains it: see `Registrar.objective`."""
    return _unchanged


def metric(
    name: str,
    *,
    direction: str = "none",
    unit: str = "",
    needs: Sequence[str] = (),
    rank: int = 100,
    **about: Unpack[About],
) -> Callable[[Class], Class]:
    """Declare a metric: see `Registrar.metric`."""
    return _unchanged


def extractor(name: str, *, default_for: Sequence[str] = (), **about: Unpack[About]) -> Callable[[Class], Class]:
    """Declare a feature extractor: see `Registrar.extractor`."""
    return _unchanged


def recipe(
    name: str,
    *,
    like: str = "",
    objective: str | None = None,
    generator: str | None = None,
    encoder: str | None = None,
    critic: str | None = None,
    likelihood: str | None = None,
    posterior: str | None = None,
    prior: str | None = None,
    regularizer: Sequence[str] = (),
    augmentation: Sequence[str] = (),
    conditional: bool | None = None,
    options: Mapping[str, Any] | None = None,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    **about: Unpack[About],
) -> None:
    """Declare a recipe: a statement of its own at a module's top level. See `Registrar.recipe`."""
