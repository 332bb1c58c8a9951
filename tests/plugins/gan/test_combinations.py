"""Every adversarial loss with every regularizer and augmentation, labels in every way, vectors and images.

A combination trains three steps, and goes on from its first to the same bytes; or it is refused at once, by a sentence
that is known here. On vectors everything meets everything; on images every pair of loss and part meets one of the ways
of labels, in turn.
"""

import re
import zlib

import pytest
import torch

from genzoo.core.data import Data
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec
from genzoo.core.training.trainer import Observer, Trainer
from genzoo.plugins.apps.kit.cases import small_data
from genzoo.plugins.gan.adversarial import Adversarial
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize

ZOO = the_registry()
LOSSES = [e.name for e in ZOO.entries("objective", tag="gan") if issubclass(ZOO.load(e), Adversarial)]
PARTS = [(kind, e.name) for kind in ("regularizer", "augmentation") for e in ZOO.entries(kind)]
DATA = {
    "vector": DataSpec("vector", (2,), classes=3),
    "grey": DataSpec.image(1, 28, 28, classes=3),
    "colour": DataSpec.image(3, 32, 32, classes=3),
}
LABELS = {
    "none": {"conditional": False},
    "concat": {"conditional": True, "critic.condition": "concat"},
    "projection": {"conditional": True, "critic.condition": "projection"},
    "class norm": {"conditional": True, "generator.norm": "class"},
}
REFUSALS = (  # the rules, in the words of their sentences
    "goes by the sign of the critic's scores",  # lecam, ada, apa and losses of differences
    "augments images",  # and vectors
    "takes no regularizer",  # energies, features
    "takes no augmentation",
    "needs labels",  # classifiers
    "needs a generator with styles",  # path-length
    "lets samples stand for real observations",  # apa and critics of codes
    "cannot tell packs their labels",  # feature-matching
    "must not mix observations",  # penalties and batch norm in the critic
)


class StopsAtOne(Observer):
    def step(self, trainer):
        trainer.stopping = trainer.step == 1


def toy(spec):
    if spec.modality == "image":
        return small_data(spec, 24)
    y = torch.arange(24) % 3
    return Data(spec, torch.randn(24, 2, generator=torch.Generator().manual_seed(5)) + y[:, None], y, "toy")


def run(loss, part, labels, data):
    spec = DATA[data]
    given = {"train.batch_size": 8, "train.steps": 3, "train.validation": 0, **LABELS[labels]}
    kinds = compose(ZOO, spec, loss, {"conditional": True}).parts
    given |= {f"{kind}.width": 8 for kind in ("generator", "encoder", "critic") if kind in kinds}
    if "critic" not in kinds:
        given = {k: v for k, v in given.items() if k != "critic.condition"}
    if part is not None:
        given[part[0]] = [part[1]]
    config = compose(ZOO, spec, loss, given)
    objective, nets = initialize(config, 0)
    return Trainer(objective, nets, toy(spec), config.train, seed=0)


def plays(loss, part, labels, data):
    """Train, and go on; returns the sentence of a refusal, or None."""
    try:
        whole = run(loss, part, labels, data)
        whole.train()
    except UsageError as e:
        return str(e)
    first, second = run(loss, part, labels, data), run(loss, part, labels, data)
    first.observers.append(StopsAtOne())
    first.train()
    first.prepare_state()
    tensors, plain = first.state()
    second.load_state(first.model.state_dict(), tensors, plain)
    second.train()
    for (name, a), b in zip(whole.nets.state_dict().items(), second.nets.state_dict().values(), strict=True):
        assert torch.isfinite(a).all(), name
        assert torch.equal(a, b), name
    return None


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("loss", LOSSES)
def test_it_trains_with_everything_or_says_why_not(loss):
    failed, ways = [], list(LABELS)
    for i, part in enumerate([None, *PARTS]):
        cases = [("vector", labels) for labels in ways]
        turn = i + zlib.crc32(loss.encode())
        cases += [(data, ways[(turn + j) % 4]) for j, data in enumerate(("grey", "colour"))]
        for data, labels in cases:
            where = f"{part[1] if part else 'nothing'}, {labels}, {data}"
            try:
                refused = plays(loss, part, labels, data)
            except Exception as e:  # all of them are told at the end
                failed.append(f"{where}: {type(e).__name__}: {e}")
                continue
            if refused and ("\n" in refused or not any(re.search(rule, refused) for rule in REFUSALS)):
                failed.append(f"{where}: refused: {refused}")
    assert not failed, "\n".join(failed)
