"""Intervals hold what they claim to, of a few metrics; tests/bench/interval_coverage.py simulates all of them."""

import importlib.util
import sys
from pathlib import Path

import pytest

REPEATS = 60


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parents[2] / "bench" / "interval_coverage.py"
    spec = importlib.util.spec_from_file_location("interval_coverage", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("metric", "world"),
    [
        ("sliced-wasserstein", "n = 100, m = 150, D = 32, 16 directions, differ"),
        ("frechet-infinity", "n = 300, m = 400, D = 8, differ"),
        ("class-kl", "n = 500, 4 classes, differ"),
        ("diversity", "n = 200, m = 300, 4 labels"),
        ("kid", "n = 300, m = 400, D = 8, equal"),
        ("nats-per-character", "m = 300, K = 20, lengths from 1 to 8"),
        ("forward-lm", "n = 200 texts of up to 7 letters"),
    ],
)
def test_intervals_hold_what_they_claim(bench, metric, world):
    found = bench.covered(bench.CASES[metric, world], REPEATS)
    assert found.share >= 0.865  # .95 less three standard errors of 60 repeats
    assert 0.7 <= found.width <= 1.5  # and are as wide as the value scatters


def test_every_interval_is_simulated(bench):
    """A metric that says what its interval holds has a case, and one that has none says nothing."""
    from genzoo.core.evaluation.evidence import Metric
    from genzoo.registry import the_registry

    registry = the_registry()
    own = [e for e in registry.entries("metric") if e.distribution == "genzoo"]
    claims = {e.name for e in own if registry.load(e, Metric).covers}
    assert claims - {"fid"} == {metric for metric, _ in bench.CASES}  # fid is frechet under a condition
    counts = {e.name for e in own} - claims
    assert counts == {
        "active-units", "classes", "modes", "stacked-modes", "code-use", "code-perplexity", "distinct-n",
        "dci-completeness", "dci-disentanglement", "dci-informativeness", "detection", "tstr", "levels-lost", "repeats",
        "self-bleu", "unique-molecules", "novel-molecules",
    }  # fmt: skip
