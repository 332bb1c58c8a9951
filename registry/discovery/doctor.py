"""Finds what is wrong with the installed plugins, importing none of them."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distributions
from typing import Any, Literal

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.registry import hooks
from genzoo.registry.discovery import loader, state
from genzoo.registry.discovery.imports import HEAVY, reached
from genzoo.registry.discovery.loader import Found, normal
from genzoo.registry.discovery.scan import of_file
from genzoo.registry.discovery.source_code import Module, locate, parse

Level = Literal["error", "warning", "note"]
HOOKS = {"genzoo_register": {"registry"}, "genzoo_observers": {"run"}}  # each with its arguments


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
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def examine() -> list[Finding]:
    """Examine every plugin of every distribution but genzoo's own: metadata, dependencies, files, sources."""
    unlisted: list[str] = []
    found = [p for p in loader.installed(unlisted.append) if not p.own]
    findings = [Finding("error", "metadata", line, "reinstall that distribution") for line in unlisted]
    findings += _environment(found)
    seen = dict[str, list[str]]()
    for distribution in distributions():
        name = normal(distribution.metadata["Name"] or "") if _has_plugins(distribution) else ""
        where = str(getattr(distribution, "_path", ""))
        if name and name != loader.OWN and where not in seen.setdefault(name, []):
            seen[name].append(where)
            if len(seen[name]) == 1:
                findings += _distribution(distribution)
    for name, places in seen.items():
        if len(places) > 1:
            said = f"is installed {len(places)} times, and the first counts: {', '.join(places)}"
            findings.append(Finding("warning", name, said, f"uninstall all but one: pip uninstall {name}, repeatedly"))
    for plugin in found:
        findings += [Finding(level, plugin.origin, what, advice) for level, what, advice in _plugin(plugin)]
    for name in sorted({p.name for p in found}):
        same = [p for p in loader.installed(unlisted.append) if p.name == name]
        if len(same) > 1:
            ways = " and ".join(p.address for p in same)
            said = f"is the name of {len(same)} plugins: {', '.join(p.origin for p in same)}"
            findings.append(Finding("warning", f"name {name!r}", said, f"say {ways} to tell them apart"))
    order = ("error", "warning", "note")
    return sorted(dict.fromkeys(findings), key=lambda f: order.index(f.level))


def _environment(found: list[Found]) -> Iterator[Finding]:
    """What the user switched off, here or for this run."""
    faults: list[str] = []
    off = state.disabled(faults.append)
    for fault in faults:
        yield Finding("error", "the list of disabled plugins", fault, "delete it, or disable what you want disabled")
    for name in sorted(off):
        if any(loader.is_off(p, {name}) for p in found):
            yield Finding("note", name, "is disabled", f"'genzoo plugins enable {name}' loads it again")
        else:
            yield Finding("note", name, "is disabled, and not installed", f"'genzoo plugins enable {name}' forgets it")
    for variable in ("GENZOO_PLUGINS", "GENZOO_NO_PLUGINS"):
        if os.environ.get(variable):
            said = f"is set to {os.environ[variable]!r}: other plugins are left out"
            yield Finding("note", variable, said, "unset it to load them")


def _has_plugins(distribution: Distribution) -> bool:
    try:
        return f"[{loader.GROUP}]" in (distribution.read_text("entry_points.txt") or "").replace(" ", "")
    except Exception:
        return False


def _distribution(distribution: Distribution) -> Iterator[Finding]:
    """Its dependencies, by version, and its files."""
    about = f"{distribution.metadata['Name']} {distribution.version}"
    for text in distribution.requires or []:
        fault = _unmet(text)
        if fault:
            yield Finding("error", about, f"needs {text.partition(';')[0].strip()}, and {fault[0]}", fault[1])
    needed = _header(distribution, "Requires-Python")
    if needed:
        import platform

        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            if not SpecifierSet(needed).contains(platform.python_version(), prereleases=True):
                said = f"needs Python {needed}, and this is {platform.python_version()}"
                yield Finding("error", about, said, "install a version of it that supports this Python")
        except InvalidSpecifier:
            yield Finding("warning", about, f"has the Requires-Python {needed!r}, which is none", "tell its authors")
    missing = [str(f) for f in distribution.files or [] if f.suffix == ".py" and not os.path.isfile(f.locate())]
    if missing:
        some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        advice = f"pip install --force-reinstall --no-deps {distribution.metadata['Name']}"
        yield Finding("error", about, f"lacks files that it was installed with: {some}", advice)


def _header(distribution: Distribution, name: str) -> str:
    """A line of its metadata, empty if there is none."""
    found = distribution.metadata.get_all(name)
    return found[0] if found else ""


def _unmet(requirement: str) -> tuple[str, str] | None:
    """Why a requirement does not hold here, and what to do; None if it does."""
    from importlib.metadata import version

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(requirement)
    except InvalidRequirement:
        return "that is no requirement", "tell its authors"
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return None
    try:
        there = version(wanted.name)
    except PackageNotFoundError:
        return f"{wanted.name} is not installed", f"pip install '{wanted.name}{wanted.specifier}'"
    if not wanted.specifier.contains(there, prereleases=True):
        return f"{wanted.name} {there} is installed", f"pip install '{wanted.name}{wanted.specifier}'"
    return None


def _plugin(plugin: Found) -> Iterator[tuple[Level, str, str]]:
    """What can be seen of one plugin without importing it: level, what is wrong, what to do."""
    value = plugin.value
    if not re.fullmatch(r"[\w.-]+", plugin.name):
        yield "warning", "has a name that cannot be written as 'plugin:name'", "letters, digits, '-', '_' and '.'"
    if not loader.VALUE.fullmatch(value):
        advice = "its pyproject.toml should say: name = 'package.module'"
        yield "error", f"has the entry point {value!r}, which is not of the form 'package.module'", advice
        return
    name = value.partition(":")[0].strip()
    found = locate(name)
    if found is None:
        yield "error", f"names the module {name!r}, which is not there", "reinstall it, or tell its authors"
        return
    if not found.file.endswith(".py"):
        yield "note", f"is not written in Python ({found.file or 'no file'}): its source was not examined", ""
        return
    try:
        yield from _imports(name)
        if ":" not in value:
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
    """The calls of a method ``scan`` in a file."""
    try:
        with open(path, "rb") as file:
            source = file.read()
        tree = ast.parse(source if b".scan(" in source else b"")
    except (OSError, SyntaxError, ValueError):  # what cannot be read is told elsewhere
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "scan":
            yield node


def _imports(name: str) -> Iterator[tuple[Level, str, str]]:
    told = set[str]()
    for found in reached(name):
        root = found.module.partition(".")[0]
        if found.exits:
            yield "error", f"calls {found.module} when it is imported ({found.place})", "tell its authors"
        elif root in told:
            continue
        elif locate(root) is None:
            if not found.guarded:
                yield "error", f"imports {root!r}, which is not installed ({found.place})", f"install {root}"
        elif root in HEAVY and root not in told:
            advice = "its module should name its classes as text, 'package.module:Class', and import nothing heavy"
            yield "warning", f"imports {root} when it is loaded, which slows every command ({found.place})", advice
        elif locate(found.module) is None and not found.guarded and root == name.partition(".")[0]:
            yield "error", f"imports {found.module!r}, which is not there ({found.place})", "reinstall it"
        else:
            continue
        told.add(root)


def _answers(module: Module) -> Iterator[tuple[Level, str, str]]:
    """Whether it answers hooks that there are, with arguments that they have, and for which API."""
    marked = dict[str, ast.FunctionDef]()
    for name, node in module.names.items():
        if isinstance(node, ast.FunctionDef) and any("hookimpl" in ast.unparse(d) for d in node.decorator_list):
            marked[name] = node
    for name, node in marked.items():
        place = f"{module.file}:{node.lineno}"
        arguments = {a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
        if name not in HOOKS:
            yield "error", f"answers the hook {name!r}, which there is not{did_you_mean(name, HOOKS)} ({place})", ""
        elif arguments - HOOKS[name]:
            odd = ", ".join(sorted(arguments - HOOKS[name]))
            right = ", ".join(HOOKS[name])
            yield "error", f"{name} takes {odd}, which it is not given ({place})", f"def {name}({right})"
    unmarked = [n for n in HOOKS if isinstance(module.names.get(n), ast.FunctionDef) and n not in marked]
    for name in unmarked:
        yield "error", f"{name} is not marked with @hookimpl ({module.file})", "from genzoo.registry import hookimpl"
    imported = any(n in module.names for n in HOOKS) or module.stars
    if not marked and not unmarked and not imported:
        yield "error", f"answers no hook: there is no genzoo_register in {module.file}", "tell its authors"
    said = module.names.get("genzoo_api")
    api = said.value if isinstance(said, ast.Constant) else hooks.API
    if not isinstance(api, int) or isinstance(api, bool):
        yield "error", f"has genzoo_api = {api!r}, where a whole number belongs", "tell its authors"
    elif api > hooks.API:
        yield "warning", f"was written for plugin API {api}, and this genzoo has {hooks.API}", "upgrade genzoo"
    elif api < hooks.OLDEST_API:
        said_ = f"was written for plugin API {api}, and this genzoo takes {hooks.OLDEST_API} at least"
        yield "warning", said_, "upgrade the plugin"
