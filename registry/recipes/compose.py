"""From a recipe, or parts by name, and what a user set, to a composition by value."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from genzoo.core.config import KINDS, LISTS, NORMAL, Config, Part, TrainOptions
from genzoo.core.errors import GenzooError, UsageError, did_you_mean, folded
from genzoo.core.modality import of
from genzoo.core.options import OptionInfo, coerce_all, options_of, typed
from genzoo.core.spec import DataSpec, Latent
from genzoo.registry.discovery import installed
from genzoo.registry.entries import OWN, Entry, article, check_listed, group_of, lowered, part_name, resolve
from genzoo.registry.kinds import TABLE
from genzoo.registry.recipes.inherit import NETWORKS, flat, layered, numbered, settled
from genzoo.registry.recipes.read import find
from genzoo.registry.registry import Registry

if TYPE_CHECKING:
    from genzoo.core.objective import Objective

GROUPS = (*KINDS, *LISTS, "latent", "train")
_TRAIN = {o.name: o for o in options_of(TrainOptions)}


def compose(
    registry: Registry,
    spec: DataSpec,
    recipe: str | os.PathLike[str] | Entry | None = None,
    given: Mapping[str, Any] | None = None,
    beside: Mapping[str, Any] | None = None,
) -> Config:
    """Settle every part and every option by value; raises `UsageError` for what is unknown or does not fit.

    What a later layer says goes over an earlier one: defaults of the components, the recipe's options, its
    preset for the modality, its preset for the data set, ``beside`` (what weights to start from say), what the user
    gave. A recipe's option for a part is dropped where a later layer put another part in its place.

    ``recipe`` is a name, a TOML file or an entry, or None to compose from parts; ``given`` is by dotted name
    (``objective.gp_weight``, ``regularizer.r1.weight``, ``latent.size``, ``train.lr``), a part's name under its kind
    (``generator``; empty for what the objective and the data have by default), names of regularizers and augmentations
    under theirs (``["r1=0.5", "lecam"]``, or ``none``), or ``conditional``; values may be text. ``condition`` is short
    for ``conditional`` and the critic's way of being told the class (``critic.condition``).
    """
    given = dict(given or {})
    if (how := given.pop("condition", None)) is not None:
        given |= {"conditional": True, "critic.condition": how}
    entry = recipe if isinstance(recipe, Entry) else find(registry, recipe) if recipe else None
    if entry and not entry.fits(spec.modality, of(spec).like):
        raise UsageError(
            f"recipe {entry.name!r} is for {' or '.join(of(m).many for m in entry.modalities)}, and the data are "
            f"{of(spec).many}: 'genzoo list recipe --modality {spec.modality}' shows others"
        )
    check_groups(given, registry, entry)
    given = {k: v for k, v in given.items() if "." in k or v is not None}
    given |= {kind: lowered(given[kind]) for kind in KINDS if given.get(kind)}
    given |= {kind: check_listed("", kind, given[kind]) for kind in LISTS if kind in given}
    home = entry.home if entry else ()

    def look(kind: str, name: str) -> Entry:
        return registry.get(kind, name, prefer=home)

    def fits(kind: str, name: str) -> bool:
        return look(kind, name).fits(spec.modality, of(spec).like)

    layer = {**dict.fromkeys(KINDS), **dict.fromkeys(LISTS, ()), "conditional": False}
    if entry:
        layer = flat(settled(registry, entry, spec.modality, spec.name, networks=False).data)
    if beside:
        lost = {k: None for k in (*NETWORKS, "likelihood") if beside.get(k) and not fits(k, beside[k])}
        layer = layered(layered(layer, beside), lost)
    for kind in KINDS:  # a part that is there already keeps its options
        said, there = given.get(kind), layer[kind]
        if said and isinstance(there, str) and look(kind, said) == look(kind, there):
            given[kind] = there
    layer = layered(layer, numbered(registry, given, home))
    if not layer["objective"]:
        raise UsageError("name a recipe, or an objective with --objective; 'genzoo list recipe' shows the recipes")

    def asked(kind: str) -> bool:
        return bool(given.get(kind)) or any(k.startswith(f"{kind}.") for k in given)

    def options(group: str, infos: list[OptionInfo]) -> dict[str, Any]:
        return coerce_all(infos, {n: v for k, v in layer.items() for g, n in (group_of(k),) if n and g == group}, group)

    def part(kind: str, word: str | None, default: str = "") -> Part:
        name = (word or default).partition("=")[0]
        found = registry.get(kind, name, prefer=home if word else ("genzoo",))
        group = f"{kind}.{part_name(word)}" if word and kind in LISTS else kind
        known = options(group, registry.options(found))
        return Part(found.name, known, found.plugin, found.distribution, found.version)

    conditional = OptionInfo("conditional", "bool", False).coerce(layer["conditional"], "conditional")
    if conditional and not (spec.classes or spec.conditions):
        raise UsageError(
            "a conditional model needs labels, and this data has none: pictures have them if those of each class are "
            "in a folder of their own, an .npz if it has an array 'y'"
        )
    parts = {"objective": part("objective", layer["objective"])}
    name = parts["objective"].name
    lists = {kind: tuple(part(kind, word) for word in layer[kind]) for kind in LISTS if layer[kind]}
    for key in given:
        kind, _, bare = group_of(key)[0].partition(".")
        there = [p.name for p in lists.get(kind, ())]
        if kind in LISTS and bare and bare not in there:
            hint = did_you_mean(bare, there) or f": name it with --{kind} {bare}"
            raise UsageError(f"{key!r} is an option of {article(kind)} that is not there{hint}")
    objective, lists = _objective(registry, parts["objective"], lists, given)
    plan = objective.plan(spec, spec.classes if conditional else 0)
    for kind in NETWORKS:
        if plan.wants(kind):
            parts[kind] = part(kind, layer[kind], of(spec).network(kind))
        elif asked(kind):
            raise UsageError(f"objective {name!r} has no {kind}")
    if plan.likelihood:
        parts["likelihood"] = part("likelihood", layer["likelihood"], of(spec).likelihood(spec))
    elif asked("likelihood"):
        raise UsageError(f"objective {name!r} has no likelihood: its generator puts out samples")

    for kind, default in (("posterior", plan.posterior), ("prior", plan.prior)):
        told = layer[kind] is not None or any(k.startswith(f"{kind}.") for k in layer)
        if not isinstance(default, str):  # none, or one of the objective's own
            if asked(kind):
                raise UsageError(f"objective {name!r} takes no {kind}")
        elif told or default != NORMAL:
            made = part(kind, layer[kind], default)
            plain = {i.name: i.default for i in registry.options(registry.get(kind, NORMAL, prefer=OWN))}
            if default != NORMAL or (made.name, made.distribution, made.options) != (NORMAL, OWN, plain):
                parts[kind] = made  # the normal one is what a composition has that says nothing, unless the plan does

    latent = _latent(registry, spec, parts["generator"], Latent(**options("latent", options_of(Latent))), given)
    train = TrainOptions(**options("train", list(_TRAIN.values())))
    return Config(entry.name if entry else name, spec, latent, bool(conditional), parts, train, lists)


def _latent(registry: Registry, spec: DataSpec, part: Part, latent: Latent, given: Mapping[str, Any]) -> Latent:
    """The code space as a generator wants it, but for what the user gave."""
    from genzoo.core.networks import Generator

    found = registry.get("generator", part.name, prefer=(part.plugin, part.distribution))
    cls: Any = registry.load(found, Generator)
    shape = cls.code_shape(spec, latent, cls.Options(**part.options))
    told = {"size": shape[0], "grid": shape[1] if len(shape) > 1 else 0}
    return replace(latent, **{k: v for k, v in told.items() if f"latent.{k}" not in given})


def resolver(registry: Registry, config: Config | None = None) -> Any:
    """What `genzoo.core.build.build` wants: a function from kind and name to class.

    With a config, a name that several plugins claim means the plugin that the config recorded, and the options
    that it recorded are checked against those that the part has here; `GenzooError` if either is not there any more.
    """

    def resolve(kind: str, name: str) -> type:
        part = config.component(kind, name) if config else None
        if part is None:
            return registry.load(registry.get(kind, name), _base(kind))
        home, maker = (part.plugin, part.distribution), f"plugin {part.plugin!r} of {part.distribution} {part.version}"
        here = any((r.name, r.distribution) == home for r in registry.plugins())
        try:
            entry = registry.get(kind, name, prefer=home)
        except UsageError:
            if here or not part.plugin:
                raise
            entry = None
        # What another distribution has under this name is another network.
        if entry is None or (not here and part.distribution and entry.distribution != part.distribution):
            raise GenzooError(f"{kind} {name!r} comes from {maker}, which is {_missing(part)}")
        try:
            coerce_all(registry.options(entry), part.options, kind)
        except UsageError as e:
            raise GenzooError(f"{kind} {name!r} of {entry.origin} cannot be what {maker} made: {e}") from e
        return registry.load(entry, _base(kind))

    return resolve


def _base(kind: str) -> type | None:
    """What a part of a kind must inherit from."""
    return resolve(TABLE[kind].base) if TABLE[kind].base else None


def _missing(part: Part) -> str:
    """Why a part's plugin is not there, and what to do."""
    for found in installed.plugins(lambda line: None):
        if (found.name, found.distribution) == (part.plugin, part.distribution):
            if found.address in installed.disabled():
                return f"disabled: 'genzoo plugins enable {found.address}' loads it again"
            return "left out: do without --no-plugins, and name it in GENZOO_PLUGINS if that is set"
    pin = f"'{part.distribution}=={part.version}'" if part.version else part.distribution
    return f"not there: install {part.distribution} (pip install {pin})"


def _objective(
    registry: Registry, part: Part, lists: dict[str, tuple[Part, ...]], given: Mapping[str, Any]
) -> tuple[Objective, dict[str, tuple[Part, ...]]]:
    """The objective with its regularizers and augmentations, by which its plan may go; and those that it has."""
    from genzoo.core.build import add_lists, make_part
    from genzoo.core.objective import Objective

    named = {(kind, p.name): p for kind, several in lists.items() for p in several} | {("objective", part.name): part}

    def resolve(kind: str, name: str) -> type[Any]:
        found = named[kind, name]
        return registry.load(registry.get(kind, name, prefer=(found.plugin, found.distribution)), _base(kind))

    made: Objective = make_part("objective", part, Objective, resolve)
    # What the recipe says suits its own objective; in place of it, another need not take them.
    kept = {k: v for k, v in lists.items() if k in made.takes or given.get(k) or "objective" not in given}
    add_lists(made, part.name, kept, resolve)
    return made, kept


def check_groups(given: Mapping[str, Any], registry: Registry, entry: Entry | None) -> None:
    """Refuse dotted names of no known group, with the option that was probably meant."""
    for key in given:
        group, dot, _ = key.partition(".")
        if dot and group in LISTS and not group_of(key)[0].partition(".")[2]:
            raise UsageError(f"{key!r} is no option: those of {group}s are written {group}.NAME.OPTION")
        if group in GROUPS if dot else key in (*KINDS, *LISTS, "conditional"):
            continue
        if group == "data":
            raise UsageError(f"{key!r} is an option of a data set: give it where data is opened")
        if dot:
            raise UsageError(f"there is no group {group!r} of options{did_you_mean(group, (*GROUPS, 'data'))}; "
                             f"there are {', '.join((*GROUPS, 'data'))}")  # fmt: skip
        plain = [f"latent.{o.name}" for o in options_of(Latent)] + [f"train.{name}" for name in _TRAIN]
        known = [i.name for i in registry.options(entry)] if entry else plain
        sets = [registry.options(e) for e in registry.entries("dataset")]
        known += dict.fromkeys(f"data.{i.name}" for infos in sets for i in infos)
        ends = {k.partition(".")[2] for k in known}
        meant = {key} if key in ends else set(difflib.get_close_matches(key, ends, n=2, cutoff=0.6))
        near = " or ".join(f"--set {k}={typed(given[key])}" for k in known if k.partition(".")[2] in meant)
        hint = f" (did you mean {near}?)" if near else did_you_mean(key, (*KINDS, *LISTS, "conditional"))
        raise UsageError(f"there is no option {key!r}{hint}; options are written GROUP.NAME")


def check_given(registry: Registry, recipe: str | os.PathLike[str] | None, given: Mapping[str, Any]) -> None:
    """Refuse options that there are not, and values that cannot fit, before any data are read; torch-free.

    Of a part that is not named, which the data may choose, an option must be one of some part of that kind.
    """
    entry, given = find(registry, recipe) if recipe else None, dict(given)
    given.pop("condition", None)
    check_groups(given, registry, entry)
    home = entry.home if entry else ()
    groups: dict[str, dict[str, Any]] = {}
    for key, value in given.items():
        group, name = group_of(key)
        if "." in key:
            groups.setdefault(group, {})[name] = value
    for group, options in groups.items():
        kind, _, bare = group.partition(".")
        named = given.get(kind)
        if kind == "objective" and not named and entry:
            named = entry.data["objective"]
        if kind == "train":
            infos = [*_TRAIN.values()]
        elif kind == "latent":
            infos = options_of(Latent)
        elif named and kind in KINDS:
            infos = registry.options(registry.get(kind, named, prefer=home))
        else:
            there = check_listed("", kind, given.get(kind) or (entry.data[kind] if entry else ())) if bare else ()
            if bare and bare not in map(part_name, there):
                continue  # which is said where they are known
            several = [registry.options(e) for e in registry.entries(kind) if bare in ("", e.name)]
            infos = [*{i.name: i for some in several for i in some}.values()]
            known = {i.name for i in infos} if several else set(options)
            options = {name: value for name, value in options.items() if folded(name, known) not in known}
        coerce_all(infos, options, group)


def with_steps(config: Config, *, steps: int | None, epochs: float | None, batch_size: int | None) -> Config:
    """Put the three most used training options over what the recipe says; steps and epochs exclude each other."""
    if steps is not None and epochs is not None:
        raise UsageError("give either --steps or --epochs, not both")
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
