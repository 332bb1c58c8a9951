"""Which metrics a user means: by name, by tag, or the usual ones. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from genzoo.core.errors import UsageError, did_you_mean, folded
from genzoo.registry.entries import Entry
from genzoo.registry.registry import Registry

DEFAULT = "default"  # the tag of the metrics that are measured where none are named


def choose(registry: Registry, metrics: str | Sequence[str] | None) -> tuple[list[Entry], set[str]]:
    """The metrics that names and tags mean, in order, and which were asked for by their own name."""
    known = sorted(registry.entries("metric"), key=_rank)
    if metrics is None:
        return [e for e in known if DEFAULT in e.tags], set()
    names, tags = {e.name for e in known}, {t for e in known for t in e.tags}
    words = ",".join([metrics] if isinstance(metrics, str) else map(str, metrics)).split(",")
    chosen: dict[str, Entry] = {}
    named = set()
    for word in filter(None, map(str.strip, words)):
        word = folded(word, names | tags | {"all"})
        if word == "all" or (word in tags and word not in names):
            chosen |= {e.address: e for e in known if word == "all" or word in e.tags}
            continue
        if word.rpartition(":")[2].lower() not in names:
            hint = did_you_mean(word, names | tags) or "; see 'genzoo list metric'"
            raise UsageError(f"there is no metric {word!r}{hint}")
        entry = registry.get("metric", word)
        chosen[entry.address] = entry
        named.add(entry.name)
    if not chosen:
        raise UsageError("no metric is named: leave --metrics out for the usual ones, or see 'genzoo list metric'")
    return list(chosen.values()), named


ORDER = ("distribution", "fidelity", "modes", "conditioning", "copies", "diversity", "likelihood",
          "reconstruction", "representation", "disentanglement")  # fmt: skip


def _rank(entry: Entry) -> tuple[int, int, str]:
    """By kind of metric, then as people read them."""
    kind = min((ORDER.index(t) for t in entry.tags if t in ORDER), default=len(ORDER))
    return kind, entry.data["rank"], entry.name
