"""What a run begins with: weights to start from and what they know, or the run that it goes on with."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from genzoo.core.config import KINDS, LEAST_STEPS, Config
from genzoo.core.data.labels import renumbered
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.objective import Objective
from genzoo.core.options import typed
from genzoo.core.storage.files import sha256
from genzoo.core.storage.weights import TENSORS
from genzoo.core.training.runs import Read
from genzoo.registry import Entry, Registry
from genzoo.registry.recipes.read import find, is_file
from genzoo.registry.recipes.save import from_config
from genzoo.registry.verbs.data import entry_for
from genzoo.registry.verbs.load import load
from genzoo.registry.weights import resolve

_ARCHITECTURE = ("generator", "encoder", "likelihood", "posterior", "prior", "latent")


@dataclass(frozen=True)
class Start:
    """Weights to start from; ``partial`` takes what fits of them."""

    name: str
    model: Model
    config: Config
    partial: bool

    @classmethod
    def at(cls, init: str | os.PathLike[str], partial: bool) -> Start:
        """Load them; `UsageError` if they do not say how they were built."""
        model = load(init)
        if model.config is None:
            raise UsageError(f"{os.fspath(init)} says nothing of its architecture: it cannot be started from")
        return cls(os.fspath(init), model, model.config, partial)

    def entry(self, registry: Registry) -> Entry:
        """The recipe that made them: the one of that name, or, if there is none, their own composition."""
        there = [e for e in registry.entries("recipe") if e.name == self.config.recipe]
        return there[0] if there else from_config(registry, self.config)

    def layer(self, registry: Registry, objective: str) -> dict[str, Any]:
        """What they say of a composition of some objective: all of the architecture; the rest where it is their own."""
        data = from_config(registry, self.config).data
        own = registry.get("objective", data["objective"]) == registry.get("objective", objective)
        kinds = [k for k in KINDS if own or k in _ARCHITECTURE]
        found: dict[str, Any] = {k: data[k] for k in kinds if data[k] is not None}
        found |= {k: v for k, v in data["options"].items() if k.partition(".")[0] in (*kinds, "latent")}
        return found | {"conditional": data["conditional"]}

    def reading(self, registry: Registry, entry: Entry, asked: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Options of people's own data by which these come as the weights know them, but for what was asked.

        Returns a sentence about them too.
        """
        has = {i.name for i in registry.options(entry)} if "own" in entry.tags else set()
        wanted = of(self.config.data).reading(self.config.data)
        more = {k: v for k, v in wanted.items() if k in has and k not in asked}
        said = " ".join(f"--set data.{k}={v}" for k, v in more.items())
        return {**asked, **more}, f"{self.name}: data are read as it knows them, {said}" if more else ""

    def copy(self, model: Model, config: Config, fresh: tuple[str, ...]) -> str:
        """Copy the tensors into a model; every one must fit, or, if ``partial``, some; those of fresh parts stay.

        Returns a sentence about what did not fit.
        """
        theirs, ours = self.model.state_dict(), model.state_dict()
        names = [n for n in dict.fromkeys((*ours, *theirs)) if n.partition(".")[0] not in fresh]
        fits = [n for n in names if n in ours and n in theirs and ours[n].shape == theirs[n].shape]
        for part in fresh:
            if next(model.get_submodule(part).parameters(), None) is None:
                raise UsageError(f"the {part} has nothing to learn: name another with --{part}")
        anew = [n for n in names if n in ours and n not in fits]
        why = self._difference(config) or "their tensors differ"
        if len(fits) < len(names) and not self.partial:
            first = next(n for n in names if n not in fits)
            a, b = (f"{tuple(s[first].shape)}" if first in s else "none" for s in (theirs, ours))
            advice = "--init-partial takes those that do" if fits else "start from other weights"
            raise UsageError(
                f"{self.name} does not fit this model: {why}; {len(fits)} of {len(names)} tensors fit ({first!r} "
                f"has shape {a} there and {b} here): {advice}"
            )
        if not fits:
            raise UsageError(f"{self.name} does not fit this model in any tensor: {why}; leave out init")
        model.load_state_dict(ours | {name: theirs[name] for name in fits})
        otherwise = self._otherwise(config)
        more = f"; {otherwise}" if otherwise else ""
        if not anew:
            return f"{self.name}: {otherwise}" if otherwise else ""
        counts = Counter(n.partition(".")[0] for n in anew)
        listed = ", ".join(f"{count} of the {part}" for part, count in counts.items())
        share = sum(ours[n].numel() for n in fits) / max(sum(ours[n].numel() for n in (*fits, *anew)), 1)
        return f"{self.name}: {len(fits)} tensors taken, {share:.0%} of the model; anew: {listed} ({why})" + more

    def _otherwise(self, config: Config) -> str:
        """What to say if a config's data have other classes under the same numbers, by which all is copied."""
        theirs, ours = self.config.data, config.data
        if not config.conditional or not ours.classes or ours.classes != theirs.classes:
            return ""
        as_theirs = renumbered(torch.arange(ours.classes), ours, theirs).tolist()
        k = next((k for k, number in enumerate(as_theirs) if k != number), None)
        if k is None:
            return ""
        return (f"classes are others here, or in another order, and start by number: {ours.classes_called[k]!r} as "
                f"{theirs.classes_called[k]!r}")  # fmt: skip

    def _difference(self, config: Config) -> str:
        """In options and facts of the data, what makes their architecture another than that of a config."""

        def known(c: Config) -> dict[str, Any]:
            flat = {k: v for k, v in c.flat().items() if k.partition(".")[0] in _ARCHITECTURE}
            told = {"conditions": len(c.data.conditions), "classes": c.data.classes} if c.conditional else {}
            return {**flat, "conditional": c.conditional, **told, "data": "×".join(map(str, c.data.shape))}

        before, now = known(self.config), known(config)
        apart = [k for k in dict.fromkeys((*before, *now)) if before.get(k) != now.get(k)]
        apart = [k for k in apart if k.partition(".")[0] not in apart or "." not in k]  # another part has others anyway
        return ", ".join(f"{k} is {typed(before.get(k))} there and {typed(now.get(k))} here" for k in apart[:6])


@dataclass(frozen=True)
class Known:
    """What a run that is gone on with knows of itself: its config, and how it was called."""

    config: Config
    plain: Mapping[str, Any]

    @classmethod
    def of(cls, read: Read) -> Known:
        return cls(read[0], read[3])

    @property
    def record(self) -> Mapping[str, Any]:
        """How it was called, as its checkpoints say."""
        record: Mapping[str, Any] = self.plain["record"]
        return record

    def data(self, registry: Registry) -> str:
        """Where its data are."""
        place = self.plain.get("place") or self.record.get("source", "")
        try:
            entry_for(registry, place)
        except UsageError as e:
            why = "it does not say where its data are" if place.startswith("path/to/") else str(e)
            raise UsageError(
                f"the run cannot be gone on with as it is: {why}; name them with --data (data=…)"
            ) from None
        return str(place)

    def entry(self, registry: Registry, recipe: str | os.PathLike[str] | None) -> Entry:
        """What to compose from: the run's own composition, but for a recipe of another name, or a file."""
        if recipe is not None and (is_file(recipe) or find(registry, recipe).name != self.config.recipe):
            return find(registry, recipe)
        return from_config(registry, self.config)


def enough(config: Config, observations: int, turns: int) -> tuple[Config, str]:
    """Steps where a recipe's passes over the data make few, and a sentence about it; else the config as it is.

    Passes are a measure of training for data sets of tens of thousands; of 200 pictures, ten are 30 steps. A recipe
    of one pass finds what it finds by counting, and nothing more by others.
    """
    passes, least = config.train.epochs, math.ceil(LEAST_STEPS / turns)
    steps = math.ceil(passes * observations / (config.train.batch_size * turns))
    if config.train.steps or passes <= 1 or steps >= least:
        return config, ""
    return replace(config, train=replace(config.train, steps=least)), (
        f"{passes:g} passes over {observations:,} observations are {max(steps, 1):,} steps, too few to learn from: "
        f"training {least:,}; --epochs {passes:g} (epochs={passes:g}) trains as few, --steps N (steps=N) N"
    )


def require_start(objective: Objective, found: Start | Known | None, config: Config) -> None:
    """Raise `UsageError` where parts of a model are to stay as weights have them, and there are none, or others."""
    part = config.parts["objective"]
    wanted = str(part.options.get("sha256", ""))
    if objective.needs_start and found is None:
        who = part.name if objective.fresh else config.recipe
        which = (
            f" ({part.options['first'] or 'a model'} whose {TENSORS} has the sha256 {wanted[:12]}…)" if wanted else ""
        )
        raise UsageError(f"{who} trains a part of a model that is there: name its weights{which} with --init")
    if wanted and isinstance(found, Start):
        there = sha256(resolve(found.name).folder / TENSORS)
        if there != wanted:
            raise UsageError(
                f"{found.name} is not the first stage that objective.sha256 names: its {TENSORS} has the sha256 "
                f"{there[:12]}…, not {wanted[:12]}…; 'genzoo prior fit' takes any"
            )
