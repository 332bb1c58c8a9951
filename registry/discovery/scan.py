"""Reads ``@declare.…`` decorators from source files, importing none of them.

Listing the zoo reads a hundred files, every time. What was found is kept in one small file in the user's cache, and
used as long as the system says that they are the same files: by device, inode, size, modification and change time
(which nobody can set back). It goes through the same checks as what is read. A cache that is damaged, somebody
else's, of another genzoo, or cannot be written costs time and nothing else. ``GENZOO_ALWAYS_READ=1`` does without it.
"""

from __future__ import annotations

import ast
import atexit
import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.core.storage import user_cache
from genzoo.registry.discovery import source_code
from genzoo.registry.discovery.source_code import locate
from genzoo.registry.kinds import DECLARED

_MOST = 20_000  # files

_known: dict[str, Any] | None = None  # what was looked for and the state of the file, to what was found
_new: dict[str, Any] = {}


@dataclass
class Declared:
    """One declaration: the keywords for the `Registrar` method of its kind, or the fault in it."""

    place: str
    kind: str = ""
    keywords: dict[str, Any] = field(default_factory=dict)
    fault: str = ""


def declarations(package: str) -> Iterator[Declared]:
    """Yield the declarations in a module, or in a package's own ``*.py`` files, by file name, then line.

    Raises GenzooError if it cannot be found.
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
    known = recall(what, status)
    if isinstance(known, list) and all(map(_makes_sense, known)):
        return [Declared(f"{path}:{line}", kind, _tuples(keywords)) for line, kind, keywords in known]
    found = list(_file(path, module))
    plain = [[int(d.place.rpartition(":")[2]), d.kind, d.keywords] for d in found]
    try:  # only what comes back as it was: JSON has no tuples, which stand for all that is in order, and no sets
        if not any(d.fault for d in found) and _tuples(json.loads(json.dumps(plain))) == _tuples(plain):
            remember(what, status, plain)
    except (TypeError, ValueError, RecursionError):
        pass
    return found


def _makes_sense(known: Any) -> bool:
    """Whether it is a line, a kind and keywords."""
    shape = isinstance(known, list) and [type(v) for v in known] == [int, str, dict]
    return shape and known[1] in DECLARED


def _tuples(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(map(_tuples, value))
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value


def _file(path: str, module: str) -> Iterator[Declared]:
    try:
        with open(path, "rb") as file:
            source = file.read()
        tree = ast.parse(source if b"declare" in source else b"")
    except OSError as e:
        yield Declared(f"{path}:1", fault=f"it cannot be read: {(e.strerror or str(e)).lower()}")
        return
    except (SyntaxError, ValueError) as e:
        line = getattr(e, "lineno", None) or 1
        yield Declared(f"{path}:{line}", fault=f"{type(e).__name__}: {getattr(e, 'msg', e)}")
        return
    read = set[ast.AST]()
    for node in tree.body:
        calls = [node.value] if isinstance(node, ast.Expr) else getattr(node, "decorator_list", [])
        for call in filter(_declares, calls):
            read.add(call)
            yield _declaration(call, node, f"{path}:{call.lineno}", module)
    for inner in ast.walk(tree):  # what would be missed in silence
        fault = ""
        if isinstance(inner, (ast.ImportFrom, ast.Import)) and _hidden(inner):
            fault = "write 'from genzoo.registry import declare': it is read by that name"
        elif isinstance(inner, ast.Call) and _declares(inner) and inner not in read:
            fault = "a declaration must stand at the top level of its module"
        if fault:
            yield Declared(f"{path}:{getattr(inner, 'lineno', 1)}", fault=fault)


def _declares(node: ast.expr) -> bool:
    function = node.func if isinstance(node, ast.Call) else node
    if not isinstance(function, ast.Attribute):
        return False
    return isinstance(function.value, ast.Name) and function.value.id == "declare"


def _hidden(node: ast.ImportFrom | ast.Import) -> bool:
    """Whether ``declare`` is imported so that its decorators go by another name."""
    module = node.module if isinstance(node, ast.ImportFrom) else ""
    return module == "genzoo.registry.declare" or any(
        a.name == "genzoo.registry.declare" or (module == "genzoo.registry" and a.name == "declare" and a.asname)
        for a in node.names
    )


def _declaration(call: ast.expr, node: ast.stmt, place: str, module: str) -> Declared:
    function = call.func if isinstance(call, ast.Call) else call
    kind = function.attr if isinstance(function, ast.Attribute) else ""
    declared, cls = Declared(place, kind), node if isinstance(node, ast.ClassDef) else None
    try:
        if kind not in DECLARED:
            raise GenzooError(f"there is no declare.{kind}{did_you_mean(kind, DECLARED)}")
        if not isinstance(call, ast.Call):
            raise GenzooError(f"declare.{kind} needs a name: declare.{kind}('…')")
        if kind == "recipe" and not isinstance(node, ast.Expr):
            raise GenzooError("declare.recipe is a statement of its own, not a decorator")
        if kind != "recipe" and cls is None:
            name = getattr(node, "name", "this")
            raise GenzooError(f"declare.{kind} decorates a class, and {name!r} is none")
        pairs = [("name", a) for a in call.args] + [(k.arg or "", k.value) for k in call.keywords]
        for name, value in pairs:
            if name == "target":
                raise GenzooError(f"declare.{kind} takes no target: it is the class below")
            if name in declared.keywords:
                raise GenzooError(f"declare.{kind} takes one argument without a keyword, the name")
            try:
                if not name:
                    raise ValueError
                declared.keywords[name] = ast.literal_eval(value)
            except (ValueError, TypeError):
                said = f"{name}={ast.unparse(value)}" if name else f"**{ast.unparse(value)}"
                raise GenzooError(f"declare.{kind} is read without being run, so {said} must be a literal") from None
    except GenzooError as e:
        declared.fault = str(e)
    if cls:
        declared.keywords["target"] = f"{module}:{cls.name}"
        lines = (ast.get_docstring(cls) or "").splitlines()
        declared.keywords.setdefault("summary", lines[0].strip() if lines else "")
    return declared


def kept(what: str, read: Callable[[], Any]) -> Any:
    """What reading sources gives, in JSON's terms: read again where one of the modules that it was read in is another.

    What ``read`` raises is raised, and not kept.
    """
    known = _all().get(what)
    known = known if isinstance(known, dict) else {}
    places = known.get("in")
    if isinstance(places, dict) and places == {name: _state(name) for name in places}:
        return known.get("found")
    modules: dict[str, str] = {}
    source_code.read.append(modules)
    try:
        found = read()
    finally:
        source_code.read.remove(modules)
    if all(file and user_cache.is_settled(os.stat(file)) for file in modules.values()):
        if not _new:
            atexit.register(save)
        _new[what] = {"in": {name: _state(name) for name in modules}, "found": found}
    return found


def _state(module: str) -> str:
    """A module's file, and what changes with its content; "" if there is none."""
    found = locate(module)
    try:
        return f"{found.file} {user_cache.identity(os.stat(found.file))}" if found else ""
    except OSError:
        return ""


def recall(what: str, status: os.stat_result) -> Any:
    """What was found in a file whose status is this, as JSON has it; None if nothing is known."""
    return _all().get(f"{what} {user_cache.identity(status)}")


def _all() -> dict[str, Any]:
    global _known
    if _known is None:
        _known = _read()
    return _known


def remember(what: str, status: os.stat_result, found: Any) -> None:
    """Note for `save` what was found in a file, in JSON's terms; its status was taken before it was read."""
    if user_cache.is_settled(status):
        _new[f"{what} {user_cache.identity(status)}"] = found


def save() -> None:
    """Add to the cache what is new, all at once; where it cannot be written, nothing is kept."""
    if _new and (path := _place()):
        files = list((_read() | _new).items())  # another process may have written meanwhile
        _new.clear()
        user_cache.write(path, {"by": _by(), "files": dict(files[-_MOST:])})


def _read() -> dict[str, Any]:
    content = user_cache.read(_place())
    files = content.get("files") if isinstance(content, dict) and content.get("by") == _by() else None
    return files if isinstance(files, dict) else {}


def _place() -> str:
    """The file; empty if there is no place for it, or it shall not be used."""
    which = zlib.crc32(__file__.encode(errors="surrogateescape"))  # a cache for each installed genzoo
    return "" if user_cache.asked_for("GENZOO_ALWAYS_READ") else user_cache.place(f"declared-{which:08x}.json")


def _by() -> list[str]:
    """Which code found it: that of another genzoo, or one that is being edited, may find something else."""
    here = os.path.dirname(__file__)
    beside = (os.path.join(here, path) for path in ("static.py", "../kinds.py", "../../core/options.py"))
    return [user_cache.identity(os.stat(path)) for path in (__file__, *beside)]
