"""Finds what is wrong with the installed plugins: importing none of them, or each in a process of its own."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any, Literal

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.registry import hooks
from genzoo.registry.discovery import installed
from genzoo.registry.discovery.scan import declarations, of_file
from genzoo.registry.discovery.source_code import Module, imported_from, locate, parse, tree_of
from genzoo.registry.entries import POINT, Plugin

Level = Literal["error", "warning", "note"]  # does not load; costs something or surprises; what the user asked for
HOOKS = {"genzoo_register": {"registry"}, "genzoo_observers": {"run"}}  # each with its arguments
HEAVY = frozenset((
    "torch", "torchvision", "torchaudio", "tensorflow", "jax", "flax", "keras", "numpy", "scipy", "pandas", "sklearn",
    "skimage", "matplotlib", "cv2", "numba", "transformers", "diffusers", "lightning", "pytorch_lightning",
    "accelerate", "timm", "onnxruntime", "wandb", "mlflow",
))  # fmt: skip
_EXITS = ("sys.exit", "os._exit", "os.abort", "exit", "quit")


AUTHORS = "tell its authors"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or good to know: of what or whom, what, and what to do."""

    level: Level
    about: str
    what: str
    advice: str = AUTHORS

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def doctor(*, load: bool = False, seconds: float = 30.0) -> list[Finding]:
    """Say what is wrong with the plugins of other distributions, errors first, and what to do about each.

    None is imported, unless each shall be loaded too, in a process of its own that may take so many seconds.
    """
    unlisted: list[str] = []
    everything = installed.plugins(unlisted.append)
    found = [p for p in everything if not p.own]
    findings = [Finding("error", "metadata", line, "reinstall that distribution") for line in unlisted]
    findings += _switched_off(found)
    for name, of_version in dict.fromkeys((p.distribution, p.version) for p in found):
        findings += [Finding("error", f"{name} {of_version}", *fault) for fault in _unmet(name)]
    for plugin in found:
        findings += [Finding(level, plugin.origin, what, advice) for level, what, advice in _plugin(plugin)]
        same = [p for p in everything if p.name == plugin.name]
        if len(same) > 1:
            said = f"is the name of {len(same)} plugins: {', '.join(p.origin for p in same)}"
            ways = " and ".join(p.address for p in same)
            findings.append(Finding("warning", f"name {plugin.name!r}", said, f"say {ways} to tell them apart"))
        if load:
            findings += [Finding(level, plugin.origin, what, advice) for level, what, advice in _load(plugin, seconds)]
    order = ("error", "warning", "note")
    return sorted(dict.fromkeys(findings), key=lambda f: order.index(f.level))


def _switched_off(found: list[Plugin]) -> Iterator[Finding]:
    """What the user switched off."""
    faults: list[str] = []
    for name in sorted(installed.disabled(faults.append)):
        there = "" if name in {p.address for p in found} else ", and not installed"
        yield Finding("note", name, f"is disabled{there}", f"'genzoo plugins enable {name}' ends that")
    for fault in faults:
        yield Finding("error", "the list of disabled plugins", fault, "delete it, or disable what you want disabled")


def _unmet(name: str) -> Iterator[tuple[str, str]]:
    """What a distribution needs and has not, by version, and what to do."""
    from packaging.requirements import InvalidRequirement, Requirement

    with suppress(PackageNotFoundError):  # metadata under another name
        for text in distribution(name).requires or ():
            fault, needed = "", text.partition(";")[0].strip()
            try:
                wanted = Requirement(text)
                if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                    there = version(wanted.name)
                    right = wanted.specifier.contains(there, prereleases=True)
                    fault = "" if right else f"{wanted.name} {there} is installed"
            except InvalidRequirement:
                fault = "that is no requirement"
            except PackageNotFoundError:
                fault = f"{wanted.name} is not installed"
            if fault:
                yield f"needs {needed}, and {fault}", f"pip install '{needed}'"


def _plugin(plugin: Plugin) -> Iterator[tuple[Level, str, str]]:
    """What can be seen of one plugin without importing it: level, what is wrong, what to do."""
    name = plugin.module.partition(":")[0].strip()
    if not POINT.fullmatch(plugin.module):
        yield "error", f"has the entry point {plugin.module!r}, which is not of the form 'package.module'", AUTHORS
    elif (found := locate(name)) is None:
        yield "error", f"names the module {name!r}, which is not there", "reinstall it, or tell its authors"
    elif found.file.endswith(".py"):
        try:
            yield from _imports(name)
            if ":" not in plugin.module:
                yield from _answers(parse(name))
            for place, what in unscanned(name.partition(".")[0]):
                advice = "the hook should say registry.scan(PACKAGE), with the package that the file stands in"
                yield "error", f"{what} is declared, and no scan of its package registers it ({place})", advice
        except GenzooError as e:
            yield "error", str(e), "reinstall it, or tell its authors"


def unscanned(package: str) -> Iterator[tuple[str, str]]:
    """The declarations below a package that no call of ``registry.scan`` there reaches: place, and what it is.

    Nothing is imported. Where a call's argument is neither text nor ``__name__``, nothing can be told.
    """
    found = locate(package)
    if found is None:
        return
    modules = {package: found.file}
    for top in found.folders:
        for file in Path(top).rglob("*.py"):
            name = ".".join([package, *file.relative_to(top).with_suffix("").parts])
            modules[name.removesuffix(".__init__")] = str(file)
    points = {p.module for p in installed.plugins()} & modules.keys()
    scanned = {point for point in points if not parse(point).names.keys() & HOOKS}  # what has no hook only declares
    for module, path in modules.items():
        for call in _scans(path):
            match call.args:
                case [ast.Name("__name__")]:
                    scanned.add(module)
                case [ast.Constant(str(text))]:
                    scanned.add(text)
                case _:
                    return
    for module, path in sorted(modules.items()):
        inside = module if os.path.basename(path) == "__init__.py" else module.rpartition(".")[0]
        for declared in of_file(path, module) if not scanned & {module, inside} else ():
            what = f"{declared.kind} {declared.keywords.get('name', '?')!r}" if declared.kind else "something"
            yield declared.place, what


def _scans(path: str) -> Iterator[ast.Call]:
    """The calls of a method ``scan`` in a file; what cannot be read is told elsewhere."""
    with suppress(GenzooError):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "scan":
                yield node


def _imports(module: str) -> Iterator[tuple[Level, str, str]]:
    """Follow a module's imports inside its own package, and tell what they come to: level, what is wrong, advice."""
    root = module.partition(".")[0]
    waiting, seen, told = [module], set[str](), set[str]()
    while waiting:
        parts = waiting.pop().split(".")
        for own in (".".join(parts[:depth]) for depth in range(1, len(parts) + 1)):  # a.b.c runs a and a.b before
            found = locate(own)
            if own in seen or found is None or not found.file.endswith(".py"):
                continue
            seen.add(own)
            for name, guarded, place in _statements(parse(own), own if found.folders else own.rpartition(".")[0]):
                top = name.partition(".")[0]
                if name in _EXITS:
                    yield "error", f"calls {name} when it is imported ({place})", AUTHORS
                elif top == root and locate(name) is not None:
                    waiting.append(name)
                elif top == root:
                    if locate(name.rpartition(".")[0]) is None and not guarded:
                        yield "error", f"imports {name!r}, which is not there ({place})", "reinstall it"
                elif top not in told and locate(top) is None and not guarded:
                    told.add(top)
                    yield "error", f"imports {top!r}, which is not installed ({place})", f"install {top}"
                elif top not in told and top in HEAVY and locate(top) is not None:
                    told.add(top)
                    advice = "its module should name its classes as text, 'package.module:Class', and import nothing"
                    yield "warning", f"imports {top} when it is loaded, which slows every command ({place})", advice


def _statements(module: Module, package: str) -> Iterator[tuple[str, bool, str]]:
    """What a module imports, or calls to end the program, when it is imported; whether a failure is caught; where."""
    for statement in module.statements:
        node, place = statement.node, f"{module.file}:{statement.node.lineno}"
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = imported_from(node, package)
            own = source.partition(".")[0] == module.name.partition(".")[0]  # then its names may be modules
            names = [source, *(f"{source}.{a.name}" for a in node.names if own and a.name != "*")]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            names = [n for n in (ast.unparse(node.value.func),) if n in _EXITS]
        if statement.runs:
            yield from ((name, statement.guarded, place) for name in names)


def _answers(module: Module) -> Iterator[tuple[Level, str, str]]:
    """Whether it answers hooks that there are, with arguments that they have, and for which API."""
    functions = {name: node for name, node in module.names.items() if isinstance(node, ast.FunctionDef)}
    marked = [n for n, node in functions.items() if any("hookimpl" in ast.unparse(d) for d in node.decorator_list)]
    for name in marked:
        node = functions[name]
        place = f"{module.file}:{node.lineno}"
        arguments = {a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
        if name not in HOOKS:
            hint = did_you_mean(name, HOOKS)
            yield "error", f"answers the hook {name!r}, which there is not{hint} ({place})", AUTHORS
        elif odd := ", ".join(sorted(arguments - HOOKS[name])):
            right = f"def {name}({', '.join(HOOKS[name])})"
            yield "error", f"{name} takes {odd}, which it is not given ({place})", right
    unmarked = [n for n in HOOKS if n in functions and n not in marked]
    for name in unmarked:
        yield "error", f"{name} is not marked with @hookimpl ({module.file})", "from genzoo.registry import hookimpl"
    if not (marked or module.stars or module.names.keys() & HOOKS or any(declarations(module.name))):
        yield "error", f"answers no hook: there is no genzoo_register in {module.file}", AUTHORS
    said = module.names.get("genzoo_api")
    if odd := hooks.other_api(said.value if isinstance(said, ast.Constant) else hooks.API):
        yield "warning", odd, "upgrade it"


def _load(plugin: Plugin, seconds: float) -> Iterator[tuple[Level, str, str]]:
    """Load it in a process of its own: one that hangs, crashes or exits says so instead of doing it."""
    env = {k: v for k, v in os.environ.items() if k not in ("GENZOO_PLUGINS", "GENZOO_NO_PLUGINS")}
    command = [sys.executable, "-m", __name__, f"{plugin.distribution}/{plugin.name}"]
    fault = ""
    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
        for level, what in json.loads(done.stdout.splitlines()[-1]):
            yield level, what, AUTHORS
    except subprocess.TimeoutExpired:
        fault = f"was not loaded after {seconds:g} s"
    except (ValueError, IndexError):
        code = done.returncode
        fault = f"ends Python while it is loaded ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
    if fault:
        yield "error", fault, f"'genzoo plugins disable {plugin.name}' does without it; {AUTHORS}"


def _loaded(address: str) -> list[tuple[str, str]]:
    """Load one plugin beside the zoo's own, here: level, and what is wrong."""
    from genzoo.registry.registry import Registry

    registry = Registry.discover(plugins=True, only=[address])
    record = registry.plugins()[-1]
    faults = [f"{e.kind} {e.name!r}: {why}" for e, why in registry.check_targets(record.entries)]
    return [("error", fault) for fault in (record.error, *faults) if fault] + [("warning", n) for n in record.notes]


if __name__ == "__main__":
    out = os.dup(1)
    os.dup2(2, 1)  # whatever it prints, ever
    told = _loaded(sys.argv[1])
    with os.fdopen(out, "w") as answer:
        answer.write("\n" + json.dumps(told) + "\n")
    os._exit(0)  # and whatever it does at exit
