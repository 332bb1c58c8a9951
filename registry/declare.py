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


generator: Decorator = _decorator
encoder: Decorator = _decorator
critic: Decorator = _decorator
likelihood: Decorator = _decorator
prior: Decorator = _decorator
dataset: Decorator = _decorator
extractor: Decorator = _decorator
store: Decorator = _decorator
tracker: Decorator = _decorator


def objective(
    name: str, *, recipe: Mapping[str, Any] | Sequence[Mapping[str, Any]] = (), **about: Unpack[About]
) -> Callable[[Class], Class]:
    """Declare an objective, and with ``recipe`` what trains it: see `Registrar.objective`."""
    return _unchanged


def metric(
    name: str, *, direction: str = "none", unit: str = "", needs: Sequence[str] = (), **about: Unpack[About]
) -> Callable[[Class], Class]:
    """Declare a metric: see `Registrar.metric`."""
    return _unchanged


def recipe(
    name: str,
    *,
    objective: str,
    generator: str,
    encoder: str | None = None,
    critic: str | None = None,
    likelihood: str | None = None,
    conditional: bool = False,
    options: Mapping[str, Any] | None = None,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    **about: Unpack[About],
) -> None:
    """Declare a recipe: a statement of its own at a module's top level. See `Registrar.recipe`."""
