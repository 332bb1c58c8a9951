"""From a recipe, or parts by name, and what a user set, to a composition by value."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from genzoo.core.config import KINDS, Config, Part, TrainOptions
from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.options import OptionInfo, coerce_all, options_of
from genzoo.core.spec import DataSpec, Latent
from genzoo.registry.discovery import loader, state
from genzoo.registry.entries import Entry
from genzoo.registry.recipes.read import find
from genzoo.registry.registry import Registry

if TYPE_CHECKING:
    from genzoo.core.objective import Objective

NETWORKS = ("generator", "encoder", "critic")
GROUPS = (*KINDS, "latent", "train")
_TRAIN = {o.name: o for o in options_of(TrainOptions)}
DEFAULT_NETWORK = {"image": "conv"}  # for parts that nobody named; anything else gets an mlp


def likelihood_for(spec: DataSpec) -> str:
    """Name the likelihood that fits the data: what is used unless one is named."""
    if spec.levels == 2:
        return "bernoulli"
    return "discretized-logistic" if spec.levels else "gaussian"


def compose(
    registry: Registry,
    spec: DataSpec,
    recipe: str | os.PathLike[str] | None = None,
    given: Mapping[str, Any] | None = None,
) -> Config:
    """Settle every part and every option by value.

    What a later layer says goes over an earlier one: defaults of the components, the recipe's options, its
    preset for the modality, its preset for the data set, what the user gave. A recipe's option for a part
    is dropped where a later layer put another part in its place.

    Args:
        registry: where names are looked up.
        spec: the data.
        recipe: a recipe's name or its TOML file, or None to compose from parts (``given`` must then name an objective).
        given: by dotted name (``objective.gp_weight``, ``latent.size``, ``train.lr``), a part's name under
            its kind (``generator``), or ``conditional``; values may be text.

    Raises:
        UsageError: for unknown names and options and values that do not fit; says which, with the nearest.
    """
    given = dict(given or {})
    entry = find(registry, recipe) if recipe else None
    layers = _layers(entry, spec)
    check_groups(given, registry, entry)
    layers.append(given)
    home = entry.home if entry else ()

    settled: dict[str, str] = {}
    for layer in layers:
        settled |= {k: v for k, v in layer.items() if k in KINDS and v}
    if "objective" not in settled:
        raise UsageError("name a recipe, or an objective with --objective; 'genzoo list recipe' shows the recipes")

    def options(kind: str, infos: list[OptionInfo]) -> dict[str, Any]:
        """Merge what the layers say of one group."""
        merged: dict[str, Any] = {}
        named = None
        for layer in layers:
            named = layer.get(kind) or named
            if kind not in KINDS or named in (None, settled.get(kind)) or layer is given:
                merged |= {k.partition(".")[2]: v for k, v in layer.items() if k.startswith(f"{kind}.")}
        return coerce_all(infos, merged, kind)

    def part(kind: str, name: str, default: str = "") -> Part:
        found = registry.get(kind, name or default, prefer=home if name else ("genzoo",))
        return Part(found.name, options(kind, registry.options(found)), found.plugin, found.distribution, found.version)

    conditional = next(
        (layer["conditional"] for layer in reversed(layers) if layer.get("conditional") is not None), False
    )
    conditional = OptionInfo("conditional", "bool", False).coerce(conditional, "conditional")
    if conditional and not spec.classes:
        raise UsageError(
            "a conditional model needs labels, and this data has none: use class sub-folders or give labels"
        )
    parts = {"objective": part("objective", settled["objective"])}
    plan = _objective(registry, parts["objective"]).plan(spec, spec.classes if conditional else 0)
    wanted = {kind: plan.wants(kind) for kind in NETWORKS}
    name = parts["objective"].name
    for kind in NETWORKS:
        if wanted[kind]:
            parts[kind] = part(kind, settled.get(kind, ""), DEFAULT_NETWORK.get(spec.modality, "mlp"))
        elif kind in given or any(k.startswith(f"{kind}.") for k in given):
            raise UsageError(f"objective {name!r} has no {kind}")
    if plan.likelihood:
        parts["likelihood"] = part("likelihood", settled.get("likelihood", ""), likelihood_for(spec))
    elif "likelihood" in given or any(k.startswith("likelihood.") for k in given):
        raise UsageError(f"objective {name!r} has no likelihood: its generator puts out samples")

    latent = Latent(**options("latent", options_of(Latent)))
    train = TrainOptions(**options("train", list(_TRAIN.values())))
    return Config(entry.name if entry else name, spec, latent, bool(conditional), parts, train)


def resolver(registry: Registry, config: Config | None = None) -> Any:
    """Return what `genzoo.core.build.build` wants: a function from kind and name to class.

    With a config, a name that several plugins claim means the plugin that the config recorded, and the options
    that it recorded are checked against those that the part has here.

    Raises:
        GenzooError: from that function, if the plugin is not there or has no such option any more.
    """

    def resolve(kind: str, name: str) -> type:
        part = config.parts.get(kind) if config else None
        if part is None:
            return registry.load(registry.get(kind, name), _base(kind))
        maker = f"plugin {part.plugin!r} of {part.distribution} {part.version}"
        records = [r for r in registry.plugins() if (r.name, r.distribution) == (part.plugin, part.distribution)]
        absent = GenzooError(f"{kind} {name!r} comes from {maker}, which is {_missing(part)}")
        try:
            entry = registry.get(kind, name, prefer=(part.plugin, part.distribution))
        except UsageError as e:
            if records or not part.plugin:
                raise
            raise absent from e
        if not records and part.distribution and entry.distribution != part.distribution:
            raise absent  # what another distribution has under this name is another network
        try:
            coerce_all(registry.options(entry), part.options, kind)
        except UsageError as e:
            raise GenzooError(f"{kind} {name!r} of {entry.origin} cannot be what {maker} made: {e}") from e
        return registry.load(entry, _base(kind))

    return resolve


def _base(kind: str) -> type | None:
    """What a part of a kind must inherit from; None of a kind that `genzoo.core.build` does not ask for."""
    from genzoo.core import likelihood, networks, objective

    homes = {"generator": networks, "encoder": networks, "critic": networks, "objective": objective,
             "likelihood": likelihood}  # fmt: skip
    return getattr(homes[kind], kind.capitalize()) if kind in homes else None


def _missing(part: Part) -> str:
    """Why a part's plugin is not there, and what to do."""
    for found in loader.installed(lambda line: None):
        if (found.name, found.distribution) == (part.plugin, part.distribution):
            if loader.is_off(found, state.disabled(loader.warn)):
                return f"disabled: 'genzoo plugins enable {found.address}' loads it again"
            return "left out: do without --no-plugins, and name it in GENZOO_PLUGINS if that is set"
    pin = f"'{part.distribution}=={part.version}'" if part.version else part.distribution
    return f"not there: install {part.distribution} (pip install {pin})"


def _layers(entry: Entry | None, spec: DataSpec) -> list[dict[str, Any]]:
    if entry is None:
        return []
    data = entry.data
    first = {k: data[k] for k in KINDS if data.get(k)} | {"conditional": data["conditional"]}
    presets = [data["presets"][key] for key in (spec.modality, spec.name) if key in data["presets"]]
    return [first | data["options"], *presets]


def _objective(registry: Registry, part: Part) -> Objective:
    from genzoo.core.objective import Objective

    cls = registry.load(registry.get("objective", part.name, prefer=(part.plugin, part.distribution)), Objective)
    built: Objective = cls(cls.Options(**part.options))  # type: ignore[attr-defined]
    return built


def check_groups(given: Mapping[str, Any], registry: Registry, entry: Entry | None) -> None:
    """Refuse dotted names of no known group, with the option that was probably meant."""
    for key in given:
        group, dot, _ = key.partition(".")
        if (dot and group in GROUPS) or (not dot and (key in KINDS or key == "conditional")):
            continue
        if group == "data":
            raise UsageError(f"{key!r} is an option of a data set: give it where data is opened")
        if dot:
            raise UsageError(f"there is no group {group!r} of options{did_you_mean(group, (*GROUPS, 'data'))}; "
                             f"there are {', '.join((*GROUPS, 'data'))}")  # fmt: skip
        known = [f"latent.{f.name}" for f in fields(Latent)] + [f"train.{f.name}" for f in fields(TrainOptions)]
        if entry:
            known = [i.name for i in registry.options(entry)]
        ends = {k.partition(".")[2] for k in known}
        meant = {key} if key in ends else set(difflib.get_close_matches(key, ends, n=2, cutoff=0.6))
        near = [k for k in known if k.partition(".")[2] in meant]
        hint = (
            f" (did you mean {' or '.join(map(repr, near))}?)" if near else did_you_mean(key, (*KINDS, "conditional"))
        )
        raise UsageError(f"there is no option {key!r}{hint}; options are written GROUP.NAME")


def with_steps(config: Config, *, steps: int | None, epochs: float | None, batch_size: int | None) -> Config:
    """Put the three most used training options over what the recipe says; steps and epochs exclude each other."""
    if steps is not None and epochs is not None:
        raise UsageError("give either steps or epochs, not both")
    changes: dict[str, Any] = {}
    # Zero means "the other one" in the options of training; of somebody who asks for it, it is a mistake.
    if steps is not None:
        changes["steps"] = replace(_TRAIN["steps"], low=1).coerce(steps, "steps")
    if epochs is not None:
        changes |= {"epochs": _TRAIN["epochs"].coerce(epochs, "epochs"), "steps": 0}
        if not changes["epochs"] > 0:
            raise UsageError(f"epochs must be more than 0, not {epochs}")
    if batch_size is not None:
        changes["batch_size"] = batch_size
    train = coerce_all(_TRAIN.values(), {**config.train.__dict__, **changes}, "train")
    return replace(config, train=TrainOptions(**train))
