"""Disentanglement scores of codes whose scores are known: perfect, mixed, repeated, noise."""

import math
import sys

import pytest
import torch

from genzoo.core.errors import GenzooError, UsageError
from genzoo.plugins.metrics.dci import dci
from genzoo.plugins.metrics.disentanglement import factor_vae_score, mig, modularity, mutual_information, sap

SIZES = (3, 4, 5)


@pytest.fixture(scope="module")
def factors():
    """Every combination of three factors, 60 times over, in random order."""
    grid = torch.cartesian_prod(*[torch.arange(s) for s in SIZES]).repeat(60, 1)
    return grid[torch.randperm(len(grid), generator=torch.Generator().manual_seed(5))]


def test_a_perfect_code(factors):
    z = factors.double() * torch.tensor([1.0, -3.0, 0.5]) + 7
    assert mig(z, factors) == pytest.approx(1, abs=1e-9)
    assert modularity(z, factors) == pytest.approx(1, abs=1e-9)
    assert sap(z, factors) == pytest.approx(1, abs=1e-9)
    assert factor_vae_score(z, factors) == 1
    found = dci(z[:1000], factors[:1000])
    assert (found.disentanglement, found.completeness) == pytest.approx((1, 1))
    assert found.informativeness == 1
    assert torch.equal(found.importance, torch.eye(3).double())


def test_noise(factors, normal):
    z = normal(0, len(factors), 6)
    assert mig(z, factors) < 0.01
    assert modularity(z, factors) == 0
    assert sap(z, factors) < 0.01
    # With as many votes again for the test, the table knows nothing: 1/K, within four standard errors.
    scores = [factor_vae_score(z, factors, seed=s) for s in range(10)]
    assert sum(scores) / 10 == pytest.approx(1 / 3, abs=4 * math.sqrt(2 / 9 / 8000))
    found = dci(z[:1000], factors[:1000])
    assert found.disentanglement < 0.02
    assert found.completeness < 0.02
    assert found.informativeness < 0.05


def test_a_perfect_code_among_idle_dimensions(factors, normal):
    z = torch.cat([factors.double(), 1e-3 * normal(0, len(factors), 2), torch.zeros(len(factors), 1)], 1)
    assert mig(z, factors) == pytest.approx(1, abs=0.01)
    assert sap(z, factors) == pytest.approx(1, abs=0.01)
    assert factor_vae_score(z, factors) == 1
    found = dci(z[:1000], factors[:1000])
    assert (found.disentanglement, found.completeness) == pytest.approx((1, 1))
    assert modularity(z, factors) == pytest.approx(3 / 6)  # dimensions that tell of nothing count as 0


@pytest.mark.parametrize("values", [2, 5, 10])
@pytest.mark.parametrize("estimator", ["forest", "lasso"])
def test_dci_of_a_slightly_noisy_code_is_1(values, estimator, normal):
    factors = torch.randint(values, (1000, 3), generator=torch.Generator().manual_seed(values))
    z = torch.cat([factors + 0.001 * normal(0, 1000, 3), normal(1, 1000, 2)], 1)
    found = dci(z, factors, estimator=estimator)
    assert (found.disentanglement, found.completeness, found.informativeness) == pytest.approx((1, 1, 1), abs=0.01)


def test_dci_of_boosted_trees():
    factors = torch.randint(3, (400, 2), generator=torch.Generator().manual_seed(0))
    found = dci(factors.double() * torch.tensor([1.0, 2.0]), factors, estimator="boosting")
    assert (found.disentanglement, found.completeness, found.informativeness) == pytest.approx((1, 1, 1), abs=0.01)


def test_dci_without_scikit_learn_says_what_to_install(factors, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(GenzooError, match=r"pip install 'genzoo\[sklearn\]'"):
        dci(factors.double(), factors)


def test_sap_of_names_is_short_by_chance(factors, normal):
    z = factors.double() * 10 + 0.01 * normal(0, *factors.shape)
    assert sap(z, factors, (False, True, False)) == pytest.approx((2 / 3 + 1 + 4 / 5) / 3, abs=0.03)


def test_a_factor_said_twice(factors):
    z = torch.cat([factors, factors[:, :1]], 1).double()
    # The first factor's gap is gone, the others' are whole.
    assert mig(z, factors) == pytest.approx(2 / 3, abs=1e-9)
    assert sap(z, factors) == pytest.approx(2 / 3, abs=1e-9)
    assert modularity(z, factors) == pytest.approx(1, abs=1e-9)
    assert factor_vae_score(z, factors) == 1
    found = dci(z[:1000], factors[:1000])
    assert found.disentanglement == pytest.approx(1)
    # Two of four dimensions share one factor evenly: an entropy of log 2 over log 4.
    assert found.completeness == pytest.approx((0.5 + 1 + 1) / 3, abs=0.05)


def test_one_dimension_that_says_two_things():
    factors = torch.cartesian_prod(*[torch.arange(4)] * 2).repeat(60, 1)
    z = (factors[:, :1] * 4 + factors[:, 1:]).double()  # all of both, in one number
    z = torch.cat([z, torch.zeros_like(z)], 1)
    information, entropy = mutual_information(z, factors, bins=16)
    torch.testing.assert_close(information[0], torch.full((2,), math.log(4)).double())
    torch.testing.assert_close(entropy, torch.full((2,), math.log(4)).double())
    assert mig(z, factors, bins=16) == pytest.approx(1)  # it does not see that
    assert modularity(z, factors, bins=16) == pytest.approx(0, abs=1e-9)  # this does
    found = dci(z[:1000], factors[:1000])
    assert found.completeness == pytest.approx(1)
    assert found.disentanglement == pytest.approx(0, abs=0.05)
    assert found.informativeness == pytest.approx(1)


def test_rotation_is_seen(factors):
    z = (factors - factors.double().mean(0)) / factors.double().std(0)
    c, s = math.cos(math.pi / 4), math.sin(math.pi / 4)
    turned = torch.stack([c * z[:, 0] - s * z[:, 1], s * z[:, 0] + c * z[:, 1], z[:, 2]], 1)
    assert mig(turned, factors) < 0.7
    # Both dimensions correlate with both factors by ½ of the variance: no gap but the third factor's.
    assert sap(turned, factors) == pytest.approx(1 / 3, abs=0.01)
    found = dci(turned[:1000], factors[:1000])
    assert found.disentanglement < 0.75
    assert found.completeness < 0.75


def test_order_and_scale_of_dimensions_change_nothing(factors, normal):
    z = factors.double() + 0.6 * normal(0, *factors.shape)
    other = z[:, [2, 0, 1]] * torch.tensor([10.0, -0.1, 3.0])
    assert sap(z, factors) == pytest.approx(sap(other, factors), rel=1e-9)
    assert dci(z[:1000], factors[:1000]).disentanglement == pytest.approx(
        dci(other[:1000], factors[:1000]).disentanglement, abs=0.02
    )
    assert 0.2 < mig(z, factors) < 0.8


def test_what_cannot_be_scored(factors):
    with pytest.raises(UsageError, match="factor 1 has one value only"):
        mig(factors.double(), factors * torch.tensor([1, 0, 1]))
    with pytest.raises(UsageError, match="whole numbers"):
        mig(factors.double(), factors.double())
    assert factor_vae_score(torch.zeros(len(factors), 2), factors) == pytest.approx(1 / 3)
