"""Posteriors, likelihoods, labels and probes where the answer is known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.math import logistic
from genzoo.core.posterior import DiagonalNormal
from genzoo.plugins.metrics.codes import principal, probe, representation, usage
from genzoo.plugins.metrics.labels import class_coverage
from genzoo.plugins.metrics.likelihood import ELBO, BitsPerDimension, LogLikelihoodBound
from genzoo.plugins.metrics.modes import stacked


def test_usage_counts_what_is_used(normal):
    mean = torch.zeros(500, 4)
    mean[:, 1] = normal(0, 500).float() * 2
    mean[:, 2] = 0.05 * normal(1, 500).float()  # varies by .0025: too little
    log_var = torch.tensor([0.0, -2.0, 0.0, -1.0]).expand(500, 4)
    found = usage(mean, DiagonalNormal(mean, log_var).kl())
    assert (found.active, found.of, found.collapsed) == (1, 4, False)
    assert found.kl[3].item() == pytest.approx(0.5 * (math.exp(-1) + 1 - 1), rel=1e-5)
    assert found.kl[0] == 0
    assert found.variance[1].item() == pytest.approx(4, rel=0.2)


def test_collapse_with_and_without_free_bits():
    nothing = torch.zeros(100, 3)
    found = usage(nothing, DiagonalNormal(nothing, nothing).kl())
    assert (found.idle, found.active, found.collapsed) == (3, 0, True)
    free = usage(nothing, DiagonalNormal(nothing + 1, nothing).kl())  # half a nat each, and the same for all data
    assert (free.idle, free.active, free.collapsed) == (0, 0, True)


def test_few_observations_may_use_an_idle_dimension():
    kl = torch.zeros(1000, 2)
    kl[:9, 0] = 1
    kl[:11, 1] = 1
    assert usage(torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)), kl).idle == 1


def likelihood_of(metric, log_w):
    """What a metric makes of importance weights ``(K, N)`` of observations of ten numbers."""
    spec, data = SimpleNamespace(size=10, modality="vector"), SimpleNamespace(x=torch.zeros(1, 10))
    return metric().measure(SimpleNamespace(log_weights=lambda *a: log_w, spec=spec, data=data, model=None))


def test_bounds_on_a_gaussian_with_a_known_evidence(normal):
    # w = exp(σ ε - σ²/2) has mean 1: log p = c, ELBO = c - σ²/2, and the bound climbs to c with K.
    sigma, c = 0.8, -30.0
    log_w = c + sigma * normal(0, 64, 4000) - sigma**2 / 2
    lower, tight, bits = (likelihood_of(m, log_w) for m in (ELBO, LogLikelihoodBound, BitsPerDimension))
    assert lower.estimate.low < c - sigma**2 / 2 < lower.estimate.high
    assert c - 0.02 < tight.estimate.value < c
    one, few = (likelihood_of(LogLikelihoodBound, log_w[:k]).estimate.value for k in (1, 8))
    assert one < few < tight.estimate.value
    assert bits.estimate.value == pytest.approx(-tight.estimate.value / 10 / math.log(2))
    assert bits.estimate.low < bits.estimate.value < bits.estimate.high
    assert lower.details["estimator"] == "ELBO, mean of 64"
    assert tight.details["estimator"] == "importance-weighted, K = 64"
    # Standard error of the mean from the weights alone: Var[w] = exp σ² - 1.
    errors = [m.details["standard error of the weights"] for m in (tight, lower)]
    assert errors[0] == pytest.approx(math.sqrt((math.exp(sigma**2) - 1) / 64 / 4000), rel=0.1)
    assert errors[1] == pytest.approx(sigma / math.sqrt(64 * 4000), rel=0.05)


def test_effective_samples():
    even, one = torch.zeros(50, 3), torch.full((50, 3), -1e4)
    one[0] = 0
    assert likelihood_of(LogLikelihoodBound, even).details["effective samples"] == pytest.approx(50)
    assert likelihood_of(LogLikelihoodBound, one).details["fewest effective samples"] == pytest.approx(1)
    with pytest.raises(GenzooError, match="are no numbers"):
        likelihood_of(LogLikelihoodBound, even * math.nan)


def test_class_coverage():
    predicted = torch.tensor([0] * 30 + [1] * 10 + [3] * 10)
    found = class_coverage(predicted, 4)
    p = np.array([0.6, 0.2, 0.0, 0.2])
    assert (found.captured, found.missing) == (3, (2,))
    assert found.kl == pytest.approx(stats.entropy(p, [0.25] * 4))
    assert found.floor == 3 / 100
    assert class_coverage(predicted, 4, torch.tensor([60, 20, 0, 20])).kl == pytest.approx(0)
    assert class_coverage(predicted, 4, torch.tensor([60, 0, 20, 20])).kl == math.inf
    with pytest.raises(UsageError, match="from 0 to 2"):
        class_coverage(predicted, 3)


def test_stacked_images_have_a_thousand_modes(normal):
    digits = torch.cartesian_prod(*[torch.arange(10)] * 3)
    found = class_coverage(stacked(digits), 1000)
    assert (found.captured, found.kl) == (1000, pytest.approx(0, abs=1e-12))
    assert stacked(torch.tensor([[1, 2, 3]])).item() == 123
    draws = [
        class_coverage(torch.randint(1000, (26_000,), generator=torch.Generator().manual_seed(i)), 1000)
        for i in range(5)
    ]
    assert np.mean([d.kl for d in draws]) == pytest.approx(draws[0].floor, rel=0.1)


def test_logistic_as_scikit_learn(normal):
    linear = pytest.importorskip("sklearn.linear_model")
    x = normal(0, 300, 4)
    y = (x @ normal(1, 4, 3) + normal(2, 300, 3)).argmax(1)
    ours = logistic.fit(x, y, 3, decay=0.01)
    standard = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
    theirs = linear.LogisticRegression(C=1 / (300 * 0.01), tol=1e-10, max_iter=2000).fit(standard, y)
    np.testing.assert_allclose(ours.weight, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.bias - ours.bias.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=1e-4)


def test_probe_reaches_bayes(normal):
    y = torch.arange(2).repeat(4000)
    x = normal(0, 8000, 2) + y[:, None] * torch.tensor([2.0, 0.0])
    found = probe(x[:4000], y[:4000], x[4000:], y[4000:], k=31)
    best = stats.norm.cdf(1)
    assert found.linear.low < best < found.linear.high
    assert found.neighbours.value == pytest.approx(best, abs=0.02)
    assert found.dimensions == 2


def test_neighbours_vote_as_scikit_learn(normal):
    neighbors = pytest.importorskip("sklearn.neighbors")
    x, y, t = normal(0, 400, 6), torch.arange(400) % 4, normal(1, 200, 6)
    theirs = neighbors.KNeighborsClassifier(1).fit(x, y).predict(t)
    found = probe(x, y, t, torch.tensor(theirs), k=1)
    assert found.neighbours.value == 1


def test_ties_go_to_the_nearest():
    x, y = torch.tensor([[0.0], [1.0], [-1.0], [3.0]]), torch.tensor([1, 0, 1, 0])
    assert probe(x, y, torch.tensor([[0.6], [0.4]]), torch.tensor([0, 1]), k=2).neighbours.value == 1


def test_a_code_worse_than_pca_shows(normal):
    y = torch.arange(600) % 3
    far = torch.nn.functional.one_hot(y, 3).double() * 8
    x = torch.cat([far, normal(0, 600, 17)], 1)
    codes = normal(1, 600, 2)  # of the right size, and of nothing
    found = representation(codes[:400], x[:400], y[:400], codes[400:], x[400:], y[400:])
    assert found["codes"].linear.high < 0.5
    assert found["raw"].linear.value == found["PCA"].linear.value == found["PCA"].neighbours.value == 1
    assert {name: p.dimensions for name, p in found.items()} == {"codes": 2, "raw": 20, "PCA": 2}


@pytest.mark.parametrize("n", [20, 300])
def test_principal_components(normal, n):
    x = normal(0, n, 50) @ torch.diag(torch.linspace(3, 0.1, 50).double()) + 5
    mean, directions = principal(x, 4)
    truth = np.linalg.eigvalsh(np.cov(x.numpy().T))[::-1][:4]
    np.testing.assert_allclose(((x - mean) @ directions).var(0), truth, rtol=1e-9)
