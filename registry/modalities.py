"""Kinds of data by their name, for `genzoo.core.modality.of`."""

from __future__ import annotations

from genzoo.core.errors import UsageError, did_you_mean, folded
from genzoo.core.modality import Modality
from genzoo.registry.registry import the_registry


def names() -> tuple[str, ...]:
    """Names of all modalities, genzoo's own first."""
    found = the_registry().entries("modality")
    return tuple(e.name for e in sorted(found, key=lambda e: (e.distribution != "genzoo", e.name)))


def named(name: str) -> Modality:
    """The modality of a name; raises UsageError if no plugin or several have it, GenzooError if it does not import."""
    registry, known = the_registry(), names()
    name = folded(name, known)
    if name not in known:
        hint = did_you_mean(name, known) or f": there are {', '.join(known)}"
        raise UsageError(f"there is no modality {name!r}{hint}; a plugin may bring it")
    kind: Modality = registry.load(registry.get("modality", name), Modality)()
    return kind
