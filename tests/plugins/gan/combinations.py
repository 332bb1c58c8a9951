"""Every adversarial loss with every part, condition and kind of data: which are built, and why the others are not.

``python combinations.py`` writes the table of docs/combinations.md anew. All names come from the registry.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from genzoo.core.config import Config
from genzoo.core.data import Data
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.spec import DataSpec
from genzoo.core.training.trainer import Observer, Trainer
from genzoo.registry import the_registry
from genzoo.registry.discovery import static
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize

DATA = {
    "plane": DataSpec("vector", (2,), classes=3),
    "grey 28": DataSpec.image(1, 28, 28, classes=3),
    "colour 32": DataSpec.image(3, 32, 32, classes=3),
}
CONDITIONS: dict[str, dict[str, Any]] = {
    "no labels": {"conditional": False},
    "concat": {"conditional": True, "critic.condition": "concat"},
    "projection": {"conditional": True, "critic.condition": "projection"},
    "conditional batch norm": {"conditional": True, "generator.norm": "class"},
}
NOTHING = "nothing"
SMALL = {"width": 4, "max_width": 8, "dim": 4, "hidden": 4}
PAGE = Path(__file__).parents[3] / "docs" / "combinations.md"


@cache
def losses() -> tuple[str, ...]:
    """Objectives of the zoo's own that are GANs, each with a recipe of its name."""
    return tuple(
        e.name
        for e in the_registry().entries("objective", tag="gan")
        if e.distribution == "genzoo" and "text" not in e.tags
    )


@cache
def parts() -> dict[str, str]:
    """What a loss may be given, to its kind; ``nothing`` for the loss alone."""
    kinds = ("regularizer", "augmentation")
    own = {e.name: k for k in kinds for e in the_registry().entries(k)
           if e.distribution == "genzoo" and "audio" not in e.tags}  # fmt: skip
    return {NOTHING: "", **own}


@cache
def sizes(loss: str, data: str) -> dict[str, Any]:
    """Options that make it small."""
    plain = compose(the_registry(), DATA[data], loss, {"conditional": True}).parts
    small = {f"{kind}.{k}": v for kind, part in plain.items() for k, v in SMALL.items() if k in part.options}
    return small | {"train.batch_size": 8, "train.steps": 3, "train.log_every": 1}


@dataclass(frozen=True)
class Cell:
    """One combination."""

    loss: str
    part: str
    condition: str
    data: str

    def config(self) -> Config:
        """Compose it of small networks; `UsageError` if it is refused."""
        registry, spec = the_registry(), DATA[self.data]
        given: dict[str, Any] = dict(CONDITIONS[self.condition])
        if self.part != NOTHING:
            given[parts()[self.part]] = [self.part]
        small = sizes(self.loss, self.data)
        if "critic.width" not in small:
            given.pop("critic.condition", None)
        return compose(registry, spec, self.loss, {**small, **given})

    def trainer(self, config: Config, *observers: Observer) -> Trainer:
        """A trainer of it on random data."""
        objective, nets = initialize(config, 0)
        return Trainer(objective, nets, toy(self.data), config.train, seed=0, observers=observers)

    def refused(self) -> str:
        """Why it cannot be built, "" if it can."""
        try:
            initialize(self.config(), 0)
        except UsageError as e:
            return str(e.args[0])  # in the words of the command line
        return ""


@cache
def toy(name: str) -> Data:
    """24 labelled observations."""
    spec, random, y = DATA[name], torch.Generator().manual_seed(5), torch.arange(24) % 3
    if spec.modality == "image":
        return Data(spec, torch.randint(256, (24, *spec.shape), generator=random, dtype=torch.uint8), y, "toy")
    return Data(spec, torch.randn(24, *spec.shape, generator=random) * 0.3 + y[:, None], y, "toy")


class KeepsAtTwo(Observer):
    """Everything that the third step depends on, as a checkpoint after the second has it."""

    def step(self, trainer: Trainer) -> None:
        if trainer.step == 2:
            trainer.prepare_state()
            tensors, plain = trainer.state()
            model = trainer.model.state_dict()
            copies = ({k: v.clone() for k, v in found.items()} for found in (model, tensors))
            self.kept = (*copies, copy.deepcopy(plain))


def resumes(cell: Cell) -> str:
    """Train three steps at once, and the third again from what was kept before it: what differs, "" if not a bit."""
    try:
        return _resumes(cell)
    except GenzooError as e:
        return str(e)


def _resumes(cell: Cell) -> str:
    config, keeper = cell.config(), KeepsAtTwo()
    whole, second = cell.trainer(config, keeper), cell.trainer(config)
    whole.train()
    second.load_state(*keeper.kept)
    second.train()
    if (whole.step, second.step) != (3, 3):
        return "it did not train three steps"
    for part in ("nets", "objective"):
        a, b = (getattr(t, part).state_dict() for t in (whole, second))
        for name in a:
            if not torch.isfinite(a[name].float()).all():
                return f"{name} is not finite"
            if not torch.equal(a[name], b[name]):
                return f"{name} differs after a stop"
    return ""


def cells(loss: str, data: str) -> Iterator[Cell]:
    """All of a loss on one kind of data."""
    for part in parts():
        for condition in CONDITIONS:
            yield Cell(loss, part, condition, data)


Where = tuple[str, str, str]  # part, condition, data


def sources_read_once() -> AbstractContextManager[Any]:
    """A block in which options are read of each source once, which else takes the most time."""
    return mock.patch.object(static, "options", cache(static.options))


def refusals() -> dict[str, dict[str, set[Where]]]:
    """Sentences, with names left out, to losses, to where they are said."""
    found: dict[str, dict[str, set[Where]]] = {}
    with sources_read_once():
        for loss, data in itertools.product(losses(), DATA):
            for cell in cells(loss, data):
                if why := cell.refused():
                    why = why.replace(f"'{cell.part}'", "…").replace(f"{loss!r}", "…").removesuffix(f" {cell.part}")
                    where = (cell.part, cell.condition, data)
                    found.setdefault(why, {}).setdefault(loss, set()).add(where)
    return found


def page(found: dict[str, dict[str, set[Where]]]) -> str:
    """The table in words: a row for losses that are refused in the same places with the same sentence."""
    rows = []
    for why, by_loss in found.items():
        groups: dict[frozenset[Where], list[str]] = {}
        for loss, places in by_loss.items():
            for some in _products(places):
                groups.setdefault(some, []).append(loss)
        every = (set(parts()) - {NOTHING}, set(CONDITIONS), set(DATA))
        for places, names in groups.items():
            axes = [sorted({place[i] for place in places}) for i in range(3)]
            said = [_said(axis, all_) for axis, all_ in zip(axes, every, strict=True)]
            rows.append(f"| {_said(names, set(losses()))} | {' | '.join(said)} | {why} |")
    return head() + "".join(f"{row}\n" for row in rows)


def head() -> str:
    """The page above its rows, which takes no building."""
    cells = f"{len(losses()) * len(parts()) * len(CONDITIONS) * len(DATA):,}"
    return _HEAD.format(losses=len(losses()), parts=len(parts()) - 1, cells=cells)


def _products(places: set[Where]) -> Iterator[frozenset[Where]]:
    """Parts of the places that are all of some parts with some conditions on some data."""
    axes = [{place[i] for place in places} for i in range(3)]
    if len(places) == math.prod(map(len, axes)):
        yield frozenset(places)
        return
    split = min((i for i in range(3) if len(axes[i]) > 1), key=lambda i: len(axes[i]))
    for name in sorted(axes[split]):
        yield from _products({place for place in places if place[split] == name})


def _said(names: list[str], every: set[str]) -> str:
    if set(names) >= every:
        return "any"
    return ", ".join(name if name in (NOTHING, *CONDITIONS, *DATA) else f"`{name}`" for name in names)


_HEAD = """# What goes with what

Most adversarial losses take most regularizers and augmentations, with or without labels, on vectors and on images of
any channels: `genzoo train hinge --regularizer lecam --augment ada --conditional`. A test,
`tests/plugins/gan/test_combinations.py`, builds all {cells} combinations of
{losses} losses with each of {parts} parts or none, of no labels, labels beside the observation
(`critic.condition=concat`), by projection and by conditional batch norm (`generator.norm=class`), on the plane, grey
28×28 and colour 32×32; it trains those that are built three steps, and the third again from a checkpoint, to the
same bits. These are refused before training (`python tests/plugins/gan/combinations.py`, in a clone, writes this page):

| loss | with | labels | data | because |
| --- | --- | --- | --- | --- |
"""


if __name__ == "__main__":
    PAGE.write_text(page(refusals()), encoding="utf-8")
