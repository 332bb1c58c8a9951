"""What checks share: the entry under test, small data to try it on, subjects that compute, and how a check goes."""

from __future__ import annotations

import ast
import importlib
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from genzoo.core.build import build
from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, MissingPackage, UsageError
from genzoo.core.modality import Modality, of
from genzoo.core.objective import Networks, Objective
from genzoo.core.options import options_of
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit.findings import Fault, Skip
from genzoo.registry import Entry, Registry, the_registry
from genzoo.registry.kinds import TABLE
from genzoo.registry.recipes.compose import compose, resolver

S = TypeVar("S")
CLASSES = 3
OWN_FILES = ("/torch/", "/genzoo/plugins/apps/kit/", "/plugins/apps/kit/", "contextlib.py")  # frames of no author


@dataclass(frozen=True)
class Case:
    """An entry under test, and in ``kept`` what several of its checks look at."""

    registry: Registry
    entry: Entry
    kept: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def once(self, key: str, make: Callable[[Case], Iterable[S]]) -> list[S]:
        """What is made of the case: now for the first check, and kept for the others."""
        if key not in self.kept:
            self.kept[key] = list(make(self))
        found: list[S] = self.kept[key]
        return found

    @cached_property
    def cls(self) -> Any:
        """Its class, imported, which must derive from the base of its kind."""
        found, base = self.registry.load(self.entry), TABLE[self.entry.kind].base
        module, _, name = base.partition(":")
        if base and not issubclass(found, getattr(importlib.import_module(module), name)):
            raise Fault(f"a subclass of {module}.{name}", found.__name__, "derive it from that")
        return found


class Subject:
    """A module with a batch for it: what checks of networks, likelihoods, objectives and extractors see.

    Attributes:
        where: the data, in words.
        module: what computes.
        given: the batch by name, batch first, 0-d, or None.
        parts: sizes of smaller batches that it takes.
        to_input: names of what gradients must reach beside the parameters.
        modes: of training or not, those in which no observation may depend on the others.
        zeros: whether gradients may be zero, as long as there are any.
    """

    parts: tuple[int, ...] = (2, 1)
    to_input: tuple[str, ...] = ()
    modes: tuple[bool, ...] = (False,)
    zeros: bool = False

    def __init__(self, where: str, module: nn.Module, given: Mapping[str, Tensor | None]) -> None:
        self.where, self.module, self.given = where, module, dict(given)

    def compute(self, module: Any, given: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Numbers by name, batch first."""
        raise NotImplementedError

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one observation's numbers of that name."""
        return ()

    def anew(self, seed: int = 1) -> nn.Module:
        """Build the module, with initial parameters from a seed."""
        raise NotImplementedError

    def coupled(self) -> Collection[str]:
        """Names of numbers that may depend on other observations."""
        return ()

    def moved(self) -> list[nn.Parameter]:
        """Parameters that training moves."""
        return list(self.module.parameters())

    def onto_meta(self) -> None:
        """Move it to the device without numbers."""
        self.module.to("meta")
        self.given = {k: None if v is None else v.to("meta") for k, v in self.given.items()}

    def run(
        self, module: nn.Module | None = None, *, training: bool = False, seed: int = 0, rows: slice = slice(None)
    ) -> Mapping[str, Tensor]:
        """Compute from a copy of the batch, or of some of its rows, with torch's own random numbers from a seed."""
        given = {k: v if v is None or not v.dim() else v[rows].clone() for k, v in self.given.items()}
        with seeded(seed):
            return self.compute((self.module if module is None else module).train(training), given)


def over(subjects: Callable[[Case], Iterable[S]]) -> Callable[[Callable[[S], None]], Callable[[Case], None]]:
    """Make a check of one subject that of an entry: of all its subjects, skipped where it is of every one."""

    def decorate(check: Callable[[S], None]) -> Callable[[Case], None]:
        @wraps(check)
        def of_all(case: Case) -> None:
            looked, skipped = False, Skip("there is nothing to look at")
            for subject in subjects(case):
                try:
                    with at(subject.where):  # type: ignore[attr-defined]
                        check(subject)
                    looked = True
                except Skip as e:
                    skipped = e
            if not looked:
                raise skipped

        return of_all

    return decorate


@contextmanager
def at(where: str) -> Iterator[None]:
    """Let whatever is raised here but Ctrl-C be a `Fault` that says where."""
    try:
        yield
    except (KeyboardInterrupt, Skip):
        raise
    except MissingPackage as e:
        raise Skip(f"it cannot be tried here: {e}") from e
    except Fault as e:
        e.where = e.where or where
        raise
    except GenzooError as e:
        mend = "support it, or say in the registration what it is for"
        raise Fault("no refusal", str(e), mend, where) from e
    except BaseException as e:  # whatever a plugin does, the others are checked too
        raise Fault("no exception", said(e), "mend what the exception is about", where) from e


def expect(true: object, expected: str, found: object, mend: str = "") -> None:
    """Raise a `Fault` unless something holds; without an advice of its own it repeats what the check asks."""
    if not true:
        raise Fault(expected, str(found), mend)


def shaped(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """Raise a `Fault` unless something is a tensor of finite numbers and of that shape."""
    found = shape_text(value.shape) if isinstance(value, Tensor) else type(value).__name__
    mend = "keep the leading axes, and sum over those of an observation only"
    expect(found == shape_text(shape), f"{name} of shape {shape_text(shape)}", found, mend)
    mend = "look for a division, root or logarithm at zero"
    expect(torch.isfinite(value).all(), f"finite {name}", value.flatten()[:3].tolist(), mend)


def accepted(make: Iterable[Callable[[], S]], expected: str = "", *, skip: str = "") -> Iterator[S]:
    """What is made without a refusal; if all is refused, a `Fault` if something was expected, or a reason to skip."""
    taken, refused = False, ""
    for one in make:
        try:
            made = one()
        except GenzooError as e:
            refused = str(e)
            continue
        taken = True
        yield made
    if skip and not taken:
        raise Skip(f"{skip}: {refused}")
    if expected and not taken:
        mend = "support it, or name in the registration what it is for: modalities=(…), and a recipe with fitting parts"
        raise Fault(expected, f"a refusal: {refused}", mend)


@dataclass(frozen=True)
class Composed:
    """A recipe or an objective with parts, built."""

    config: Config
    objective: Objective
    nets: Networks


def composed(
    registry: Registry,
    spec: DataSpec,
    *options: tuple[str | None, Mapping[str, Any]],
    kept: dict[str, Any] | None = None,
) -> Composed:
    """The first of some recipes, each with options, that can be built for such data; ``kept`` is told which.

    Raises:
        UsageError: if none can.
    """
    key, kept = repr((spec, options)), {} if kept is None else kept
    found = kept.get(key)
    if isinstance(found, UsageError):
        raise found
    for recipe, given in options if found is None else (found,):
        try:
            config = compose(registry, spec, recipe, given)
            with seeded(1):
                made = Composed(config, *build(config, resolver(registry, config)))
        except UsageError as e:
            kept[key] = refused = e
        else:
            kept[key] = recipe, given
            return made
    raise refused


def said(error: BaseException) -> str:
    """An exception in one line, with the author's line that it came from."""
    text, place = " ".join(str(error).split()), place_of(traceback.extract_tb(error.__traceback__))
    return f"{type(error).__name__}: {text[:240]}" + (f" at {place}" if place else "")


def place_of(frames: traceback.StackSummary) -> str:
    """``file:line`` of the last frame that is neither torch's nor the suite's."""
    theirs = [f for f in frames if not any(own in f.filename for own in OWN_FILES)]
    return f"{theirs[-1].filename}:{theirs[-1].lineno}" if theirs else ""


def kinds(entry: Entry) -> list[Modality]:
    """Modalities that an entry says it is for, as far as they are here; genzoo's own where it names nothing."""
    known = the_registry().entries("modality")
    own = tuple(e.name for e in known if e.distribution == "genzoo")
    return [of(name) for name in entry.modalities or own if name in {e.name for e in known}]


def setting(spec: DataSpec, classes: int = 0) -> str:
    """Data and condition, in words."""
    shape = "×".join(map(str, spec.shape))
    return f"{spec.modality} {shape}, " + (f"{classes} classes" if classes else "unconditional")


def observations(spec: DataSpec, n: int, seed: int = 0) -> Tensor:
    """Random observations in model space, ``(n, *spec.shape)``."""
    return of(spec).random(spec, n, seed)


def labels(n: int, classes: int) -> Tensor | None:
    """Labels that take turns, or None."""
    return torch.arange(n) % classes if classes else None


def small_data(spec: DataSpec, n: int = 48) -> Data:
    """A data set of ``spec``, in storage form."""
    g = torch.Generator().manual_seed(7)
    kind = of(spec)
    if type(kind).random is not Modality.random:  # not all numbers are such data
        rows = kind.to_storage(spec, kind.to_units(spec, kind.random(spec, n, 7)))
    elif spec.levels:
        rows = torch.randint(spec.levels, (n, *spec.shape), generator=g).to(torch.uint8)
    else:
        rows = torch.randn(n, *of(spec).unit_shape(spec), generator=g) * spec.scale[0]
    return Data(spec, rows, labels(n, spec.classes), name="random numbers")


def changes(cls: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each of an entry's options with another value: other words, the other truth, the least number."""
    for info in options_of(cls.Options):
        values: list[Any] = []
        if info.type == "bool":
            values = [not info.default]
        elif "Literal[" in info.type:
            words = info.type.partition("Literal")[2].partition("]")[0] + "]"
            values = [word for word in ast.literal_eval(words) if word != info.default]
        elif info.type in ("int", "float") and info.low is not None and info.low != info.default:
            values = [info.low]
        for value in values:
            yield f"{info.name}={value}", {info.name: info.coerce(value, info.name)}


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Torch's own random numbers from a seed; afterwards they are as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def shake(module: nn.Module, seed: int = 1) -> None:
    """Move every parameter a little, so that layers which start at zero let something through."""
    g = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.add_(0.05 * torch.randn(p.shape, generator=g).to(p.dtype))


def shape_text(shape: Any) -> str:
    """A shape as people write it."""
    return f"({', '.join(map(str, shape))})"


def gap(a: Tensor, b: Tensor) -> float:
    """Largest difference between two tensors, relative to the spread of the first; infinite where NaN."""
    a, b = a.detach().float(), b.detach().float()
    found = float((a - b).abs().max()) / (float(a.abs().mean()) + 1e-6) if a.numel() else 0.0
    return found if found == found else float("inf")
