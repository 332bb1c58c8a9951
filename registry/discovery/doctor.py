"""Finds what is wrong with the installed plugins: importing none of them, or each in a process of its own."""

from __future__ import annotations

import ast
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distributions, version
from typing import Any, Literal

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.registry import hooks
from genzoo.registry.discovery import loader, state
from genzoo.registry.discovery.scan import of_file
from genzoo.registry.discovery.source_code import Module, imported_from, locate, parse, tree_of
from genzoo.registry.entries import OWN, POINT, Plugin, normal

Level = Literal["error", "warning", "note"]
HOOKS = {"genzoo_register": {"registry"}, "genzoo_observers": {"run"}}  # each with its arguments
HEAVY = frozenset((
    "torch", "torchvision", "torchaudio", "tensorflow", "jax", "flax", "keras", "numpy", "scipy", "pandas", "sklearn",
    "skimage", "matplotlib", "cv2", "numba", "transformers", "diffusers", "lightning", "pytorch_lightning",
    "accelerate", "timm", "onnxruntime", "wandb", "mlflow",
))  # fmt: skip
_EXITS = ("sys.exit", "os._exit", "os.abort", "exit", "quit")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or good to know.

    Attributes:
        level: ``error`` for what does not load, ``warning`` for what loads and costs something or surprises,
            ``note`` for what the user asked for.
        about: a plugin in words, ``plugin 'x' (dist 1.0)``, or what else it is about.
        what: what is wrong, and where.
        advice: what to do.
    """

    level: Level
    about: str
    what: str
    advice: str = "tell its authors"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def doctor(*, load: bool = False, seconds: float = 30.0) -> list[Finding]:
    """Say what is wrong with the plugins of other distributions, errors first, and what to do about each.

    Args:
        load: also load each plugin, in a process of its own; otherwise none is imported.
        seconds: that each of these processes may take.
    """
    unlisted: list[str] = []
    found = [p for p in loader.installed(unlisted.append) if not p.own]
    findings = [Finding("error", "metadata", line, "reinstall that distribution") for line in unlisted]
    findings += _switched_off(found)
    names = {normal(p.distribution) for p in found}
    places = dict[str, list[Distribution]]()
    for distribution in distributions():
        name = normal(distribution.metadata["Name"] or "")
        if name in names:
            places.setdefault(name, []).append(distribution)
    for name, several in places.items():
        findings += _distribution(several[0])
        where = dict.fromkeys(str(getattr(d, "_path", "")) for d in several)
        if len(where) > 1:
            said = f"is installed {len(where)} times, and the first counts: {', '.join(where)}"
            findings.append(Finding("warning", name, said, f"uninstall all but one: pip uninstall {name}, repeatedly"))
    for plugin in found:
        findings += _plugin(plugin)
    for name in sorted({p.name for p in found}):
        same = [p for p in loader.installed(unlisted.append) if p.name == name]
        if len(same) > 1:
            said = f"is the name of {len(same)} plugins: {', '.join(p.origin for p in same)}"
            ways = " and ".join(p.address for p in same)
            findings.append(Finding("warning", f"name {name!r}", said, f"say {ways} to tell them apart"))
    if load:
        findings += _loaded(found, seconds)
    order = ("error", "warning", "note")
    return sorted(dict.fromkeys(findings), key=lambda f: order.index(f.level))


def _switched_off(found: list[Plugin]) -> Iterator[Finding]:
    """What the user switched off, here or for this run."""
    faults: list[str] = []
    for name in sorted(state.disabled(faults.append)):
        there = "" if name in {p.address for p in found} else ", and not installed"
        yield Finding("note", name, f"is disabled{there}", f"'genzoo plugins enable {name}' ends that")
    for fault in faults:
        yield Finding("error", "the list of disabled plugins", fault, "delete it, or disable what you want disabled")
    for variable in ("GENZOO_PLUGINS", "GENZOO_NO_PLUGINS"):
        if os.environ.get(variable):
            said = f"is set to {os.environ[variable]!r}: other plugins are left out"
            yield Finding("note", variable, said, "unset it to load them")


def _distribution(of: Distribution) -> Iterator[Finding]:
    """What a distribution needs, by version, and its files."""
    about = f"{of.metadata['Name']} {of.version}"
    pythons = [f"Python {needed}" for needed in of.metadata.get_all("Requires-Python") or ()]
    for text in (*(of.requires or ()), *pythons):
        if there := _unmet(text):
            needed = text.partition(";")[0].strip()
            advice = f"pip install '{needed}'" if text not in pythons else "use a Python that it supports"
            yield Finding("error", about, f"needs {needed}, and {there}", advice)
    missing = [str(f) for f in of.files or [] if f.suffix == ".py" and not os.path.isfile(f.locate())]
    if missing:
        said = f"lacks files that it was installed with: {', '.join(missing[:3])}{', …' * (len(missing) > 3)}"
        yield Finding("error", about, said, f"pip install --force-reinstall --no-deps {of.metadata['Name']}")


def _unmet(text: str) -> str:
    """Why a requirement does not hold here; "" if it does."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            return ""
        there = platform.python_version() if wanted.name == "Python" else version(wanted.name)
    except InvalidRequirement:
        return "that is no requirement"
    except PackageNotFoundError:
        return f"{wanted.name} is not installed"
    return "" if wanted.specifier.contains(there, prereleases=True) else f"{wanted.name} {there} is installed"


def _plugin(plugin: Plugin) -> Iterator[Finding]:
    """What can be seen of one plugin without importing it."""

    def finding(level: Level, what: str, advice: str = "tell its authors") -> Finding:
        return Finding(level, plugin.origin, what, advice)

    if not re.fullmatch(r"[\w.-]+", plugin.name):
        yield finding("warning", "has a name that cannot be written as 'plugin:name'")
    if not POINT.fullmatch(plugin.module):
        yield finding("error", f"has the entry point {plugin.module!r}, which is not of the form 'package.module'")
        return
    name = plugin.module.partition(":")[0].strip()
    found = locate(name)
    if found is None:
        yield finding("error", f"names the module {name!r}, which is not there", "reinstall it, or tell its authors")
    elif not found.file.endswith(".py"):
        yield finding("note", f"is not written in Python ({found.file or 'no file'}): its source was not examined", "")
    else:
        try:
            for level, what, advice in _imports(name):
                yield finding(level, what, advice)
            for level, what in _answers(parse(name)) if ":" not in plugin.module else ():
                yield finding(level, what)
            for place, what in unscanned(name.partition(".")[0]):
                advice = "the hook should say registry.scan(PACKAGE), with the package that the file stands in"
                yield finding("error", f"{what} is declared, and no scan of its package registers it ({place})", advice)
        except GenzooError as e:
            yield finding("error", str(e), "reinstall it, or tell its authors")


def unscanned(package: str) -> Iterator[tuple[str, str]]:
    """The declarations below a package that no call of ``registry.scan`` there reaches: place, and what it is.

    Nothing is imported. Where a call's argument is neither text nor ``__name__``, nothing can be told.
    """
    found = locate(package)
    if found is None:
        return
    modules = {package: found.file}
    for top in found.folders:
        for folder, _, files in os.walk(top):
            inner = ".".join([package, *os.path.relpath(folder, top).split(os.sep)]).removesuffix("..")
            for file in (f for f in files if f.endswith(".py")):
                modules[inner if file == "__init__.py" else f"{inner}.{file[:-3]}"] = os.path.join(folder, file)
    scanned = set[str]()
    for module, path in modules.items():
        for call in _scans(path):
            argument = call.args[0] if len(call.args) == 1 else ast.Name("?")
            if isinstance(argument, ast.Name) and argument.id == "__name__":
                scanned.add(module)
            elif isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                scanned.add(argument.value)
            else:
                return
    for module in sorted(modules):
        inside = module if os.path.basename(modules[module]) == "__init__.py" else module.rpartition(".")[0]
        if not scanned & {module, inside}:
            for declared in of_file(modules[module], module):
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
                    yield "error", f"calls {name} when it is imported ({place})", "tell its authors"
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


def _answers(module: Module) -> Iterator[tuple[Level, str]]:
    """Whether it answers hooks that there are, with arguments that they have, and for which API."""
    functions = {name: node for name, node in module.names.items() if isinstance(node, ast.FunctionDef)}
    marked = [n for n, node in functions.items() if any("hookimpl" in ast.unparse(d) for d in node.decorator_list)]
    for name in marked:
        node = functions[name]
        place = f"{module.file}:{node.lineno}"
        arguments = {a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
        if name not in HOOKS:
            yield "error", f"answers the hook {name!r}, which there is not{did_you_mean(name, HOOKS)} ({place})"
        elif odd := ", ".join(sorted(arguments - HOOKS[name])):
            right = f"{name}({', '.join(HOOKS[name])})"
            yield "error", f"{name} takes {odd}, which it is not given ({place}): say {right}"
    unmarked = [n for n in HOOKS if n in functions and n not in marked]
    for name in unmarked:
        yield "error", f"{name} is not marked with @hookimpl of genzoo.registry ({module.file})"
    if not marked and not unmarked and not module.stars and not any(n in module.names for n in HOOKS):
        yield "error", f"answers no hook: there is no genzoo_register in {module.file}"
    said = module.names.get("genzoo_api")
    if odd := hooks.other_api(said.value if isinstance(said, ast.Constant) else hooks.API):
        yield "warning", odd


def _loaded(plugins: list[Plugin], seconds: float) -> Iterator[Finding]:
    """Load each plugin in a process of its own: one that hangs, crashes or exits says so instead of doing it."""
    env = {k: v for k, v in os.environ.items() if k not in ("GENZOO_PLUGINS", "GENZOO_NO_PLUGINS")}
    claims = dict[str, list[Plugin]]()
    for plugin in plugins:
        command = [sys.executable, "-m", __name__, f"{plugin.distribution}/{plugin.name}"]
        advice = f"'genzoo plugins disable {plugin.name}' does without it; tell its authors"
        try:
            done = subprocess.run(
                command, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
            )
            told = json.loads(done.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired:
            yield Finding("error", plugin.origin, f"was not loaded after {seconds:g} s", advice)
            continue
        except (ValueError, IndexError):
            code = done.returncode
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            yield Finding("error", plugin.origin, f"ends Python while it is loaded ({how})", advice)
            continue
        yield from (Finding(level, plugin.origin, what, advice) for level, what in told["findings"])
        for entry in told["entries"]:
            claims.setdefault(entry, []).append(plugin)
    for entry, several in claims.items():
        if len(several) > 1:
            ways = " or ".join(f"'{p.address}:{entry.partition(' ')[2]}'" for p in several)
            said = f"is claimed by {' and by '.join(p.origin for p in several)}"
            yield Finding("warning", entry, said, f"say {ways}")


def _load(address: str) -> dict[str, Any]:
    """Load one plugin beside the zoo's own, here: findings, and what it registers."""
    from genzoo.registry.registry import Registry

    registry = Registry.discover(plugins=True, only=[address])
    record = registry.plugins()[-1]
    findings = [("error", record.error)] if record.error else []
    findings += [("warning", note) for note in record.notes]
    findings += [("error", f"{e.kind} {e.name!r}: {why}") for e, why in registry.check_targets(record.entries)]
    own = {(e.kind, e.name) for e in registry.entries() if e.distribution == OWN}
    for e in record.entries:
        if (e.kind, e.name) in own:
            findings.append(("warning", f"{e.kind} {e.name!r} has a name of the zoo's own: say '{e.address}'"))
    return {"findings": findings, "entries": [f"{e.kind} {e.name}" for e in record.entries]}


if __name__ == "__main__":
    out = os.dup(1)
    os.dup2(2, 1)  # whatever it prints, ever
    told = _load(sys.argv[1])
    with os.fdopen(out, "w") as answer:
        answer.write("\n" + json.dumps(told) + "\n")
    os._exit(0)  # and whatever it does at exit
