"""The table of recipes for tables: its judges against known answers, lines that are kept, and another library's."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

from genzoo.core.errors import UsageError
from genzoo.plugins.apps.bench import table_bench, table_protocol
from genzoo.plugins.modalities.columns import Column, encode

A = Column("a", "category", "string", False, 0, ("u", "v"), (), (), (0.5, 0.5))
B = replace(A, name="b")
X = Column("x", "number", "double", False, 0, (), (), tuple(np.linspace(-4, 4, 81).tolist()), (1 / 80,) * 80)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    monkeypatch.setattr(table_protocol, "ROUNDS", 8)


def _numbers(n, seed=0):
    x = np.random.default_rng(seed).normal(size=n).clip(-3.9, 3.9)
    label = (x > 0).astype(float) + 0.5
    return np.stack([encode(X, x, np.zeros(n, bool)), label], 1)


def test_rows_are_of_use_where_they_teach_what_holds():
    columns, real = [X, A], _numbers(600)
    assert table_protocol.use(columns, _numbers(600, 1), real, 1)["auc"] > 0.99
    mixed = _numbers(600, 1)
    mixed[:, 1] = np.random.default_rng(0).permutation(mixed[:, 1])
    assert abs(table_protocol.use(columns, mixed, real, 1)["auc"] - 0.5) < 0.2
    one = mixed.copy()
    one[:, 1] = 0.5
    assert table_protocol.use(columns, one, real, 1)["auc"] == 0.5
    assert table_protocol.use(columns, _numbers(600, 1), real, 0)["r2"] > 0.4  # 2 over π of the variance is the sign


def test_equal_rows_on_both_sides_of_a_split_do_not_give_copies_away():
    columns, r = [X, A], np.random.default_rng(0)
    unseen, train = _numbers(400, 1), _numbers(400, 2)
    bootstrap = train[r.integers(60, size=400)]  # each row about seven times
    shuffled = np.stack([r.permutation(unseen[:, 0]), r.permutation(unseen[:, 1])], 1)
    assert table_protocol.detection(columns, unseen, shuffled) > 0.7
    assert abs(table_protocol.detection(columns, unseen, train) - 0.5) < 0.12
    grouped = table_protocol.detection(columns, unseen, bootstrap)
    assert grouped < 0.85  # rows of one kind are learned nowhere and judged nowhere else


def test_margins_and_pairs_are_distances_of_distributions():
    r = np.random.default_rng(0)
    a = r.integers(0, 2, 4000) + 0.5
    real, apart = np.stack([a, a], 1), np.stack([a, r.permutation(a)], 1)
    assert table_protocol.margins([A, B], real, apart) == [0, 0]
    assert table_protocol.pairs([A, B], real, apart) == pytest.approx(0.5, abs=0.03)
    assert table_protocol.pairs([A, B], real, real) == 0
    moved = np.where(np.arange(4000) < 1000, 0.5, a)  # a quarter goes to one level
    assert table_protocol.margins([A], a[:, None], moved[:, None])[0] == pytest.approx(0.125, abs=0.02)
    x = _numbers(2000)
    up = x.copy()
    up[:, 0] += 10  # a standard deviation: Kolmogorov-Smirnov is 2 Φ(1/2) - 1
    assert table_protocol.margins([X], x[:, :1], up[:, :1])[0] == pytest.approx(0.383, abs=0.03)


def test_planted_copies_are_found_and_unseen_rows_are_none():
    columns = [X, replace(X, name="z")]
    train, unseen, made = (np.stack([_numbers(500, s)[:, 0], _numbers(500, s + 9)[:, 0]], 1) for s in (1, 2, 3))
    clean = table_protocol.closeness(columns, train, unseen, made)
    assert clean["copies"] == 0
    assert abs(clean["nearer"] - 0.5) < 0.1
    made[:100] = train[:100]
    planted = table_protocol.closeness(columns, train, unseen, made)
    assert planted["copies"] == pytest.approx(0.2)
    assert planted["nearer"] > 0.55


def test_an_order_of_numbers_is_told_from_another():
    assert table_protocol.separated(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1
    assert table_protocol.separated(np.array([1.0, 4.0]), np.array([2.0, 3.0])) == 0.5


PEER = """
import json, sys, time
folder, asked = sys.argv[2], json.loads(sys.argv[3])
lines = open(folder + "/train.csv").read().splitlines()
open(folder + "/rows.csv", "w").write("\\n".join(lines[:1] + lines[1:][::-1]) + "\\n")
print(json.dumps({"seconds": 1.0, "cpu": float(asked["epochs"]), "sampling": 0.0}))
"""


def test_lines_are_kept_and_another_library_stands_beside(tmp_path, monkeypatch):
    script = tmp_path / "peer.py"
    script.write_text("import sys\nsys.argv.pop(0)\n" + PEER)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
    python.chmod(0o755)
    how = {"recipes": ["copula"], "steps": 1, "out": tmp_path / "out", "peers": python, "epochs": {"CTGAN": 2}}
    board = table_bench.tables("penguins", **how)
    lines = {line.name: line for line in board.lines}
    assert board.target == "species"
    assert list(lines) == [*table_bench.LINES, "copula", "CTGAN 2 epochs"]
    assert not any(line.why for line in lines.values())
    assert lines["training rows"].numbers["copies"] == 1
    assert lines["CTGAN 2 epochs"].numbers["cpu"] == 2
    assert lines["CTGAN 2 epochs"].numbers["column"] == 0
    again = table_bench.tables("penguins", **how)
    assert all(line.was_there for line in again.lines)
    assert again.to_dict() == board.to_dict() == {
        k: v for k, v in json.loads((tmp_path / "out" / "tables.json").read_text()).items() if k != "machine"
    }  # fmt: skip
    with pytest.raises(UsageError, match="did you mean 'species'"):
        table_bench.tables("penguins", target="specie", out=None)
    with pytest.raises(UsageError, match="takes a table"):
        table_bench.tables("ring8", out=None)


def test_who_is_greater_goes_by_chance_where_all_are_equal():
    same = np.zeros(5)
    assert table_protocol.separated(same, same) == 0.5
    assert table_protocol.separated(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert table_protocol.separated(np.array([1.0, 3.0]), np.array([2.0])) == 0.5
