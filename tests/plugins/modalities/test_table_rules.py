"""What tables are asked that they cannot be, and what of rules, splits and descriptions is easily got wrong."""

from __future__ import annotations

import re
import uuid

import numpy as np
import pytest

import genzoo
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.columns import Column, columns, infer, number_text
from genzoo.plugins.modalities.rules import broken, rule
from genzoo.plugins.modalities.where import parse

pa = pytest.importorskip("pyarrow")

from pyarrow import csv as pa_csv  # noqa: E402

from genzoo.plugins.apps.tables.complete import complete  # noqa: E402
from genzoo.plugins.apps.tables.inspect_file import inspect  # noqa: E402
from genzoo.plugins.datasets.bundled_tables import BundledTable  # noqa: E402
from genzoo.plugins.datasets.table_file import TableFile, data_of, encoded, planned_data  # noqa: E402
from genzoo.plugins.modalities import whole_tables  # noqa: E402
from genzoo.plugins.modalities.table_files import given_back, read_table, write_table  # noqa: E402
from genzoo.plugins.modalities.table_plan import Plan, planned, read_plan  # noqa: E402

R = np.random.default_rng(0)
A, B = R.integers(1, 60, 200), R.integers(1, 60, 200)


def _data(rules, **given):
    return planned_data(planned(pa.table(given), "t", Plan(rules=tuple(rules))), "t")


@pytest.mark.parametrize("text", ["bonus BETWEEN 0 AND salary", "bonus >= 0 AND bonus <= salary"])
def test_a_missing_cell_breaks_no_rule_and_may_be_drawn(text):
    bonus = pa.array([None if i % 3 == 0 else int(a) for i, a in enumerate(A)])
    data = _data([text], salary=A + 70, bonus=bonus)
    allowed = of(data.spec).selection(data.spec, None).allowed()
    assert allowed[1] is None or allowed[1][0]
    assert of(data.spec).selection(data.spec, None).keeps(data.x).all()
    none = of(data.spec).selection(data.spec, "bonus IS NOT NULL").allowed()
    assert not none[1][0]


@pytest.mark.parametrize("text", ["id < a + 1000", "unique id, a", "together id, a", "id determines a", "a = id * 0"])
def test_rules_about_identifiers_are_refused(text):
    with pytest.raises(UsageError, match="column 'id', which identifies rows"):
        _data([text], id=np.arange(200), a=A * 0 if "= id" in text or "determines" in text else A, b=B)


def test_a_column_that_is_computed_may_look_like_an_identifier():
    data = _data(["n = a * 100 + b"], a=np.arange(200) // 50 + 1, b=np.arange(200) % 50, n=100 + np.arange(200) // 50 *
                 100 + np.arange(200) % 50)  # fmt: skip
    assert data.spec.facts["kind"] == ("number", "number", "computed")


@pytest.mark.parametrize("text", ["a < b", "together a, b", "b = a + 70"])
def test_rows_are_not_completed_by_a_model_that_keeps_rules(tmp_path, text):
    data = _data([text], a=A, b=A + 70, c=B)
    model = genzoo.create("table-ar", data.spec, options={"likelihood.hidden": 8})
    (tmp_path / "t.csv").write_text("a,b\n1,\n")
    with pytest.raises(UsageError, match="keeps rules"):
        complete(model, tmp_path / "t.csv", tmp_path / "full.csv")


def test_what_is_computed_may_be_rounded_as_its_column_is(tmp_path):
    net = R.integers(100, 9000, 300) / 100
    pa_csv.write_csv(pa.table({"net": net, "gross": np.round(net * 1.175, 2)}), tmp_path / "t.csv")
    assert "gross = net * 1.175" in inspect(tmp_path / "t.csv").candidates
    options = TableFile.Options(path=str(tmp_path / "t.csv"), constraints="gross = net * 1.175", violations="refuse")
    data = TableFile(options).load("train")
    back = given_back(columns(data.spec), data.x.numpy()).to_pylist()
    assert all(row["gross"] == pytest.approx(row["net"] * 1.175, abs=0.00501) for row in back)
    number = [Column(n, "number", "int64") for n in "ab"]
    there, gone = np.array([1.0, 2.0]), np.zeros(2, bool)
    assert broken(rule("a = b * 0.8", number), {"a": (there, gone), "b": (there, gone)}).all()


@pytest.mark.parametrize("text", ['"a=b" = x + y', 'x + y = "a=b"', '"a=b" == x + y'])
def test_equations_are_read_in_either_way_and_with_any_name(text):
    data = _data([text], **{"a=b": A + B, "x": A, "y": B})
    assert data.spec.facts["kind"][0] == "computed"
    back = given_back(columns(data.spec), data.x.numpy())
    assert back["a=b"].to_pylist() == (A + B).tolist()


def test_a_column_that_cannot_be_read_can_be_left_out(tmp_path):
    table = pa.table({"a": A, "l": pa.array([[1]] * 200)})
    assert [c.name for c in planned(table, "t", Plan({"l": "drop"})).columns] == ["a"]
    with pytest.raises(UsageError, match="no column 'll'"):
        planned(table, "t", Plan({"ll": "drop"}))
    from pyarrow import parquet

    parquet.write_table(table, tmp_path / "t.parquet")
    found = inspect(tmp_path / "t.parquet", tmp_path / "t.toml")
    assert list(found.refused) == ["l"]
    assert not inspect(tmp_path / "t.toml").refused
    assert genzoo.load_data(tmp_path / "t.toml").spec.facts["name"] == ("a",)


def test_an_identifier_is_seen_in_nine_tenths_of_the_rows():
    rows = np.sort(np.random.default_rng(1).permutation(1000)[100:]).astype(float)
    assert infer("row", rows, np.zeros(900, bool), "int64").kind == "id"
    assert infer("row", rows * 2, np.zeros(900, bool), "int64").kind == "number"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('violations = "droop"', "violations can be auto, refuse, drop, keep, not 'droop'"),
        ("bins = 0", "from 1 to 4096, not 0"),
        ("bins = true", "from 1 to 4096, not True"),
    ],
)
def test_a_description_says_only_what_options_could(tmp_path, text, said):
    (tmp_path / "t.toml").write_text(f'file = "t.csv"\n{text}\n')
    with pytest.raises(UsageError, match=said):
        read_plan(tmp_path / "t.toml")
    with pytest.raises(UsageError, match=r"no\.toml cannot be read"):
        read_plan(tmp_path / "no.toml")


class Published(BundledTable):
    """The first 150 rows are to train on."""

    name, label, license = "published", "", "CC0-1.0"

    def table(self):
        return pa.table({"a": A, "b": np.where(np.isin(np.arange(200), (3, 160)), 0, A + 1), "part": np.arange(200) <
                         150, "c": B}), "published"  # fmt: skip

    def parts(self, n):
        return np.arange(150), np.arange(150, n)


def test_a_published_split_stays_when_rows_are_left_out():
    source = Published(Published.Options(constraints="a < b"))
    train, test = (given_back(columns(d.spec), d.x.numpy()) for d in (source.load("train"), source.load("test")))
    assert train["c"].to_pylist() == np.delete(B[:150], 3).tolist()
    assert len(test) == 49
    assert train["part"].to_pylist() == [True] * 149  # which is constant there


def test_texts_in_place_of_numbers_and_names_that_come_twice_are_refused(tmp_path):
    data = _data([], a=A, b=B)
    with pytest.raises(UsageError, match="column 'a' holds texts"):
        encoded(pa.table({"a": ["x"] * 3, "b": [1, 2, 3]}), data.spec, "t")
    with pytest.raises(UsageError, match="two columns 'a'"):
        encoded(pa.table([[1], [2], [3]], ["a", "a", "b"]), data.spec, "t")
    model = genzoo.create("table-ar", data.spec, options={"likelihood.hidden": 8})
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"a": ["x", None]}), tmp_path / "t.parquet")
    with pytest.raises(UsageError, match="column 'a' holds texts"):
        complete(model, tmp_path / "t.parquet", tmp_path / "full.parquet")
    (tmp_path / "t.csv").write_text("a,a\n1,\n")
    with pytest.raises(UsageError, match="two columns 'a'"):
        complete(model, tmp_path / "t.csv", tmp_path / "full.csv")


def test_conditions_of_many_signs_and_of_too_large_numbers():
    found = [Column("a", "number", "int64"), Column("b", "category", "int64", names=("1", "2"))]
    assert parse("a < " + "-" * 5001 + "3", found) == parse("a < -3", found)
    for text in ("a = 1e999", "b = 1e999"):
        with pytest.raises(UsageError, match="too large, 1e999"):
            parse(text, found)
    assert [number_text(v) for v in (float("inf"), 3.0, 0.5)] == ["inf", "3", "0.5"]


def test_truncation_is_positive_where_rows_are_wanted():
    data = _data([], a=A, b=B)
    model = genzoo.create("table-ar", data.spec, options={"likelihood.hidden": 8})
    with pytest.raises(UsageError, match="truncation is a positive number"):
        list(genzoo.core.selection.selected(model, 3, of(data.spec).selection(data.spec, "a > 3"), truncation=-1.0))


def test_cells_that_the_model_does_not_know_are_unpacked_within_bounds(monkeypatch):
    data = _data([], a=A, b=B)
    held = whole_tables.whole(data.spec, table := pa.table({"a": A + 1000, "b": B}))
    assert whole_tables.table_of(data.spec, held)["a"].to_pylist() == (A + 1000).tolist()
    monkeypatch.setattr(whole_tables, "_MOST", 500)
    with pytest.raises(GenzooError, match="something else"):
        whole_tables.table_of(data.spec, held)
    with pytest.raises(UsageError, match="more than 500"):
        whole_tables.whole(data.spec, table)


@pytest.mark.parametrize(("keys", "form"), [
    ([f"C{i:05d}" for i in range(7, 107)], r"C\d{5}"),
    ([f"order {i}/24" for i in range(95, 195)], r"order \d+/24"),
    ([str(i) for i in range(1000, 1100)], r"\d{4}"),
    ([str(uuid.uuid5(uuid.NAMESPACE_DNS, str(i))) for i in range(100)], "[0-9a-f]{8}-[0-9a-f]{4}-4.*"),
    ([f"{'xy'[i % 2]}{i * 37 % 101}" for i in range(100)], r"\d+"),
    (list(range(5000, 5100)), None),
])  # fmt: skip
def test_made_keys_have_the_form_of_the_training_keys_and_are_none_of_them(tmp_path, keys, form):
    """Numbers from 1, the wrong form, are some of the training keys."""
    table = pa.table({"id": keys, "a": ["u", "v"] * 50})
    data = data_of(table, "t")
    found = columns(data.spec)
    assert found[0].kind == "id"
    write_table(tmp_path / "rows.parquet", found, (data.x.numpy()[:60] for _ in range(2000)))  # in several parts
    made = read_table(tmp_path / "rows.parquet")["id"].to_pylist()
    assert len(set(made)) == len(made) == 120_000
    assert not set(made) & set(keys)
    assert isinstance(made[0], type(keys[0]))
    if form:
        assert re.fullmatch(form, made[0])


def test_keys_that_a_type_cannot_hold_are_said(tmp_path):
    table = pa.table({"id": pa.array(range(100), pa.int8()), "a": ["u", "v"] * 50})
    data = data_of(table, "t")
    with pytest.raises(GenzooError, match="column 'id' of type int8 has no more keys"):
        write_table(tmp_path / "rows.csv", columns(data.spec), [data.x.numpy()])
    assert not (tmp_path / "rows.csv").exists()


def test_levels_of_a_dictionary_stay_in_their_order_and_declared(tmp_path):
    """By falling frequency, the wrong form, high comes first and never is lost."""
    index = np.random.default_rng(0).choice(3, 200, p=[0.1, 0.2, 0.7])
    for ordered in (True, False):
        held = pa.DictionaryArray.from_arrays(pa.array(index, pa.int8()), ["low", "mid", "high", "never"],
                                              ordered=ordered)  # fmt: skip
        table = pa.table({"c": held, "x": np.arange(200) * 0.5})
        data = data_of(table, "t")
        assert columns(data.spec)[0].names == ("high", "mid", "low")
        assert DataSpec.from_dict(data.spec.to_dict()) == data.spec
        write_table(tmp_path / "rows.parquet", columns(data.spec), [data.x.numpy()[:50], data.x.numpy()[50:]])
        back = read_table(tmp_path / "rows.parquet")["c"]
        assert back.type == held.type
        assert back.chunk(0).dictionary.to_pylist() == ["low", "mid", "high", "never"]
        assert back.to_pylist() == held.to_pylist()
