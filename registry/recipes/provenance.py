"""What the registry knows of a composition: what its card says beyond options, and the command that makes it again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genzoo.core.config import LISTS, NORMAL, Config
from genzoo.core.errors import UsageError
from genzoo.core.options import typed
from genzoo.registry.entries import Entry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.recipes.inherit import settled
from genzoo.registry.registry import Registry


def about(registry: Registry, config: Config, data: object, **how: Any) -> dict[str, Any]:
    """Say what a model is, for ``training.json`` and its card: summary, papers, tags and the command, where known.

    ``data`` is what it was trained on, as it was given: a name, a path (of which only the last part is told), or
    anything else; ``how`` is what `command` takes.
    """
    part = config.parts["objective"]
    found: dict[str, Any] = {}
    entries = [_entry(registry, "recipe", config.recipe), _entry(registry, "objective", part.name, part.plugin)]
    for key in ("summary", "paper"):
        found[key] = next((getattr(e, key) for e in entries if e and getattr(e, key)), "")
    found["tags"] = list(dict.fromkeys(tag for e in entries if e for tag in e.tags))
    of_data = _entry(registry, "dataset", config.data.name)
    found["data paper"] = of_data.paper if of_data else ""
    found["command"] = command(registry, config, data, **how)
    return {key: value for key, value in found.items() if value}


def command(
    registry: Registry,
    config: Config,
    data: object,
    *,
    seed: int,
    data_options: Mapping[str, Any] | None = None,
    precision: str = "float32",
) -> list[str]:
    """The words of the ``genzoo train`` command that makes this composition: what differs from the recipe."""
    entry = _entry(registry, "recipe", config.recipe)
    recipe = entry.name if entry else None
    said = settled(registry, entry, config.data.modality, config.data.name).data if entry else {}
    named, given = _names(config), dict[str, Any]()
    if said.get("objective", "").rpartition(":")[2] != named["objective"]:
        given["objective"] = named["objective"]
    if config.conditional != bool(said.get("conditional")):
        given["conditional"] = config.conditional
    base = compose(registry, config.data, recipe, given)
    if missing := {kind: name for kind, name in named.items() if _names(base).get(kind) != name}:
        given |= missing
        base = compose(registry, config.data, recipe, given)
    words = ["genzoo", "train", *([recipe] if recipe else [])]
    words += ["--data", named_data(registry, data), "--out", f"runs/{config.recipe}"]
    for key, value in given.items():
        if key in LISTS:
            words += [word for name in value or ("none",) for word in (f"--{key}", name)]
            continue
        words += [f"--{key}", value] if key != "conditional" else ["--conditional" if value else "--no-conditional"]
    was, now = ({k: v for k, v in c.flat().items() if "." in k} for c in (base, config))
    if now["train.steps"] and now["train.steps"] != was["train.steps"]:
        words += ["--steps", typed(now["train.steps"])]
    elif now["train.epochs"] != was["train.epochs"] or (was["train.steps"] and not now["train.steps"]):
        words += ["--epochs", typed(now["train.epochs"])]
    words += ["--seed", str(seed), "--precision", precision]  # which another machine would choose otherwise
    for key, value in (data_options or {}).items():
        words += ["--set", f"data.{key}={_plain(value)}"]
    for key, value in now.items():
        if value != was.get(key) and key not in ("train.steps", "train.epochs"):
            words += ["--set", f"{key}={typed(value)}"]
    return words


def _names(config: Config) -> dict[str, Any]:
    """The parts of a composition as options name them, those too that it has by saying nothing."""
    lists = {kind: tuple(p.name for p in config.lists.get(kind, ())) for kind in LISTS}
    return {"posterior": NORMAL, "prior": NORMAL, **{k: p.name for k, p in config.parts.items()}, **lists}


def _entry(registry: Registry, kind: str, name: str, plugin: str = "") -> Entry | None:
    """An entry, or None if there is none."""
    try:
        return registry.get(kind, name, prefer=plugin)
    except UsageError:
        return None


def named_data(registry: Registry, data: object) -> str:
    """Data as a command names it; of a path, what does not tell about the machine."""
    if isinstance(data, str) and _entry(registry, "dataset", data):
        return data
    if isinstance(data, (str, os.PathLike)):
        return f"path/to/{Path(data).expanduser().resolve().name}"
    return "path/to/data.npz"


def _plain(value: Any) -> str:
    """An option's value; an absolute path is told by its name alone."""
    text = typed(value)
    return f"path/to/{Path(text).name}" if os.path.isabs(os.path.expanduser(text)) else text
