"""Says what is wrong with an entry, importing nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.registry.discovery import static
from genzoo.registry.discovery.source_code import locate, parse
from genzoo.registry.entries import LISTS, SINGLE, Entry, first_option, group_of, part_name

if TYPE_CHECKING:
    from genzoo.registry.registry import Registry


def fault(registry: Registry, entry: Entry) -> str:
    """Return one sentence on what is wrong with an entry, or an empty string."""
    try:
        if entry.kind == "recipe":
            _recipe(registry, entry)
        elif entry.kind == "weights":
            for version in entry.data["versions"].values():
                if version["target"]:
                    _folder(version["target"])
        elif entry.kind == "command":
            _bound(entry.target)
        else:
            static.find_class(entry.target)
            registry.options(entry)
        known = {e.name for e in registry.entries("modality")}
        strange = [m for m in entry.modalities if m not in known]
        if strange and known:
            hint = did_you_mean(strange[0], known)
            raise GenzooError(f"modalities names {strange[0]!r}, which no plugin brings{hint}")
    except GenzooError as e:
        return str(e)
    return ""


def _bound(target: str) -> None:
    """A command's target may be anything that its module's top level binds."""
    module, _, attribute = target.partition(":")
    found = parse(module)
    if attribute.partition(".")[0] not in found.names and not found.stars and "__getattr__" not in found.names:
        raise GenzooError(f"{target}: module {module!r} has no {attribute!r}{did_you_mean(attribute, found.names)}")


def _folder(target: str) -> None:
    module, _, folder = target.partition(":")
    found = locate(module)
    if found is None:
        raise GenzooError(f"there is no module {module!r}")
    beside = found.folders or (os.path.dirname(found.file),)
    if not any(os.path.isdir(os.path.join(b, folder)) for b in beside):
        raise GenzooError(f"there is no folder {folder!r} beside {module}")


def _recipe(registry: Registry, entry: Entry) -> None:
    """Every part is there, and every option that the recipe or a preset sets fits one of its part's."""
    entry = registry.whole(entry)
    data = entry.data
    for preset, options in {"": data["options"], **data["presets"]}.items():
        parts = {p: options.get(p, data[p]) for p in SINGLE} | {
            f"{kind}.{part_name(word)}": word for kind in LISTS for word in options.get(kind, data[kind])
        }
        for part, word in parts.items():
            if not word:
                continue
            kind, (name, _, number) = part.partition(".")[0], word.partition("=")
            listed = registry.options(registry.get(kind, name, prefer=entry.home))
            if number:
                first_option(f"{kind} {name!r}", listed).coerce(number, word)
            infos = {i.name: i for i in listed}
            for dotted, value in options.items():
                group, option = group_of(dotted)
                if group == part and option:
                    where = f"{dotted} in {f'preset {preset!r}' if preset else 'options'}"
                    if option not in infos:
                        raise GenzooError(f"{where}: {kind} {name!r} has no such option{did_you_mean(option, infos)}")
                    infos[option].coerce(value, where)
