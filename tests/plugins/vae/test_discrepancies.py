"""Discrepancies between codes and prior: unbiased, as their closed forms say, and weighted as the papers do."""

import math

import pytest
import torch

from genzoo.core.build import build
from genzoo.core.errors import UsageError
from genzoo.core.math.kernels import KERNELS, gaussian, inverse_multiquadric, unbiased_mmd
from genzoo.core.objective import Batch
from genzoo.core.spec import DataSpec
from genzoo.plugins.vae.info_vae import PRIOR, InfoVAE
from genzoo.plugins.vae.wasserstein import SWAE
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose, resolver

RANDOM = torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, generator=RANDOM)


def within(values, truth, sigmas=4.0):
    values = torch.stack(values).double()
    error = values.std() / math.sqrt(len(values))
    return abs(values.mean() - truth) < sigmas * error


@pytest.mark.parametrize("kernel", KERNELS)
def test_of_equal_distributions_it_is_zero_on_average(kernel):
    found = [unbiased_mmd(normal(20, 3), normal(20, 3), KERNELS[kernel]) for _ in range(500)]
    assert within(found, 0.0)
    # The wrong ones: the diagonal within a set kept; and that between the sets left out is no U-statistic of two sets.
    with_diagonal = [f + 2 * KERNELS[kernel](torch.zeros(()), 3) / 20 for f in found]
    assert not within(with_diagonal, 0.0)


def test_between_normals_it_is_the_closed_form():
    d, m, s = 3, torch.tensor([1.0, -0.5, 0.0]), 1.7

    def expected(variance, far):  # E exp(-‖x - y‖²/2d), x - y ~ N(far, variance I)
        return (d / (d + variance)) ** (d / 2) * math.exp(-far / (2 * (d + variance)))

    truth = expected(2.0, 0) + expected(2 * s**2, 0) - 2 * expected(1 + s**2, m.square().sum().item())
    found = [unbiased_mmd(normal(30, d), m + s * normal(30, d), gaussian) for _ in range(300)]
    assert within(found, truth)
    assert truth > 0.01


def test_the_multiquadrics_scale_with_the_dimension():
    squares = torch.tensor([0.0, 3.0, 50.0])
    by_hand = sum(2 * 8 * s / (2 * 8 * s + squares) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))
    torch.testing.assert_close(inverse_multiquadric(squares, 8), by_hand)


def test_sliced_distances_are_those_of_normals():
    d, n, m = 5, 4000, torch.tensor([1.0, 0.0, -2.0, 0.5, 0.0])
    z = normal(n, d)
    found = SWAE().distance(z + m, normal(n, d), {"directions": normal(512, d)})
    assert found.item() == pytest.approx(m.square().sum().item() / d, rel=0.1)
    assert SWAE().distance(z[torch.randperm(n)], z, {"directions": normal(64, d)}).item() < 1e-10  # sets have no order


@pytest.mark.parametrize("name", ["wae", "swae"])
@pytest.mark.parametrize("spec", [DataSpec.image(1, 8, 8), DataSpec("vector", (3,))])
def test_the_recipes_error_is_the_papers(name, spec):
    registry = the_registry()
    config = compose(registry, spec, name, {"latent.size": 2, "generator.width": 8, "encoder.width": 8})
    objective, nets = build(config, resolver(registry, config))
    assert objective.options.strength == 10
    params, x = (t.requires_grad_() for t in (normal(4, *spec.shape), normal(4, *spec.shape)))
    (slope,) = torch.autograd.grad(-nets.model.likelihood.log_prob(params, x).sum(), params)
    error = (0.05 * ((x - params) * spec.scale[0]).square()).sum()  # c ‖x - x̂‖² in data units
    (truth,) = torch.autograd.grad(error, params)
    torch.testing.assert_close(slope, truth, rtol=1e-4, atol=1e-6)
    assert nets.model.head.point
    assert not nets.model.prior.unfitted


def test_the_weights_are_those_of_the_paper(linear_gaussian):
    oracle = linear_gaussian()
    batch, eps = Batch(oracle.to_model(oracle.data(16))), normal(16, 2)
    noise = {"eps": eps, PRIOR: normal(16, 2)}
    found = InfoVAE(InfoVAE.Options(alpha=0.4, strength=20.0)).loss("model", oracle.networks(), batch, noise)
    assert found.weights == pytest.approx({"kl": 0.6, "mmd": 19.4})
    z = oracle.model.posterior(batch.x).sample(eps)
    truth = unbiased_mmd(z, noise[PRIOR], inverse_multiquadric)
    torch.testing.assert_close(found.terms["mmd"], truth.expand(16))
    assert found.coupled == {"mmd": True}


def test_an_mmd_that_would_be_maximized_is_refused():
    assert InfoVAE().options.alpha + InfoVAE().options.strength > 1
    with pytest.raises(UsageError, match=r"α \+ λ - 1 is -0\.999, so that training would maximize it"):
        InfoVAE(InfoVAE.Options(alpha=0.0, strength=0.001)).plan(DataSpec("vector", (2,)))
