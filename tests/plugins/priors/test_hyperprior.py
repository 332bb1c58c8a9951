"""Rounded codes and their prior: densities against integrals, the rate against its formula, what is refused."""

from __future__ import annotations

import math

import pytest
import torch

import genzoo
from genzoo import DataSpec
from genzoo.core.errors import UsageError
from genzoo.core.noise import Draws
from genzoo.core.objective import Batch, Networks
from genzoo.plugins.priors.hyperprior import normal_box
from genzoo.plugins.vae.rate_distortion import RateDistortion

SPEC = DataSpec.image(1, 8, 8)


def model(**options):
    torch.manual_seed(0)
    small = {"latent.grid": 4, "latent.size": 5, "prior.side": 2, "prior.width": 4, "generator": "conv"}
    found = genzoo.create("hyperprior", SPEC, options={**small, **options})
    with torch.no_grad():
        for p in found.prior.parameters():
            p.add_(0.2 * torch.randn(p.shape))
    return found


def test_the_box_is_the_mass_of_a_normal_between_halves():
    x, log_scale = torch.arange(-6.0, 7).double(), torch.tensor([-2.0, 0.3, 1.5]).double()[:, None]
    normal = torch.distributions.Normal(torch.zeros(()).double(), log_scale.exp())
    assert torch.allclose(normal_box(x, log_scale), normal.cdf(x + 0.5) - normal.cdf(x - 0.5), atol=1e-12)
    far = normal_box(torch.tensor([12.0]).double(), torch.zeros(1).double())
    assert far > 0  # a difference of distribution functions near 1 would be 0


@pytest.mark.parametrize("side", [0, 2])
def test_probabilities_of_whole_numbers_sum_to_one(side):
    prior = model(**{"prior.side": side}).prior
    with torch.no_grad():
        z = torch.randn(1, 5, 4, 4).mul(2).round()
        at = (0, 4, 1, 2) if side else (0, 0, 1, 2)
        several = z.repeat(255, 1, 1, 1)
        several[:, at[1], at[2], at[3]] = torch.arange(-127.0, 128)
        log_p = prior.log_prob(several).double()
        others = log_p - (log_p[127 + int(z[at])] - 0)  # p(number | the rest), but for a factor
        share = (others - torch.logsumexp(others, 0)).exp()
        table = [p for _, p in stepped(prior, z)][-1 if side else 0][0]
        place = (4 - side) * 16 + 6 if side else 6
        assert torch.allclose(share.float(), table[place].float(), atol=0.03 if side else 1e-4)
        assert table.sum(-1).sub(1).abs().max() < 1e-3


def stepped(prior, z):
    steps, found, tokens = prior.steps(1), [], prior.head.tokens_of(z)
    try:
        found.append(next(steps))
        while True:
            found.append(steps.send(tokens[:, found[-1][0]]))
    except StopIteration:
        return found


def test_training_adds_noise_and_evaluation_rounds():
    found, x = model(), torch.rand(3, 1, 8, 8) * 2 - 1
    eps = torch.randn(3, 5, 4, 4)
    q = found.train().posterior(x)
    u = torch.special.ndtr(eps) - 0.5
    assert torch.allclose(q.sample(eps), q.numbers + u, atol=1e-5)
    q = found.eval().posterior(x)
    assert torch.equal(q.sample(eps), q.numbers.round())
    assert torch.equal(found.head.embed(q.tokens), q.mean)


def test_the_loss_is_bits_per_pixel_and_the_squared_error_of_255_levels():
    found = model(**{"objective.trade": 0.02})
    objective = RateDistortion(RateDistortion.Options(trade=0.02))
    batch = Batch(torch.rand(4, 1, 8, 8) * 2 - 1)
    found.eval()
    noise = objective.draw("model", Draws(4, "cpu"), found)
    loss = objective.loss("model", Networks(found), batch, noise)
    z = found.posterior(batch.x).mean
    rate = -found.prior.log_prob(z)
    error = ((found.mean(z) - batch.x) / 2 * 255).square().flatten(1).mean(1)
    bits = rate / math.log(2) / 64 + 0.02 * error
    told = (loss.terms["rate"] + loss.terms["distortion"] * loss.weights["distortion"]) / math.log(2) / 64
    assert torch.allclose(told, bits, rtol=1e-4)
    assert loss.terms["scale"].requires_grad
    grads = torch.autograd.grad(loss.terms["scale"].sum(), [*found.generator.parameters()], allow_unused=True)
    assert all(g is None for g in grads)  # the likelihood's own scale moves nothing else


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"prior.side": 5}, "must leave channels"),
        ({"latent.grid": 0}, "needs a grid"),
        ({"posterior": "vq"}, "rounded"),
    ],
)
def test_what_does_not_go_together_says_why(options, why):
    with pytest.raises(UsageError, match=why):
        model(**options)
