"""Reads a class's docstring and options from its source, so that describing an entry never imports torch.

The reading is that of Python: nested ``Options`` found along the class's bases, fields merged over
inherited ones in dataclass order. What cannot be known without running (defaults that are computed,
classes made by functions, names that only a module's ``__getattr__`` provides) is an error that says so.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass, make_dataclass
from typing import Any

from genzoo.core.errors import GenzooError
from genzoo.core.options import OptionInfo, option, options_of
from genzoo.registry.discovery.source_code import Module, locate, parse

# Bases from here are not followed: they have no options, and their sources are large.
_FOREIGN = frozenset(sys.stdlib_module_names) | {"torch", "numpy"}
_SCALARS = ("bool", "int", "float", "str", "None")


@dataclass(frozen=True)
class ClassSource:
    """A class as it stands in a file."""

    module: Module
    qualname: str
    node: ast.ClassDef

    @property
    def key(self) -> str:
        """``module:qualname``: what makes it the same class."""
        return f"{self.module.name}:{self.qualname}"

    def place(self, node: ast.AST | None = None) -> str:
        """``file:line`` of the class, or of something in it."""
        return f"{self.module.file}:{getattr(node or self.node, 'lineno', 1)}"


class _Foreign(Exception):
    """A base that is not followed."""


def find_class(target: str) -> ClassSource:
    """Find the class that ``package.module:Class`` names, through re-exports, without importing anything.

    Raises:
        GenzooError: if the module or the attribute does not exist, or it is no class.
    """
    module, _, attribute = target.partition(":")
    try:
        found = _lookup(parse(module), attribute.split("."), 0)
    except _Foreign as e:
        raise GenzooError(f"{target} comes from {e}, whose source genzoo does not read") from None
    except GenzooError as e:
        raise GenzooError(f"{target}: {e}") from None
    if not isinstance(found, ClassSource):
        raise GenzooError(f"{target} is a {'module' if isinstance(found, Module) else found}, not a class")
    return found


def docstring(target: str) -> str:
    """Return the docstring of the class that a target names, cleaned of its indentation; "" if it has none."""
    return ast.get_docstring(find_class(target).node) or ""


def options(target: str) -> list[OptionInfo]:
    """Return the options of a component: the fields of its ``Options``, its own or inherited.

    A class that neither has nor inherits ``Options`` has none.

    Raises:
        GenzooError: if the target is not there, or its options cannot be read; says where.
    """
    found = _nested(find_class(target), "Options")
    return [] if found is None else fields(found)


def fields(of: ClassSource) -> list[OptionInfo]:
    """Return the fields of a dataclass as options; raises GenzooError if they cannot be read, and says where."""
    unread: list[str] = []
    stand_in = _stand_in(of, unread, with_fields=True)
    if unread:
        raise GenzooError(f"{of.place()}: the fields of {of.qualname} cannot be read: {unread[0]}")
    if not is_dataclass(stand_in):
        raise GenzooError(f"{of.place()}: {of.qualname} is not a dataclass")
    return options_of(stand_in)


def _lookup(module: Module, path: list[str], depth: int) -> ClassSource | Module | str:
    """Resolve a dotted name in a module; a str is what the thing is when it is no class."""
    if depth > 50:
        raise GenzooError(f"the imports of {module.name} go round in a circle")
    if not path:
        return module
    head, rest = path[0], path[1:]
    bound = module.names.get(head)
    if bound is None:
        for star in module.stars:
            try:
                return _lookup(_module(star), path, depth + 1)
            except (GenzooError, _Foreign):
                continue
        if locate(f"{module.name}.{head}") is not None:
            return _lookup(parse(f"{module.name}.{head}"), rest, depth + 1)
        raise GenzooError(f"module {module.name!r} has no {head!r}")
    if isinstance(bound, tuple):
        source, attribute = bound
        return _lookup(_module(source), ([attribute] if attribute else []) + rest, depth + 1)
    if isinstance(bound, ast.ClassDef):
        found = ClassSource(module, bound.name, bound)
        for name in rest:
            inner = _nested(found, name)
            if inner is None:
                raise GenzooError(f"class {found.key} has no class {name!r}")
            found = inner
        return found
    names = _dotted(bound)
    if names is not None:  # an alias: Name = Other
        return _lookup(module, names + rest, depth + 1)
    return "function" if isinstance(bound, (ast.FunctionDef, ast.AsyncFunctionDef)) else "value"


def _module(name: str) -> Module:
    if name.partition(".")[0] in _FOREIGN:
        raise _Foreign(name)
    return parse(name)


def _dotted(node: ast.AST) -> list[str] | None:
    """``a.b.c`` as a list, None for any other expression."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    return [node.id, *names] if isinstance(node, ast.Name) else None


def _nested(outer: ClassSource, name: str) -> ClassSource | None:
    """Find a nested class along the bases of a class; None if none of them has it."""
    unread: list[str] = []
    of, node = getattr(_stand_in(outer, unread), name, (outer, None))
    if isinstance(node, ast.ClassDef):
        return ClassSource(of.module, f"{of.qualname}.{name}", node)
    if isinstance(node, ast.Assign):
        names = _dotted(node.value)  # Options = OtherOptions
        found = _lookup(of.module, names, 0) if names else None
        if not isinstance(found, ClassSource):
            raise GenzooError(f"{of.place(node)}: {name} = {ast.unparse(node.value)} is no class to be read")
        return found
    if unread:
        raise GenzooError(f"{outer.place()}: the {name} of {outer.qualname} cannot be read: {unread[0]}")
    return None


def _stand_in(of: ClassSource, unread: list[str], with_fields: bool = False) -> type:
    """An empty class with the bases of one that is read, so that Python tells what it inherits.

    Its attributes are what its body binds, each with the class that this stands in; or else it has the fields. Why
    bases cannot be read goes to ``unread``.
    """
    made: dict[str, type | None] = {}

    def make(of: ClassSource) -> type:
        if of.key not in made:
            made[of.key] = None
            bases = tuple(map(make, _bases(of, unread)))
            own = list(_own_fields(of)) if with_fields else []
            try:
                if own or (with_fields and _is_dataclass(of.node)):
                    made[of.key] = make_dataclass(of.node.name, own, bases=bases, init=False, repr=False, eq=False)
                else:
                    made[of.key] = type(of.node.name, bases, {name: (of, node) for name, node in _bound(of.node)})
            except (TypeError, ValueError) as e:
                raise GenzooError(f"{of.place()}: {of.qualname} is no class: {' '.join(str(e).split())}") from None
        found = made[of.key]
        if found is None:
            raise GenzooError(f"{of.place()}: {of.qualname} inherits from itself")
        return found

    return make(of)


def _bound(cls: ast.ClassDef) -> Iterator[tuple[str, ast.stmt]]:
    """What may be a class in another's body."""
    for node in cls.body:
        if isinstance(node, ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            names = (t.id for t in node.targets if isinstance(t, ast.Name))
            yield from ((name, node) for name in names if not name.startswith("__"))


def _bases(of: ClassSource, unread: list[str]) -> Iterator[ClassSource]:
    """The bases that can be read; why others cannot goes to ``unread``."""
    for node in of.node.bases:
        expression = node.value if isinstance(node, ast.Subscript) else node  # Base[T]
        names = _dotted(expression)
        if names and hasattr(builtins, names[0]):
            continue
        try:
            found = _lookup(of.module, names, 0) if names else "value"
            if isinstance(found, ClassSource):
                yield found
            else:
                unread.append(f"its base {ast.unparse(node)} is not written as a class")
        except _Foreign:
            continue
        except GenzooError as e:
            unread.append(str(e))


def _is_dataclass(node: ast.ClassDef) -> bool:
    decorators = (_dotted(d.func if isinstance(d, ast.Call) else d) for d in node.decorator_list)
    return any(names and names[-1] == "dataclass" for names in decorators)


def _own_fields(of: ClassSource) -> Iterator[tuple[str, str, Any]]:
    """Name, type and field of each annotation in a class's body."""
    for node in of.node.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        quoted = isinstance(node.annotation, ast.Constant) and isinstance(node.annotation.value, str)
        kind = ast.parse(node.annotation.value, mode="eval").body if quoted else node.annotation  # type: ignore[attr-defined]
        text = ast.unparse(kind).replace("typing.", "")
        if text.startswith("ClassVar"):
            continue
        if not _is_dataclass(of.node):
            raise GenzooError(f"{of.place(node)}: {of.qualname} is not a dataclass")
        where = f"{of.place(node)}: option {node.target.id!r} of {of.qualname}"
        if not _is_option_type(kind):
            raise GenzooError(f"{where} has the type {text}, which options cannot have")
        yield node.target.id, text, option(**_default(node.value, where))


def _is_option_type(kind: ast.expr) -> bool:
    """Whether it is one of `genzoo.core.options.TYPES`."""
    if isinstance(kind, ast.BinOp) and isinstance(kind.op, ast.BitOr):
        return _is_option_type(kind.left) and _is_option_type(kind.right)
    if isinstance(kind, ast.Subscript):
        outer = (_dotted(kind.value) or [""])[-1]
        inner = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        if outer == "tuple":
            return all(_is_option_type(k) for k in inner if ast.unparse(k) != "...")
        return outer == "Literal" and all(isinstance(k, ast.Constant) for k in inner)
    return ast.unparse(kind) in _SCALARS


def _default(node: ast.expr | None, where: str) -> dict[str, Any]:
    """Read ``= value``, ``= option(value, "doc", low=, high=)`` or ``= field(default=value)``."""
    if node is None:
        return {"default": None}
    names = _dotted(node.func) if isinstance(node, ast.Call) else None
    if not isinstance(node, ast.Call) or not names:
        return {"default": _literal(node, where)}
    given = {k.arg: k.value for k in node.keywords}
    if names[-1] == "field":
        metadata = _literal(given["metadata"], where) if "metadata" in given else {}
        default = _literal(given["default"], where) if "default" in given else None
        return {"default": default} | {k: metadata[k] for k in ("doc", "low", "high") if k in metadata}
    if names[-1] != "option":
        raise GenzooError(f"{where} has the default {ast.unparse(node)}, which is not a literal")
    given |= dict(zip(("default", "doc"), node.args, strict=False))
    return {k: _literal(v, where) for k, v in given.items() if k in ("default", "doc", "low", "high")}


def _literal(node: ast.expr, where: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        raise GenzooError(f"{where} is read without being run, so {ast.unparse(node)} must be a literal") from None
