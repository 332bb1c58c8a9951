"""Checks of recipes: what is trained, saved, loaded and sampled, on every modality, with labels and without."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from genzoo.core.build import build
from genzoo.core.config import Config
from genzoo.core.likelihood import Autoregressive, Implicit, Likelihood
from genzoo.core.modality import Modality, of
from genzoo.core.model import Model
from genzoo.core.objective import Objective
from genzoo.core.spec import DataSpec
from genzoo.core.storage.files import update_folder
from genzoo.core.storage.load_model import load_model
from genzoo.core.storage.weights import model_files
from genzoo.core.training.trainer import Trainer
from genzoo.plugins.apps.kit import cases
from genzoo.plugins.apps.kit.cases import CLASSES, Case, accepted, composed, expect, gap, over, seeded
from genzoo.plugins.apps.kit.findings import Skip
from genzoo.registry.recipes.compose import resolver, with_steps


@dataclass(frozen=True)
class Short:
    """The recipe on small data, and what two steps of training make of it."""

    where: str
    case: Case
    config: Config

    @cached_property
    def run(self) -> Trainer:
        """The run."""
        return trained(self.case, self.config)

    @property
    def model(self) -> Model:
        """The run's model, in eval mode."""
        return self.run.model.eval()


def trained(case: Case, config: Config) -> Trainer:
    """A run of a configuration on random data."""
    with seeded(3):
        objective, nets = build(config, resolver(case.registry, config))
    run = Trainer(objective, nets, cases.small_data(config.data), config.train, seed=0)
    run.train()
    return run


def recipes(case: Case) -> list[Short]:
    """The recipe on every modality that it is for, with labels and without; kept, with its runs, for the next check."""
    return case.once("recipes", _recipes)


def _recipes(case: Case) -> Iterator[Short]:
    def short(spec: DataSpec, conditional: bool) -> Short:
        config = composed(case.registry, spec, (case.entry.address, {"conditional": conditional})).config
        config = with_steps(config, steps=2, epochs=None, batch_size=8)
        config = replace(config, train=replace(config.train, patience=0))  # nothing is held out of so few
        return Short(cases.setting(spec, CLASSES * conditional), case, config)

    for kind in cases.kinds(case.entry):
        makers = (partial(short, kind.examples(CLASSES)[0], conditional) for conditional in (False, True))
        yield from accepted(makers, "" if _without_slopes(case, kind) else f"to be built for {kind.name} data")


def _without_slopes(case: Case, kind: Modality) -> bool:
    """Whether its objective goes by slopes of means (`Plan.means`) that the likelihood of a kind of data has not."""
    spec, entry, registry = kind.examples(CLASSES)[0], case.entry, case.registry
    objective: Any = registry.load(registry.get("objective", entry.data["objective"], prefer=entry.home), Objective)
    likelihood = registry.load(registry.get("likelihood", kind.likelihood(spec), prefer="genzoo"), Likelihood)
    if not issubclass(likelihood, Autoregressive):
        return False
    return bool(objective(objective.Options()).plan(spec, CLASSES).means)


@over(recipes)
def trains(made: Short) -> None:
    """Two steps of training give finite losses and move every player's parameters, or what is found by counting."""
    run = made.run
    with seeded(3):
        _, fresh = build(made.config, resolver(made.case.registry, made.config))
    for record in run.history:
        bad = [f"{k} = {v}" for k, v in record.items() if v != v or abs(v) == float("inf")]
        expect(not bad, "finite losses", bad, "lower train.lr, or mend the loss")
    start, now = dict(fresh.named_parameters()), dict(run.nets.named_parameters())
    counts = [(run.nets.get_buffer(n), b) for n, b in fresh.named_buffers() if n.startswith("model.likelihood.")]
    counted = any(not torch.equal(ours, theirs) for ours, theirs in counts)
    for playing in run.player_states:
        names = [n for n, p in now.items() if any(p is q for q in playing.parameters)]
        moved = counted or not names or any(not torch.equal(now[n], start[n]) for n in names)
        mend = "look at the learning rate and the loss"
        expect(moved, f"player {playing.player.name!r} to move its parameters", "none moved", mend)


@over(recipes)
def samples(made: Short) -> None:
    """Samples have the data's shape and range, and a seed decides each, whatever the batch size."""
    model, spec = made.model, made.config.data
    if model.prior.unfitted:
        raise Skip(model.prior.unfitted)
    x = model.sample(70, seed=1, numbers=True)
    cases.shaped("samples", x, (70, *of(spec).unit_shape(spec)))
    low, high = of(spec).bounds or (-float("inf"), float("inf"))
    found = f"numbers in [{float(x.min()):.2g}, {float(x.max()):.2g}]"
    mend = "let the likelihood's mean stay in the range of model space"
    expect(low <= float(x.min()) and float(x.max()) <= high, f"numbers in [{low:g}, {high:g}]", found, mend)
    others = {
        "another batch size": model.sample(70, seed=1, batch_size=64, numbers=True),
        "fewer": model.sample(9, seed=1, numbers=True),
    }
    for what, other in others.items():
        same = gap(x[: len(other)], other) <= 1e-3
        expect(same, "a sample that depends on its seed and number only", f"another one with {what}")
    differs = gap(x, model.sample(70, seed=2, numbers=True)) >= 1e-6
    expect(differs, "other samples for another seed", "the same", "use the codes in the generator")


@over(recipes)
def scored(made: Short) -> None:
    """Its own samples, noise included, have a finite bound under the model that made them."""
    model = made.model
    encodes = model.exact or model.encoder is not None
    if isinstance(model.likelihood, Implicit) or not encodes or not model.likelihood.normalized:
        raise Skip("it has no likelihood to score samples with")
    if model.prior.unfitted or (model.head is not None and model.head.point):
        raise Skip("its codes are points without density, or have no prior yet")
    x, y = next(model.sample_batches(8, noise=True))
    found = model.log_likelihood(x, y, samples=2).values
    mend = "let prior and posterior agree on what codes are, and the likelihood on what data are"
    expect(torch.isfinite(found).all(), "a finite bound for every sample", found.tolist(), mend)


@over(recipes)
def round_trip(made: Short) -> None:
    """Written to a weights folder and loaded, it samples and encodes what it did, but for rounding."""
    model, mend = made.model, "keep all that the networks need in parameters and buffers"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        path.mkdir()
        update_folder(path, model_files(model))
        loaded: Model = load_model(path, resolver(made.case.registry, made.config))
        a, b = (_made(m) for m in (model, loaded))
        expect(gap(a, b) <= 1e-5, "the same samples after saving and loading", "others", mend)
        if loaded.encoder is not None:
            data = cases.small_data(spec := made.config.data)
            y, x = data.y if model.classes else None, data.x
            x = x if spec.levels else of(spec).to_units(spec, of(spec).to_model(spec, x))  # within bounds
            same = gap(model.encode(x, y), loaded.encode(x, y)) <= 1e-6
            expect(same, "the same codes after saving and loading", "others", mend)


def _made(model: Model) -> torch.Tensor:
    """Samples; of a model without a prior, what it makes of some codes."""
    labels = torch.arange(8) % CLASSES if model.classes else None
    found: torch.Tensor = (
        model.decode(model.codes(0, 8, seed=4), labels, numbers=True)
        if model.prior.unfitted
        else model.sample(8, seed=4, numbers=True)
    )
    return found
