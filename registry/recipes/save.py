"""What recipes are told as: TOML with every option by value, what a card says, and the command that trains them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from genzoo.core.arguments import checked
from genzoo.core.config import KINDS, LISTS, NORMAL, Config
from genzoo.core.errors import UsageError
from genzoo.core.options import OptionInfo, typed
from genzoo.core.storage.files import MANIFEST, given_path, write_bytes
from genzoo.core.text import toml
from genzoo.registry import Entry, Registry, the_registry
from genzoo.registry.discovery.static import infos_of
from genzoo.registry.entries import OWN, check_listed, group_of, groups_of, reference_of
from genzoo.registry.kinds import PARTS
from genzoo.registry.recipes.compose import check_groups, compose
from genzoo.registry.recipes.inherit import layered, parted, settled
from genzoo.registry.recipes.read import FORMAT, find, is_file, name_from


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
    registry, given = the_registry(), dict(options or {})
    entry, comment = _from(registry, source, given)
    entry = with_given(registry, entry, given)
    if given:
        comment += f", with {', '.join(f'{k}={v}' for k, v in given.items())}"
    return text_of(registry, replace(entry, name=name_from(name) if name else entry.name), comment)


def _from(registry: Registry, source: str | os.PathLike[str] | None, given: dict[str, Any]) -> tuple[Entry, str]:
    """The recipe, and a line on where it comes from."""
    if source is None:
        if not given.get("objective"):
            raise UsageError("name a recipe, or an objective with --objective; 'genzoo list recipe' shows the recipes")
        name = str(given["objective"])
        layer = {k: given.get(k) for k in KINDS} | dict.fromkeys(LISTS, ()) | {"conditional": False}
        return Entry("recipe", registry.get("objective", name).name, data=parted(layer)), "Composed from parts"
    if (is_file(source) and not os.path.isdir(source)) or not _is_weights(registry, source):
        return find(registry, source), f"From the recipe {os.fspath(source)}"
    from genzoo.core.storage.weights import read_config
    from genzoo.core.training.runs import checkpoints
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


def with_given(registry: Registry, entry: Entry, given: Mapping[str, Any]) -> Entry:
    """Put what a user set (as for `compose`) over a recipe: over its presets too, as it would be in training."""
    check_groups(given, registry, entry)
    said: dict[str, Any] = {k: given[k] for k in KINDS if given.get(k)}
    said |= {k: check_listed("", k, given[k]) for k in LISTS if given.get(k) is not None}
    if given.get("conditional") is not None:
        said["conditional"] = OptionInfo("conditional", "bool", False).coerce(given["conditional"], "conditional")

    def under(layer: Mapping[str, Any]) -> dict[str, Any]:
        """What is left of a layer of the recipe: what belongs to parts that stay."""
        kept = layered({k: entry.data[k] for k in PARTS} | dict(layer), said, add=False)
        return {k: v for k, v in kept.items() if k in layer}

    data = {**entry.data, **said, "options": under(entry.data["options"])}
    data["presets"] = {k: under(v) for k, v in entry.data["presets"].items()}
    for key, value in given.items():
        group, name = group_of(key)
        if not name or "." not in key:
            continue
        of_part = group.partition(".")[0] in PARTS
        places = [(data, data["options"]), *((p, p) for p in data["presets"].values() if of_part)]
        places = [(named, layer) for named, layer in places if not of_part or reference_of(named, group)]
        if not places:
            raise UsageError(f"{key!r} is an option of a part that the recipe leaves open: name it, {group}=NAME")
        fitting = []
        for named, layer in places:
            infos = {i.name: i for i in infos_of(registry, group, named, entry.home)}
            if name in infos:
                fitting.append((layer, infos[name].coerce(value, key)))
        if not fitting:
            what = f"{group.partition('.')[0]} {reference_of(places[0][0], group)!r}" if of_part else group
            raise UsageError(f"{what} has no option {name!r}; it has {', '.join(infos) or 'none'}")
        for preset in data["presets"].values():
            preset.pop(key, None)
        for layer, fits in fitting:
            layer[key] = fits
    return replace(entry, data=data)


def from_config(registry: Registry, config: Config) -> Entry:
    """The recipe of a model that was trained: what was used, by value."""
    layer: dict[str, Any] = dict.fromkeys(KINDS) | config.flat() | dict.fromkeys(LISTS, ())
    for kind, part in config.components():
        found = registry.get(kind, part.name, prefer=(part.plugin, part.distribution))
        reference = f"{found.distribution}/{found.address}"
        layer[kind] = (*layer[kind], reference) if kind in LISTS else reference
    return Entry("recipe", config.recipe, data=parted(layer))


def text_of(registry: Registry, entry: Entry, comment: str = "") -> str:
    """The file's text, below a line on where the recipe comes from."""
    needs: dict[str, str] = {}
    entry = _by_value(registry, entry)
    parts = _table(registry, entry, entry.data, needs)
    presets = [(f"presets.{k}", p, _table(registry, entry, p, needs)) for k, p in entry.data["presets"].items()]
    lines = [f"# {comment}"] if comment else []
    lines += ["# Train it: genzoo train FILE --data DATA --out FOLDER", "", f"format = {FORMAT}"]
    lines += [f"{k} = {toml(v)}" for k in ("name", "summary", "paper") if (v := getattr(entry, k))]
    lines += [f"{k} = {toml(v)}" for k in ("modalities", "tags") if (v := getattr(entry, k))]
    if needs:
        lines.append(f"needs = {toml([f'{k} {v}' for k, v in sorted(needs.items())])}  # distributions of the parts")
    lines.append(f"conditional = {toml(entry.data['conditional'])}  # on the class label")
    lines += ["", "[parts]", *(f"{k} = {toml(v)}" for k, v in parts.items())]
    for group in groups_of(entry.data):
        lines += _group(group, entry.data["options"], group, infos_of(registry, group, entry.data, entry.home))
    if presets:
        lines += ["", "# What goes over all that on some data: by modality, or by the data set's name."]
    for where, preset, named in presets:
        conditional = [f"conditional = {toml(preset['conditional'])}"] if "conditional" in preset else []
        lines += ["", f"[{where}]", *conditional] if conditional or not (named or any("." in k for k in preset)) else []
        if named:
            lines += ["", f"[{where}.parts]", *(f"{k} = {toml(v)}" for k, v in named.items())]
        whole = {k: entry.data[k] if preset.get(k) is None else preset[k] for k in PARTS}
        for group in groups_of(whole):
            lines += _group(group, preset, f"{where}.{group}", infos_of(registry, group, whole, entry.home))
    return "\n".join(lines) + "\n"


def _table(registry: Registry, entry: Entry, named: Mapping[str, Any], needs: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {k: _reference(registry, entry, k, named[k], needs) for k in KINDS if named.get(k)}
    for kind in LISTS:
        preset = named is not entry.data
        if named.get(kind) or (preset and kind in named):
            # Of the recipe itself every option stands below, by value; a preset's stand in its words.
            words = [word.partition("=") for word in named[kind]]
            found[kind] = [
                _reference(registry, entry, kind, name, needs) + (f"={number}" if equals and preset else "")
                for name, equals, number in words
            ]
    return found


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
    settings = [f"{i.name} = {toml(i.coerce(v, i.name))}" for i, v in given]
    width = min(max(map(len, settings)), 40)
    meant = [i.meaning() for i, _ in given]
    return ["", f"[{title}]", *(f"{s:<{width}}  # {m}" for s, m in zip(settings, meant, strict=True))]


def _by_value(registry: Registry, entry: Entry) -> Entry:
    """The same recipe with every option of the parts that it and its presets name by value."""
    data = {**entry.data, "options": {i.name: i.default for i in registry.options(entry)}, "presets": {}}
    for name, preset in entry.data["presets"].items():
        whole = dict(preset)
        for kind in KINDS:
            others = [entry.data[kind], *(p.get(kind) for n, p in entry.data["presets"].items() if n != name)]
            if preset.get(kind) and preset[kind] not in others:  # else what those say of the part holds too
                infos = registry.options(registry.get(kind, preset[kind], prefer=entry.home))
                whole = {f"{kind}.{i.name}": i.default for i in infos} | whole
        data["presets"][name] = whole
    return replace(entry, data=data)


def about(registry: Registry, config: Config, data: object, seed: int, called: Mapping[str, Any]) -> dict[str, Any]:
    """Say what a model is, for ``training.json`` and its card: summary, papers, tags and the command, where known.

    ``data`` is what it was trained on, as it was given: a name, a path (of which only the last part is told), or
    anything else; ``called`` is what a run's record says it was called with.
    """
    part = config.parts["objective"]
    found: dict[str, Any] = {}
    entries = [_entry(registry, "recipe", config.recipe), _entry(registry, "objective", part.name, part.plugin)]
    for key in ("summary", "paper"):
        found[key] = next((getattr(e, key) for e in entries if e and getattr(e, key)), "")
    found["tags"] = list(dict.fromkeys(tag for e in entries if e for tag in e.tags))
    of_data = _entry(registry, "dataset", config.data.name)
    found["data paper"] = of_data.paper if of_data else ""
    told = {key: called[key] for key in ("precision", "init", "init_partial") if key in called}
    found["command"] = command(registry, config, data, seed=seed, data_options=called["data"], **told)
    return {key: value for key, value in found.items() if value}


def command(
    registry: Registry,
    config: Config,
    data: object,
    *,
    seed: int,
    data_options: Mapping[str, Any] | None = None,
    precision: str = "float32",
    init: str | os.PathLike[str] | None = None,
    init_partial: bool = False,
) -> list[str]:
    """The words of the ``genzoo train`` command that makes this composition: what differs from the recipe.

    Weights that it starts from are told by their name, and by the last part of a path.
    """
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
    if init is not None:
        words += ["--init", f"path/to/{Path(init).resolve().name}" if Path(init).exists() else os.fspath(init)]
        words += ["--init-partial"] * init_partial
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
