"""Says what is wrong with an entry, and which options a recipe has, importing nothing."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from genzoo.core.config import TrainOptions
from genzoo.core.errors import GenzooError, did_you_mean
from genzoo.core.options import OptionInfo, options_of
from genzoo.core.spec import Latent
from genzoo.registry.discovery import static
from genzoo.registry.discovery.loader import strange_modality
from genzoo.registry.discovery.source_code import locate, parse
from genzoo.registry.entries import Entry, first_option, group_of, part_name
from genzoo.registry.kinds import LISTS, PARTS, SINGLE
from genzoo.registry.recipes.inherit import layered

if TYPE_CHECKING:
    from genzoo.registry.registry import Registry


def fault(registry: Registry, entry: Entry) -> str:
    """Return one sentence on what is wrong with an entry, or an empty string."""
    try:
        if entry.kind == "recipe":
            _presets(registry, registry.whole(entry))
        elif entry.kind == "weights":
            for version in entry.data["versions"].values():
                if version["target"]:
                    _folder(version["target"])
        elif entry.kind == "command":
            _bound(entry.target)
        else:
            static.find_class(entry.target)
            registry.options(entry)
        return strange_modality(entry, [e.name for e in registry.entries("modality")])
    except GenzooError as e:
        return str(e)


def recipe_options(registry: Registry, entry: Entry) -> list[OptionInfo]:
    """The options of a whole recipe's parts, of its code space and of training, with the recipe's defaults.

    Raises:
        GenzooError: if they cannot be read, or the recipe sets one that a part has not, or out of its range.
    """
    given, groups = dict(entry.data["options"]), dict[str, list[OptionInfo]]()
    words = [(part, part, entry.data[part]) for part in SINGLE if entry.data[part]]
    words += [(kind, f"{kind}.{part_name(word)}", word) for kind in LISTS for word in entry.data[kind]]
    for kind, group, word in words:
        name, _, number = word.partition("=")
        groups[group] = registry.options(registry.get(kind, name, prefer=entry.home))
        if number:
            given = {f"{group}.{first_option(f'{kind} {name!r}', groups[group]).name}": number, **given}
    groups |= {"latent": options_of(Latent), "train": options_of(TrainOptions)}
    known = {f"{group}.{info.name}": info for group, infos in groups.items() for info in infos}
    for dotted in given:
        if dotted not in known and group_of(dotted)[0] in groups:
            raise GenzooError(f"there is no option {dotted!r}{did_you_mean(dotted, known)}")
    return [
        replace(info, name=name, default=info.coerce(given[name], name) if name in given else info.default)
        for name, info in known.items()
    ]


def _presets(registry: Registry, entry: Entry) -> None:
    """Every part is there, and every option that the recipe or a preset sets fits one of its part's."""
    base = {**entry.data["options"], **{kind: entry.data[kind] for kind in PARTS}}
    recipe_options(registry, entry)
    for preset, layer in entry.data["presets"].items():
        options = layered(base, layer)
        parts = {kind: options.pop(kind) for kind in PARTS}
        try:
            recipe_options(registry, replace(entry, data={**parts, "options": options}))
        except GenzooError as e:
            raise GenzooError(f"preset {preset!r}: {e}") from None


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
    if not any(os.path.isdir(os.path.join(b, folder)) for b in found.folders or (os.path.dirname(found.file),)):
        raise GenzooError(f"there is no folder {folder!r} beside {module}")
