"""Copies of the training set, duplicates among samples, and what can be told from the data."""

import math

import pytest
import torch

from genzoo.core.errors import UsageError
from genzoo.plugins.metrics.copies import duplicates, memorization, threshold_of
from genzoo.plugins.metrics.twosample import two_sample


def test_planted_copies_are_found_and_named(normal):
    training, unseen, samples = normal(0, 500, 16), normal(1, 300, 16), normal(2, 200, 16)
    samples[50:80] = training[100:130] + 0.01 * normal(3, 30, 16)
    found = memorization(samples, training, unseen)
    assert set(found.index.tolist()) == set(range(50, 80))
    assert torch.equal(found.original, found.index + 50)
    assert found.copies.value == 0.15
    assert found.unseen.value == 0
    assert found.found
    assert found.distance[found.index].diff().min() >= 0


def test_fresh_samples_are_no_copies(normal):
    found = memorization(normal(2, 400, 8), normal(0, 500, 8), normal(1, 400, 8))
    assert not found.found
    assert found.nearer.low < 0.5 < found.nearer.high
    copying = memorization(normal(0, 500, 8)[:100] + 1e-3, normal(0, 500, 8), normal(1, 400, 8))
    assert copying.nearer.value > 0.99
    assert copying.copies.value == 1


def test_repeated_training_data_hide_no_copy(normal):
    training = normal(0, 100, 8)
    training = torch.cat([training, training[:10], training[:10]])
    found = memorization(training[:10] + 0.001, training)
    assert found.copies.value == 1
    assert found.unseen is None


def test_nearer_is_mann_whitneys_probability(normal):
    training, unseen, samples = normal(0, 60, 3), normal(1, 30, 3), normal(2, 25, 3) * 0.8
    a, b = torch.cdist(samples, training).min(1).values, torch.cdist(unseen, training).min(1).values
    truth = (a[:, None] < b[None]).double().mean().item()
    assert memorization(samples, training, unseen).nearer.value == pytest.approx(truth, abs=1e-12)
    with pytest.raises(UsageError, match="between 0 and 1"):
        memorization(samples, training, limit=1.0)


def test_support_of_a_finite_population(normal):
    population = normal(0, 2000, 5)
    inside, values = 0, []
    for trial in range(40):
        g = torch.Generator().manual_seed(trial)
        found = duplicates(population[torch.randint(2000, (300,), generator=g)], 1e-9)
        inside += found.support.low <= 2000 <= found.support.high
        values.append(1 / found.support.value)
    assert inside >= 36
    rates = torch.tensor(values)
    assert rates.mean().item() == pytest.approx(1 / 2000, abs=4 * rates.std().item() / 40**0.5)


def test_support_of_a_crowded_population(normal):
    # One thing has half of the probability and 500 others share the rest: 1 / Σp² = 1 / (¼ + ¼/500).
    population, inside = normal(0, 501, 4), 0
    truth = 1 / (0.25 + 0.25 / 500)
    for trial in range(30):
        g = torch.Generator().manual_seed(trial)
        index = torch.where(torch.rand(200, generator=g) < 0.5, 500, torch.randint(500, (200,), generator=g))
        support = duplicates(population[index], 1e-9).support
        inside += support.low <= truth <= support.high
    assert inside >= 26


def test_pairs_are_listed_nearest_first(normal, monkeypatch):
    monkeypatch.setattr("genzoo.core.math.neighbours._CELLS", 300)
    x = normal(0, 100, 10) * 10
    x[70], x[20], x[5] = x[3] + 0.02, x[90] + 0.01, x[4] + 0.5
    found = duplicates(x, 0.1)
    assert found.pairs.tolist() == [[20, 90], [3, 70]]
    assert found.distance.tolist() == pytest.approx([0.01 * 10**0.5, 0.02 * 10**0.5])
    assert found.count == 2
    assert duplicates(x, 0.1, keep=1).pairs.tolist() == [[20, 90]]
    none = duplicates(x, 0.001).support
    assert math.isinf(none.value)
    assert none.low == pytest.approx(100 * 99 / 2 / 3.689, rel=1e-3)  # the upper end of a Poisson count of 0
    with pytest.raises(UsageError, match="cannot be"):
        duplicates(x, -1)


def test_threshold_of_real_data(normal):
    x = normal(0, 800, 3)
    found = threshold_of(x, 0.05)
    near = torch.cdist(x, x).fill_diagonal_(math.inf).min(1).values
    assert (near <= found).double().mean().item() == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize("judge", ["logistic", "neighbours"])
def test_equal_distributions_cannot_be_told_apart(normal, judge):
    low = sum(
        two_sample(normal(i, 200, 4), normal(i + 99, 200, 4), judge=judge).details["p-value"] < 0.05 for i in range(40)
    )
    assert low <= 7


def test_two_gaussians_are_told_apart_as_well_as_they_can_be(normal):
    found = two_sample(normal(0, 20_000, 3) + torch.tensor([1.0, 0, 0]), normal(1, 20_000, 3))
    best = 0.5 * math.erfc(-0.5 / math.sqrt(2))  # Φ(½), Bayes' accuracy for means one σ apart
    assert found.estimate.low < best < found.estimate.high
    assert found.details["p-value"] < 1e-9
    assert (found.details["data taken for data"] + found.details["samples taken for samples"]) / 2 == pytest.approx(
        found.estimate.value
    )


def test_neighbours_see_what_no_plane_can_part(normal):
    ring = torch.nn.functional.normalize(normal(0, 600, 2)) * 3
    blob = normal(1, 600, 2) * 0.3
    assert two_sample(ring, blob, judge="neighbours").estimate.value == 1
