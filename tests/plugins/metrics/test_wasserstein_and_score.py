import math

import pytest
import torch
from scipy import stats

from genzoo.core.errors import UsageError
from genzoo.plugins.metrics.labels import classifier_score
from genzoo.plugins.metrics.twosample import moved, sliced_wasserstein


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 31), (7, 60), (1, 5)])
def test_one_dimension_equals_scipy(normal, n, m):
    x, y = normal(0, n), normal(1, m) * 2 + 1
    assert moved(x.sort().values, y.sort().values, 1.0).item() == pytest.approx(
        stats.wasserstein_distance(x, y), rel=1e-10
    )


def test_a_moved_set_costs_its_shift_to_the_power(normal):
    x = normal(0, 40).sort().values
    assert moved(x + 3, x, 2.0).item() == pytest.approx(9)


def test_between_gaussians(normal):
    x, y = normal(0, 3000, 4) * 2 + torch.tensor([1.0, 0, -2, 3]), normal(1, 3000, 4)
    found = sliced_wasserstein(x, y, projections=500)
    assert found.value**2 == pytest.approx(14 / 4 + 1, rel=0.06)
    moved = sliced_wasserstein(y + 1, y, projections=1000).value  # E (θ·1)² = 1, whatever the distribution
    assert moved == pytest.approx(1, rel=0.03)


def test_of_a_set_with_itself_and_its_interval(normal):
    x, y = normal(0, 300, 5), normal(1, 200, 5) + 1
    assert sliced_wasserstein(x, x.flip(0)).value == pytest.approx(0, abs=1e-12)
    found = sliced_wasserstein(x, y, resamples=30)
    assert found.low < found.value < found.high
    assert found.value == sliced_wasserstein(x, y).value


def test_score_of_sure_and_of_unsure_classifiers():
    sure = torch.eye(10).repeat(20, 1) * 1000
    assert classifier_score(sure, splits=1).value == pytest.approx(10, rel=1e-9)
    assert classifier_score(sure[:100:10], splits=1).value == pytest.approx(1)  # one class only
    assert classifier_score(torch.zeros(50, 10), splits=5).value == pytest.approx(1)
    half = torch.log(torch.tensor([[0.9, 0.1], [0.1, 0.9]])).repeat(10, 1)
    truth = math.exp(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert classifier_score(half, splits=1).value == pytest.approx(truth, rel=1e-6)


def test_score_splits_and_extremes(normal):
    logits = normal(0, 100, 5) * 3
    found = classifier_score(logits)
    assert found.low < found.value < found.high
    assert classifier_score(logits * 1e4).value <= 5
    with pytest.raises(UsageError, match="cut into"):
        classifier_score(logits[:5])


def test_the_interval_tells_of_the_directions_too(normal):
    x, y = normal(0, 150, 32), normal(1, 150, 32)
    x[:, 0] *= 4  # what shows in few directions
    few = [sliced_wasserstein(x, y, projections=16, seed=s) for s in range(40)]
    true = sliced_wasserstein(x, y, projections=3000).value  # of these sets: only the directions vary
    many = sliced_wasserstein(x, y, projections=16, resamples=25)
    assert torch.tensor([f.value for f in few]).std() * 1.7 < many.high - many.value
    held = [
        f
        for f in (sliced_wasserstein(x, y, projections=16, resamples=4, seed=s) for s in range(20))
        if f.low <= true <= f.high
    ]
    assert len(held) >= 18
