"""Metrics of tables: against closed forms, planted leaks and what chance gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

import genzoo
from genzoo.core.data import Data
from genzoo.core.evaluation.evidence import Evidence, Metric
from genzoo.plugins.metrics import margins, rows
from genzoo.plugins.modalities.columns import Column, spec_of
from genzoo.registry import the_registry

TOWN = Column("town", "category", "string", True, 0, ("Rome", "Oslo", "Bonn"), (), (), (0.1, 0.5, 0.2, 0.2))
PAY = Column("pay", "number", "double", False, 0, (), (0.0,), (0.5, 1.5, 4.0, 9.0), (0.1, 0.3, 0.3, 0.3))
AGE = Column("age", "number", "double", False, 0, (), (), (0.0, 20.0, 50.0, 90.0), (0.3, 0.4, 0.3))
SPEC = spec_of([TOWN, PAY, AGE])


def _codes(n, seed, tied=True, shift=0.0):
    """Rows whose age goes with the town, if they are tied."""
    r = np.random.default_rng(seed)
    town = r.choice(4, n, p=[0.1, 0.5, 0.2, 0.2])
    age = r.random(n) + (town % 3 if tied else r.permutation(town % 3)) + shift
    codes = np.stack([town + 0.5, r.random(n) * 3.999, age.clip(0, 2.999)], 1)
    return torch.from_numpy(codes).float()


def _evidence(fake, real, train, split="test", spec=SPEC):
    return Evidence(
        Data(spec, real, split=split), lambda: (fake, None), n_fake=len(fake),
        training=lambda: Data(spec, train), has_training=True,
    )  # fmt: skip


def _measured(name, evidence, **options):
    cls = the_registry().load(the_registry().get("metric", name), Metric)
    metric = cls(cls.Options(**options))
    assert metric.refuses(evidence) == ""
    return metric.measure(evidence)


def test_column_errors_are_total_variation_and_kolmogorov_smirnov():
    fake, real = (rows.values(SPEC, _codes(500, s, shift=0.1 * s)) for s in (0, 1))
    found = margins.column_errors(fake, real, [True, False, False])
    shares = [np.bincount(np.nan_to_num(x[:, 0], nan=0).astype(int), minlength=4) / 500 for x in (fake, real)]
    assert found[0] == pytest.approx(np.abs(shares[0] - shares[1]).sum() / 2)
    assert found[2] == pytest.approx(ks_2samp(fake[:, 2], real[:, 2]).statistic)


def test_pairs_see_what_columns_alone_do_not():
    real, train = _codes(3000, 0), _codes(3000, 1)
    good, loose = _evidence(_codes(3000, 2), real, train), _evidence(_codes(3000, 2, tied=False), real, train)
    pairs = [_measured("pairs", e, parts=9) for e in (good, loose)]
    assert _measured("columns", loose, parts=0).estimate.value < 0.05
    assert pairs[1].estimate.low > 2 * pairs[0].estimate.high
    assert next(iter(pairs[1].details["worst"])) == "town × age"
    assert pairs[1].estimate.value == pytest.approx(pairs[1].details["of shuffled columns"], abs=0.03)
    assert pairs[0].estimate.value < 1.5 * pairs[0].details["between halves of the data"]


def test_levels_that_are_lost_are_named():
    train = _codes(500, 0)
    fake = train[(train[:, 0] >= 1) & (train[:, 0] < 3)]
    found = _measured("levels-lost", _evidence(fake, train[:100], train))
    assert found.details["lost"] == ["town: missing", "town: Bonn", "age: 0 to 20"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.2])
def test_planted_copies_are_found_and_clean_samples_are_not(share):
    train, unseen, fake = _codes(4000, 0), _codes(2000, 1), _codes(2000, 2)
    n = int(share * 2000)
    fake[:n] = train[:n]
    found = _measured("row-copies", _evidence(fake, unseen, train))
    assert found.estimate.value == pytest.approx(share, abs=1e-9)
    assert found.details["found"] is (share > 0)
    assert found.details["unseen rows"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_copies_among_samples_of_adult_are_found(seed):
    """What docs/privacy.md says of a model that was not made for the test."""
    train, unseen = (genzoo.load_data("adult", split=split) for split in ("train", "test"))
    fake = genzoo.load("table-ar/adult", verbose=False).sample(6000, seed=seed, numbers=True)
    for percent in (0, 1, 5, 20):
        n = 6000 * percent // 100
        fake[:n] = train.x[100 * seed : 100 * seed + n]
        evidence = _evidence(fake, unseen.x, train.x, spec=train.spec)
        assert _measured("row-copies", evidence).details["found"] is (percent > 0), percent
        if seed == 0 and percent != 1:
            low = _measured("nearer", evidence, limit=3000).estimate.low
            assert (low > 0.5) is (percent >= 5), (percent, low)


def test_a_column_that_nearly_identifies_rows_hides_no_copies():
    train, unseen, fake = _codes(4000, 0), _codes(2000, 1), _codes(2000, 2)
    fake[:300, (0, 2)] = train[:300, (0, 2)]  # pay is drawn anew
    found = _measured("row-copies", _evidence(fake, unseen, train))
    assert found.estimate.value < 0.03
    assert found.details["samples without pay"] > 0.145
    assert found.details["found"] is True


def test_distances_against_a_loop():
    train, x = (rows.values(SPEC, _codes(n, s)) for n, s in ((60, 0), (9, 1)))
    found = rows.Nearness(SPEC, train).nearest(x, 2)
    for i, row in enumerate(x):
        each = []
        for other in train:
            far = float(np.nan_to_num(row[0], nan=-1) != np.nan_to_num(other[0], nan=-1))
            for s in (1, 2):
                place = [(np.sum(train[:, s] < v) + np.sum(train[:, s] <= v)) / 120 for v in (row[s], other[s])]
                far += abs(place[0] - place[1])
            each.append(far)
        assert found[i].tolist() == pytest.approx(sorted(each)[:2], abs=1e-5)


def test_closeness_is_a_half_for_clean_samples_and_more_for_a_leak():
    train, unseen, clean = _codes(1500, 0), _codes(1500, 1), _codes(1500, 2)
    leaky = clean.clone()
    leaky[:300] = train[:300]
    a, b = (_evidence(x, unseen, train) for x in (clean, leaky))
    nearer = [_measured("nearer", e, limit=1500).estimate for e in (a, b)]
    assert nearer[0].low < 0.5 < nearer[0].high
    assert nearer[1].low > 0.53
    for e, copied in ((a, False), (b, True)):
        for name in ("dcr", "nndr"):
            found = _measured(name, e, limit=1500)
            assert (found.details["samples below 99 % of unseen rows"] > 0.1) is copied
            assert found.estimate.low <= found.estimate.value <= found.estimate.high
    attack = [_measured("membership", e, limit=700) for e in (a, b)]
    assert attack[0].estimate.low < 0.5 < attack[0].estimate.high
    assert attack[1].estimate.low > 0.5
    assert set(attack[0].details) == {"distance", "density ratio"}


@pytest.mark.parametrize(("recipe", "known"), [("copula", False), ("table-ar", True)])
def test_an_attack_goes_by_the_likelihood_only_where_it_is_one(recipe, known):
    rows, model = _codes(60, 0), genzoo.create(recipe, SPEC)
    evidence = Evidence(
        Data(SPEC, rows, split="test"), lambda: (rows, None), n_fake=60, model=model,
        training=lambda: Data(SPEC, _codes(60, 1)), has_training=True,
    )  # fmt: skip
    assert ("likelihood" in _measured("membership", evidence, limit=30).details) is known


def test_what_is_judged_by_unseen_rows_is_refused_of_training_rows():
    cls = the_registry().load(the_registry().get("metric", "membership"), Metric)
    train = _codes(50, 0)
    assert "trained on" in cls().refuses(_evidence(train, train, train, split="train"))


def test_a_bootstrap_of_the_data_is_not_told_from_them_by_its_twins():
    pytest.importorskip("sklearn")
    real = _codes(1200, 0)
    again = real[torch.randint(1200, (1200,), generator=torch.Generator().manual_seed(0))]
    same = _measured("detection", _evidence(again, real, real), rounds=20)
    loose = _measured("detection", _evidence(_codes(1200, 1, tied=False), real, _codes(1200, 3)), rounds=20)
    assert same.estimate.value < 0.57
    assert loose.estimate.value > 0.64
    assert math.isnan(loose.estimate.low)  # of one fit; another one's number may lie elsewhere
    assert loose.details["of training rows"] == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize(("model", "target"), [("linear", "town"), ("linear", "age")])
def test_utility_is_that_of_what_samples_teach(model, target):
    pytest.importorskip("sklearn")
    train, unseen = _codes(1500, 0), _codes(800, 1)
    good, loose = (_evidence(_codes(1500, 2, tied=t), unseen, train) for t in (True, False))
    a, b = (_measured("tstr", e, model=model, target=target, rounds=10) for e in (good, loose))
    assert a.estimate.value == pytest.approx(a.details["of training rows"], abs=0.03)
    assert b.estimate.value == pytest.approx(b.details["of shuffled columns"], abs=0.06)
    assert a.estimate.value > b.estimate.value + 0.1


def test_samples_of_one_class_teach_nothing():
    pytest.importorskip("sklearn")
    train = _codes(300, 0)
    found = _measured("tstr", _evidence(train[(train[:, 0] // 1) == 1], train, train), model="linear", target="town")
    assert found.estimate.value == 0.5
    assert found.details["samples"] == "hold one class"


def test_other_shares_of_classes_are_said():
    pytest.importorskip("sklearn")
    train, unseen, fake = _codes(1500, 0), _codes(800, 1), _codes(1500, 2)
    town = [fake[(fake[:, 0] // 1) == level] for level in (1, 2, 3)]
    balanced = torch.cat([rows[:200] for rows in town])  # as a model draws that saw all classes equally often
    same, moved = (_measured("tstr", _evidence(x, unseen, train), model="linear", target="town").details
                   for x in (fake, balanced))  # fmt: skip
    assert "caution" not in same
    true = float((unseen[:, 0] // 1 == 1).sum() / (unseen[:, 0] >= 1).sum())
    assert moved["caution"].startswith(f"Rome in town has a share of 33.3% among samples and {true:.1%} in data")
