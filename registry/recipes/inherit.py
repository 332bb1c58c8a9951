"""Recipes that are like others: they inherit networks, options and presets as data; their own values go over these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genzoo.core.errors import GenzooError, UsageError
from genzoo.registry.entries import Entry, first_option, group_of, part_name
from genzoo.registry.kinds import LISTS, PARTS, SINGLE

if TYPE_CHECKING:
    from genzoo.registry.registry import Registry

NETWORKS = ("generator", "encoder", "critic")


def whole(registry: Registry, entry: Entry) -> Entry:
    """Return a recipe with all that it inherits; ``data["family"]`` names the recipes that it is like, next first."""
    chain = [entry]
    while like := chain[-1].data.get("like"):
        try:
            parent = registry.get("recipe", like, prefer=chain[-1].home, inherit=False)
        except UsageError as e:
            raise UsageError(f"recipe {chain[-1].name!r} is like another: {e}") from None
        if parent in chain:
            round_trip = " is like ".join(repr(e.name) for e in (*chain[chain.index(parent) :], parent))
            raise UsageError(f"recipes are like each other in a circle: {round_trip}")
        chain.append(parent)
    data = chain[-1].data
    for child, parent in zip(chain[-2::-1], chain[:0:-1], strict=True):
        data = _over(_as_meant(registry, data, parent, child), child.data)
    if data["objective"] is None:
        raise GenzooError(f"recipe {entry.name!r} names no objective")
    family = {"family": tuple(e.name for e in chain[1:])} if len(chain) > 1 else {}
    return replace(entry, data={k: v for k, v in data.items() if k != "like"} | family)


def flat(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says as one layer, as presets are: parts by kind, ``conditional``, options by dotted name."""
    return {**{k: data[k] for k in (*PARTS, "conditional")}, **data["options"]}


def parted(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A whole layer as a recipe's data, without presets."""
    found = {k: layer[k] for k in (*PARTS, "conditional")}
    return {**found, "options": {k: v for k, v in layer.items() if k not in found}, "presets": {}}


def numbered(registry: Registry, layer: Mapping[str, Any], home: tuple[str, ...]) -> dict[str, Any]:
    """A layer that has the numbers of words such as ``r1=0.5`` as options too."""
    found = dict(layer)
    for kind in LISTS:
        for name, _, number in (word.partition("=") for word in layer.get(kind) or ()):
            if number:
                infos = registry.options(registry.get(kind, name, prefer=home))
                found.setdefault(f"{kind}.{part_name(name)}.{first_option(f'{kind} {name!r}', infos).name}", number)
    return found


def _over(inherited: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says, over what it inherits: also over inherited presets."""
    said = {k: v for k, v in flat(own).items() if k not in PARTS or v}
    if said["conditional"] is None:
        del said["conditional"]
    presets = {name: layered(layer, said, add=False) for name, layer in inherited["presets"].items()}
    for name, layer in own["presets"].items():
        presets[name] = layered(presets.get(name, {}), layer)
    return {**parted(layered(flat(inherited), said)), "presets": {k: v for k, v in presets.items() if v}}


def layered(below: Mapping[str, Any], above: Mapping[str, Any], add: bool = True) -> dict[str, Any]:
    """A layer over another, whose options go where another part stands in the place of theirs."""
    kept = dict(below)
    for kind in (k for k in PARTS if k in above):
        names = [part_name(w) for w in (above[kind] if kind in LISTS else ())]
        same = kept.get(kind) == above[kind]
        for key in [k for k in kept if k.startswith(f"{kind}.")]:
            if not (same or (kind in LISTS and group_of(key)[0].removeprefix(f"{kind}.") in names)):
                del kept[key]
    for key in above:
        kept.pop(key, None)
    return kept | (dict(above) if add else {})


def _as_meant(registry: Registry, data: Mapping[str, Any], parent: Entry, child: Entry) -> Mapping[str, Any]:
    """Names of parts as the parent means them, also where the child's plugin has others of the same name."""
    if parent.home == child.home:
        return data

    def meant(kind: str, word: str) -> str:
        name, equals, number = word.partition("=")
        try:
            found = registry.get(kind, name, prefer=parent.home)
            if registry.get(kind, name, prefer=child.home) == found:
                return word
        except UsageError:  # what is not there is said where it is used
            return word
        return f"{found.distribution}/{found.address}{equals}{number}"

    def layer(given: Mapping[str, Any]) -> dict[str, Any]:
        named: dict[str, Any] = {k: meant(k, v) for k, v in given.items() if k in SINGLE and v}
        named |= {k: tuple(meant(k, word) for word in v) for k, v in given.items() if k in LISTS}
        return {**given, **named}

    return {**layer(data), "presets": {k: layer(v) for k, v in data["presets"].items()}}


def presets_for(entry: Entry, modality: str, name: str) -> list[dict[str, Any]]:
    """The presets of a recipe that hold for some data, in order: of the kind of data, of the data set.

    Where a kind of data has none, that of the kind that it is like holds, but for networks that it has of its own.
    """
    from genzoo.core.modality import of  # listing the zoo comes by here, and asks no modality

    presets, kind = entry.data["presets"], of(modality)
    first = presets.get(modality)
    if first is None and kind.like:
        own = [k for k in NETWORKS if kind.network(k) != of(kind.like).network(k)]
        first = {k: v for k, v in presets.get(kind.like, {}).items() if k.partition(".")[0] not in own}
    return [layer for layer in (first, presets.get(name)) if layer]


def settled(registry: Registry, entry: Entry, modality: str, name: str = "", *, networks: bool = True) -> Entry:
    """A whole recipe as it is for some data: its presets put over it, and with ``networks`` the data's usual ones.

    A likelihood that nobody names stays open.
    """
    from genzoo.core.modality import of

    kind, layer = of(modality), numbered(registry, flat(entry.data), entry.home)
    for preset in presets_for(entry, modality, name):
        layer = layered(layer, numbered(registry, preset, entry.home))
    for part in (*NETWORKS, "likelihood"):  # what is of other data gives way to what fits this kind
        if layer[part] and not registry.get(part, layer[part], prefer=entry.home).fits(modality, kind.like):
            layer = layered(layer, {part: kind.network(part) if networks and part in NETWORKS else None})
    if networks:
        layer["generator"] = layer["generator"] or kind.network("generator")
    return replace(entry, data={**entry.data, **parted(layer)})
