"""Typed options: one dataclass per component, read without importing it.

A component keeps its configuration in a nested dataclass called ``Options``::

    class WGANGP(Adversarial):
        @dataclass(frozen=True)
        class Options(Adversarial.Options):
            gp_weight: float = option(10.0, "weight λ of the gradient penalty", low=0)

The registry reads such a class from its source (see `genzoo.registry.discovery.static`), so that listing and
describing never import torch; both readings give the same `OptionInfo`. This module is torch-free.
"""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from genzoo.core.errors import UsageError, did_you_mean, folded

Value: TypeAlias = bool | int | float | str | tuple["Value", ...] | None

TYPES = ("bool", "int", "float", "str", "Literal[...]", "tuple[TYPE, ...]", "TYPE | None")


def option(default: Any, doc: str = "", *, low: float | None = None, high: float | None = None) -> Any:
    """Declare a field of an ``Options`` dataclass; the default is a literal.

    ``doc`` is one line for people, with the unit where there is one; ``low`` and ``high`` are the smallest and largest
    number allowed, inclusive, for tuples of every element.
    """
    return dataclasses.field(default=default, metadata={"doc": doc, "low": low, "high": high})


class Configured:
    """Base of what has options: subclasses declare a nested frozen dataclass ``Options``; None is its defaults."""

    @dataclass(frozen=True)
    class Options:
        pass

    options: Any

    def __init__(self, options: Any = None) -> None:
        super().__init__()
        self.options = options if options is not None else type(self).Options()


@dataclass(frozen=True)
class OptionInfo:
    """One option as people see it: its name, type as written in the source, default, range and meaning."""

    name: str
    type: str
    default: Value
    doc: str = ""
    low: float | None = None
    high: float | None = None

    def coerce(self, value: Any, where: str) -> Value:
        """Turn what a user gave (text from a command line, or a value) into a valid value.

        `UsageError` if it is not of the option's type or out of range; says which, by its dotted name ``where``.
        """
        if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a number of numpy or torch
            value = value.item()
        try:
            result = convert(ast.parse(self.type, mode="eval").body, value)
        except (ValueError, TypeError, OverflowError) as e:
            detail = f": {e}" if str(e) else ""
            raise UsageError(f"{where} takes {describe_type(self.type)}, not {value!r}{detail}") from None
        for number in result if isinstance(result, tuple) else (result,):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                if not math.isfinite(number):
                    raise UsageError(f"{where} takes a finite number, not {value!r}")
                if self.low is not None and number < self.low:
                    raise UsageError(f"{where} must be at least {self.low:g}, not {number:g}")
                if self.high is not None and number > self.high:
                    raise UsageError(f"{where} must be at most {self.high:g}, not {number:g}")
        return result

    def meaning(self) -> str:
        """Meaning, type and range on one line."""
        limits = [f"at {w} {bound:g}" for w, bound in (("least", self.low), ("most", self.high)) if bound is not None]
        kind = ", ".join([describe_type(self.type), *limits])
        return " ".join((f"{self.doc} ({kind})" if self.doc else kind).split())


def describe_type(text: str) -> str:
    """Say an option's type in words, e.g. ``one of 'a', 'b'`` for a Literal."""
    node = ast.parse(text, mode="eval").body
    if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("Literal"):
        return "one of " + ", ".join(repr(v) for v in _literals(node))
    words = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}
    if text in words:
        return words[text]
    if isinstance(node, ast.BinOp):
        return f"{describe_type(ast.unparse(node.left))} or {describe_type(ast.unparse(node.right))}"
    if text == "None":
        return "none"
    if isinstance(node, ast.Subscript):
        return f"a list like 1,2 where each is {describe_type(ast.unparse(_elements(node)[0]))}"
    return text


def typed(value: Any) -> str:
    """An option's value as it would be typed."""
    if isinstance(value, tuple):
        return ",".join(map(typed, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


_TRUTH = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


def _elements(node: ast.Subscript) -> list[ast.expr]:
    """What stands in the brackets of an annotation."""
    return node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]


def _literals(node: ast.Subscript) -> list[Any]:
    return [ast.literal_eval(e) for e in _elements(node)]


def convert(kind: ast.expr, value: Any) -> Value:
    """Convert to the type that an annotation's syntax tree names; `ValueError` if it does not fit, perhaps with why."""
    name = ast.unparse(kind)
    text = value.lower() if isinstance(value, str) else None
    if isinstance(kind, ast.BinOp):  # X | None, X | Y: the first that fits
        for side in sorted((kind.left, kind.right), key=lambda k: ast.unparse(k) != "None"):
            try:
                return convert(side, value)
            except ValueError:
                continue
    elif isinstance(kind, ast.Subscript) and ast.unparse(kind.value).endswith("Literal"):
        for allowed in _literals(kind):
            if value == allowed or (isinstance(value, str) and value.lower() == str(allowed).lower()):
                return allowed  # type: ignore[no-any-return]
    elif isinstance(kind, ast.Subscript) and ast.unparse(kind.value) == "tuple":
        return _convert_tuple(_elements(kind), value)
    elif name == "None":
        if value is None or text in ("none", "null"):
            return None
    elif name == "bool":
        if isinstance(value, bool) or text in _TRUTH:
            return value if isinstance(value, bool) else _TRUTH[value.lower()]
    elif name == "str":
        if isinstance(value, str):
            return value
    elif name in ("int", "float"):
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return _number(name, value)
    else:
        raise TypeError(f"{name} is no option type; use {', '.join(TYPES)}")
    raise ValueError


def _number(name: str, value: int | float | str) -> int | float:
    with suppress(ValueError):  # Python's words for it help nobody
        if name == "float":
            return float(value)
        if isinstance(value, str) or value == int(value):
            return int(value)
    raise ValueError


def _convert_tuple(kinds: list[ast.expr], value: Any) -> tuple[Value, ...]:
    """Convert a list, text like ``1,2``, or a single number."""
    items = [v for v in value.strip("()[] ").split(",") if v.strip()] if isinstance(value, str) else value
    if isinstance(items, (bool, int, float)):
        items = [items]
    if not isinstance(items, (list, tuple)):
        raise ValueError
    if len(kinds) == 2 and ast.unparse(kinds[1]) == "...":
        kinds = [kinds[0]] * len(items)
    if len(kinds) != len(items):
        raise ValueError(f"{len(kinds)} values are needed, {len(items)} given")
    return tuple(convert(k, v.strip() if isinstance(v, str) else v) for k, v in zip(kinds, items, strict=True))


def options_of(cls: type) -> list[OptionInfo]:
    """Read the options of an ``Options`` dataclass that is already imported."""
    infos = []
    for field in dataclasses.fields(cls):
        kind = field.type if isinstance(field.type, str) else getattr(field.type, "__name__", None)
        if not isinstance(field.type, type):
            kind = str(field.type).replace("typing.", "")
        default = None if field.default is dataclasses.MISSING else field.default
        meta = field.metadata
        infos.append(OptionInfo(field.name, str(kind), default, meta.get("doc", ""), meta.get("low"), meta.get("high")))
    return infos


def coerce_all(infos: Iterable[OptionInfo], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check given values against the options of a group, such as ``objective``, and fill in the defaults.

    `UsageError` for a name that does not exist (with the nearest ones) or a value that does not fit.
    """
    known = {i.name: i for i in infos}
    if strange := [name for name in given if name not in known and folded(name, known) in known]:
        given = {folded(name, known) if name in strange else name: value for name, value in given.items()}
    for name in given:
        if name not in known:
            some = f"; it has {', '.join(sorted(known))}" if known else "; it has no options"
            value = typed(given[name])
            near = did_you_mean(name, known, lambda n, value=value: f"--set {where}.{n}={value}")  # type: ignore[misc]
            raise UsageError(f"{where} has no option {name!r}{near or some}")
    return {n: i.coerce(given[n], f"{where}.{n}") if n in given else i.default for n, i in known.items()}
