"""What entries are tried on: small data of every modality, batches of it, and what all checks share."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from genzoo.core.data import Data
from genzoo.core.errors import UsageError
from genzoo.core.modality import Modality, of
from genzoo.core.options import options_of
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit.findings import Fault
from genzoo.registry import Entry, Registry, the_registry

T = TypeVar("T")
CLASSES = 3
OWN_FILES = ("/torch/", "/genzoo/plugins/apps/kit/", "/plugins/apps/kit/")  # frames that are no author's


@dataclass(frozen=True)
class Case:
    """An entry under test."""

    registry: Registry
    entry: Entry

    @cached_property
    def cls(self) -> Any:
        """Its class, imported."""
        return self.registry.load(self.entry)


@dataclass(frozen=True)
class Setting:
    """Data of a kind, and how many classes the networks are told."""

    spec: DataSpec
    classes: int = 0

    def __str__(self) -> str:
        shape = "×".join(map(str, self.spec.shape))
        return f"{self.spec.modality} {shape}" + (f", {self.classes} classes" if self.classes else ", unconditional")


def kinds(entry: Entry) -> list[Modality]:
    """Modalities that an entry says it is for, as far as they are here; genzoo's own where it names nothing."""
    known = the_registry().entries("modality")
    own = tuple(e.name for e in known if e.distribution == "genzoo")
    return [of(name) for name in entry.modalities or own if name in {e.name for e in known}]


def specs(entry: Entry, *, all_sizes: bool = False) -> list[DataSpec]:
    """Small data that an entry says it is for; genzoo's own kinds where it names nothing."""
    return [spec for k in kinds(entry) for spec in (k.examples(CLASSES) if all_sizes else k.examples(CLASSES)[:1])]


def observations(spec: DataSpec, n: int, seed: int = 0) -> Tensor:
    """Random observations in model space, ``(n, *spec.shape)``."""
    return of(spec).random(spec, n, seed)


def labels(n: int, classes: int) -> Tensor | None:
    """Labels that take turns, or None."""
    return torch.arange(n) % classes if classes else None


def small_data(spec: DataSpec, n: int = 48) -> Data:
    """A data set of ``spec``, in storage form."""
    g = torch.Generator().manual_seed(7)
    if spec.levels:
        rows = torch.randint(spec.levels, (n, *spec.shape), generator=g).to(torch.uint8)
    else:
        rows = torch.randn(n, *spec.shape, generator=g) * spec.scale[0]
    return Data(spec, rows, labels(n, spec.classes), name="random numbers")


def variants(cls: Any, **fixed: Any) -> Iterator[tuple[str, Any]]:
    """An entry's options with one of them changed: other words, the other truth, the least number."""
    for info in options_of(cls.Options):
        values: list[Any] = []
        if info.type == "bool":
            values = [not info.default]
        elif "Literal[" in info.type:
            from genzoo.core.options import describe_type

            words = describe_type(info.type.partition("|")[0].strip()).removeprefix("one of ").split(", ")
            values = [w.strip("'\"") for w in words if w.strip("'\"") != str(info.default)]
        elif info.type in ("int", "float") and info.low is not None and info.low != info.default:
            values = [info.low]
        for value in values:
            name = f"{info.name}={value}"
            yield name, cls.Options(**{**fixed, info.name: info.coerce(value, info.name)})


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Torch's own random numbers from a seed; afterwards they are as before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def attempt(do: Callable[[], T], where: object, what: str, mend: str = "let it run") -> T:
    """Do something that should work; an exception is a `Fault` that says where in the author's files it was."""
    try:
        return do()
    except (Fault, UsageError):
        raise
    except Exception as e:
        raise Fault(f"{what} to run", said(e), mend, str(where)) from e


def said(error: BaseException) -> str:
    """An exception in one line, with the author's line that it came from."""
    text = " ".join(str(error).split())
    place = place_of(error)
    return f"{type(error).__name__}: {text[:240]}" + (f" at {place}" if place else "")


def place_of(error: BaseException) -> str:
    """``file:line`` of the last frame that is neither torch's nor the suite's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not any(o in f.filename for o in OWN_FILES)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


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
    scale = float(a.detach().float().abs().mean()) + 1e-6
    found = float((a.detach().float() - b.detach().float()).abs().max()) / scale
    return found if found == found else float("inf")
