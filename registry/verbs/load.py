"""What is in the zoo: list it, describe it, build it, load it."""

from __future__ import annotations

import builtins
import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from genzoo.core.arguments import checked
from genzoo.core.errors import GenzooError, UsageError, in_words
from genzoo.registry import the_registry
from genzoo.registry.entries import article
from genzoo.registry.kinds import PARTS

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from genzoo.core.data import Data
    from genzoo.core.model import Model
    from genzoo.core.spec import DataSpec
    from genzoo.registry.entries import Entry
    from genzoo.registry.registry import Registry


@checked
def list(
    kind: str | None = None,
    name: str | None = None,
    *,
    modality: str | None = None,
    tag: str | None = None,
    plugin: str | None = None,
) -> builtins.list[Entry]:
    """Entries of the zoo, by kind and name; imports no torch.

    Args:
        kind: ``recipe``, ``objective``, ``generator``, …; None for all.
        name: only such names, with wildcards: ``genzoo.list("weights", "*mnist*")``; alone it may stand in place of
            the kind, ``genzoo.list("*vq*")``.
        modality: only what works on it.
        tag: only what carries it.
        plugin: only what this plugin adds.
    """
    return the_registry().entries(kind, name, modality=modality, tag=tag, plugin=plugin)


@checked
def show(name: str, *, data: str = "", modality: str = "") -> dict[str, Any]:
    """Describe one entry of the zoo as plain data; imports no torch.

    Args:
        name: its name, or ``kind:name`` or ``plugin:name`` where that is ambiguous; or a recipe's TOML file; or the
            folder of a run, of which `genzoo.registry.weights.history.described` says what is known.
        data: of a recipe, the data set by whose presets its options go.
        modality: the kind of data instead; by default the first that the recipe names, or ``image``.

    Returns:
        What `Entry` holds, and ``doc`` (a recipe's is its objective's), ``formula``, ``when`` and ``cost`` (parts of
        it), ``options`` (name, type, default, doc, range of each), ``relatives`` (names by what they are) and ``also``
        (entries of other kinds with that name). Of a recipe ``on`` says for which data options and ``parts`` hold: they
        are what a run on such data gets. Of weights ``versions`` too: of each its recipe, data, license, metrics, size,
        hashes, and where it is.

    Raises:
        UsageError: if there is no such entry, data set or modality.
    """
    from genzoo.registry.handbook import said
    from genzoo.registry.recipes.inherit import settled

    registry = the_registry()
    if _is_run(name):
        from genzoo.registry.weights.history import described

        if data or modality:
            raise UsageError(f"only a recipe goes by the data, and {name} is a run")
        return described(name)
    if name.endswith(".toml"):
        from genzoo.registry.recipes.read import read

        entry, *others = [read(registry, name)]
    else:
        entry, *others = registry.find(name)  # a recipe comes before the objective of its name
    more: dict[str, Any] = {}
    chosen = entry
    if entry.kind == "weights":
        from genzoo.registry.weights.bundled import about_weights, version_of

        _, at, version = name.partition("@")
        numbers = [version_of(entry, version)] if at else [int(v) for v in entry.data["versions"]]
        more["versions"] = [about_weights(entry, v) for v in numbers]
    if entry.kind == "recipe":
        if data:
            found = registry.get("dataset", data)
            modality, data = modality or (*found.modalities, "image")[0], found.name
        modality = modality or (*entry.modalities, "image")[0]
        chosen = settled(registry, entry, modality, data)
        more["on"] = {"modality": modality, "data": data}
        more["parts"] = {k: v for k in PARTS if (v := chosen.data[k])}
    elif data or modality:
        raise UsageError(f"only a recipe goes by the data, and {entry.name!r} is {article(entry.kind)}")
    of = registry.get("objective", entry.data["objective"], prefer=entry.home) if entry.kind == "recipe" else entry
    doc = registry.docstring(of)
    return {
        **entry.to_dict(),
        **more,
        "doc": doc,
        **said(registry, entry),
        "options": [dict(o.__dict__) for o in registry.options(chosen)],
        "relatives": _relatives(registry, entry),
        "also": [f"{e.kind}:{e.name}" for e in others],
    }


def _is_run(name: str) -> bool:
    """Whether a folder of weights is meant: one that is there, and holds what a run writes."""
    folder = os.path.expanduser(name)
    return any(os.path.exists(os.path.join(folder, part)) for part in ("config.json", "checkpoints", "training.json"))


def _relatives(registry: Registry, entry: Entry) -> dict[str, builtins.list[str]]:
    """Recipes by what they are to one: what it is like, what is like it, and what is like the same."""
    if entry.kind != "recipe":
        return {}
    above = entry.data.get("family", ())
    others = [e for e in registry.entries("recipe") if e.name != entry.name]
    groups = {
        "like": builtins.list(above),
        "like it": [e.name for e in others if entry.name in e.data.get("family", ())],
        "beside it": [e.name for e in others if above and e.data.get("family", ())[:1] == above[:1]],
    }
    return {what: names for what, names in groups.items() if names}


@checked
def list_plugins() -> builtins.list[dict[str, Any]]:
    """Every plugin as plain data: name, distribution, version, module, status, what it adds, seconds, errors; no torch.

    Status is ``enabled``, ``disabled`` (`genzoo plugins disable`) or ``left out`` (by ``GENZOO_PLUGINS``,
    ``--no-plugins``). Errors are what went wrong while loading, and entries whose targets are not there; the zoo's own
    entries are checked by its tests instead. Notes are on what works and should be otherwise.
    """
    from genzoo.registry.discovery import installed
    from genzoo.registry.entries import PluginRecord

    registry = the_registry()
    faults: dict[tuple[str, str], builtins.list[str]] = {}
    others = [e for e in registry.entries() if e.distribution != "genzoo"]
    for entry, why in registry.check_targets(others) if others else ():
        faults.setdefault((entry.plugin, entry.distribution), []).append(f"{entry.kind} {entry.name}: {why}")
    records = registry.plugins()
    loaded = {(r.name, r.distribution) for r in records}
    off = installed.disabled()
    status: dict[tuple[str, str], str] = {}
    for p in installed.plugins():
        if (p.name, p.distribution) not in loaded:
            records.append(PluginRecord(p.name, p.distribution, p.version, p.module))
            status[p.name, p.distribution] = "disabled" if p.address in off else "left out"
    return [
        {
            **{k: getattr(r, k) for k in ("name", "distribution", "version", "module", "api")},
            "status": status.get((r.name, r.distribution), "enabled"),
            "adds": [f"{e.kind}:{e.name}" for e in r.entries],
            "seconds": round(r.seconds, 4),
            "errors": ([r.error] if r.error else []) + faults.get((r.name, r.distribution), []),
            "notes": builtins.list(r.notes),
        }
        for r in records
    ]


@checked
def create(recipe: str, data: DataSpec, *, seed: int = 0, options: Mapping[str, Any] | None = None) -> Model:
    """Build an untrained model, in eval mode.

    Args:
        recipe: its name.
        data: what an observation is, for example ``DataSpec.image(3, 64, 64)``.
        seed: of the initialization.
        options: by dotted name, as for `genzoo.fit`.
    """
    from genzoo.core.spec import DataSpec
    from genzoo.registry.recipes.compose import compose
    from genzoo.registry.verbs.initialize import initialize

    if not isinstance(data, DataSpec):
        raise UsageError(f"create takes a DataSpec such as DataSpec.image(3, 64, 64), not {data!r}")
    config = compose(the_registry(), data, recipe, options)
    return initialize(config, seed)[1].model.eval()


@checked
def load(weights: str | os.PathLike[str], *, device: str | torch.device = "cpu", verbose: bool = True) -> Model:
    """Load a trained model, in eval mode.

    Args:
        weights: a name of the zoo (``wgan-gp/fashion-mnist``, ``wgan-gp/fashion-mnist@1``), a model on the Hub
            (``hf:org/name``, ``hf:org/name@revision``), or a folder: a weights folder, or a run's; of a run that was
            killed, its newest whole checkpoint.
        device: where to.
        verbose: whether to say on stderr what is downloaded, and that a checkpoint or an old copy is used.

    Raises:
        GenzooError: if it is not there, damaged, or made by a plugin that is not installed.
    """
    from genzoo.core.storage.files import MANIFEST
    from genzoo.core.storage.load_model import load_model
    from genzoo.core.storage.weights import CONFIG, read_config
    from genzoo.core.text import tell
    from genzoo.core.training.runs import checkpoints, from_newest
    from genzoo.registry.recipes.compose import resolver
    from genzoo.registry.verbs.initialize import pick_device
    from genzoo.registry.weights import resolve
    from genzoo.registry.weights.locate import no_weights

    found = resolve(weights, progress=verbose, say=tell if verbose else None)
    folder = found.folder

    where = pick_device(device) if isinstance(device, str) else device

    def read(folder: Path) -> Model:
        config = read_config(folder, within=found.within)
        return load_model(folder, resolver(the_registry(), config), device=where, within=found.within)

    if not (folder / MANIFEST).exists() and checkpoints(folder):
        folder, model, _ = from_newest(folder, read)
        if verbose:
            tell(f"the run was not finished, using {folder}")
        return model
    if not (folder / MANIFEST).exists() and not (folder / CONFIG).exists():
        raise GenzooError(no_weights(folder))
    return read(folder)


@checked
def load_data(
    data: Any,
    *,
    labels: Any = None,
    split: Literal["train", "test", "all"] = "train",
    options: Mapping[str, Any] | None = None,
) -> Data:
    """Open data.

    Args:
        data: a data set's name, a path (folder of images, .npy, .npz), a tensor or an array, a pair (observations,
            labels), a torch Dataset or DataLoader.
        labels: class labels, where ``data`` is an array.
        split: ``train``, ``test`` or ``all``, for names and paths.
        options: of the data set, by name: ``{"binarize": "static"}``.
    """
    from genzoo.core.data.summary import surprises, was_read
    from genzoo.registry.verbs.data import open_data

    found = open_data(the_registry(), data, options, labels=labels, split=split)
    for line in [] if found is data else surprises(was_read(found)):
        warnings.warn(in_words(f"{found.name or 'data'}: {line}"), stacklevel=3)
    return found
