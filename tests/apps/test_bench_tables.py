"""The table of recipes for tables: its judges against known answers, lines that are kept, and another library's."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

from genzoo.core.data import Data
from genzoo.core.errors import UsageError
from genzoo.plugins.apps.bench import table_bench
from genzoo.plugins.modalities.columns import Column, encode, spec_of

A = Column("a", "category", "string", False, 0, ("u", "v"), (), (), (0.5, 0.5))
X = Column("x", "number", "double", False, 0, (), (), tuple(np.linspace(-4, 4, 81).tolist()), (1 / 80,) * 80)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    monkeypatch.setattr(table_bench, "ROUNDS", 8)


def _rows(n, seed=0, columns=(X, A)):
    x = np.random.default_rng(seed).normal(size=n).clip(-3.9, 3.9)
    label = (x > 0).astype(np.float32) + 0.5
    codes = np.stack([encode(X, x, np.zeros(n, bool)), label], 1).astype(np.float32)
    return Data(spec_of(list(columns)), torch.from_numpy(codes), split="test" if seed else "train")


def test_a_line_is_what_the_metrics_say():
    train, unseen = _rows(600), _rows(600, 1)
    good = table_bench.judge(train, unseen, _rows(600, 2).x.numpy(), "a")
    assert good["auc"] > 0.99
    assert good["detection"] < 0.62
    assert good["copies"] == 0
    shuffled = train.x.numpy().copy()
    shuffled[:, 1] = np.random.default_rng(0).permutation(shuffled[:, 1])
    bad = table_bench.judge(train, unseen, shuffled, "a")
    assert abs(bad["auc"] - 0.5) < 0.2
    assert bad["column"] == 0
    assert bad["pair"] == pytest.approx(0.5, abs=0.06)  # of ten tenths each is of one class, and here of both
    assert bad["detection"] > 0.7
    leaked = table_bench.judge(train, unseen, train.x.numpy(), "a")
    assert leaked["copies"] == 1
    assert leaked["nearer"] > 0.9 > 0.6 > good["nearer"]
    assert table_bench.judge(train, unseen, _rows(600, 2).x.numpy(), "x")["r2"] > 0.4  # 2 over π is the sign's
    one = train.x.numpy().copy()
    one[:, 1] = 0.5
    assert table_bench.judge(train, unseen, one, "a")["auc"] == 0.5


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
    python.write_text("#!/bin/sh\nkill -9 $$\n")
    python.chmod(0o755)
    how = {"recipes": ["copula"], "steps": 1, "out": tmp_path / "out", "peers": python, "epochs": {"CTGAN": 2}}
    killed = table_bench.tables("penguins", **how).lines[-1]
    assert killed.why == f"CTGAN cannot be run by {python}: it was ended by signal 9 (Killed)"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')  # what broke down is tried again
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
