"""The zoo's own plugins pass the suite that strangers' do, and every recipe runs on every architecture.

Every run tries one of each way through the seams (`EXEMPLARS`); the slow tests, and `genzoo plugins check genzoo`, all.
"""

from __future__ import annotations

import pytest
import torch

from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec
from genzoo.plugins.apps.kit.cases import CLASSES, Case
from genzoo.plugins.apps.kit.recipe_checks import trained
from genzoo.registry import the_registry
from genzoo.registry.kinds import PARTS
from genzoo.registry.recipes.compose import compose, with_steps
from genzoo.testing import check, conformance

EXEMPLARS = """gan wgan-gp r3gan acgan ali began pacgan vae cvae vae-iaf vamp-vae hamiltonian-vae vq-vae top-down-vae
    factor-vae pixelcnn"""
PARTS_TRIED = "discretized-logistic lecam"
OWN = [e for e in the_registry().entries() if e.distribution == "genzoo"]
test_own_parts = conformance(
    "genzoo", [f"{e.kind}:{e.name}" for e in OWN if e.kind in PARTS and e.name in PARTS_TRIED.split()]
)
test_the_rest_of_our_own = pytest.mark.slow(conformance("genzoo"))
RECIPES = [
    pytest.param(e.name, marks=() if e.name in EXEMPLARS.split() else pytest.mark.slow)
    for e in OWN
    if e.kind == "recipe"
]
NEEDS_LABELS = {"acgan", "tacgan", "adcgan", "contragan", "reacgan"}
SPECS = {"image": DataSpec.image(1, 9, 9, classes=CLASSES), "vector": DataSpec("vector", (2,), classes=CLASSES)}


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@pytest.mark.parametrize(("net", "modality"), [("mlp", "vector"), ("mlp", "image"), ("conv", "image")])
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_on_every_architecture(recipe, net, modality, conditional):
    registry = the_registry()
    entry = registry.get("recipe", f"{recipe}", prefer=("genzoo",))
    if entry.modalities and modality not in entry.modalities:
        pytest.skip("not for such data")
    given = {"conditional": conditional}
    if recipe in NEEDS_LABELS and not conditional:
        with pytest.raises(UsageError, match="needs labels"):
            compose(registry, SPECS[modality], entry.address, given)
        return
    named = compose(registry, SPECS[modality], entry.address, given).parts
    if recipe in ("factor-vae", "aae", "wae-gan"):
        named.pop("critic")  # it reads codes, which are flat
    given |= {k: net for k in ("generator", "encoder", "critic") if k in named and named[k].name in ("mlp", "conv")}
    config = compose(registry, SPECS[modality], entry.address, given)
    run = trained(Case(registry, entry), with_steps(config, steps=2, epochs=None, batch_size=8))
    model = run.model.eval()
    a, b = (model.sample(4, labels=k if conditional else None) for k in (0, 1))
    assert a.shape == (4, *SPECS[modality].shape)
    assert torch.isfinite(a).all()
    assert torch.equal(a, b) is not conditional


def test_the_command_says_so(capsys):
    report = check("genzoo", ["generator:mlp", "objective:vae"], checks=["described", "terms"])
    assert report.ok
    assert report.table() == {
        "objective:vae": {"described": "passed", "terms": "passed"},
        "generator:mlp": {"described": "passed"},
    }
    assert report.to_dict()["counts"] == {"passed": 3, "failed": 0, "skipped": 0}


def test_every_entry_of_ours_is_described():
    report = check("genzoo", checks=["described"])
    assert report.ok, report.failures
