"""Reconstructions judged as pictures: what is compared, what learns, and what stays as it is."""

import pytest
import torch
from torch.nn import functional as F

import genzoo
from genzoo.core.build import build
from genzoo.core.data import to_units
from genzoo.core.errors import UsageError
from genzoo.core.objective import Batch
from genzoo.core.spec import DataSpec
from genzoo.plugins.extractors.shipped import FashionClassifier
from genzoo.plugins.metrics.similarity import ms_ssim
from genzoo.plugins.vae.perceptual import DFCVAE
from genzoo.plugins.vae.vae import VAE
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose, resolver


def built(recipe, size=28, channels=1, **options):
    small = {"generator": "mlp", "encoder": "mlp", "generator.width": 16, "encoder.width": 16, "latent.size": 4}
    torch.manual_seed(0)
    config = compose(the_registry(), DataSpec.image(channels, size, size), recipe, {**small, **options})
    objective, nets = build(config, resolver(the_registry(), config))
    random = torch.Generator().manual_seed(1)
    x = torch.randn(6, channels, size, size, generator=random).sigmoid() * 2 - 1
    return objective, nets, Batch(x), {"eps": torch.randn(6, 4, generator=random)}


def test_structure_is_that_of_the_metric_for_each_picture_and_nats_are_learned_apart():
    objective, nets, batch, noise = built("ms-ssim-vae")
    found = objective.loss("model", nets, batch, noise)
    q = nets.model.posterior(batch.x)
    again = nets.model.mean(q.sample(noise["eps"]))
    truth = torch.cat([ms_ssim(*(to_units(nets.model.spec, t[i : i + 1]) for t in (batch.x, again))) for i in range(6)])
    torch.testing.assert_close(found.terms["dissimilarity"], 1 - truth, atol=0.02, rtol=0)  # of the floor
    assert found.weights["dissimilarity"] == 392
    assert found.coupled == {}
    found.total().backward()
    assert nets.model.likelihood.log_scale.grad.abs() > 0  # the likelihood's scale learns
    g = nets.model.generator.head.weight.grad.clone()
    objective, nets, batch, noise = built("ms-ssim-vae")
    found = objective.loss("model", nets, batch, noise)
    (found.terms["dissimilarity"].mean() * 392).backward()
    torch.testing.assert_close(nets.model.generator.head.weight.grad, g)  # and nothing else of it moves the pictures


def test_equal_pictures_cost_nothing_and_one_opposed_scale_does_not_hide_the_others():
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ms_ssim(x, x, floor=1e-6), torch.ones(3))
    coarse = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2)
    y = (2 * coarse - x).requires_grad_()  # what is fine is opposed, what is coarse is equal
    for floor, moved in ((0.0, False), (1e-6, True)):
        (slope,) = torch.autograd.grad(ms_ssim(x, 0.9 * y, floor=floor).sum(), y)
        assert slope.isfinite().all()
        assert bool(slope.any()) == moved


def test_features_are_the_classifiers_and_it_gets_no_gradient():
    objective, nets, batch, noise = built("dfc-vae")
    assert not list(objective.parameters())
    assert not objective.state_dict()  # a checkpoint keeps none of it
    classifier = FashionClassifier.pretrained()
    units = to_units(nets.model.spec, batch.x)
    features = objective.train().features(units)
    assert [f.shape[1:] for f in features] == [(32, 28, 28), (64, 14, 14), (96, 7, 7)]
    torch.testing.assert_close(features[-1], classifier.body[:11](units * 2 - 1))
    found = objective.loss("model", nets, batch, noise)
    again = to_units(nets.model.spec, nets.model.mean(nets.model.posterior(batch.x).sample(noise["eps"])))
    truth = sum(F.mse_loss(a, b, reduction="none").flatten(1).mean(1)
                for a, b in zip(features, objective.features(again), strict=True)) * 392  # fmt: skip
    torch.testing.assert_close(found.terms["features"], truth)
    bound = VAE().loss("model", nets, batch, noise)
    torch.testing.assert_close(found.per_observation(), bound.per_observation() + 0.5 * truth)
    found.total().backward()
    assert nets.model.generator.head.weight.grad.abs().max() > 0
    assert not any(b.requires_grad for b in objective.buffers())


def test_pictures_of_other_sizes_and_colours_are_brought_to_the_classifier():
    objective, nets, batch, noise = built("dfc-vae", 16, 3)
    assert objective.loss("model", nets, batch, noise).total().isfinite()
    assert DFCVAE(DFCVAE.Options(judge="digits")).judge.network.name == "digit-classifier"


@pytest.mark.parametrize("recipe", ["ms-ssim-vae", "dfc-vae"])
def test_what_is_no_picture_is_refused(recipe):
    with pytest.raises(UsageError, match="vector"):
        genzoo.fit(recipe, "ring8", steps=1, device="cpu")
