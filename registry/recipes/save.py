"""Recipes as files that people read, change and pass on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from genzoo.core.arguments import checked
from genzoo.core.errors import UsageError
from genzoo.core.storage.files import MANIFEST, given_path, write_bytes
from genzoo.registry import Entry, Registry, the_registry


@checked
def save_recipe(
    source: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a recipe as a TOML file that `genzoo.fit` and ``genzoo train`` take.

    Args:
        source: a recipe's name or file, or weights (a run's folder, a name): what they were trained by, exactly; None
            to compose from parts named in ``options``.
        out: the file, ``….toml``; the recipe is called as it is.
        options: what to change, as for `genzoo.fit`.
        overwrite: whether a file that is there may be replaced.

    Raises:
        UsageError: if the request is wrong, or the file is there; nothing was written.
    """
    file = given_path(out)
    if file.suffix != ".toml":
        raise UsageError(f"a recipe is a .toml file, which {str(file)!r} is not")
    if file.exists() and not overwrite:
        raise UsageError(f"{file} exists: choose another name, or overwrite it (--force)")
    write_bytes(file, recipe_text(source, name=file.stem, options=options).encode())
    return file


def recipe_text(
    source: str | os.PathLike[str] | None, *, name: str = "", options: Mapping[str, Any] | None = None
) -> str:
    """Return what `save_recipe` writes, under a name of its own if one is given."""
    from genzoo.registry.recipes.read import name_from
    from genzoo.registry.recipes.write import text_of, with_given

    registry, given = the_registry(), dict(options or {})
    entry, comment = _from(registry, source, given)
    entry = with_given(registry, entry, given)
    if given:
        comment += f", with {', '.join(f'{k}={v}' for k, v in given.items())}"
    return text_of(registry, replace(entry, name=name_from(name) if name else entry.name), comment)


def _from(registry: Registry, source: str | os.PathLike[str] | None, given: dict[str, Any]) -> tuple[Entry, str]:
    """The recipe, and a line on where it comes from."""
    from genzoo.core.config import KINDS, LISTS
    from genzoo.registry.recipes.read import find, is_file

    if source is None:
        if not given.get("objective"):
            raise UsageError("name a recipe, or an objective with --objective; 'genzoo list recipe' shows the recipes")
        name = str(given["objective"])
        data: dict[str, Any] = {k: given.get(k) for k in KINDS} | {k: () for k in LISTS}
        data |= {"conditional": False, "options": {}, "presets": {}}
        return Entry("recipe", registry.get("objective", name).name, data=data), "Composed from parts"
    if (is_file(source) and not os.path.isdir(source)) or not _is_weights(registry, source):
        return find(registry, source), f"From the recipe {os.fspath(source)}"
    from genzoo.core.storage.weights import read_config
    from genzoo.core.training.runs import checkpoints
    from genzoo.registry.recipes.write import from_config
    from genzoo.registry.weights import resolve

    found = resolve(source)
    folder = found.folder
    if not (folder / MANIFEST).exists() and checkpoints(folder):
        folder = checkpoints(folder)[-1]
    config = read_config(folder, within=found.within)
    on = f", trained on {config.data.name}" if config.data.name else ""
    return from_config(registry, config), f"From the weights {os.fspath(source)}: {config.recipe}{on}"


def _is_weights(registry: Registry, source: str | os.PathLike[str]) -> bool:
    """A folder, a name with a slash or a prefix of a store; a recipe's name is none of these."""
    text = os.fspath(source)
    if any(e.name == text.rpartition(":")[2] for e in registry.entries("recipe")) and not text.startswith("hf:"):
        return False
    return "/" in text or os.path.isdir(text) or text.startswith((".", "~", "hf:", "dir:"))
