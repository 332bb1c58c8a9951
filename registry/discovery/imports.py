"""What importing a module would import and run, read from the sources: nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from genzoo.core.errors import GenzooError
from genzoo.registry.discovery.source_code import locate

HEAVY = frozenset((
    "torch", "torchvision", "torchaudio", "tensorflow", "jax", "flax", "keras", "numpy", "scipy", "pandas", "sklearn",
    "skimage", "matplotlib", "cv2", "numba", "transformers", "diffusers", "lightning", "pytorch_lightning",
    "accelerate", "timm", "onnxruntime", "wandb", "mlflow",
))  # fmt: skip
_EXITS = ("sys.exit", "os._exit", "os.abort", "exit", "quit")


@dataclass(frozen=True)
class Import:
    """One statement that runs when the module is imported: an import, or a call that ends the program."""

    module: str
    place: str
    guarded: bool = False
    exits: bool = False


def reached(module: str) -> Iterator[Import]:
    """Follow the imports of a module inside its own top-level package, and yield all that lead out of it, or nowhere.

    Raises:
        GenzooError: if one of the package's own files cannot be read as Python; says where.
    """
    root = module.partition(".")[0]
    waiting, seen = [module], set[str]()
    while waiting:
        name = waiting.pop()
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):  # importing a.b.c runs a and a.b before
            own = ".".join(parts[:depth])
            if own in seen:
                continue
            seen.add(own)
            for found in _statements(own):
                if found.exits or found.module.partition(".")[0] != root:
                    yield found
                elif locate(found.module) is not None:
                    waiting.append(found.module)
                elif locate(found.module.rpartition(".")[0]) is None and not found.guarded:
                    yield found


def _statements(module: str) -> Iterator[Import]:
    found = locate(module)
    if found is None or not found.file.endswith(".py"):
        return
    try:
        with open(found.file, "rb") as f:
            tree = ast.parse(f.read())
    except (SyntaxError, ValueError, OSError, RecursionError) as e:
        place = f"{found.file}:{e.lineno}" if isinstance(e, SyntaxError) else found.file
        raise GenzooError(f"{place} cannot be read: {getattr(e, 'msg', None) or e}") from None
    package = module if found.folders else module.rpartition(".")[0]
    for node, guarded in _running(tree.body, False):
        place = f"{found.file}:{getattr(node, 'lineno', 1)}"
        if isinstance(node, ast.Import):
            yield from (Import(a.name, place, guarded) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield Import(source, place, guarded)
            if source.partition(".")[0] == module.partition(".")[0]:  # its names may be modules
                yield from (Import(f"{source}.{a.name}", place, guarded) for a in node.names if a.name != "*")
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func)
            if called in _EXITS:
                yield Import(called, place, guarded, exits=True)


def _running(body: list[ast.stmt], guarded: bool) -> Iterator[tuple[ast.stmt, bool]]:
    """The statements that run at import, and whether a failure of theirs is caught."""
    for node in body:
        yield node, guarded
        if isinstance(node, ast.If):
            test = ast.unparse(node.test)
            if "__name__" not in test and "TYPE_CHECKING" not in test:
                yield from _running(node.body, guarded)
            yield from _running(node.orelse, guarded)
        elif isinstance(node, ast.Try):
            yield from _running(node.body, guarded or bool(node.handlers))
            for handler in node.handlers:
                yield from _running(handler.body, True)
            yield from _running([*node.orelse, *node.finalbody], guarded)
        elif isinstance(node, (ast.With, ast.For, ast.While, ast.ClassDef)):
            yield from _running(node.body, guarded)
