"""Checks that import nothing: what an entry says of itself, its options, what its source does."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import options_of
from genzoo.plugins.apps.kit.cases import Case
from genzoo.plugins.apps.kit.findings import Fault, Imported, Skip
from genzoo.registry import PluginRecord
from genzoo.registry.discovery.source_code import locate

HEAVY = ("torch", "numpy", "scipy", "pandas", "PIL", "matplotlib", "sklearn", "tensorflow", "jax", "transformers")
SLOW = 0.5  # seconds of processor time that a plugin's module may take to import


def described(case: Case) -> None:
    """Its summary is one line of words, and its parts and targets exist."""
    entry = case.entry
    if not entry.summary.strip():
        raise Fault("a summary", "none", "say in one line what it is: summary='…', or a docstring's first line")
    if len(entry.summary) > 120:
        raise Fault("a summary of at most 120 characters", f"{len(entry.summary)}", "shorten it: lists show it")
    if entry.paper and not any(c.isalnum() for c in entry.paper):
        raise Fault("a paper such as 'arXiv:1406.2661'", repr(entry.paper), "give a reference, or leave it out")
    for _, why in case.registry.check_targets([entry]):
        raise Fault("a target and parts that are there", why, "correct the name in the registration")


def options(case: Case) -> None:
    """Its options are a frozen dataclass of typed defaults within their ranges, each with its meaning."""
    cls: Any = getattr(case.cls, "Options", None)
    if cls is None:
        raise Skip("it has none")
    name = case.cls.__name__
    if not getattr(getattr(cls, "__dataclass_params__", None), "frozen", False):
        raise Fault(
            "Options that are a frozen dataclass", "another class", f"put @dataclass(frozen=True) over {name}.Options"
        )
    if "Options" in vars(case.cls) and "__dataclass_fields__" not in vars(cls):
        raise Fault("Options that are a frozen dataclass", "a class that only inherits from one",
                    f"put @dataclass(frozen=True) over {name}.Options")  # fmt: skip
    try:
        read, there = case.registry.options(case.entry), options_of(cls)
    except GenzooError as e:
        raise Fault("options that can be read without importing", str(e), "use literals in option(…)") from e
    if [(i.name, i.default) for i in read] != [(i.name, i.default) for i in there]:
        raise Fault("the same options in the source and when imported",
                    f"{[i.name for i in read]} against {[i.name for i in there]}",
                    "write them down as fields of the nested class")  # fmt: skip
    for info in read:
        try:
            value = info.coerce(info.default, info.name)
        except UsageError as e:
            raise Fault(
                f"a default of {info.name} that fits its own type and range", str(e), "change one of the two"
            ) from e
        if value != info.default:
            raise Fault(f"a default of {info.name} of type {info.type}", repr(info.default), f"write {value!r}")
        if not info.doc:
            raise Fault(
                f"the meaning of {info.name}", "nothing", "write option(default, 'what it means, in which unit')"
            )


UNSAFE = {
    ("pickle", "load"), ("pickle", "loads"), ("pickle", "Unpickler"), ("dill", "load"), ("dill", "loads"),
    ("cloudpickle", "load"), ("cloudpickle", "loads"), ("joblib", "load"), ("marshal", "loads"),
    ("marshal", "load"), ("shelve", "open"),
}  # fmt: skip


def safe(case: Case) -> None:
    """Neither its module nor its package reads pickles or runs text as code."""
    target = case.entry.target
    if not target:
        raise Skip("it has no code of its own")
    for path in _files(target.partition(":")[0]):
        for line, what, instead in unsafe(path):
            raise Fault("no pickle and no text run as code", f"{what} at {path}:{line}", instead)


def _files(module: str) -> Iterator[Path]:
    """The source files of a module's package (of the zoo's own modules, only the one)."""
    found = locate(module)
    if found is None:
        return
    top = module.partition(".")[0]
    package = locate(top) if top != "genzoo" else None
    if package is not None and package.folders:
        for folder in package.folders:
            yield from sorted(Path(folder).rglob("*.py"))
    elif found.file:
        yield Path(found.file)


def unsafe(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, call and remedy of everything in a file that would run what it reads."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        module, _, function = name.rpartition(".")
        keywords = {k.arg: k.value for k in node.keywords}

        def is_(key: str, value: bool, keywords: dict[str | None, ast.expr] = keywords) -> bool:
            given = keywords.get(key)
            return isinstance(given, ast.Constant) and given.value is value

        if (module.rpartition(".")[2], function) in UNSAFE:
            yield node.lineno, name, "keep tensors in safetensors and the rest in JSON"
        elif name == "torch.load" and not is_("weights_only", True):
            yield node.lineno, "torch.load", "use safetensors, or pass weights_only=True"
        elif name in ("np.load", "numpy.load") and is_("allow_pickle", True):
            yield node.lineno, "np.load(allow_pickle=True)", "keep plain arrays, and leave allow_pickle out"
        elif name in ("eval", "exec"):
            yield node.lineno, name, "parse it: ast.literal_eval for literals, json.loads for JSON"
        elif is_("trust_remote_code", True):
            yield node.lineno, "trust_remote_code=True", "leave it out: no code comes from a repository"


_IMPORT = """
import contextlib, io, json, sys, time
import genzoo.registry, genzoo.core.options, dataclasses, typing
before, out = set(sys.modules), io.StringIO()
start, fault = time.process_time(), ""
with contextlib.redirect_stdout(out):
    try:
        __import__(sys.argv[1])
    except BaseException as e:
        fault = f"{type(e).__name__}: {e}"
seconds = time.process_time() - start
new = sorted({m.partition(".")[0] for m in set(sys.modules) - before})
print(json.dumps([seconds, new, fault, out.getvalue()[:200]]))
"""


def imports(record: PluginRecord) -> Imported:
    """Import a plugin's module in a process of its own: how long it takes, and what it drags in."""
    import json

    about = (record.name, record.distribution, record.version, record.module)
    module = record.module.partition(":")[0].strip()
    code = "import sys; sys.path[:0] = " + repr([p for p in sys.path if p]) + "\n" + _IMPORT
    done = subprocess.run(
        [sys.executable, "-c", code, module], capture_output=True, text=True, timeout=300, check=False
    )
    try:
        seconds, new, fault, printed = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Imported(*about, 0.0, (), f"its module ended the interpreter (exit code {done.returncode})")
    heavy = tuple(m for m in HEAVY if m in new)
    if fault:
        said = f"{module} cannot be imported: {fault}"
    elif record.error:
        said = record.error
    elif heavy:
        said = (f"{module} imports {', '.join(heavy)}, which every 'genzoo list' would pay for: name classes as "
                "'package.module:Class', and import nothing else there")  # fmt: skip
    elif printed:
        said = f"{module} prints {printed.strip()!r} when it is imported: take that out"
    elif seconds > SLOW:
        said = f"{module} takes {seconds:.1f} s to import: do the work where it is used"
    else:
        said = ""
    return Imported(*about, round(seconds, 4), heavy, said)
