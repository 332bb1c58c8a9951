"""Reads docstrings and options of classes from their source, so that describing and checking never imports torch.

The reading is that of Python: nested ``Options`` found along the class's bases, fields merged over
inherited ones in dataclass order. What cannot be known without running (defaults that are computed,
classes made by functions, names that only a module's ``__getattr__`` provides) is an error that says so.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, is_dataclass, make_dataclass, replace
from typing import TYPE_CHECKING, Any

from genzoo.core.config import TrainOptions
from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.core.options import OptionInfo, convert, option, options_of
from genzoo.core.spec import Latent
from genzoo.registry.discovery.loader import strange_modality
from genzoo.registry.discovery.scan import kept
from genzoo.registry.discovery.source_code import Module, locate, parse
from genzoo.registry.entries import Entry, group_of, groups_of, reference_of
from genzoo.registry.recipes.inherit import flat, layered, numbered, parted
from genzoo.registry.weights.shelf import folder_of

if TYPE_CHECKING:
    from genzoo.registry.registry import Registry

# Bases from here are not followed: they have no options, and their sources are large.
_FOREIGN = frozenset(sys.stdlib_module_names) | {"torch", "numpy"}
_THEIRS = "part of a library whose source genzoo does not read"


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


def find(target: str) -> ClassSource | str:
    """Find what ``package.module:attribute`` names, through re-exports: a class, or else in a word what it is.

    Raises GenzooError if the module or the attribute does not exist.
    """
    module, _, attribute = target.partition(":")
    try:
        found = _lookup(parse(module), attribute.split("."), 0)
    except GenzooError as e:
        raise GenzooError(f"{target}: {e}") from None
    return "module" if isinstance(found, Module) else found


def find_class(target: str) -> ClassSource:
    """Find a class; raises GenzooError if it is not there, or is none."""
    found = find(target)
    if isinstance(found, str):
        raise GenzooError(f"{target} is a {found}, not a class")
    return found


def docstring(target: str) -> str:
    """Return the docstring of the class that a target names, cleaned of its indentation; "" if it has none."""
    return str(kept(f"docstring:{target}", lambda: ast.get_docstring(find_class(target).node) or ""))


def options(target: str) -> list[OptionInfo]:
    """Return the options of a component: the fields of its ``Options``, its own or inherited, if it has any.

    Raises GenzooError, with the place, if the target is not there or they cannot be read.
    """

    def read() -> list[dict[str, Any]]:
        found = _nested(find_class(target), "Options")
        return [] if found is None else [i.__dict__ for i in fields(found)]

    def made(plain: list[dict[str, Any]]) -> list[OptionInfo]:
        given: list[dict[str, Any]] = [{k: tuple(v) if isinstance(v, list) else v for k, v in o.items()} for o in plain]
        return [OptionInfo(**o) for o in given]

    try:
        return made(kept(f"options:{target}", read))
    except (AttributeError, TypeError):  # what was kept was damaged
        return made(read())


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
            with suppress(GenzooError):
                if (found := _follow(star, path, depth)) != _THEIRS:
                    return found
        if locate(f"{module.name}.{head}") is not None:
            return _lookup(parse(f"{module.name}.{head}"), rest, depth + 1)
        raise GenzooError(f"module {module.name!r} has no {head!r}")
    if isinstance(bound, tuple):
        source, attribute = bound
        return _follow(source, ([attribute] if attribute else []) + rest, depth)
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


def _follow(name: str, path: list[str], depth: int) -> ClassSource | Module | str:
    return _THEIRS if name.partition(".")[0] in _FOREIGN else _lookup(parse(name), path, depth + 1)


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
    """A class with the bases of one that is read, so that Python tells what it inherits.

    It has the same fields, or else the classes that the body binds, as syntax with the class that this stands in.
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
            elif found != _THEIRS:
                unread.append(f"its base {ast.unparse(node)} is not written as a class")
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
        kind = node.annotation
        quoted = isinstance(kind, ast.Constant) and isinstance(kind.value, str)
        text = (str(kind.value) if quoted else ast.unparse(kind)).replace("typing.", "")  # type: ignore[attr-defined]
        if text.startswith("ClassVar"):
            continue
        if not _is_dataclass(of.node):
            raise GenzooError(f"{of.place(node)}: {of.qualname} is not a dataclass")
        where, value = f"{of.place(node)}: option {node.target.id!r} of {of.qualname}", node.value
        names = (_dotted(value.func) if isinstance(value, ast.Call) else None) or [""]
        try:
            if isinstance(value, ast.Call) and names[-1] in ("option", "field"):
                given: dict[str, Any] = {str(k.arg): ast.literal_eval(k.value) for k in value.keywords}
                made = (option if names[-1] == "option" else field)(*map(ast.literal_eval, value.args), **given)
            else:
                made = option(None if value is None else ast.literal_eval(value))
        except (ValueError, TypeError):
            said = ast.unparse(value) if value else ""
            raise GenzooError(f"{where} is read without being run, so {said} must be a literal") from None
        with suppress(ValueError):  # a default that does not fit is told where it is used
            try:
                convert(ast.parse(text, mode="eval").body, made.default)
            except (TypeError, SyntaxError) as e:
                raise GenzooError(f"{where}: {e}") from None
        yield node.target.id, text, made


def fault(registry: Registry, entry: Entry) -> str:
    """Return one sentence on what is wrong with an entry, or an empty string."""
    try:
        if entry.kind == "recipe":
            _presets(registry, registry.whole(entry))
        elif entry.kind == "weights":
            for version in entry.data["versions"].values():
                if version["target"] and folder_of(version["target"]) is None:
                    module, _, folder = version["target"].partition(":")
                    raise GenzooError(f"there is no folder {folder!r} beside {module}")
        elif entry.kind == "command":
            find(entry.target)
        else:
            find_class(entry.target)
            registry.options(entry)
        return strange_modality(entry, [e.name for e in registry.entries("modality")])
    except GenzooError as e:
        return str(e)


def recipe_options(registry: Registry, entry: Entry) -> list[OptionInfo]:
    """The options of a whole recipe's parts, of its code space and of training, with the recipe's defaults.

    Raises:
        GenzooError: if they cannot be read, or the recipe sets one that a part has not, or out of its range.
    """
    layer = numbered(registry, flat(entry.data), entry.home)
    given, groups = parted(layer)["options"], groups_of(layer)
    known = {f"{g}.{info.name}": info for g in groups for info in infos_of(registry, g, layer, entry.home)}
    for dotted in given:
        if dotted not in known and group_of(dotted)[0] in groups:
            raise GenzooError(f"there is no option {dotted!r}{did_you_mean(dotted, known)}")
    return [
        replace(info, name=name, default=info.coerce(given[name], name) if name in given else info.default)
        for name, info in known.items()
    ]


def infos_of(registry: Registry, group: str, named: Mapping[str, Any], home: tuple[str, ...] = ()) -> list[OptionInfo]:
    """The options of a group, given the names of the parts."""
    if group in ("latent", "train"):
        return options_of(Latent if group == "latent" else TrainOptions)
    name = reference_of(named, group)
    return registry.options(registry.get(group.partition(".")[0], name, prefer=home)) if name else []


def _presets(registry: Registry, entry: Entry) -> None:
    """Every part is there, and every option that the recipe or a preset sets fits one of its part's."""
    recipe_options(registry, entry)
    for preset, layer in entry.data["presets"].items():
        try:
            recipe_options(registry, replace(entry, data=parted(layered(flat(entry.data), layer))))
        except GenzooError as e:
            raise GenzooError(f"preset {preset!r}: {e}") from None
