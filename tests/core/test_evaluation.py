"""Likelihoods of an evaluation, where log p(x) is known in closed form."""

from __future__ import annotations

import math

import pytest

from genzoo import evaluate
from genzoo.core.data import Data


def test_likelihoods_are_those_of_the_model(linear_gaussian):
    oracle = linear_gaussian()
    x = oracle.data(300)
    report = evaluate(oracle.model, Data(oracle.spec, x), "likelihood", options={"elbo.samples": 20, "elbo.limit": 200,
                      "log-likelihood.samples": 20, "log-likelihood.limit": 200})  # fmt: skip
    truth = float(oracle.log_p(x[:200]).mean())  # the posterior is exact, so the bound is tight
    assert report["log-likelihood"].value == pytest.approx(truth, rel=1e-4)
    assert report["elbo"].value == pytest.approx(truth, rel=1e-4)
    assert report["log-likelihood"].details["effective samples"] == pytest.approx(20, rel=1e-3)
    assert report["log-likelihood"].n_real == 200
    assert report["bits-per-dimension"].n_real == 300
    size = oracle.spec.size
    whole = float(oracle.log_p(x).mean())
    assert report["bits-per-dimension"].value == pytest.approx(-whole / size / math.log(2), rel=1e-3)
