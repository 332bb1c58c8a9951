"""MMD and KID: expectations in closed form between Gaussians, and the plain definition."""

import math

import pytest
import torch

from genzoo.core.errors import UsageError
from genzoo.plugins.metrics.twosample import RBF, cubic, kid, mmd


def rbf_between(shift, s, t, d, sigma):
    """E k(x, x') + E k(y, y') - 2 E k(x, y) for N(shift, s²I) and N(0, t²I) in d dimensions."""

    def expected(variance, square=0.0):
        return (sigma**2 / (sigma**2 + variance)) ** (d / 2) * math.exp(-square / 2 / (sigma**2 + variance))

    return expected(2 * s * s) + expected(2 * t * t) - 2 * expected(s * s + t * t, d * shift**2)


def test_rbf_between_gaussians(normal):
    truth = rbf_between(0.7, 1.0, 1.5, 3, 2.0)
    found = [mmd(normal(i, 300, 3) + 0.7, normal(i + 999, 200, 3) * 1.5, RBF((2.0,))) for i in range(40)]
    values = torch.tensor([f.value for f in found])
    assert values.mean().item() == pytest.approx(truth, abs=4 * values.std().item() / 40**0.5)
    assert values.std() / 40**0.5 < truth / 30
    inside = sum(f.low <= truth <= f.high for f in found)
    assert inside >= 34
    widths = torch.tensor([f.high - f.low for f in found]).mean() / (2 * 1.96)
    assert widths.item() == pytest.approx(values.std().item(), rel=0.35)


@pytest.mark.parametrize("kernel", [RBF((0.5, 2.0)), cubic])
def test_unbiased_where_the_distributions_are_equal(normal, kernel):
    found = [mmd(normal(i, 40, 3), normal(i + 999, 30, 3), kernel) for i in range(150)]
    values = torch.tensor([f.value for f in found])
    assert abs(values.mean()) < 4 * values.std() / 150**0.5
    assert values.min() < 0  # as an unbiased estimate must sometimes be
    assert sum(f.low <= 0 <= f.high for f in found) >= 0.95 * 150  # too wide here, never too narrow


def test_polynomial_in_one_dimension(normal):
    # E (xy + 1)³ with x, y ~ N(m, 1), N(0, 1): from the moments 1, m, m²+1, m³+3m.
    def moments(m):
        return [1, m, m * m + 1, m**3 + 3 * m]

    def expected(a, b):
        return sum(math.comb(3, i) * moments(a)[i] * moments(b)[i] for i in range(4))

    truth = expected(0.5, 0.5) + expected(0, 0) - 2 * expected(0.5, 0)
    values = torch.tensor([mmd(normal(i, 200, 1) + 0.5, normal(i + 999, 200, 1), cubic).value for i in range(60)])
    assert values.mean().item() == pytest.approx(truth, abs=4 * values.std().item() / 60**0.5)


def by_definition(x, y, k):
    n, m = len(x), len(y)
    within = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    other = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within + other - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_equals_the_definition(normal, monkeypatch):
    monkeypatch.setattr("genzoo.plugins.metrics.twosample._CELLS", 40)  # several slabs
    x, y = normal(0, 9, 2) + 0.4, normal(1, 6, 2)
    cases = {
        RBF((1.0, 3.0)): lambda a, b: ((-(a - b).square().sum() / 2).exp() + (-(a - b).square().sum() / 18).exp()) / 2,
        cubic: lambda a, b: (a @ b / 2 + 1) ** 3,
    }
    for kernel, k in cases.items():
        assert mmd(x, y, kernel).value == pytest.approx(by_definition(x, y, k).item(), rel=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.8])
@pytest.mark.parametrize("kernel", [RBF((1.0,)), cubic])
def test_the_interval_has_the_variance_of_the_value(normal, shift, kernel):
    # Where the distributions are equal the jackknife's own variance is twice the true one.
    runs = [mmd(normal(i, 40, 3) + shift, normal(i + 9999, 60, 3), kernel) for i in range(500)]
    values = torch.tensor([r.value for r in runs])
    claimed = torch.tensor([(r.high - r.value) / 1.959964 for r in runs])
    typical = claimed.square().mean().sqrt() if shift else claimed.median()
    assert typical.item() == pytest.approx(values.std().item(), rel=0.15)


def test_one_whole_subset_is_the_u_statistic(normal):
    x, y = normal(0, 60, 8) + 0.3, normal(1, 60, 8)
    found = kid(x, y, size=60, subsets=1)
    assert found.estimate.value == pytest.approx(mmd(x, y, cubic).value, rel=1e-10)
    assert math.isnan(found.estimate.low)


def test_kid_is_unbiased_and_its_interval_holds(normal):
    truth = mmd(normal(0, 4000, 4) + 0.3, normal(1, 4000, 4), cubic)
    found = [kid(normal(i, 200, 4) + 0.3, normal(i + 999, 200, 4), subsets=20) for i in range(60)]
    values = torch.tensor([f.estimate.value for f in found])
    error = values.std().item() / 60**0.5 + (truth.high - truth.low) / 4
    assert abs(values.mean().item() - truth.value) < 4 * error
    assert sum(f.estimate.low <= truth.value <= f.estimate.high for f in found) >= 55
    assert found[0].details["size"] == 20
    assert found[0].estimate == kid(normal(0, 200, 4) + 0.3, normal(999, 200, 4), subsets=20).estimate


@pytest.mark.parametrize("kernel", [cubic, RBF((1.0, 2.0))])
def test_a_set_is_not_further_from_itself_than_nothing(normal, kernel):
    """The estimate for independent sets would be below 0, and its interval too."""
    x = normal(0, 60, 4)
    again = x.flip(0)
    for found in (mmd(x, again, kernel), kid(x, again, size=10).estimate):
        assert (found.value, found.low, found.high) == (0, 0, 0)
    assert mmd(x, torch.cat([again[:-1], again[:1]]), kernel).value != 0


def test_subsets_that_do_not_fit(normal):
    with pytest.raises(UsageError, match="from 2 to 20"):
        kid(normal(0, 30, 2), normal(1, 20, 2), size=21)
