"""More rows of a rare class: what they are made from, what is written, and a verdict that known answers bear out."""

from __future__ import annotations

import contextlib
import json
import sys

import numpy as np
import pytest
import torch
from scipy.stats import t as student

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")
import pyarrow as pa

import genzoo
from genzoo.cli.main import main
from genzoo.core.errors import UsageError
from genzoo.plugins.apps.tables import augment as augmenting
from genzoo.plugins.apps.tables import augment_pictures, treatments, verdict
from genzoo.plugins.apps.tables.augment import ALL, ALONE, FLAG, HALF, WEIGHT, augment
from genzoo.plugins.apps.tables.treatments import Making
from genzoo.plugins.apps.tables.verdict import AS_IS, CHOSEN, WEIGHTS, Fold, Made, halves, judged, paired
from genzoo.plugins.modalities.table_files import read_table, write_arrow


def oracle(common, rare, seed, random_label=False, pairs=5):
    """Pairs of columns that are mostly equal but for rare rows; no column alone tells them."""
    r = np.random.default_rng(seed)
    y = r.permutation(np.arange(common + rare) < rare)
    x = r.integers(4, size=(len(y), 2 * pairs))
    x[:, 1::2] = np.where((r.random((len(y), pairs)) < 0.6) & ~y[:, None], x[:, ::2], x[:, 1::2])
    y = r.permutation(y) if random_label else y
    letters = np.array(list("abcd"))
    return pa.table({**{f"c{i}": letters[x[:, i]] for i in range(2 * pairs)}, "y": np.where(y, "rare", "common")})


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(verdict, "TREE_SETTINGS", ((8, 0.2, (5, 10)),))
    monkeypatch.setattr(verdict, "LINEAR_SETTINGS", (1.0,))


@pytest.fixture
def spied(monkeypatch):
    """Generators that are not trained; what they were given is kept, and what they give is known."""
    seen = []

    class Fake:
        classes = 0

        def __init__(self, x):
            self.x = x

        def sample(self, n, **how):
            seen[-1]["where"] = how["where"]
            return self.x[torch.arange(n) % len(self.x)]

    def model(self, data, seed):
        seen.append({"x": data.x})
        return Fake(data.x)

    monkeypatch.setattr(Making, "model", model)
    return seen


def test_halves_are_disjoint_whole_and_of_equal_shares():
    y = np.arange(103) < 21
    seen = list(halves(y, 3, 0))
    assert len(seen) == 6
    for train, test in seen:
        assert sorted([*train, *test]) == list(range(103))
        assert abs(y[train].sum() - y[test].sum()) <= 1
    assert (seen[0][0] == seen[1][1]).all()
    assert set(seen[0][0]) != set(seen[2][0])


def test_no_generator_sees_the_rows_that_are_judged_by_nor_those_that_settings_are_chosen_by(spied):
    """Rows are told by a number of their own. A fit on all rows, the wrong form, is found by the same comparison."""
    n = 300
    table = pa.table({"place": np.arange(n) * 1.5, "y": np.where(np.arange(n) % 5 == 0, "rare", "common")})
    task = augmenting._task(table, "y", None, "1:1", Making("table-ar"), None)
    splits = list(halves(task.y, 2, 0))
    for i, (fold, (train, test)) in enumerate(zip(augmenting.folds(task, splits), splits, strict=True)):
        learn, data = train[~fold.inner], task.data(train, test)
        assert not set(learn) & (set(test) | set(train[fold.inner]))
        whole, alone = (entry["x"] for entry in spied[2 * i : 2 * i + 2])
        assert torch.equal(whole, data.x[learn])
        assert torch.equal(alone, data.x[learn[task.y[learn]]])
        assert not torch.equal(whole, data.x[: len(whole)])
        places = set(fold.x[~fold.inner & fold.y, 0])
        assert set(fold.made["copies"].x[:, 0]) <= places
        mixed = fold.made["SMOTE-NC"].x[:, 0]
        assert min(places) <= mixed.min() <= mixed.max() <= max(places)
        assert np.abs(np.sort(fold.test_x[:, 0]) - 1.5 * np.sort(test)).max() < 15  # real rows, as near as levels are
        assert (fold.test_y == task.y[test]).all()
        assert {len(made.x) for made in fold.made.values()} == {int((~fold.y[~fold.inner]).sum() - len(places))}


def test_levels_of_rows_that_are_judged_by_are_not_known():
    """A level that the other half alone has is another's there."""
    y = np.array(["rare", "common"] * 60)
    table = pa.table({"c": ["only"] + ["u", "v"] * 59 + ["u"], "y": y})
    task = augmenting._task(table, "y", "rare", "3", Making("copies"), None)
    sizes = {task.data(*parts).spec.facts["names"][0] for parts in halves(task.y, 1, 0)}
    assert {"only" in names for names in sizes} == {True, False}


def test_the_interval_of_differences_allows_for_splits_that_share_rows():
    d = [0.01, 0.03, 0.02, 0.05]
    found = paired(d, 1.0)
    reach = student.ppf(0.975, 3) * np.sqrt((1 / 4 + 1) * np.var(d, ddof=1))
    assert found.value == pytest.approx(0.0275)
    assert found.low == pytest.approx(0.0275 - reach)
    naive = student.ppf(0.975, 3) * np.sqrt(np.var(d, ddof=1) / 4)  # of splits that share nothing: half as wide
    assert reach > 2 * naive


def test_intervals_of_few_splits_stay_within_what_a_difference_can_be():
    found = paired([0.5, -0.6], 1.0)
    assert (found.low, found.high) == (-1, 1)
    reach = student.ppf(0.975, 1) * np.sqrt((1 / 2 + 1) * np.var([0.5, -0.6], ddof=1))
    assert reach > 1  # what it was without bounds
    assert paired([0.1, 0.2], 0.0).high < paired([0.1, 0.2], 1.0).high  # splits that share no rows say more


def test_a_threshold_is_that_of_the_fit_which_is_judged(quick, monkeypatch):
    """A fit whose probabilities are a thousandth of the usual has the F1 of any other.

    A threshold that is carried over from another fit, the wrong form, calls none of its rows rare.
    """
    table, fits = oracle(400, 80, 0, pairs=2), []
    task = augmenting._task(table, "y", None, "1:1", Making("copies"), None)
    category, (fold, *_) = augmenting.kinds(task), augmenting.folds(task, list(halves(task.y, 1, 0)))

    def settings(kind, category, x, y, w, asked, seed):
        fits.append(len(x))
        return iter([[rows[:, 0] * 1e-3 / (1 + len(fits)) for rows in asked]])

    plain = verdict._one(verdict.LINEAR, fold, AS_IS, category[verdict.LINEAR], 0)
    monkeypatch.setattr(verdict, "_settings", settings)
    shrunk = verdict._one(verdict.LINEAR, fold, AS_IS, category[verdict.LINEAR], 0)
    assert plain["f1"] > 0.2
    assert shrunk["f1 at ½"] == 0
    assert shrunk["f1"] > 0.2
    assert len(fits) == 1


def test_rows_without_a_class_are_left_out_and_that_is_said(tmp_path, spied):
    y = [None if i % 10 == 0 else "rare" if i % 10 == 1 else "common" for i in range(100)]
    table, said = pa.table({"a": np.arange(100) * 0.5, "y": y}), []
    done = augment(table, tmp_path / "more.parquet", target="y", recipe="copies", judge=False, tell=said.append)
    assert (done.real, done.rare_rows, done.added, done.rare) == (90, 10, 70, "rare")
    assert said[0] == "10 rows of the table without y are left out"
    assert None not in read_table(tmp_path / "more.parquet")["y"].to_pylist()


def test_the_verdict_knows_rows_that_help_from_rows_that_hurt(monkeypatch):
    def verdict_of(gain):
        r = np.random.default_rng(0)

        def scores(kind, fold, treatment, category, seed):
            ap = 0.5 + 0.02 * r.normal() + (gain + 0.005 * r.normal() if treatment == ALL else 0)
            inner = 0.6 if kind == "trees" else 0.5
            return {"inner": inner, "ap": ap, "auc": 0.5, "f1": 0.6, "f1 at ½": 0.2, "log_loss": 0.1}

        monkeypatch.setattr(verdict, "_one", scores)
        y = np.arange(40) < 20
        splits = (Fold(None, y, None, None, y, {ALL: Made(None)}) for _ in range(10))
        return judged(splits, {"trees": [], "logistic": []}, generated=(ALL,))

    good, none, bad = (verdict_of(gain) for gain in (0.2, 0.0, -0.2))
    assert (good.helps, none.helps, bad.helps) == (True, False, False)
    assert good.sentence.startswith("generated: +0.")
    assert "over the data as they are" in good.sentence
    assert bad.sentence.startswith("Nothing tried beats the data as they are")
    assert good.line(ALL).difference.value == pytest.approx(0.2, abs=0.03)
    assert {v.treatment for v in good.lines} == {AS_IS, "threshold moved", WEIGHTS, ALL}
    assert good.line("threshold moved").means["f1"] == pytest.approx(0.6)  # at the best threshold; that at ½ is .2
    assert good.line(AS_IS).means["f1"] == pytest.approx(0.2)
    assert good.line(ALL, CHOSEN).means == good.line(ALL, "trees").means


def test_mixtures_lie_between_rows_and_have_their_levels():
    r = np.random.default_rng(0)
    rare = np.stack([r.normal(size=30), r.integers(3, size=30), r.normal(size=30)], 1)
    rare[0, 2] = np.nan
    made = treatments.smote(rare, [False, True, False], 400, r)
    assert set(made[:, 1]) <= {0.0, 1.0, 2.0}
    assert np.nanmin(made[:, 0]) >= rare[:, 0].min()
    assert np.nanmax(made[:, 0]) <= rare[:, 0].max()
    assert 0 < np.isnan(made[:, 2]).sum() < 200
    assert len(treatments.smote(rare[:1], [False, True, False], 7, r)) == 7
    assert (treatments.copies(np.arange(3), 7, r) < 3).all()
    assert sorted(np.bincount(treatments.copies(np.arange(3), 7, r)).tolist()) == [2, 2, 3]


@pytest.mark.parametrize("way", ["copies", "smote", "table-ar"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_written_is_all_rows_and_then_new_ones(tmp_path, spied, way, suffix):
    n = 60
    table = pa.table({
        "id": np.arange(n) + 1000, "flag": np.arange(n) % 2 == 0, "size": np.arange(n) * 0.25,
        "town": pa.array(["Rome", "Oslo", None] * 20).dictionary_encode(), "y": ["b"] * 12 + ["a"] * 48,
    })  # fmt: skip
    done = augment(table, tmp_path / f"more.{suffix}", target="y", to="1:2", recipe=way, weight="half", judge=False)
    assert (done.added, done.rare, done.rare_rows) == (12, "b", 12)
    assert done.odds == pytest.approx(12 / 18)
    found = read_table(tmp_path / f"more.{suffix}")
    assert len(found) == n + 12
    assert found[FLAG].to_pylist() == [False] * n + [True] * 12
    assert found[WEIGHT].to_pylist() == [1.0] * n + [0.5] * 12
    assert found["size"].to_pylist()[:n] == table["size"].to_pylist()
    assert set(found["town"].to_pylist()[n:]) <= {"Rome", "Oslo", None}
    if way == "table-ar":
        assert spied[-1]["where"] == "\"y\" = 'b'"
    else:
        assert set(found["y"].to_pylist()[n:]) == {"b"}
    if suffix == "parquet":
        assert found.schema.field("flag").type == pa.bool_()
        assert found.schema.field("town").type == table.schema.field("town").type


def test_what_cannot_be_augmented_is_said(tmp_path):
    table, out = oracle(90, 10, 0), tmp_path / "more.csv"
    for how, said in (
        ({}, "name the column that is the class"),
        ({"target": "z"}, "no column 'z'"),
        ({"target": "y", "rare": "rar"}, "did you mean 'rare'"),
        ({"target": "y", "to": "2 to 1"}, "is 1:1, 1:4"),
        ({"target": "y", "to": "1:20"}, "nothing to add"),
        ({"target": "y", "recipe": "smote", "where": "c0 = 'a'"}, "smote is no model"),
        ({"target": "y", "where": "c99 = 'a'"}, "c99"),
        ({"target": "y", "where": "c0 = 'z'"}, "has no value 'z'"),
        ({"target": "y", "where": "c0 = 'a' AND c1 = 'a' AND c2 = 'b' AND c0 <> c1"}, "meets c0 = 'a' AND"),
        ({"target": "y", "recipe": "tabel-ar"}, "table-ar"),
        ({"target": "y", "recipe": "gan-conv"}, "gan-conv"),
        ({"target": "y", "options": {"likelihood.hiden": 3}}, "hidden"),
        ({"target": "y", "recipe": "copies", "steps": 3}, "no model"),
    ):
        with pytest.raises(UsageError, match=said):
            augment(table, out, **how)
    assert not out.exists()
    for how, said in (
        ({"to": "1:4"}, "leave out to"),
        ({"recipe": "smote"}, "smote is of rows"),
        ({"drop_to": 100_000}, "keep fewer of them"),
    ):
        with pytest.raises(UsageError, match=said):
            augment("fashion-mini", tmp_path / "more.npz", **{"rare": "Shirt", "drop_to": 40, **how})
    with pytest.raises(UsageError, match="is for pictures"):
        augment("penguins", tmp_path / "more.npz", rare="Gentoo", drop_to=10)
    with pytest.raises(UsageError, match="adds rows to tables"):
        augment("ring8", out)
    done = augment(table, out, target="y", recipe="copies")  # ten rare rows are too few to judge by
    assert done.verdict is None
    assert "too few to find out" in done.says
    with pytest.raises(UsageError, match="augmented before"):
        augment(out, tmp_path / "again.csv", target="y")
    with pytest.raises(UsageError, match="is the file that is read"):
        augment(out, out, target="y")


def ended():
    """Run the command that `sys.argv` says."""
    with contextlib.suppress(SystemExit):
        main()


def test_the_command_says_whether_rows_help(tmp_path, spied, quick, capsys, monkeypatch):
    table = oracle(200, 44, 0)
    write_arrow(tmp_path / "rare.csv", table)
    asked = f"genzoo augment {tmp_path / 'rare.csv'} --target y --out {tmp_path / 'more.csv'} --repeats 1".split()
    monkeypatch.setattr(sys, "argv", [*asked, "--json"])
    ended()
    found = json.loads(capsys.readouterr().out)
    assert found["added"] == 156
    assert found["verdict"]["splits"] == 2
    assert {line["treatment"] for line in found["verdict"]["lines"]} >= {AS_IS, WEIGHTS, "SMOTE-NC", ALL, ALONE, HALF}
    monkeypatch.setattr(sys, "argv", asked)
    ended()
    text = capsys.readouterr()
    assert "multiply them by 0.22" in text.err
    assert "AP against as it is" in text.out + text.err


def test_pictures_of_a_class_are_made_rare_and_judged_by_the_test_split(tmp_path, monkeypatch):
    """The generator sees neither the pictures of the test split nor those that settings are chosen by."""
    seen, judgements = [], []

    class Fake:
        def sample(self, n, seed, labels, batch_size):
            assert labels == 3
            return torch.full((n, 1, 28, 28), 0.5)

    def model(self, data, seed):
        assert (self.recipe, self.options["conditional"]) == ("cvae", True)
        seen.append(data)
        return Fake()

    def score(kind, fold, treatment, category, seed):
        judgements.append(fold)
        return {"inner": 0.5, "ap": 0.5, "auc": 0.5, "f1": 0.5, "f1 at ½": 0.5, "log_loss": 0.5}

    monkeypatch.setattr(Making, "model", model)
    monkeypatch.setattr(verdict, "_one", score)
    monkeypatch.setattr(augment_pictures, "MOST", 300)
    done = augment(
        "fashion-mini",
        tmp_path / "more.npz",
        rare=genzoo.load_data("fashion-mini").spec.class_names[3],
        drop_to=20,
        repeats=2,
    )
    fold = judgements[0]
    assert (fold.y.sum(), (~fold.y).sum()) == (20, 300)
    assert len(seen[0]) == (~fold.inner).sum()
    assert (seen[0].y == 3).sum() == (fold.y & ~fold.inner).sum()
    test = genzoo.load_data("fashion-mini", split="test")
    assert len(fold.test_y) == len(test)
    assert fold.test_y.sum() == (test.y == 3).sum()
    assert done.rare_rows == 20
    with np.load(tmp_path / "more.npz") as found:
        assert found["samples"].shape == (5420 + done.added, 1, 28, 28)  # all others stay
        assert (found["labels"][5420:] == 3).all()
        assert found[FLAG].sum() == done.added
        assert (found[WEIGHT] == 1).all()
    for how, said in (({}, "name the class"), ({"rare": "shoe"}, "no class 'shoe'")):
        with pytest.raises(UsageError, match=said):
            augment("fashion-mini", tmp_path / "more.npz", drop_to=20, **how)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_generation_wins_where_it_has_to_and_not_on_a_random_label(tmp_path):
    """No classifier of few rare rows finds that their columns are independent; a model of them alone assumes it."""
    how = {"target": "y", "recipe": "copula", "threads": 1}
    found = augment(oracle(4000, 200, 0, pairs=7), tmp_path / "a.parquet", repeats=3, **how).verdict
    assert found.helps
    assert found.line(ALONE, CHOSEN).difference.value > 0.15
    gains = [augment(oracle(1000, 60, s, True), tmp_path / "b.parquet", repeats=2, seed=s, **how).verdict.helps
             for s in range(3)]  # fmt: skip
    assert sum(gains) == 0
