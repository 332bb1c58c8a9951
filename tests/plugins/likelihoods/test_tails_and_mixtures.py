"""Heavier tails and mixtures: against torch.distributions, by quadrature, and by adding up all images there are."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec
from genzoo.plugins.likelihoods.discretized_logistic import DiscretizedLogistic
from genzoo.plugins.likelihoods.gaussian import Gaussian
from genzoo.plugins.likelihoods.location_scale import LOWEST, Laplace, LogCosh, StudentT
from genzoo.plugins.likelihoods.logistic_mixture import LogisticMixture

VECTOR = DataSpec("vector", (3,), scale=(2.0, 0.5, 3.0), shift=(1.0, -1.0, 0.0))
FAMILIES = [
    (StudentT, {"freedom": 2.5}), (StudentT, {"freedom": 30.0}), (Laplace, {}),
    (LogCosh, {"sharpness": 0.3}), (LogCosh, {"sharpness": 10.0}), (LogCosh, {"sharpness": 100.0}),
]  # fmt: skip


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def made(kind, spec=VECTOR, **options):
    return kind(spec, kind.Options(**options))


# Locations and scales


def test_student_t_and_laplace_are_torchs_in_data_units():
    mean, x = (torch.randn(7, 3, generator=seeded(s)) for s in (0, 1))
    scale, shift = torch.tensor(VECTOR.scale), torch.tensor(VECTOR.shift)
    for likelihood, of in (
        (made(StudentT, value=0.4, freedom=3.5), lambda m, s: torch.distributions.StudentT(3.5, m, s)),
        (made(Laplace, value=0.4), torch.distributions.Laplace),
    ):
        truth = of(mean * scale + shift, 0.4 * scale).log_prob(x * scale + shift).sum(1)
        torch.testing.assert_close(likelihood.log_prob(mean, x), truth)


def test_student_t_has_a_scale_for_each_number_and_freedom_that_stays_above_two():
    likelihood = made(StudentT, freedom=2.01)
    assert likelihood.log_scale.shape == (3,)
    likelihood.raw_freedom.data.fill_(-1e4)
    assert likelihood.freedom == 2
    likelihood.raw_freedom.data.fill_(1e6)  # all but infinite: the Gaussian
    mean, x = torch.zeros(5, 3), torch.randn(5, 3, generator=seeded())
    normal = Gaussian(VECTOR, Gaussian.Options(sigma="fixed", value=0.1))
    torch.testing.assert_close(likelihood.log_prob(mean, 0.1 * x), normal.log_prob(mean, 0.1 * x))
    for freedom in (39.9, 40.1, 3000.0):  # where the series begins, and far beyond it
        truth = torch.distributions.StudentT(torch.tensor(freedom, dtype=torch.float64)).log_prob(x.double())
        at = made(StudentT, DataSpec("vector", (3,)), freedom=freedom)
        torch.testing.assert_close(at.standard_log_prob(x).double(), truth, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("kind", "options"), FAMILIES)
def test_densities_integrate_to_one_and_draws_follow_them(kind, options):
    likelihood = made(kind, DataSpec("vector", (1,)), value=1.0, **options).double()
    here = torch.zeros(1, 1, dtype=torch.float64)

    def density(t):
        return likelihood.log_prob(here, torch.full((1, 1), t, dtype=torch.float64)).exp().item()

    half, _ = integrate.quad(density, 0, np.inf, limit=200)
    assert 2 * half == pytest.approx(1, abs=1e-6)
    with torch.no_grad():
        draws = made(kind, DataSpec("vector", (1,)), value=1.0, **options).sample(torch.zeros(20_000, 1), seeded())
    assert draws.isfinite().all()
    grid = np.linspace(-60, 60, 24_001)
    cumulative = integrate.cumulative_trapezoid(
        likelihood.log_prob(here.expand(len(grid), 1), torch.tensor(grid)[:, None]).exp().detach(), grid, initial=0
    )
    cumulative += 0.5 - cumulative[len(grid) // 2]  # symmetric, and a part of the tails is beyond the grid
    found = stats.kstest(draws.numpy().ravel(), lambda t: np.interp(t, grid, cumulative))
    assert found.pvalue > 1e-3


def test_log_cosh_does_not_overflow_and_is_between_square_and_absolute_error():
    likelihood = made(LogCosh, DataSpec("vector", (1,)), value=1.0, sharpness=10.0)
    x = torch.tensor([[-1e6], [-1e-3], [1e-3], [1e6]], requires_grad=True)
    log_p = likelihood.log_prob(torch.zeros(4, 1), x)
    assert log_p.isfinite().all()
    assert (log_p[0], log_p[1]) == (log_p[3], log_p[2])  # PyTorch-VAE's a t + log(1 + e^(-2at)) is not symmetric
    torch.testing.assert_close(torch.autograd.grad(log_p.sum(), x)[0].flatten(), torch.tensor([1, 0.01, -0.01, -1]),
                               rtol=1e-4, atol=1e-6)  # fmt: skip


def test_predicted_scales_are_floored_softly_where_pixels_never_vary():
    spec = DataSpec.image(1, 4, 4)
    for likelihood in (
        made(Gaussian, spec, sigma="predicted"), made(Laplace, spec, scale="predicted"),
        made(StudentT, spec, scale="predicted"), made(LogCosh, spec, scale="predicted"),
    ):  # fmt: skip
        assert likelihood.input_shape == (2, 4, 4)
        border = torch.full((2, 1, 4, 4), -1.0)
        params = torch.cat([border, torch.full_like(border, -40.0)], 1).requires_grad_()
        log_p = likelihood.log_prob(params, border)
        assert log_p.isfinite().all()
        assert (log_p < 16 * (3 - LOWEST)).all()  # and not as high as one likes
        (slope,) = torch.autograd.grad(log_p.sum(), params)
        assert slope.isfinite().all()
        (slope,) = torch.autograd.grad(likelihood.log_prob(params, border + 1).sum(), params)
        assert (slope[:, 1] > 0).all()  # a hard clamp would never let it up again
        assert likelihood.sample(params, seeded()).shape == likelihood.mean(params).shape == border.shape


def test_a_predicted_gaussian_is_scipys():
    likelihood = made(Gaussian, sigma="predicted", value=0.3)
    params, x = torch.randn(5, 6, generator=seeded()), torch.randn(5, 3, generator=seeded(1))
    sigma = np.exp(LOWEST + np.log1p(np.exp(params[:, 3:].numpy() + math.log(0.3) - LOWEST)))
    scale = np.array(VECTOR.scale)
    truth = stats.norm(params[:, :3].numpy() * scale, sigma * scale).logpdf(x.numpy() * scale).sum(1)
    np.testing.assert_allclose(likelihood.log_prob(params, x), truth, rtol=1e-5)
    drawn = likelihood.sample(params[:1].expand(20_000, 6), seeded())
    np.testing.assert_allclose(drawn.std(0), sigma[0], rtol=0.03)


# Mixtures


def mixture(c, levels, components, seed=0, spread=1.5):
    likelihood = LogisticMixture(DataSpec.image(c, 1, 1, levels=levels), LogisticMixture.Options(components=components))
    return likelihood, spread * torch.randn(1, *likelihood.input_shape, generator=seeded(seed))


def every(c, levels):
    """All pixels there are, in model space."""
    return torch.tensor(list(itertools.product(range(levels), repeat=c))).view(-1, c, 1, 1) / (levels - 1) * 2 - 1


@pytest.mark.parametrize(("c", "levels"), [(1, 256), (1, 2), (3, 6), (4, 4)])
@pytest.mark.parametrize("spread", [0.1, 1.5, 6.0])
def test_a_pixel_sums_to_one_and_so_does_each_channel_given_those_before_it(c, levels, spread):
    likelihood, params = mixture(c, levels, 4, spread=spread)
    pixels = every(c, levels)
    p = likelihood.log_prob(params.expand(len(pixels), *params.shape[1:]), pixels).double().exp()
    assert p.sum().item() == pytest.approx(1, abs=5e-5)
    if c == 1:
        return
    # Of the first channel alone it is the mixture without the others, whatever those are tied to.
    alone = LogisticMixture(DataSpec.image(1, 1, 1, levels=levels), LogisticMixture.Options(components=4))
    k = 4
    first = torch.cat([params[:, :k], params[:, k : k + k * c : c], params[:, k + k * c : k + 2 * k * c : c]], 1)
    q = alone.log_prob(first.expand(levels, -1, 1, 1), every(1, levels)).double().exp()
    torch.testing.assert_close(p.view(levels, -1).sum(1), q, atol=2e-5, rtol=1e-4)
    # The second given the first, once more by hand: p(x2 | x1) sums to one for every x1 that can be.
    both = p.view(levels, levels, -1).sum(2)
    torch.testing.assert_close((both / q[:, None]).sum(1)[q > 1e-3], torch.ones_like(q)[q > 1e-3], atol=5e-4, rtol=0)


def test_one_component_is_the_discretized_logistic():
    spec = DataSpec.image(3, 4, 5)
    one = LogisticMixture(spec, LogisticMixture.Options(components=1))
    plain = DiscretizedLogistic(spec, DiscretizedLogistic.Options(scale="per-pixel"))
    params = torch.randn(6, *one.input_shape, generator=seeded())
    params[:, -3:] = 0  # channels that are not tied
    x = torch.randint(256, (6, *spec.shape), generator=seeded()) / 127.5 - 1
    torch.testing.assert_close(one.log_prob(params, x), plain.log_prob(params[:, 1:7], x))
    torch.testing.assert_close(one.mean(params), plain.mean(params[:, 1:7]))


def test_channels_follow_those_before_them_as_pixelcnn_has_it():
    """Written out for three channels: μ₂ + a x₁, μ₃ + b x₁ + c x₂, a to c through a tanh."""
    likelihood, params = mixture(3, 6, 2, seed=3)
    pixels, numbers = every(3, 6), params.flatten().double().numpy()
    pi = np.exp(numbers[:2]) / np.exp(numbers[:2]).sum()
    means, scales = numbers[2:8].reshape(2, 3), np.exp(np.maximum(numbers[8:14] - 2, -7)).reshape(2, 3)
    a, b, c = np.tanh(numbers[14:]).reshape(2, 3).T
    x = pixels.flatten(1).double().numpy()
    p = np.zeros(len(x))
    for k in range(2):
        of = [means[k, 0], means[k, 1] + a[k] * x[:, 0], means[k, 2] + b[k] * x[:, 0] + c[k] * x[:, 1]]
        each = np.ones(len(x))
        for i, mean in enumerate(of):
            high = np.where(x[:, i] > 0.99, np.inf, x[:, i] + 0.2)
            low = np.where(x[:, i] < -0.99, -np.inf, x[:, i] - 0.2)
            each *= stats.logistic.cdf((high - mean) / scales[k, i]) - stats.logistic.cdf((low - mean) / scales[k, i])
        p += pi[k] * each
    found = likelihood.log_prob(params.expand(len(x), *params.shape[1:]), pixels).double().exp().numpy()
    np.testing.assert_allclose(found, p, rtol=1e-3, atol=1e-6)


def test_tails_are_exact_and_gradients_reach_everything():
    likelihood, params = mixture(3, 256, 5, spread=1.0)
    params[:, 5:20] += 40.0  # components far from any pixel
    params.requires_grad_()
    log_p = likelihood.log_prob(params, torch.full((1, 3, 1, 1), -0.2))
    assert log_p.isfinite().all()
    assert log_p < -200  # a floor under the probabilities would say -83
    (slope,) = torch.autograd.grad(log_p, params)
    assert slope.isfinite().all()
    assert (slope[:, 5:20].sum() < 0).all()  # the means are pulled back


@torch.no_grad()
def test_draws_have_the_frequencies_that_log_prob_says():
    likelihood, params = mixture(3, 3, 3, seed=5)
    pixels, n = every(3, 3), 30_000
    p = likelihood.log_prob(params.expand(27, *params.shape[1:]), pixels).double().exp()
    drawn = likelihood.sample(params.expand(n, *params.shape[1:]), seeded())
    index = ((drawn[:, :, 0, 0] + 1).round().long() * torch.tensor([9, 3, 1])).sum(1)
    counts = torch.bincount(index, minlength=27)
    assert stats.chisquare(counts.numpy(), (p / p.sum() * n).numpy()).pvalue > 1e-3


def test_the_mean_lies_between_the_components():
    spec = DataSpec.image(1, 1, 1)
    likelihood = LogisticMixture(spec, LogisticMixture.Options(components=2))
    numbers = [math.log(3), 0.0, -0.5, 0.7, -3.0, -3.0]  # π = ¾ and ¼
    mean = likelihood.mean(torch.tensor(numbers).view(1, 6, 1, 1))
    assert mean.item() == pytest.approx(0.75 * -0.5 + 0.25 * 0.7)
    with pytest.raises(UsageError, match='"likelihood": "gaussian"'):
        LogisticMixture(VECTOR)
