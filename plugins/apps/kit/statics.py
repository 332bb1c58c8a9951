"""Checks that compute nothing: what an entry says of itself, its options, what its source does, how it imports."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genzoo.core.options import options_of
from genzoo.plugins.apps.kit.cases import Case, expect
from genzoo.plugins.apps.kit.findings import Fault, Imported, Skip
from genzoo.registry import PluginRecord
from genzoo.registry.discovery.source_code import locate

HEAVY = ("torch", "numpy", "scipy", "pandas", "PIL", "matplotlib", "sklearn", "tensorflow", "jax", "transformers")
SLOW = 0.5  # seconds of processor time that a plugin's module may take to import


def described(case: Case) -> None:
    """Its summary is one line of words, and its parts and targets exist."""
    entry, mend = case.entry, "say in one line what it is: summary='…', or a docstring's first line"
    expect(0 < len(entry.summary.strip()) <= 120, "a summary of 1 to 120 characters", repr(entry.summary), mend)
    paper = not entry.paper or any(c.isalnum() for c in entry.paper)
    expect(paper, "a paper such as 'arXiv:1406.2661'", repr(entry.paper), "give a reference, or leave it out")
    wrong = [why for _, why in case.registry.check_targets([entry])]
    expect(not wrong, "a target and parts that are there", " ".join(wrong), "correct the name in the registration")


def options(case: Case) -> None:
    """Its options are a frozen dataclass of typed defaults within their ranges, each with its meaning."""
    part = case.registry.load(case.entry)
    cls: Any = getattr(part, "Options", None)
    if cls is None:
        raise Skip("it has none")
    frozen = "__dataclass_params__" in vars(cls) and cls.__dataclass_params__.frozen
    mend = f"put @dataclass(frozen=True) over {part.__name__}.Options"
    expect(frozen, "Options that are a frozen dataclass", "another class", mend)
    read, there = case.registry.options(case.entry), options_of(cls)
    same = [(i.name, i.default) for i in read] == [(i.name, i.default) for i in there]
    found = f"{[i.name for i in read]} against {[i.name for i in there]}"
    mend = "write them down as fields of the nested class, with literals in option(…)"
    expect(same, "the same options in the source and when imported", found, mend)
    for info in read:
        fits = info.coerce(info.default, info.name) == info.default
        expect(fits, f"a default of {info.name} of type {info.type}", repr(info.default), "change one of the two")
        expect(info.doc, f"the meaning of {info.name}", "nothing", "write option(default, 'what it means, its unit')")


READERS = ("pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")
READ = ("load", "loads", "Unpickler", "open")  # of those, what runs what it reads
# Call to the keyword that decides, whether its value makes the call safe or unsafe, and what to do instead.
KEYWORDS = {
    "torch.load": ("weights_only", True, "use safetensors, or pass weights_only=True"),
    "np.load": ("allow_pickle", False, "keep plain arrays, and leave allow_pickle out"),
    "numpy.load": ("allow_pickle", False, "keep plain arrays, and leave allow_pickle out"),
}


def safe(case: Case) -> None:
    """Neither its module nor its package reads pickles or runs text as code."""
    module = case.entry.target.partition(":")[0]
    for path in _files(module):
        for line, what, instead in unsafe(path):
            raise Fault("no pickle and no text run as code", f"{what} at {path}:{line}", instead)


def _files(module: str) -> Iterator[Path]:
    """The source files of a module's package (of the zoo's own modules, only the one)."""
    found, top = locate(module), module.partition(".")[0]
    package = locate(top) if top != "genzoo" else None
    if package is not None and package.folders:
        for folder in package.folders:
            yield from sorted(Path(folder).rglob("*.py"))
    elif found is not None and found.file:
        yield Path(found.file)


def unsafe(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, call and remedy of everything in a file that would run what it reads."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            module, _, function = name.rpartition(".")
            true = {k.arg for k in node.keywords if isinstance(k.value, ast.Constant) and k.value.value is True}
            keyword, wanted, instead = KEYWORDS.get(name, ("", False, ""))
            if keyword and (keyword in true) is not wanted:
                yield node.lineno, f"{name} with {keyword}={not wanted}", instead
            elif module.rpartition(".")[2] in READERS and function in READ:
                yield node.lineno, name, "keep tensors in safetensors and the rest in JSON"
            elif name in ("eval", "exec"):
                yield node.lineno, name, "parse it: ast.literal_eval for literals, json.loads for JSON"
            elif "trust_remote_code" in true:
                yield node.lineno, "trust_remote_code=True", "leave it out: no code comes from a repository"


_IMPORT = """
import contextlib, io, json, sys, time
sys.path[:0] = json.loads(sys.argv[2])
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
    about = (record.name, record.distribution, record.version, record.module)
    module = record.module.partition(":")[0].strip()
    command = [sys.executable, "-c", _IMPORT, module, json.dumps([p for p in sys.path if p])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    try:
        seconds, new, fault, printed = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Imported(*about, 0.0, (), f"its module ended the interpreter (exit code {done.returncode})")
    heavy = tuple(m for m in HEAVY if m in new)
    said = record.error or ""
    if fault:
        said = f"{module} cannot be imported: {fault}"
    elif heavy:
        said = (f"{module} imports {', '.join(heavy)}, which every 'genzoo list' would pay for: name classes as "
                "'package.module:Class', and import nothing else there")  # fmt: skip
    elif printed:
        said = f"{module} prints {printed.strip()!r} when it is imported: take that out"
    elif seconds > SLOW:
        said = f"{module} takes {seconds:.1f} s to import: do the work where it is used"
    return Imported(*about, round(seconds, 4), heavy, said)
