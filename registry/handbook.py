"""What docstrings say of entries: the formula, when to use one, and what it costs. Torch-free."""

from __future__ import annotations

from genzoo.registry.entries import Entry, part_name
from genzoo.registry.registry import Registry

CODED = ("posterior", "prior", "likelihood")  # parts that make another model of the same objective


def sections(doc: str) -> dict[str, str]:
    """What stands below a docstring's first line: ``When:`` and ``Cost:`` paragraphs, and the rest, the formula."""
    found = {"formula": "", "when": "", "cost": ""}
    for paragraph in doc.partition("\n")[2].strip("\n").split("\n\n"):
        head, colon, rest = paragraph.partition(":")
        if colon and head in ("When", "Cost"):
            found[head.lower()] = " ".join(rest.split())
        else:
            found["formula"] += ("\n\n" if found["formula"] else "") + paragraph
    return found


def said(registry: Registry, entry: Entry) -> dict[str, str]:
    """The sections of an entry's docstring; of a recipe those of its objective.

    A recipe that has another posterior, prior or likelihood than the one that it is like, under the same objective, is
    another model: its parts say when to use it, and it costs what the other does and what they do. Where the objective
    says nothing, since all depends on the likelihood, that speaks for it.
    """
    if entry.kind != "recipe":
        return sections(registry.docstring(entry))
    found = sections(registry.docstring(registry.get("objective", entry.data["objective"], prefer=entry.home)))
    for name in entry.data.get("family", ())[:1]:
        like = registry.get("recipe", name, prefer=entry.home)
        own = [k for k in CODED if entry.data[k] and entry.data[k] != like.data[k]]
        if not own or like.data["objective"] != entry.data["objective"]:
            continue
        parts = [sections(registry.docstring(registry.get(k, entry.data[k], prefer=entry.home))) for k in own]
        beside = " and ".join(f"{k} `{part_name(entry.data[k])}`" for k in own)
        found["when"] = " ".join(p["when"] for p in parts if p["when"])
        found["cost"] = f"that of `{name}`, and of {beside}"
        found["cost"] += "".join(f": {p['cost']}" for p in parts if p["cost"])
    if entry.data["likelihood"] and not (found["when"] and found["cost"]):
        likelihood = registry.get("likelihood", entry.data["likelihood"], prefer=entry.home)
        spoken = sections(registry.docstring(likelihood))
        found |= {key: found[key] or spoken[key] for key in ("when", "cost")}
    return found
