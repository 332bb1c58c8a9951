"""Intervals against scipy's exact ones, and how often they hold the truth."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from genzoo.core.errors import UsageError
from genzoo.core.math.intervals import bootstrap, jackknife, mean, poisson, share, student


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (10, 10), (1, 7), (37, 100), (59_000, 60_000)])
def test_share_is_clopper_pearson(hits, trials):
    found = share(hits, trials)
    truth = stats.binomtest(hits, trials).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((truth.low, truth.high), abs=1e-9)
    assert found.value == hits / trials


def test_share_counts_booleans_and_refuses_nothing():
    assert share(torch.tensor([True, False, True, True])).value == 0.75
    with pytest.raises(UsageError, match="at least one trial"):
        share(0, 0)


@pytest.mark.parametrize("dof", [1, 2, 3, 4, 9, 30, 199])
def test_student(dof):
    assert student(0.95, dof) == pytest.approx(stats.t.ppf(0.975, dof), rel=1e-9)


@pytest.mark.parametrize("count", [0, 1, 5, 400])
def test_poisson(count):
    low = stats.chi2.ppf(0.025, 2 * count) / 2 if count else 0
    assert poisson(count) == pytest.approx((low, stats.chi2.ppf(0.975, 2 * count + 2) / 2), rel=1e-8)


def test_mean_is_students(normal):
    x = normal(0, 12) + 3
    low, high = stats.t.interval(0.95, 11, x.mean(), stats.sem(x))
    assert (mean(x).low, mean(x).high) == pytest.approx((low, high), rel=1e-9)


def test_bootstrap_holds_the_truth_as_often_as_it_says(normal):
    inside = 0
    for trial in range(200):
        found = bootstrap(lambda a, b: (a.mean() - b.mean()).item(), normal(trial, 60), normal(trial + 999, 40) - 1)
        inside += found.low <= 1 <= found.high
    assert 180 <= inside <= 199  # 95 % of 200, less the bootstrap's known shortfall at such counts


def test_bootstrap_of_a_biased_statistic_holds_its_own_value(normal):
    x = normal(0, 300, 2)
    found = bootstrap(lambda a: len(torch.unique(a, dim=0)) / 300, x)  # every resample has repeats
    assert found.value == 1
    assert found.low < 1 < found.high
    assert bootstrap(lambda a: len(torch.unique(a, dim=0)) / 300, x, high=1.0).high == 1


def test_bootstrap_is_a_function_of_its_seed(normal):
    x = normal(0, 50)
    one, two, other = (bootstrap(lambda a: a.mean().item(), x, seed=s) for s in (1, 1, 2))
    assert one == two
    assert one != other


def test_jackknife_of_a_mean_is_its_standard_error(normal):
    x = normal(0, 50)
    found = jackknife(lambda a: a.mean().item(), x, parts=50)
    assert (found.low, found.high) == pytest.approx((mean(x).low, mean(x).high), rel=1e-9)
    assert found.interval == "jackknife of 50"
    assert math.isnan(jackknife(lambda a: a.mean().item(), x, parts=0).low)
    wider = jackknife(lambda a: a.mean().item(), x, parts=50, more=1.0)
    assert wider.high - wider.value > student(0.95, 10**6)


@pytest.mark.parametrize(("shift", "twice"), [(0.0, False), (0.0, True), (0.5, False)])
def test_jackknife_of_two_sets_has_the_variance_of_a_squared_distance(normal, shift, twice):
    def squared(a, b):
        return (a - b).square().sum().item()

    found = [
        jackknife(
            squared,
            normal(i, 90, 6) + shift,
            normal(i + 9999, 60, 6),
            parts=36,
            prepare=lambda x: x.mean(0),
            twice=twice,
        )
        for i in range(300)
    ]
    each = 1 / 90 + 1 / 60
    true = 4 * each * 6 * shift**2 + 2 * 6 * each**2
    claimed = torch.tensor([(f.high - f.value) / student(0.95, 10) for f in found]).median().item() ** 2
    # Counted twice, a variance that is second-order only comes out twice as large.
    assert claimed == pytest.approx(true * (2 if twice else 1), rel=0.25)


def test_exact_intervals_are_never_too_narrow():
    p, n = 0.03, 50
    covered = 0.0
    for k in range(n + 1):
        found = share(k, n)
        covered += stats.binom.pmf(k, n, p) * (found.low <= p <= found.high)
    assert 0.95 <= covered < 1
    assert math.isclose(np.sum(stats.binom.pmf(np.arange(n + 1), n, p)), 1)
