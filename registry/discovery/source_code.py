"""Finds and parses the source of modules without importing them or the packages they are in."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import ModuleSpec

from genzoo.core.errors import GenzooError


@dataclass(frozen=True)
class Located:
    """Where a module is: its source file (empty for a namespace package) and, for packages, its folders."""

    file: str
    folders: tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """A parsed module: what its top level binds.

    Attributes:
        name: dotted name.
        file: path of the source.
        names: each name's class, function, assigned value, or import as ``(module, attribute or None)``.
        stars: modules of ``from m import *``.
    """

    name: str
    file: str
    names: dict[str, ast.AST | tuple[str, str | None]] = field(default_factory=dict, hash=False)
    stars: tuple[str, ...] = ()


def locate(name: str) -> Located | None:
    """Find a module by asking the import system's finders, from the top-level package down.

    Nothing is imported. Packages that are imported already are asked for their own ``__path__``, which
    they may have changed. Returns None if there is no such module.
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
            return Located(_file(spec), tuple(spec.submodule_search_locations or ()))
    return None


def _file(spec: ModuleSpec) -> str:
    return spec.origin if spec.origin and spec.has_location else ""


def parse(name: str) -> Module:
    """Return a module's top level, parsed (and kept until its file changes).

    Raises:
        GenzooError: if there is no such module, or no readable source of it.
    """
    found = locate(name)
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
    try:
        with open(file, "rb") as f:
            tree = ast.parse(f.read())
    except (SyntaxError, ValueError, OSError) as e:
        place = f"{file}:{e.lineno}" if isinstance(e, SyntaxError) else file
        raise GenzooError(f"{place} cannot be read: {getattr(e, 'msg', None) or e}") from None
    names: dict[str, ast.AST | tuple[str, str | None]] = {}
    stars: list[str] = []
    _bind(tree.body, name if is_package else name.rpartition(".")[0], names, stars)
    return Module(name, file, names, tuple(stars))


def _bind(
    body: Iterable[ast.stmt], package: str, names: dict[str, ast.AST | tuple[str, str | None]], stars: list[str]
) -> None:
    """Note what statements bind; of an ``if`` or ``try`` the first branch that binds a name counts."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names[node.name] = node
        elif isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0],
                    None,
                )
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                if alias.name == "*":
                    stars.append(module)
                else:
                    names[alias.asname or alias.name] = (module, alias.name)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    names[target.id] = node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            names[node.target.id] = node.value
        elif isinstance(node, (ast.If, ast.Try)):
            branches = [node.body, *(h.body for h in getattr(node, "handlers", [])), node.orelse]
            for branch in branches:
                inner: dict[str, ast.AST | tuple[str, str | None]] = {}
                _bind(branch, package, inner, stars)
                for key, value in inner.items():
                    names.setdefault(key, value)
