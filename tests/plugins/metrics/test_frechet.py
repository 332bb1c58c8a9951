"""The Fréchet distance against closed forms and scipy's square root, on each of its branches."""

import numpy as np
import pytest
import scipy.linalg
import torch

from genzoo.core.errors import UsageError
from genzoo.plugins.metrics.frechet import Statistics, distance, frechet, statistics


def by_sqrtm(x, y):
    """As pytorch-fid computes it."""
    x, y = x.double().numpy(), y.double().numpy()
    cx, cy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(cx @ cy)
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cx + cy - 2 * np.real(root))


def between(mean_x, cov_x, mean_y, cov_y):
    """Squared distance between two Gaussians of known means and covariances."""
    x, y = ((m.double(), c.double()) for m, c in ((mean_x, cov_x), (mean_y, cov_y)))
    return sum(distance(*(Statistics(m, c.trace().item(), c) for m, c in (x, y))))


def test_between_gaussians_with_diagonal_covariances():
    s, t = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 1.0, 0.0])
    m = torch.tensor([1.0, -1.0, 2.0])
    assert between(m, torch.diag(s**2), torch.zeros(3), torch.diag(t**2)) == pytest.approx(6 + 4 + 1 + 0.25, rel=1e-12)


def test_between_gaussians_that_do_not_commute():
    a, b = torch.tensor([[2.0, 1.0], [1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    # In two dimensions tr (AB)^½ = √(tr AB + 2 √(det A det B)).
    root = (10 + 2 * (3 * 4) ** 0.5) ** 0.5
    assert between(torch.zeros(2), a, torch.zeros(2), b) == pytest.approx(4 + 5 - 2 * root, rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(500, 700), (5000, 300), (2000, 3000)])
def test_equals_scipys_square_root(normal, n, m):
    mix = normal(0, 64, 64) / 8
    x, y = normal(1, n, 64) @ mix + 0.3, normal(2, m, 64) @ mix.T
    found = frechet(x, y)
    assert found.estimate.value == pytest.approx(by_sqrtm(x, y), rel=1e-8)
    assert found.details["of the means"] + found.details["of the covariances"] == found.estimate.value
    assert found.estimate.samples == (n, m)


def test_large_enough_for_the_eigenvalues(normal):
    x, y = normal(1, 900, 300) * torch.linspace(0.1, 2, 300), normal(2, 1000, 300) + 0.1
    assert frechet(x, y).estimate.value == pytest.approx(by_sqrtm(x, y), rel=1e-8)


def test_fewer_samples_than_dimensions(normal):
    x, y = normal(1, 20, 50) + 0.2, normal(2, 30, 50) * 1.5
    # An exact reference: the nuclear norm of the centred sets' product.
    a, b = x - x.mean(0), y - y.mean(0)
    nuclear = np.linalg.norm((a @ b.T).numpy(), "nuc") / (19 * 29) ** 0.5
    truth = (x.mean(0) - y.mean(0)).square().sum() + x.var(0).sum() + y.var(0).sum() - 2 * nuclear
    assert frechet(x, y).estimate.value == pytest.approx(truth.item(), rel=1e-10)
    many = normal(3, 400, 50)
    assert frechet(x, many).estimate.value == pytest.approx(by_sqrtm(x, many), rel=1e-5)
    assert frechet(x, many).estimate.value == pytest.approx(frechet(many, x).estimate.value, rel=1e-10)


@pytest.mark.parametrize("n", [40, 257, 300, 2000])
@pytest.mark.parametrize("kind", ["full", "dead", "flat"])
def test_a_set_against_itself_is_nothing(normal, n, kind):
    x = (normal(0, n, 256, dtype=torch.float32) * 5 + 100).double()
    if kind == "dead":
        x[:, ::5] = 0
        x[:, 7] = x[:, 8]
    if kind == "flat":
        x = normal(0, n, 10) @ normal(1, 10, 256)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    assert abs(frechet(x.float(), x.float()[order]).estimate.value) < 1e-6
    assert abs(frechet(x, x[order]).estimate.value) < 1e-6


def test_singular_covariance_with_enough_samples(normal):
    x, y = (normal(s, 500, 8) @ normal(9, 8, 40) * (1 + s) for s in (0, 1))
    x[:, 3] = y[:, 3] = 1.5
    a, b = normal(0, 500, 8), normal(1, 500, 8) * 2
    g = normal(9, 8, 40)
    g[:, 3] = 0
    # tr (Σa Σb)^½ of what lies in a subspace, by the 8 × 8 problem within it.
    m = (g @ g.T).numpy()
    root = scipy.linalg.sqrtm(m) @ np.cov(a.numpy().T) @ scipy.linalg.sqrtm(m)
    other = scipy.linalg.sqrtm(m) @ np.cov(b.numpy().T) @ scipy.linalg.sqrtm(m)
    truth = np.trace(root + other - 2 * np.real(scipy.linalg.sqrtm(root @ other)))
    truth += ((a.mean(0) @ g - b.mean(0) @ g) ** 2).sum().item()
    assert frechet(x, y).estimate.value == pytest.approx(truth, rel=1e-7)


def test_the_interval(normal):
    x, y = normal(1, 400, 5) + 0.5, normal(2, 600, 5)
    found = frechet(x, y, resamples=100).estimate
    assert found.low < found.value < found.high
    assert found.low < 1.25 < found.high
    assert found.samples == (400, 600)
    before = x.clone()
    statistics(x)
    assert torch.equal(x, before)  # features are not centred in place


def test_what_cannot_be_measured(normal):
    with pytest.raises(UsageError, match="same extractor"):
        frechet(normal(0, 9, 3), normal(0, 9, 4))
    with pytest.raises(UsageError, match="at least 2"):
        frechet(normal(0, 1, 3), normal(0, 9, 3))
    x = normal(0, 9, 3)
    x[4, 1] = torch.nan
    with pytest.raises(UsageError, match="1 of 9 features hold NaN or infinity, the first is number 4"):
        frechet(x, normal(0, 9, 3))
