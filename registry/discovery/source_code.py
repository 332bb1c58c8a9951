"""Finds and parses the source of modules without importing them or the packages they are in."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from genzoo.core.errors import GenzooError


@dataclass(frozen=True)
class Located:
    """Where a module is: its source file (empty for a namespace package) and, for packages, its folders."""

    file: str
    folders: tuple[str, ...]


read: list[dict[str, str]] = []  # whoever wants to know which modules are read, and their files, puts a dict here


class Statement(NamedTuple):
    """A statement at a module's top level: whether in a branch, whether its failure is caught, whether it is imported.

    Not imported is what is for type checkers only, or for the module as a program.
    """

    node: ast.stmt
    branch: bool = False
    guarded: bool = False
    runs: bool = True


@dataclass(frozen=True)
class Module:
    """A parsed module: what its top level binds, and does.

    A name is bound to a class, a function, an assigned value, or an import as ``(module, attribute or None)``;
    ``stars`` are the modules of ``from m import *``.
    """

    name: str
    file: str
    names: dict[str, ast.AST | tuple[str, str | None]] = field(default_factory=dict, hash=False)
    stars: tuple[str, ...] = ()
    statements: tuple[Statement, ...] = ()


def locate(name: str) -> Located | None:
    """Find a module by asking the import system's finders, from the top-level package down, and import nothing.

    Packages that are imported already are asked for their own ``__path__``, which they may have changed.
    """
    path: Sequence[str] | None = None
    found = None
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        found = _locate_one(".".join(parts[:i]), path)
        if found is None or (i < len(parts) and not found.folders):
            return None
        path = found.folders
    return found


def _locate_one(name: str, path: Sequence[str] | None) -> Located | None:
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__spec__", None) is not None:
        return Located(getattr(loaded, "__file__", None) or "", tuple(getattr(loaded, "__path__", ())))
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except KeyError:  # a namespace package inside one that is not imported: importlib wants the parent
            folders = [os.path.join(p, name.rpartition(".")[2]) for p in path or ()]
            return Located("", tuple(f for f in folders if os.path.isdir(f)))
        except Exception:  # a finder that is not ours to mend: the next one may know
            continue
        if spec is not None:
            file = spec.origin if spec.origin and spec.has_location else ""
            return Located(file, tuple(spec.submodule_search_locations or ()))
    return None


def tree_of(file: str) -> ast.Module:
    """Parse a file; raises GenzooError that names the place."""
    try:
        with open(file, "rb") as f:
            return ast.parse(f.read())
    except (SyntaxError, ValueError, OSError, RecursionError) as e:
        place = f"{file}:{e.lineno}" if isinstance(e, SyntaxError) else file
        raise GenzooError(f"{place} cannot be read: {getattr(e, 'msg', None) or e}") from None


def parse(name: str) -> Module:
    """Return a module's top level, parsed and kept until its file changes; raises GenzooError if there is no source."""
    found = locate(name)
    for modules in read:
        modules[name] = found.file if found else ""
    if found is None:
        raise GenzooError(f"there is no module {name!r}")
    if not found.file:
        return Module(name, "")
    if not found.file.endswith(".py"):
        raise GenzooError(f"module {name!r} has no source to read ({found.file})")
    try:
        status = os.stat(found.file)
    except OSError as e:
        raise GenzooError(f"module {name!r} cannot be read: {e}") from None
    return _parse(name, found.file, bool(found.folders), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1024)
def _parse(name: str, file: str, is_package: bool, _mtime: int, _size: int) -> Module:
    """Note what statements bind: the last at the top level, or else the first in a branch."""
    names: dict[str, ast.AST | tuple[str, str | None]] = {}
    stars: list[str] = []
    statements = tuple(_flat(tree_of(file).body))
    for statement in statements:
        bind = names.setdefault if statement.branch else names.__setitem__
        node = statement.node
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            bind(node.name, node)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                bind(alias.asname or top, (alias.name if alias.asname else top, None))
        elif isinstance(node, ast.ImportFrom):
            module = imported_from(node, name if is_package else name.rpartition(".")[0])
            stars += [module for alias in node.names if alias.name == "*"]
            for alias in node.names:
                bind(alias.asname or alias.name, (module, alias.name))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    bind(target.id, node.value)
    return Module(name, file, names, tuple(stars), statements)


def imported_from(node: ast.ImportFrom, package: str) -> str:
    """The module that ``from … import`` means in a package."""
    base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    return ".".join([*base, *([node.module] if node.module else [])])


def _flat(body: Iterable[ast.stmt], of: Statement | None = None) -> Iterator[Statement]:
    """Statements with those of their branches; ``of`` is what these stand in."""
    for node in body:
        yield (here := of._replace(node=node) if of else Statement(node))
        inner = here._replace(branch=True)
        if isinstance(node, ast.If):
            test = ast.unparse(node.test)
            runs = here.runs and "__name__" not in test and "TYPE_CHECKING" not in test
            yield from _flat(node.body, inner._replace(runs=runs))
            yield from _flat(node.orelse, inner)
        elif isinstance(node, ast.Try):
            yield from _flat(node.body, inner._replace(guarded=here.guarded or bool(node.handlers)))
            for handler in node.handlers:
                yield from _flat(handler.body, inner._replace(guarded=True))
            yield from _flat([*node.orelse, *node.finalbody], inner)
        elif isinstance(node, (ast.With, ast.For, ast.While)):
            yield from _flat(node.body, inner)
