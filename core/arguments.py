"""Arguments of public calls: what does not fit what a signature says is answered in a sentence; torch-free."""

from __future__ import annotations

import ast
import functools
import inspect
import operator
import os
import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, get_args, get_origin

from genzoo.core.errors import UsageError, did_you_mean, folded, through
from genzoo.core.text import one_line

if TYPE_CHECKING:
    from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
Rule = Callable[[Any], Any]
Reader = tuple[Rule, list[str]]  # what takes a value or raises, and what a sentence calls it

LEAST = {"batch_size": 1, "threads": 1, "budget": 1, "samples": 1}  # of arguments that mean the same everywhere
_CLASSES = ("Model", "Data", "DataSpec", "Report", "Extractor", "device")


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check the arguments of a public call by the annotations of its signature, before anything else happens.

    Numbers of NumPy are numbers, and ``True`` is none; ranges are the call's own business, but for those of `LEAST`.
    The call raises `UsageError`, naming the argument.
    """
    signature = inspect.signature(function)
    names = signature.parameters
    rules = {name: rule for name, p in names.items() if (rule := _rule(name, str(p.annotation), function)) is not None}

    door = "dotted" if "options" in names and function.__name__ != "load_data" else "options"
    door = "data_options" if "data_options" in names else door

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with through(door):
            return called(*args, **kwargs)

    def called(*args: P.args, **kwargs: P.kwargs) -> R:
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
    readers = [_reader(part) for k in kinds for part in _alias(k, function)]
    found = [r for r in readers if r is not None]
    if len(found) < len(readers):
        return None
    said = list(dict.fromkeys(word for _, words in found for word in words))
    words = " or ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
    least = LEAST.get(name)

    def check(value: Any) -> Any:
        for read, _ in found:
            try:
                value = read(value)
            except (TypeError, ValueError, OverflowError):
                continue
            if least is not None and isinstance(value, int) and value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")
            return value
        raise UsageError(f"{name} is {words}, not {_short(value)}")

    return check


def _alias(kind: str, function: Callable[..., Any]) -> list[str]:
    """What the name of a union or a literal stands for."""
    value = inspect.unwrap(function).__globals__.get(kind)
    if get_origin(value) is Literal:
        return [f"Literal[{', '.join(map(repr, get_args(value)))}]"]
    return str(value).split(" | ") if isinstance(value, types.UnionType) else [kind]


def _reader(kind: str) -> Reader | None:
    """What takes a value of one kind or raises, and how a sentence calls it; None for a kind that is not known."""
    if kind.startswith("Literal["):
        choices = ast.literal_eval(f"({kind.removeprefix('Literal[').removesuffix(']')},)")
        return (lambda v: _that(choices.__contains__)(folded(v, choices) if isinstance(v, str) else v)), list(choices)
    bare = kind.rpartition(".")[2]
    if bare in _CLASSES:
        return _that(lambda v: any(c.__name__ == bare for c in type(v).__mro__)), [f"a {bare}"]
    return _KINDS.get(kind.partition("[")[0] if kind.startswith("Callable[") else kind)


def _that(fits: Callable[[Any], bool]) -> Rule:
    """What gives values that fit as they are, and raises for others."""

    def read(value: Any) -> Any:
        if not fits(value):
            raise TypeError
        return value

    return read


def _is_flag(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")


def _whole(value: Any) -> int:
    """A whole number of at most 63 bits and a sign."""
    number = operator.index(value)
    if _is_flag(value) or not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _real(value: Any) -> float:
    if _is_flag(value) or isinstance(value, (str, bytes)) or getattr(value, "ndim", False):
        raise TypeError
    number = float(value)
    return value if isinstance(value, (int, float)) and abs(number) < 2**53 else number


_KINDS: dict[str, Reader] = {
    "int": (_whole, ["a whole number"]),
    "float": (_real, ["a number"]),
    "bool": (lambda v: bool(_that(_is_flag)(v)), ["true or false"]),
    "str": (_that(lambda v: isinstance(v, str) and "\0" not in v), ["a text"]),
    "os.PathLike[str]": (_that(lambda v: isinstance(v, os.PathLike) and "\0" not in os.fspath(v)), ["a path"]),
    "None": (_that(lambda v: v is None), []),
    "Mapping[str, Any]": (_that(lambda v: isinstance(v, Mapping) and _all_text(v)), ["names with values"]),
    "Sequence[str]": (
        _that(lambda v: isinstance(v, Sequence) and not isinstance(v, str) and _all_text(v)),
        ["a list of names"],
    ),
    "Callable": (_that(callable), ["a function"]),
}


def _all_text(values: Iterable[Any]) -> bool:
    return all(isinstance(v, str) for v in values)


def array(value: Any, what: str, kind: str = "numbers") -> Tensor:
    """Numbers as a tensor, of their own dtype; `UsageError` for text, objects, or rows of different lengths."""
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
    """Codes as float32; `UsageError` if they are no numbers, or not finite."""
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
