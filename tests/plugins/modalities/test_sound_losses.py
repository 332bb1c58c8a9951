"""Every adversarial loss and every bound that is for pictures runs on waveforms and on spectrograms, unchanged."""

from __future__ import annotations

import pytest
import torch

from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.plugins.apps.kit.cases import Case
from genzoo.plugins.apps.kit.recipe_checks import trained
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose, with_steps

TRIED = ("gan", "wgan-gp")
RECIPES = {"rae": "rae-l2"}  # where an objective has several
REFUSED = {"ms-ssim-vae": "of pictures", "dfc-vae": "of pictures", "vq-gan": "latent.grid"}  # on spectrograms
OWN = [e for e in the_registry().entries("objective") if e.distribution == "genzoo" and "second stage" not in e.tags]
OWN = [e for e in OWN if {"gan", "vae"} & set(e.tags)]


@pytest.mark.parametrize("kind", ["audio", "spectrogram"])
@pytest.mark.parametrize("loss", [pytest.param(e.name, marks=() if e.name in TRIED else pytest.mark.slow) for e in OWN])
def test_a_loss_for_pictures_runs_on_sound(loss: str, kind: str) -> None:
    registry, spec = the_registry(), of(kind).examples(3)[0]
    entry = registry.get("recipe", RECIPES.get(loss, loss), prefer=("genzoo",))
    if entry.modalities and kind not in entry.modalities and of(kind).like not in entry.modalities:
        pytest.skip("not for such data")
    conditional = loss in {"acgan", "tacgan", "adcgan", "contragan", "reacgan"}
    case = Case(registry, entry)

    def run() -> Model:
        config = compose(registry, spec, entry.address, {"conditional": conditional})
        return trained(case, with_steps(config, steps=2, epochs=None, batch_size=8)).model.eval()

    if loss in REFUSED and kind == "spectrogram":
        with pytest.raises(UsageError, match=REFUSED[loss]):
            run()
        return
    model = run()
    if model.prior.unfitted:
        return
    x = model.sample(4)
    assert x.shape == (4, *of(spec).unit_shape(spec))
    assert torch.isfinite(x).all()
    assert float(x.abs().max()) <= 1
