"""Likelihoods: probabilities that sum to one, densities that integrate to one, and the means they claim."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.nn import functional as F

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.likelihood import Implicit
from genzoo.core.model import Model
from genzoo.core.spec import DataSpec
from genzoo.plugins.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli, log_normalizer
from genzoo.plugins.likelihoods.discretized_logistic import DiscretizedLogistic
from genzoo.plugins.likelihoods.gaussian import Gaussian

PIXEL = DataSpec.image(1, 1, 1)
IMAGE = DataSpec.image(2, 3, 4)
BINARY = DataSpec.image(2, 3, 4, levels=2)
LOGITS = [-50.0, -20.0, -5.0, -1.0, -0.11, -0.1, -0.09, -1e-3, -1e-6, 0.0, 1e-4, 0.0999, 0.1001, 2.0, 30.0, 50.0]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# Discretized logistic


def level_log_probs(likelihood, params):
    """Of each level at one pixel: ``(levels,)``."""
    levels = likelihood.spec.levels
    x = torch.linspace(-1, 1, levels).view(-1, 1, 1, 1)
    return likelihood.log_prob(params.expand(levels, *params.shape[1:]), x)


@pytest.mark.parametrize("mean", [0.0, 0.37, -1.0, 1.0, -1.004, 2.0, -30.0, 1000.0])
@pytest.mark.parametrize("log_scale", [-7.0, -6.0, -3.0, -1.0, 0.0, 3.0])
@pytest.mark.parametrize("levels", [256, 4])
def test_probabilities_of_all_levels_sum_to_one(mean, log_scale, levels):
    likelihood = DiscretizedLogistic(DataSpec.image(1, 1, 1, levels=levels))
    likelihood.log_scale.data.fill_(log_scale)
    params = torch.full((1, 1, 1, 1), mean, requires_grad=True)
    log_p = level_log_probs(likelihood, params)
    assert log_p.double().logsumexp(0).exp().item() == pytest.approx(1, abs=5e-5)
    assert log_p.isfinite().all()  # also of levels that are hopelessly unlikely
    edges = (np.arange(1, levels) * 2 - 1) / (levels - 1) - 1  # between levels
    cdf = np.concatenate([[0], stats.logistic(mean, math.exp(log_scale)).cdf(edges), [1]])
    np.testing.assert_allclose(log_p.detach().exp(), np.diff(cdf), atol=3e-5)
    # One level's NaN or infinity would spoil the sum.
    assert all(g.isfinite().all() for g in torch.autograd.grad(log_p.sum(), [params, likelihood.log_scale]))


def test_far_tails_fall_linearly_and_pull_back():
    likelihood = DiscretizedLogistic(PIXEL)
    mean = torch.tensor([-50.0, -500.0]).view(2, 1, 1, 1).requires_grad_()
    log_p = likelihood.log_prob(mean, torch.zeros(2, 1, 1, 1))
    scale, step = 0.1, 1 / 255 / 0.1
    expected = [-m / scale + step + math.log1p(-math.exp(-2 * step)) for m in (50, 500)]
    np.testing.assert_allclose(log_p.detach(), expected, rtol=1e-6)
    (gradient,) = torch.autograd.grad(log_p.sum(), mean)
    torch.testing.assert_close(gradient, torch.full_like(mean, 10.0))  # as strong as anywhere: 1 / scale


def test_scales_by_channel_and_by_pixel_agree():
    shared = DiscretizedLogistic(IMAGE)
    own = DiscretizedLogistic(IMAGE, DiscretizedLogistic.Options(scale="per-pixel"))
    assert (shared.input_shape, own.input_shape) == ((2, 3, 4), (4, 3, 4))
    shared.log_scale.data.copy_(torch.tensor([-1.0, -3.0]).view(2, 1, 1))
    mean = torch.randn(5, *IMAGE.shape, generator=seeded())
    x = torch.randint(256, (5, *IMAGE.shape), generator=seeded()) / 127.5 - 1
    log_scale = (shared.log_scale + 2).expand(5, 2, 3, 4)
    torch.testing.assert_close(shared.log_prob(mean, x), own.log_prob(torch.cat([mean, log_scale], 1), x))
    assert shared.log_prob(mean, x).shape == (5,)


@torch.no_grad()
def test_discretized_samples_are_levels_around_the_mean():
    likelihood = DiscretizedLogistic(PIXEL)
    params = torch.tensor([-0.5, 0.0, 0.3]).view(3, 1, 1, 1)
    drawn = likelihood.sample(params.repeat(20_000, 1, 1, 1), seeded()).view(-1, 3)
    level = (drawn + 1) * 127.5
    torch.testing.assert_close(level, level.round(), atol=1e-4, rtol=0)
    error = 0.1 * math.pi / math.sqrt(3) / math.sqrt(20_000)
    np.testing.assert_allclose(drawn.mean(0), likelihood.mean(params).flatten(), atol=4 * error)
    share = (drawn[:, 1] == drawn[:, 1].max()).float().mean().item()  # the outer bin has the whole tail
    top = stats.logistic(0, 0.1).sf(1 - 1 / 255) if drawn[:, 1].max() == 1 else 0
    assert share == pytest.approx(top, abs=4e-4)
    assert likelihood.mean(torch.full((1, 1, 1, 1), 7.0)).item() == 1


# Continuous Bernoulli


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_integrates_to_one_with_the_mean_it_claims(logit):
    likelihood = ContinuousBernoulli(PIXEL)
    # The density on [0, 1] from the likelihood itself, in float64: log p = x l + log p(0).
    at_zero = likelihood.log_prob(torch.full((1, 1, 1, 1), logit), torch.full((1, 1, 1, 1), -1.0)).item()

    def density(x):
        return math.exp(x * logit + at_zero)

    near = [1 / abs(logit), 1 - 1 / abs(logit)] if abs(logit) > 2 else None
    total, first = (integrate.quad(f, 0, 1, points=near)[0] for f in (density, lambda x: x * density(x)))
    assert total == pytest.approx(1, abs=2e-5)
    mean = likelihood.mean(torch.full((1, 1, 1, 1), logit)).item()
    assert (mean + 1) / 2 == pytest.approx(first, abs=2e-5)
    middle = likelihood.log_prob(torch.full((1, 1, 1, 1), logit), torch.zeros(1, 1, 1, 1)).item()
    assert middle == pytest.approx(logit / 2 + at_zero, abs=2e-5)


def test_continuous_bernoulli_is_smooth_where_series_and_formula_meet():
    logits = torch.tensor(LOGITS, requires_grad=True)
    (slope,) = torch.autograd.grad(log_normalizer(logits).sum(), logits)
    wide = torch.tensor([v or 1e-9 for v in LOGITS], dtype=torch.float64)
    exact = torch.log(wide / torch.tanh(wide / 2))
    torch.testing.assert_close(log_normalizer(logits).double(), exact, atol=2e-6, rtol=1e-6)
    big = wide.abs() > 0.01
    expected = 1 / wide - 1 / torch.sinh(wide)  # d/dl log (l / tanh(l/2))
    torch.testing.assert_close(slope.double()[big], expected[big], atol=1e-5, rtol=1e-4)
    assert slope[LOGITS.index(0.0)] == 0


def test_continuous_bernoulli_samples_have_the_mean():
    likelihood = ContinuousBernoulli(PIXEL)
    logits = torch.tensor([-60.0, -3.0, -1e-5, 0.0, 0.5, 4.0, 200.0]).view(-1, 1, 1, 1)
    drawn = likelihood.sample(logits.repeat(20_000, 1, 1, 1), seeded()).view(20_000, -1)
    assert drawn.abs().max() <= 1
    error = drawn.std(0) / math.sqrt(20_000)
    assert ((drawn.mean(0) - likelihood.mean(logits).flatten()).abs() < 4 * error + 1e-6).all()


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_continuous_bernoulli_samples_stay_inside_at_the_ends_of_the_uniform_numbers(monkeypatch, uniform):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, uniform))
    drawn = ContinuousBernoulli(PIXEL).sample(torch.tensor(LOGITS).view(-1, 1, 1, 1))
    assert drawn.abs().max() <= 1


# Bernoulli


def test_bernoulli_is_cross_entropy_from_logits():
    likelihood = Bernoulli(BINARY)
    logits = 30 * torch.randn(5, *BINARY.shape, generator=seeded())
    bits = torch.randint(2, (5, *BINARY.shape), generator=seeded()).float()
    expected = F.binary_cross_entropy_with_logits(logits, bits, reduction="none").flatten(1).sum(1)
    torch.testing.assert_close(likelihood.log_prob(logits, 2 * bits - 1), -expected)
    torch.testing.assert_close(likelihood.mean(logits), 2 * torch.sigmoid(logits) - 1)
    drawn = likelihood.sample(torch.full((20_000, *BINARY.shape), -1.0), seeded())
    assert set(drawn.unique().tolist()) == {-1, 1}
    assert drawn.mean().item() == pytest.approx(2 / (1 + math.e) - 1, abs=4 / math.sqrt(drawn.numel()))


def test_mismatched_data_is_refused_before_the_first_step():
    with pytest.raises(UsageError, match=r"binarize it with options=.*data.binarize.: .static.*discretized-logistic"):
        genzoo.fit("vae", torch.rand(8, 8, 8), options={"likelihood": "bernoulli"}, steps=1, device="cpu")
    with pytest.raises(UsageError, match=r'binary images.*"likelihood": "gaussian"'):
        genzoo.fit("vae", torch.rand(8, 2), options={"likelihood": "bernoulli"}, steps=1, device="cpu")
    with pytest.raises(UsageError, match='"likelihood": "gaussian"'):
        genzoo.fit("vae", torch.rand(8, 2), options={"likelihood": "continuous-bernoulli"}, steps=1, device="cpu")
    with pytest.raises(UsageError, match='"likelihood": "gaussian"'):
        DiscretizedLogistic(DataSpec.image(1, 8, 8, levels=None))
    Bernoulli(BINARY)
    with pytest.raises(GenzooError, match="no likelihood"):
        Implicit(IMAGE).log_prob(torch.zeros(1), torch.zeros(1))


# Gaussian


def gaussian(sigma, value=0.7, spec=IMAGE):
    return Gaussian(spec, Gaussian.Options(sigma=sigma, value=value))


@pytest.mark.parametrize("sigma", ["fixed", "learned"])
def test_gaussian_density_is_scipys_in_peoples_units(sigma):
    likelihood = gaussian(sigma)
    mean, x = (torch.randn(5, *IMAGE.shape, generator=seeded(s)) for s in (0, 1))
    expected = stats.norm(mean * 0.5 + 0.5, 0.35).logpdf(x * 0.5 + 0.5).reshape(5, -1).sum(1)
    np.testing.assert_allclose(likelihood.log_prob(mean, x).detach(), expected, rtol=1e-5)
    assert [n for n, _ in likelihood.named_parameters()] == (["log_sigma"] if sigma == "learned" else [])
    assert "log_sigma" in likelihood.state_dict()  # saved either way
    drawn = likelihood.sample(torch.zeros(5000, *IMAGE.shape), seeded())
    assert drawn.std().item() == pytest.approx(0.7, rel=0.01)


def test_learned_sigma_is_at_rest_where_it_equals_the_error():
    likelihood = gaussian("learned")
    x = torch.randn(50, *IMAGE.shape, generator=seeded())
    likelihood.log_sigma.data.fill_(0.5 * x.square().mean().log().item())
    (slope,) = torch.autograd.grad(likelihood.log_prob(torch.zeros_like(x), x).mean(), likelihood.log_sigma)
    assert slope.abs() < 1e-4
    likelihood.log_sigma.data.add_(0.1)
    (slope,) = torch.autograd.grad(likelihood.log_prob(torch.zeros_like(x), x).mean(), likelihood.log_sigma)
    assert slope.item() == pytest.approx(IMAGE.size * (math.exp(-0.2) - 1), rel=1e-3)


def test_batch_optimal_sigma_is_the_root_mean_squared_error():
    likelihood = gaussian("optimal").train()
    assert likelihood.coupled
    mean = torch.randn(6, *IMAGE.shape, generator=seeded()).requires_grad_()
    x = torch.randn(6, *IMAGE.shape, generator=seeded(1))
    mse, d = (x - mean).square().mean(), IMAGE.size
    loss = -likelihood.log_prob(mean, x).mean()
    best = stats.norm(0, math.sqrt(mse.item())).logpdf((x - mean).detach()).sum() / 6 - likelihood.log_volume
    assert loss.item() == pytest.approx(-best, rel=1e-5)
    (found,) = torch.autograd.grad(loss, mean)
    (expected,) = torch.autograd.grad(d / 2 * mse.log(), mean)  # σ-VAE's objective, D/2 log MSE
    torch.testing.assert_close(found, expected)
    for other in (0.9, 1.1):  # any other σ is worse
        fixed = gaussian("fixed", math.sqrt(mse.item()) * other)
        assert -fixed.log_prob(mean, x).mean() > loss + 0.1
    for _ in range(300):
        likelihood.log_prob(mean, x)
    assert likelihood.log_sigma.exp().item() == pytest.approx(math.sqrt(mse.item()), rel=1e-4)
    kept = likelihood.eval().log_sigma.clone()
    likelihood.log_prob(mean, 5 * x)
    assert torch.equal(likelihood.log_sigma, kept)  # evaluation learns nothing
    assert not gaussian("learned").coupled


class Distance(Gaussian):
    """What a perceptual loss would be: no density."""

    normalized = False


def test_a_distance_has_no_likelihood(linear_gaussian):
    oracle = linear_gaussian()
    m = oracle.model
    model = Model(m.spec, m.latent, m.generator, Distance(m.spec), m.encoder, m.head)
    x = oracle.data(4)
    assert model.reconstruct(x).shape == x.shape
    with pytest.raises(UsageError, match="a distance, not a density"):
        model.log_likelihood(x)
    with pytest.raises(UsageError, match="a distance"):
        genzoo.evaluate(model, x, metrics=["log-likelihood"], n=4)
