"""What holds in every row: counted in the data, kept by every sample, computed where it can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.plugins.modalities.columns import Column
from genzoo.plugins.modalities.rules import ordered, rule

pa = pytest.importorskip("pyarrow")

from pyarrow import csv as pa_csv  # noqa: E402

from genzoo.plugins.apps.tables.inspect_file import inspect  # noqa: E402
from genzoo.plugins.datasets.table_file import TableFile  # noqa: E402
from genzoo.plugins.modalities.table_files import given_back  # noqa: E402

RULES = ["start <= end", "total = net + tax", "gross = net * 1.5", "code determines town", "together code, kind",
         "unique net, start", "net < 90 OR kind = 'b'"]  # fmt: skip


def _table(n=400, seed=0):
    r = np.random.default_rng(seed)
    start = r.integers(0, 1000, n)
    net, code = r.integers(1, 90, n), r.choice(["x", "y", "z"], n)
    tax = np.round(r.integers(0, 500, n) / 100, 2)
    return pa.table({
        "start": pa.array(start.astype(np.int32)).cast(pa.date32()),
        "end": pa.array((start + r.integers(0, 50, n)).astype(np.int32)).cast(pa.date32()),
        "net": pa.array(net, pa.int16()),
        "tax": tax,
        "total": np.round(net + tax, 2),
        "gross": net * 1.5,
        "code": code,
        "town": pa.array([{"x": "Rome", "y": "Oslo", "z": None}[c] for c in code]),
        "kind": [{"x": "a", "y": "b", "z": "c"}[c] if u < 0.7 else "a" for c, u in zip(code, r.random(n), strict=True)],
    })  # fmt: skip


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    pa_csv.write_csv(_table(), folder / "t.csv")
    listed = ", ".join(f'"{r}"' for r in RULES)
    (folder / "t.toml").write_text(f'file = "t.csv"\nconstraints = [{listed}]\n[columns]\nnet = "number"\n')
    return folder / "t.toml"


def test_columns_that_follow_are_not_learnt_and_come_back(planned):
    data = TableFile(TableFile.Options(path=str(planned))).load("train")
    kinds = dict(zip(data.spec.facts["name"], data.spec.facts["kind"], strict=True))
    assert [kinds[n] for n in ("total", "gross", "town", "net")] == ["computed", "computed", "looked-up", "number"]
    from genzoo.plugins.modalities.columns import columns

    back = given_back(columns(data.spec), data.x.numpy())
    table = _table()
    names = ["net", "tax", "total", "gross", "town", "start"]
    rows = [set(map(str, t.select(names).to_pylist())) for t in (back, table)]
    assert len(rows[0]) > 350
    assert rows[0] <= rows[1]


def test_every_sample_keeps_every_rule(planned, tmp_path: Path):
    data = TableFile(TableFile.Options(path=str(planned))).load("train")
    torch.manual_seed(0)
    model = genzoo.create("table-ar", data.spec, options={"likelihood.hidden": 8})
    genzoo.sample(model, tmp_path / "s.csv", n=150)
    made = pa_csv.read_csv(tmp_path / "s.csv").to_pylist()
    assert len(made) == 150
    allowed = {(row["code"], row["kind"]) for row in _table().to_pylist()}
    for row in made:
        assert row["start"] <= row["end"]
        assert row["total"] == pytest.approx(row["net"] + row["tax"], abs=1e-9)
        assert row["gross"] == row["net"] * 1.5
        assert row["town"] == {"x": "Rome", "y": "Oslo", "z": ""}[row["code"]] or row["code"] == "z"
        assert (row["code"], row["kind"]) in allowed
    assert len({(row["net"], row["start"]) for row in made}) == 150
    free = of(data.spec).selection(data.spec, None)
    codes = torch.stack([torch.rand(3000) * 3 for _ in range(data.x.shape[1])], 1)
    assert not free.keeps(codes).all()  # it is no matter of course


def test_rows_that_break_a_rule_are_counted(tmp_path: Path):
    n = 300
    a, b = np.arange(n) % 17, np.arange(n) % 17 + 1
    b[:2] = -1
    pa_csv.write_csv(pa.table({"a": a, "b": b}), tmp_path / "t.csv")

    def load(**how):
        return TableFile(TableFile.Options(path=str(tmp_path / "t.csv"), constraints="a < b", **how)).load("all")

    assert len(load()) == 298
    assert len(load(violations="keep")) == 300
    with pytest.raises(UsageError, match=r"2 of 300 rows of t.csv \(0.67%\) break a < b"):
        load(violations="refuse")
    b[:30] = -1
    pa_csv.write_csv(pa.table({"a": a, "b": b}), tmp_path / "t.csv")
    with pytest.raises(UsageError, match="break a < b"):
        load()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (["a = b + 1", "b = a - 1"], "follow from each other in a circle"),
        (["a = b + 1", "a = c + 1"], "two rules compute the same column"),
        (["together a"], "takes two or more"),
        (["unique d"], "no column 'd'"),
        (["a determines a"], "one column twice"),
        (["a <"], "its end where"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules, said):
    columns = [Column(n, "number", "int64") for n in "abc"]
    with pytest.raises(UsageError, match=said):
        ordered([rule(text, columns) for text in rules])


def test_a_file_is_inspected_and_its_description_edited(tmp_path: Path):
    table = (
        _table()
        .append_column("id", pa.array(np.arange(400)))
        .append_column("ymd", pa.array([20240229, 20231231] * 200))
    )
    pa_csv.write_csv(table, tmp_path / "t.csv")
    found = inspect(tmp_path / "t.csv", tmp_path / "t.toml")
    kinds = {c.name: c.kind for c in found.columns}
    assert kinds["id"] == "id"
    assert {"start <= end", "total = net + tax", "gross = net * 1.5", "code determines town"} <= set(found.candidates)
    assert not any("kind" in text for text in found.candidates)
    assert "YYYYMMDD" in found.could["ymd"]
    text = (tmp_path / "t.toml").read_text().replace('#  "start <= end"', '"start <= end"')
    text = text.replace('"id" = "id"', '"id" = "drop"')
    (tmp_path / "t.toml").write_text(text)
    data = genzoo.load_data(tmp_path / "t.toml")
    assert "id" not in data.spec.facts["name"]
    assert data.spec.facts["rules"] == ("start <= end",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('file = "t.csv"\nbin = 3', "'bin', which is not known"),
        ('file = "t.csv"\n[columns]\nnet = "nmber"', "it can be category"),
        ('file = "t.csv"\n[columns]\nnett = "id"', "did you mean 'net'"),
        ("file = 3", "wrong type"),
        ("file = ", "is no TOML"),
    ],
)
def test_what_is_wrong_with_a_description_is_said(tmp_path: Path, text, said):
    pa_csv.write_csv(_table(), tmp_path / "t.csv")
    (tmp_path / "t.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        genzoo.load_data(tmp_path / "t.toml")
