"""Conditions on rows: as SQLite understands them, and samples that meet one as throwing the others away finds them."""

from __future__ import annotations

import itertools
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.selection import Found, Selection, TooFewError, selected
from genzoo.plugins.modalities.columns import Column, decode, encode, spec_of
from genzoo.plugins.modalities.truth import on_levels, on_rows, values_of
from genzoo.plugins.modalities.where import parse
from genzoo.registry.verbs.load import create

SEX = Column("sex", "category", "string", True, 0, ("M", "F", "it's"), (), (), (0.1, 0.4, 0.4, 0.1))
AGE = Column("age", "number", "int64", True, 1, (), (0.0, 7.0), (0.5, 3.5, 9.5, 20.5), (0.1, 0.2, 0.1, 0.2, 0.2, 0.2))
PAY = Column("net pay", "number", "double", False, 0.1, (), (), (-0.25, 1.25, 3.05), (0.5, 0.5))
DAY = Column("day", "number", "date32[day]", False, 1, (), (1.0, 2.0, 19782.0), (), (0.3, 0.3, 0.4))
YES = Column("yes", "category", "bool", False, 0, ("true", "false"), (), (), (0.5, 0.5))
ALL = [SEX, AGE, PAY, DAY, YES]
CONDITIONS = [
    "age > 5", "age >= 7 AND sex = 'F'", "NOT age < 7", "age BETWEEN 2 AND 9 OR sex IS NULL", "sex IN ('M', 'it''s')",
    "sex NOT IN ('M') AND age IS NOT NULL", "NOT (age = 7 OR sex <> 'F')", '"net pay" * 2 - 1 <= age', "age = 0",
    "age NOT BETWEEN 3 AND 8", "7 < age", "age + 1 = 8", '"net pay" = 0.5', "-age < -5 and sex != 'M'", "age <> 7",
    "NOT (sex = 'F' AND age > 3) OR \"net pay\" IN (1, 2.5)", "age IS NULL OR age = 7 AND sex = 'M'",
]  # fmt: skip


def _codes(n=600, seed=0):
    r = np.random.default_rng(seed)
    codes = [r.integers(c.size, size=n) + r.random(n) * 0.99 for c in ALL]
    return [encode(c, *decode(c, k.astype(np.float32))) for c, k in zip(ALL, codes, strict=True)]


def _frame(codes):
    found = {}
    for c, k in zip(ALL, codes, strict=True):
        values, missing = decode(c, k)
        found[c.name] = values_of(c, values), missing
    return found


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_means_what_sqlite_means(condition):
    frame = _frame(_codes())
    base = sqlite3.connect(":memory:")
    base.execute('CREATE TABLE t (i INTEGER, sex TEXT, age REAL, "net pay" REAL)')
    columns = [frame[n] for n in ("sex", "age", "net pay")]
    lists = [[None if gone else v for v, gone in zip(*(a.tolist() for a in c), strict=True)] for c in columns]
    base.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", list(zip(range(600), *lists, strict=True)))
    wanted = [i for (i,) in base.execute(f"SELECT i FROM t WHERE {condition} ORDER BY i")]
    assert np.flatnonzero(on_rows(parse(condition, ALL), frame)[0]).tolist() == wanted
    assert 0 < len(wanted) < 600


@pytest.mark.parametrize("condition", [*CONDITIONS, "day = '2024-02-29'", "day < '1970-01-03' AND yes", "NOT yes"])
def test_no_level_that_can_meet_a_condition_is_left_out(condition):
    node, codes = parse(condition, ALL), _codes(4000, 1)
    met = on_rows(node, _frame(codes))[0]
    assert met.any()
    for c, k in zip(ALL, codes, strict=True):
        may = on_levels(node, c)[0]
        assert may[np.unique(np.floor(k[met]).astype(int))].all()
    alone = next((c for c in ALL if node.columns() == {c.name} and not c.edges), None)
    if alone is not None:  # and none that cannot
        assert not on_levels(node, alone)[0].all()


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("sexx = 'F'", "did you mean 'sex'"),
        ('sex = "F"', "a text stands in single quotes, 'F'"),
        ("sex = 'G'", "column 'sex' has no value 'G'"),
        ("sex = 5", "with quotes"),
        ("sex < 'F'", "no order"),
        ("age = '7'", "without quotes"),
        ("age >", "its end where a column or a value belongs"),
        ("(age > 5", "its end where"),
        ("age > 5 sex = 'F'", "where AND, OR or the end belongs"),
        ("age = sex", "numbers and texts"),
        ("1 = 1", "without a column"),
        ("age * age > 3", "multiplies columns"),
        ("sex + 1 = 2", "no number"),
        ("day > 5", "holds dates"),
        ("day > '2024-02-30'", "not '2024-02-30'"),
        ("age IN (sex)", "cannot be compared"),
        ("__import__('os')", "no column '__import__'"),
        ("age; DROP", "not understood at"),
        ("NOT " * 200 + "yes", "nested"),
        ("", "its end"),
    ],
)
def test_what_is_wrong_with_a_condition_is_said(condition, said):
    with pytest.raises(UsageError, match=said):
        parse(condition, ALL)


def _model(columns, seed=0, **options):
    torch.manual_seed(seed)
    model = create("table-ar", spec_of(columns), options={"likelihood.hidden": 16} | options).eval()
    model.requires_grad_(False)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.6)
    return model


def _cat(name, n):
    column = Column(name, "category", "string", False, 0, tuple(f"{i}" for i in range(n)), (), (), (1.0,))
    return replace(column, shares=(1 / n,) * sum(column.slots))


SMALL = [_cat("a", 3), _cat("b", 2), _cat("c", 4)]


class Whole(Selection):
    """The same rows, without saying what may be drawn."""

    def __init__(self, inner):
        self.inner = inner

    def keeps(self, x):
        return self.inner.keeps(x)


@pytest.mark.parametrize("condition", ["a = '1'", "b = '0' AND c <> '3'", "a = '2' OR c = '0'", "c IN ('0', '1')"])
@pytest.mark.parametrize("way", [lambda s: s, Whole])
def test_samples_that_meet_a_condition_follow_the_conditional_distribution(condition, way):
    model, n = _model(SMALL), 1000
    rows = torch.tensor(list(itertools.product(range(3), range(2), range(4)))) + 0.5
    wanted = of(model.spec).selection(model.spec, condition)
    met = wanted.keeps(rows)
    log_p = torch.from_numpy(np.array([float(model.log_likelihood(r[None]).values[0]) for r in rows]))
    p = log_p.exp()[met] / log_p.exp()[met].sum()
    found = Found(n)
    x = torch.cat([x for x, _ in selected(model, n, way(wanted), 5, noise=True, found=found)])
    assert wanted.keeps(x).all()
    index = (x.floor().long() * torch.tensor([8, 4, 1])).sum(1)
    counts = torch.bincount(index, minlength=24)[met]
    assert chisquare(counts.numpy(), (p * n).numpy()).pvalue > 1e-3
    rate = found.chance * found.kept / found.drawn
    assert rate == pytest.approx(float(log_p.exp()[met].sum()), abs=0.06)


def test_a_row_depends_on_the_seed_alone():
    model = _model(SMALL)
    few, many = (
        model.sample(7, where="c = '3'", seed=2, numbers=True),
        model.sample(900, where="c = '3'", seed=2, batch_size=64, numbers=True),
    )
    assert (few == many[:7]).all()
    assert (many != model.sample(900, where="c = '3'", seed=3, numbers=True)).any()


def test_too_few_and_none_at_all_are_said():
    model = _model([_cat("a", 2), AGE])
    wanted = of(model.spec).selection(model.spec, "age = 19")
    found = Found(2000)
    with pytest.raises(TooFewError, match=r"of 2,000 rows found among 3,000 drawn: about .* meet age = 19"):
        list(selected(model, 2000, wanted, max_draws=3000, found=found))
    assert found.drawn == 3000
    with pytest.raises(UsageError, match="no row can meet age > 30: column 'age' goes from 0 to 20, or nothing"):
        model.sample(3, where="age > 30")


@pytest.mark.parametrize("any_order", [False, True])
def test_levels_that_are_told_by_two_digits_are_drawn_within_a_condition(any_order):
    names = tuple(f"{i}" for i in range(300))
    column = Column("big", "category", "string", False, 0, names, (), (), (1.0,))
    column = replace(column, shares=(1 / 17,) * sum(column.slots))
    model = _model([_cat("a", 2), column], **{"likelihood.any_order": any_order})
    wanted = of(model.spec).selection(model.spec, "big IN ('5', '23', '299') AND a = '1'")
    found = Found(800)
    x = torch.cat([x for x, _ in selected(model, 800, wanted, found=found)])
    assert wanted.keeps(x).all()
    assert set(x[:, 1].floor().tolist()) == {5, 23, 299}
    assert found.drawn == 800
    if not any_order:
        log_p = torch.cat([model.log_likelihood(torch.tensor([[1.5, k + 0.5]])).values for k in (5, 23, 299)])
        p = log_p.exp() / log_p.exp().sum()
        counts = torch.bincount(x[:, 1].long(), minlength=300)[[5, 23, 299]]
        assert chisquare(counts.numpy(), (p * 800).numpy()).pvalue > 1e-3
