"""Reads ``@declare.…`` decorators from source files, importing none of them."""

from __future__ import annotations

import ast
import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.registry.discovery import scan_cache
from genzoo.registry.discovery.source_code import locate
from genzoo.registry.kinds import TABLE

DECLARED = tuple(k for k in TABLE if TABLE[k].declared)


@dataclass
class Declared:
    """One declaration: the keywords for the `Registrar` method of its kind, or the fault in it."""

    place: str
    kind: str = ""
    keywords: dict[str, Any] = field(default_factory=dict)
    fault: str = ""


def declarations(package: str) -> Iterator[Declared]:
    """Yield the declarations in a package's own ``*.py`` files, by file name, then line.

    Args:
        package: dotted name of a package or of one module.

    Raises:
        GenzooError: if it cannot be found.
    """
    found = locate(package)
    if found is None or not (found.file or found.folders):
        raise GenzooError(f"scan found no package {package!r}")
    if not found.folders:
        yield from of_file(found.file, package)
    for folder in found.folders:
        for name in sorted(n for n in os.listdir(folder) if n.endswith(".py") and not n.startswith(".")):
            stem = name.removesuffix(".py")
            yield from of_file(os.path.join(folder, name), package if stem == "__init__" else f"{package}.{stem}")


def of_file(path: str, module: str) -> list[Declared]:
    """The declarations of a file: what was kept of it, if it has not changed since."""
    what = f"declared:{module}"
    try:
        status = os.stat(path)
    except OSError:  # a link to nowhere
        return list(_file(path, module))
    known = scan_cache.recall(path, what, status)
    if isinstance(known, list) and all(map(_makes_sense, known)):
        return [Declared(f"{path}:{line}", kind, _tuples(keywords)) for line, kind, keywords in known]
    found = list(_file(path, module))
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        # Only what comes back as it was: JSON has no tuples, which stand for all that is in order, and no sets.
        same = [d.keywords for d in found] == [
            _tuples(json.loads(json.dumps(d.keywords, allow_nan=False))) for d in found
        ]
        if same and not any(d.fault for d in found):
            plain = [[int(d.place.rpartition(":")[2]), d.kind, d.keywords] for d in found]
            scan_cache.remember(path, what, status, plain)
    return found


def _makes_sense(known: Any) -> bool:
    """Whether it is a line, a kind and keywords."""
    shape = isinstance(known, list) and [type(v) for v in known] == [int, str, dict]
    return shape and known[1] in DECLARED


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value


def _file(path: str, module: str) -> Iterator[Declared]:
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as e:
        yield Declared(f"{path}:1", fault=f"it cannot be read: {(e.strerror or str(e)).lower()}")
        return
    if b"declare" not in source:
        return
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as e:
        line = getattr(e, "lineno", None) or 1
        yield Declared(f"{path}:{line}", fault=f"{type(e).__name__}: {getattr(e, 'msg', e)}")
        return
    for node in tree.body:
        for call in _calls(node):
            yield _declaration(call, node, f"{path}:{call.lineno}", module)
    yield from _overlooked(tree, path)


def _calls(node: ast.stmt) -> list[ast.expr]:
    """The declarations that a top-level statement is, or is decorated with."""
    calls: list[ast.expr] = [node.value] if isinstance(node, ast.Expr) else getattr(node, "decorator_list", [])
    return [c for c in calls if _declares(c)]


def _declares(node: ast.expr) -> bool:
    function = node.func if isinstance(node, ast.Call) else node
    if not isinstance(function, ast.Attribute):
        return False
    return isinstance(function.value, ast.Name) and function.value.id == "declare"


def _declaration(call: ast.expr, node: ast.stmt, place: str, module: str) -> Declared:
    function = call.func if isinstance(call, ast.Call) else call
    kind = function.attr if isinstance(function, ast.Attribute) else ""
    declared = Declared(place, kind)
    if kind not in DECLARED:
        declared.fault = f"there is no declare.{kind}{did_you_mean(kind, DECLARED)}"
    elif not isinstance(call, ast.Call):
        declared.fault = f"declare.{kind} needs a name: declare.{kind}('…')"
    elif (kind == "recipe") != isinstance(node, ast.Expr):
        one = "is a statement of its own, not a decorator" if kind == "recipe" else "decorates a class"
        declared.fault = f"declare.{kind} {one}"
    elif kind != "recipe" and not isinstance(node, ast.ClassDef):
        declared.fault = f"declare.{kind} decorates a class, and {getattr(node, 'name', 'this')!r} is a function"
    else:
        _read_arguments(call, declared)
        if isinstance(node, ast.ClassDef):
            declared.keywords["target"] = f"{module}:{node.name}"
            lines = (ast.get_docstring(node) or "").splitlines()
            declared.keywords.setdefault("summary", lines[0].strip() if lines else "")
    return declared


def _read_arguments(call: ast.Call, declared: Declared) -> None:
    pairs: list[tuple[str | None, ast.expr]] = [("name", a) for a in call.args]
    pairs += [(k.arg, k.value) for k in call.keywords]
    for name, value in pairs:
        try:
            if name is None:
                raise ValueError
            if name == "target":
                declared.fault = f"declare.{declared.kind} takes no target: it is the class below"
                return
            if name in declared.keywords:
                declared.fault = f"declare.{declared.kind} takes one argument without a keyword, the name"
                return
            declared.keywords[name] = ast.literal_eval(value)
        except (ValueError, TypeError):
            text = ast.unparse(value)
            what = f"{name}={text}" if name else f"**{text}"
            declared.fault = f"declare.{declared.kind} is read without being run, so {what} must be a literal"
            return


def _overlooked(tree: ast.Module, path: str) -> Iterator[Declared]:
    """Name the declarations that would be missed in silence."""
    read = {id(call) for node in tree.body for call in _calls(node)}
    for node in ast.walk(tree):
        fault = ""
        if isinstance(node, (ast.ImportFrom, ast.Import)):
            names = {(a.name, a.asname) for a in node.names}
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            renamed = module == "genzoo.registry" and any(n == "declare" and other for n, other in names)
            whole = any(n == "genzoo.registry.declare" for n, _ in names)
            if renamed or whole or module == "genzoo.registry.declare":
                fault = "write 'from genzoo.registry import declare': it is read by that name"
        elif isinstance(node, ast.Call) and _declares(node) and id(node) not in read:
            fault = "a declaration must stand at the top level of its module"
        if fault:
            yield Declared(f"{path}:{getattr(node, 'lineno', 1)}", fault=fault)
