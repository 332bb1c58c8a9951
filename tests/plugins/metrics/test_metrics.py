"""Mode coverage and the classifier, against what is known."""

import math
from dataclasses import replace

import pytest
import torch

import genzoo
from genzoo.core.training.terms import TrainingDiverged
from genzoo.plugins.apps.bench import coverage as bench
from genzoo.plugins.apps.bench.nll import likelihood
from genzoo.plugins.datasets.toys import Grid25
from genzoo.plugins.extractors.shipped import FashionClassifier
from genzoo.plugins.metrics.modes import mode_coverage

CENTRES = [(0.0, 0.0), (4.0, 0.0), (0.0, 4.0), (4.0, 4.0)]


def at(*counts, offset=0.0):
    rows = [[x + offset, y] for (x, y), n in zip(CENTRES, counts, strict=True) for _ in range(n)]
    return torch.tensor(rows)


def test_constructed_histograms_are_counted_exactly():
    c = mode_coverage(at(60, 20, 20, 0), CENTRES, 0.1)
    assert (c.modes, c.of, c.high_quality, c.samples) == (3, 4, 1.0, 100)
    p = torch.tensor([0.6, 0.2, 0.2], dtype=torch.float64)
    assert c.kl == pytest.approx(float((p * (4 * p).log()).sum()), abs=1e-12)
    assert c.floor == 3 / 200


def test_a_mode_needs_twenty_samples():
    assert mode_coverage(at(20, 19, 1, 40), CENTRES, 0.1).modes == 2


@pytest.mark.parametrize(("offset", "good"), [(0.299, 1.0), (0.301, 0.0)])
def test_high_quality_ends_at_three_sigma(offset, good):
    assert mode_coverage(at(25, 25, 25, 25, offset=offset), CENTRES, 0.1).high_quality == good


def test_nothing_good_has_infinite_divergence_and_stays_json():
    c = mode_coverage(at(9, 9, 9, 9, offset=2.0), CENTRES, 0.1)
    assert (c.modes, c.kl) == (0, math.inf)
    assert c.to_dict()["kl"] is None


def test_samples_that_are_no_numbers_are_bad_ones():
    x = at(25, 25, 25, 25)
    x[:50] = math.nan
    assert mode_coverage(x, CENTRES, 0.1).high_quality == 0.5


def test_reference_lines_of_the_grid():
    lines = bench.reference_lines("grid25")
    real, noise = lines.values()
    # Three standard deviations of two dimensions hold 1 - exp(-9/2) of a Gaussian.
    expected = 1 - math.exp(-4.5)
    error = math.sqrt(expected * (1 - expected) / 2500)
    assert abs(real.high_quality - expected) < 4 * error
    assert (real.modes, noise.modes) == (25, 0)
    # The histogram's divergence is about its floor: chi-square with 24 degrees of freedom, over 2N.
    assert abs(real.kl - real.floor) < 5 * math.sqrt(2 * 24) / (2 * 2500)
    share = 25 * math.pi * (3 * Grid25.sigma) ** 2 / 100
    assert abs(noise.high_quality - share) < 4 * math.sqrt(share / 2500)


def test_a_table_of_two_short_runs(tmp_path):
    contenders = [bench.Contender("a", "r3gan", 2), bench.Contender("b", "wgan", 2)]
    found = bench.modes("ring8", seeds=1, contenders=contenders, jobs=1, out=tmp_path)
    assert [(r.label, r.seed, r.coverage.of) for r in found] == [("a", 0, 8), ("b", 0, 8)]
    assert {"modes.json", "modes.md", "modes-ring8.png"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.parametrize("data", ["ring8", "stacked-digits"])
def test_a_training_that_breaks_down_costs_its_own_row(data, tmp_path, monkeypatch):
    def breaks(*given, **named):
        raise TrainingDiverged("no")

    monkeypatch.setattr(bench, "train_for", breaks)
    for _ in range(2):  # and when it is read back
        found = bench.modes(data, seeds=1, contenders=[bench.Contender("a", "r3gan", 2)], jobs=1, out=tmp_path)
        assert [(r.coverage.modes, r.coverage.kl, r.steps) for r in found] == [(0, math.inf, 0)]
    assert bench.mode_table(found).rows[2][-2:] == ("broke down", "0")
    whole = replace(found[0], steps=1500, seconds=7.0)
    assert bench.mode_table([whole, *found]).rows[2][-2:] == ("1,500, broke down", "7")
    assert (tmp_path / "modes-ring8.png").exists() == (data == "ring8")


def test_a_table_has_seeds_side_by_side_and_the_best_worst_seed_first():
    def found(label, seed, modes, good):
        coverage = bench.ModeCoverage(modes, 8, good, 0.5, 0.001, 2500)
        return bench.ModeResult("ring8", label, seed, coverage, 3.0 + seed, 10, [])

    results = [found("a", 0, 8, 0.9), found("a", 1, 6, 0.9), found("b", 0, 7, 0.5), found("b", 1, 7, 0.4)]
    rows = [row[1:] for row in bench.mode_table([*results, found("c", 0, 6, 0.95), found("c", 1, 8, 0.95)]).rows[2:]]
    assert [row[0] for row in rows] == ["b", "c", "a"]
    assert rows[0][1:] == ("7, 7 of 8", "50.0, 40.0 %", "0.5000, 0.5000", "0.0010", "10", "4")
    stacks = [found("d", 0, 8, math.nan), found("e", 0, 8, 0.5), found("e", 1, 8, math.nan)]  # stacks have no share
    assert [row[3] for row in bench.mode_table(stacks).rows[2:]] == ["50.0, – %", "–"]


def test_the_classifier_knows_held_out_clothes():
    test = genzoo.load_data("fashion-mini", split="test")
    logits = FashionClassifier.pretrained()(test.x.float() / 255)
    right = (logits.argmax(1) == test.y).float().mean().item()
    assert right > 0.92 - 4 * math.sqrt(0.92 * 0.08 / len(test))  # 92.5 % of the full test set


def test_shares_of_real_data_are_even():
    test = genzoo.load_data("fashion-mini", split="test")
    shares = FashionClassifier.pretrained().shares(test.x.float() / 255)
    assert shares.sum() == pytest.approx(1)
    assert ((shares - 0.1).abs() < 0.03).all()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_r3gan_covers_the_grid_with_every_seed():
    contenders = [c for c in bench.CONTENDERS if c.label == "r3gan"]
    for r in bench.modes("grid25", seeds=3, contenders=contenders):
        assert r.coverage.modes == 25
        assert r.coverage.high_quality >= 0.9
        assert r.coverage.kl <= 0.02


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_likelihood_of_binarized_clothes():
    assert likelihood()["nll"] <= 238.6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quickstart_models_show_the_classes(tmp_path):
    from genzoo.plugins.apps.quickstart.quickstart import train_both

    for found in train_both(tmp_path / "quickstart").values():
        assert found["classes"] >= 8
