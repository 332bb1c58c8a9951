"""Writes recipes as TOML that reads well: every option by value, with what it means behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from genzoo.core.config import KINDS, Config
from genzoo.core.errors import UsageError
from genzoo.core.options import OptionInfo, describe_type
from genzoo.registry.discovery.loader import OWN
from genzoo.registry.entries import Entry
from genzoo.registry.recipes.read import FORMAT, GROUPS, by_value, infos_of
from genzoo.registry.registry import Registry


def with_given(registry: Registry, entry: Entry, given: Mapping[str, Any]) -> Entry:
    """Put what a user set over a recipe: over its presets too, as it would be in training.

    Args:
        registry: where names are looked up.
        entry: the recipe.
        given: parts by kind, ``conditional``, and options by dotted name; values may be text.

    Raises:
        UsageError: for unknown names and options, and values that do not fit.
    """
    from genzoo.registry.recipes.compose import check_groups

    check_groups(given, registry, entry)
    data = {**entry.data, "options": dict(entry.data["options"])}
    data["presets"] = {k: dict(v) for k, v in entry.data["presets"].items()}
    for kind in (k for k in KINDS if given.get(k)):
        part, before = registry.get(kind, given[kind], prefer=entry.home), data[kind]
        data[kind] = given[kind]
        for layer, named in [(data["options"], before), *((p, p.pop(kind, before)) for p in data["presets"].values())]:
            if named is None or registry.get(kind, named, prefer=entry.home) != part:
                for key in [k for k in layer if k.startswith(f"{kind}.")]:
                    del layer[key]
    if given.get("conditional") is not None:
        data["conditional"] = OptionInfo("conditional", "bool", False).coerce(given["conditional"], "conditional")
        for preset in data["presets"].values():
            preset.pop("conditional", None)
    for key, value in given.items():
        group, dot, name = key.partition(".")
        if not dot:
            continue
        if group in KINDS and not data[group]:
            raise UsageError(f"{key!r} is an option of a part that the recipe leaves open: name it, {group}=NAME")
        infos = {i.name: i for i in _infos(registry, entry, group, data)}
        if name not in infos:
            registry_name = f"{group} {data[group]!r}" if group in KINDS else group
            raise UsageError(f"{registry_name} has no option {name!r}; it has {', '.join(infos) or 'none'}")
        data["options"][key] = infos[name].coerce(value, key)
        for preset in data["presets"].values():
            preset.pop(key, None)
            if preset.get(group) and any(i.name == name for i in _infos(registry, entry, group, preset)):
                preset[key] = data["options"][key]
    return replace(entry, data=data)


def from_config(registry: Registry, config: Config) -> Entry:
    """The recipe of a model that was trained: what was used, by value."""
    data: dict[str, Any] = {k: None for k in KINDS}
    options: dict[str, Any] = {}
    for kind, part in config.parts.items():
        found = registry.get(kind, part.name, prefer=(part.plugin, part.distribution))
        data[kind] = f"{found.distribution}/{found.address}"
        options |= {f"{kind}.{k}": v for k, v in part.options.items()}
    options |= {f"latent.{k}": v for k, v in config.latent.__dict__.items()}
    options |= {f"train.{k}": v for k, v in config.train.__dict__.items()}
    data |= {"conditional": config.conditional, "options": options, "presets": {}}
    return Entry("recipe", config.recipe, data=data)


def text_of(registry: Registry, entry: Entry, comment: str = "") -> str:
    """The file's text.

    Args:
        registry: where the parts are.
        entry: the recipe.
        comment: a line about where it comes from.
    """
    needs: dict[str, str] = {}
    entry = by_value(registry, entry)
    parts = {k: _reference(registry, entry, k, entry.data[k], needs) for k in KINDS if entry.data[k]}
    presets = []
    for name, preset in entry.data["presets"].items():
        presets.append((f"presets.{name}", preset, _table(registry, entry, preset, needs)))
    lines = [f"# {comment}"] if comment else []
    lines += ["# Train it: genzoo train FILE --data DATA --out FOLDER", "", f"format = {FORMAT}"]
    lines += [f"{k} = {_value(v)}" for k in ("name", "summary", "paper") if (v := getattr(entry, k))]
    lines += [f"{k} = {_value(v)}" for k in ("modalities", "tags") if (v := getattr(entry, k))]
    if needs:
        lines.append(f"needs = {_value([f'{k} {v}' for k, v in sorted(needs.items())])}  # distributions of the parts")
    lines.append(f"conditional = {_value(entry.data['conditional'])}  # on the class label")
    lines += ["", "[parts]", *(f"{k} = {_value(v)}" for k, v in parts.items())]
    for group in GROUPS:
        lines += _group(group, entry.data["options"], group, _infos(registry, entry, group, entry.data))
    if presets:
        lines += ["", "# What goes over all that on some data: by modality, or by the data set's name."]
    for where, preset, named in presets:
        conditional = [f"conditional = {_value(preset['conditional'])}"] if "conditional" in preset else []
        lines += ["", f"[{where}]", *conditional] if conditional or not (named or any("." in k for k in preset)) else []
        if named:
            lines += ["", f"[{where}.parts]", *(f"{k} = {_value(v)}" for k, v in named.items())]
        for group in GROUPS:
            infos = _infos(registry, entry, group, {k: preset.get(k) or entry.data[k] for k in KINDS})
            lines += _group(group, preset, f"{where}.{group}", infos)
    return "\n".join(lines) + "\n"


def _infos(registry: Registry, entry: Entry, group: str, named: Mapping[str, Any]) -> list[OptionInfo]:
    if group in KINDS and named.get(group):
        return registry.options(registry.get(group, named[group], prefer=entry.home))
    return infos_of(registry, group, {}) if group not in KINDS else []


def _table(registry: Registry, entry: Entry, preset: Mapping[str, Any], needs: dict[str, str]) -> dict[str, str]:
    return {k: _reference(registry, entry, k, preset[k], needs) for k in KINDS if preset.get(k)}


def _reference(registry: Registry, entry: Entry, kind: str, name: str, needs: dict[str, str]) -> str:
    """The shortest name that means the part to anybody, with what it needs noted."""
    found = registry.get(kind, name, prefer=entry.home)
    if found.distribution not in ("", OWN):
        needs[found.distribution] = found.version
    for way in (found.name, found.address):
        try:
            if registry.get(kind, way) == found:
                return way
        except UsageError:  # claimed by several
            continue
    return f"{found.distribution}/{found.address}"


def _group(group: str, values: Mapping[str, Any], title: str, infos: list[OptionInfo]) -> list[str]:
    """One table of options, each with its meaning, lined up."""
    given = [(i, values[f"{group}.{i.name}"]) for i in infos if f"{group}.{i.name}" in values]
    if not given:
        return []
    settings = [f"{i.name} = {_value(i.coerce(v, i.name))}" for i, v in given]
    width = min(max(map(len, settings)), 40)
    meant = [_meaning(i) for i, _ in given]
    return ["", f"[{title}]", *(f"{s:<{width}}  # {m}" for s, m in zip(settings, meant, strict=True))]


def _meaning(info: OptionInfo) -> str:
    limits = [f"at {which} {bound:g}" for which, bound in (("least", info.low), ("most", info.high))
              if bound is not None]  # fmt: skip
    kind = ", ".join([describe_type(info.type), *limits])
    return " ".join((f"{info.doc} ({kind})" if info.doc else kind).split())


def _value(value: Any) -> str:
    """A value in TOML."""
    if value is None:
        return '"none"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
