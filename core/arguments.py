"""Arguments of public calls: what does not fit what a signature says is answered in a sentence; torch-free."""

from __future__ import annotations

import ast
import functools
import inspect
import operator
import os
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args, get_origin

from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.text import one_line

if TYPE_CHECKING:
    from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
Rule = Callable[[Any], Any]

LEAST = {"batch_size": 1, "threads": 1, "budget": 1}  # of arguments that have the same meaning everywhere
_CLASSES = ("Model", "Data", "DataSpec", "Report", "Extractor", "device")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments of a public call by the annotations of its signature, before anything else happens.

    Numbers of NumPy are numbers, and ``True`` is none; ranges are the call's own business, but for those of `LEAST`.

    Raises:
        UsageError: from the call, naming the argument.
    """
    signature = inspect.signature(function)
    names = signature.parameters
    rules = {name: rule for name, p in names.items() if (rule := _rule(name, str(p.annotation), function)) is not None}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as e:
            unknown = next((k for k in kwargs if k not in names), "")
            said = f"it takes no argument {unknown!r}{did_you_mean(unknown, names)}" if unknown else str(e)
            raise UsageError(f"{function.__name__}: {said}") from None
        for name, value in bound.arguments.items():
            if name in rules:
                bound.arguments[name] = rules[name](value)
        return function(*bound.args, **bound.kwargs)

    return call


def _rule(name: str, annotation: str, function: Callable[..., Any]) -> Rule | None:
    """What checks and converts an argument; None where anything may be given."""
    kinds = [k.strip() for k in re.split(r"\|(?![^\[]*\])", annotation)]
    kinds = [part for k in kinds for part in _alias(k, function)]
    readers = [_reader(k, name) for k in kinds]
    if any(r is None for r in readers):
        return None
    said = list(dict.fromkeys(word for r in readers if r is not None for word in r[1]))
    words = " or ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)

    def check(value: Any) -> Any:
        for reader in readers:
            assert reader is not None
            try:
                return reader[0](value)
            except (TypeError, ValueError, OverflowError):
                continue
        raise UsageError(f"{name} is {words}, not {_short(value)}")

    return check


def _alias(kind: str, function: Callable[..., Any]) -> list[str]:
    """What the name of a union or a literal stands for."""
    value = inspect.unwrap(function).__globals__.get(kind)
    if get_origin(value) is Literal:
        return [f"Literal[{', '.join(map(repr, get_args(value)))}]"]
    return str(value).split(" | ") if isinstance(value, types.UnionType) else [kind]


def _reader(kind: str, name: str) -> tuple[Rule, list[str]] | None:
    """What takes a value of one kind or raises, and how a sentence calls it; None for a kind that is not known."""
    least = LEAST.get(name)
    known: dict[str, tuple[Rule, list[str]]] = {
        "int": (lambda v: _whole(v, name, least), ["a whole number"]),
        "float": (_real, ["a number"]),
        "bool": (lambda v: bool(_of(v, bool, "bool_", "bool")), ["true or false"]),
        "str": (lambda v: _printable(_of(v, str)), ["a text"]),
        "os.PathLike[str]": (lambda v: _printable(_of(v, os.PathLike)), ["a path"]),
        "None": (lambda v: _of(v, type(None)), []),
        "Mapping[str, Any]": (_named, ["names with values"]),
        "Sequence[str]": (_names, ["a list of names"]),
    }
    if kind in known:
        return known[kind]
    if kind.startswith("Literal["):
        choices = ast.literal_eval(f"({kind.removeprefix('Literal[').removesuffix(']')},)")
        return lambda v: choices[choices.index(_of(v, str))], [c for c in choices]
    if kind.startswith("Callable["):
        return _callable, ["a function"]
    bare = kind.rpartition(".")[2]
    return (lambda v: _of(v, (), bare), [f"a {bare}"]) if bare in _CLASSES else None


def _of(value: Any, cls: type | tuple[type, ...], *names: str) -> Any:
    """The value, if it is of a class, or of one that is called so."""
    if isinstance(value, cls) or any(c.__name__ in names for c in type(value).__mro__):
        return value
    raise TypeError


def _whole(value: Any, name: str, least: int | None) -> int:
    """A whole number of at most 63 bits and a sign."""
    if type(value).__name__ in ("bool", "bool_"):
        raise TypeError
    number = operator.index(value)
    if least is not None and number < least:
        raise UsageError(f"{name} must be at least {least}, not {number}")
    if not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _real(value: Any) -> float:
    if type(value).__name__ in ("bool", "bool_") or isinstance(value, (str, bytes)) or getattr(value, "ndim", False):
        raise TypeError
    number = float(value)
    return value if isinstance(value, (int, float)) and abs(number) < 2**53 else number


def _printable(value: Any) -> Any:
    """A text or path that the system takes."""
    if "\0" in os.fspath(value):
        raise ValueError
    return value


def _named(value: Any) -> Any:
    if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
        raise TypeError
    return value


def _names(value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(v, str) for v in value):
        raise TypeError
    return value


def _callable(value: Any) -> Any:
    if not callable(value):
        raise TypeError
    return value


def array(value: Any, what: str, kind: str = "numbers") -> Tensor:
    """Numbers as a tensor, of their own dtype.

    Raises:
        UsageError: if they are none: text, objects, or rows of different lengths.
    """
    import numpy as np
    import torch

    if isinstance(value, torch.Tensor):
        found = value
    else:
        try:
            found = torch.as_tensor(np.asarray(value))
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise UsageError(f"{what} are {kind} in an array or a tensor, not {_short(value)}") from None
    if found.is_complex() or found.layout is not torch.strided or found.is_meta:
        raise UsageError(f"{what} are {kind} in an array or a tensor, not {found.dtype} ({found.layout})")
    return found


def codes(value: Any, what: str = "codes") -> Tensor:
    """Codes as float32.

    Raises:
        UsageError: if they are no numbers, or not finite.
    """
    found = array(value, what).detach().float()
    if not found.isfinite().all():
        raise UsageError(f"{what} must be finite, and some are NaN or infinite")
    return found


def _short(value: Any) -> str:
    """A value for a sentence."""
    try:
        text = repr(value)
    except Exception:  # any object's repr may raise anything
        text = ""
    return one_line(text) if 0 < len(text) <= 60 else f"a value of type {type(value).__name__}"
