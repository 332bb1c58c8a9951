"""Multi-scale likelihood: that it is a distribution, that groups look back only, and that draws are its own."""

from __future__ import annotations

import itertools

import pytest
import torch

from genzoo.core.errors import UsageError
from genzoo.core.math.tables import from_levels, to_levels
from genzoo.core.spec import DataSpec
from genzoo.plugins.likelihoods.multiscale import MultiScale


def made(c, h, w, levels, **options):
    torch.manual_seed(0)
    options = {"hidden": 5, "layers": 1, "features": 2, **options}
    found = MultiScale(DataSpec.image(c, h, w, levels=levels), MultiScale.Options(**options))
    for p in found.parameters():
        torch.nn.init.normal_(p, 0, 0.4)
    return found.eval(), torch.randn(1, *found.input_shape)


@pytest.mark.parametrize("shape", [(1, 2, 2, 2), (2, 2, 1, 3), (1, 1, 7, 2), (1, 3, 3, 2), (1, 1, 1, 5)])
def test_it_sums_to_one_over_all_images(shape):
    c, h, w, levels = shape
    likelihood, params = made(*shape)
    images = from_levels(torch.tensor([*itertools.product(range(levels), repeat=c * h * w)]), levels).view(-1, c, h, w)
    log_p = likelihood.log_prob(params.expand(len(images), *params.shape[1:]), images)
    assert log_p.double().exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 5, 3, 2), (3, 2, 3, 4), (1, 4, 4, 3)])
def test_a_pixel_sees_what_comes_before_it_and_nothing_else(shape):
    likelihood, params = made(*shape)
    order, x = likelihood.places(), torch.randn(1, *shape[:3], requires_grad=True)
    assert sorted(order) == [*itertools.product(*map(range, shape[:3]))]  # every pixel once
    logits, seen = likelihood.logits(params, x), 0
    for i, place in enumerate(order):
        (gradient,) = torch.autograd.grad(logits[(0, *place)].square().sum(), x, retain_graph=True)
        assert all(gradient[(0, *other)] == 0 for other in order[i:]), place
        seen += bool(gradient.any())
    assert seen >= len(order) - shape[0]  # and something, but for the first


def test_teacher_forcing_is_the_distribution_that_is_drawn_from():
    likelihood, params = made(2, 5, 6, 3)
    params = params.expand(7, *params.shape[1:])
    u = torch.rand(7, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    x = likelihood.sample(params, uniform=u)
    cumulative = torch.softmax(likelihood.logits(params, x), -1).cumsum(-1)
    again = (cumulative[..., :-1] <= u[..., None]).sum(-1)
    assert torch.equal(again, to_levels(x, 3))
    log_p = torch.log_softmax(likelihood.logits(params, x), -1).gather(-1, to_levels(x, 3)[..., None])
    assert torch.allclose(likelihood.log_prob(params, x), log_p.flatten(1).sum(1), atol=1e-4)


def test_scales_that_have_no_networks_of_their_own_share():
    assert len(made(1, 28, 28, 4)[0].networks) == 1 + 3 * 3
    assert len(made(1, 28, 28, 4, scales=1)[0].networks) == 1 + 3
    assert len(made(1, 3, 2, 4)[0].networks) == 1 + 3 * 2


def test_what_has_no_levels_is_refused():
    with pytest.raises(UsageError, match="2 to 256 levels"):
        MultiScale(DataSpec.image(1, 8, 8, levels=None))
