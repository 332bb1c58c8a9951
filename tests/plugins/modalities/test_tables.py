"""Tables: values come back from their codes, files in the types that they had, and table-ar is a distribution."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import genzoo
from genzoo.core.errors import MissingPackage, UsageError
from genzoo.core.modality import of
from genzoo.plugins.likelihoods.table_ar import TableAutoregressive
from genzoo.plugins.modalities.columns import Column, columns, decode, encode, infer, spec_of
from genzoo.plugins.modalities.one_hot import layout

pa = pytest.importorskip("pyarrow")

from pyarrow import csv as pa_csv  # noqa: E402
from pyarrow import parquet  # noqa: E402

from genzoo.plugins.datasets.table_file import TableFile, data_of, kinds  # noqa: E402
from genzoo.plugins.modalities import table_files  # noqa: E402
from genzoo.plugins.modalities.table_files import given_back, read_table, write_table  # noqa: E402


def _category(name, n):
    return Column(name, "category", "string", False, 0, tuple("abcdefg"[:n]), (), (), (1 / n,) * n)


def _likelihood(columns, seed=0, **options):
    torch.manual_seed(seed)
    spec = spec_of(columns)
    made = TableAutoregressive(spec, TableAutoregressive.Options(hidden=8, **options)).eval()
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.7)
    return made.requires_grad_(False)


def _rows(n=400, seed=0):
    r = np.random.default_rng(seed)
    gone = r.random(n) < 0.3
    return pa.table(
        {
            "key": pa.array(np.arange(n) + 7),
            "age": pa.array(r.integers(17, 90, n), pa.int16()),
            "gap": pa.array(r.integers(0, 9, n), pa.int8(), mask=gone),
            "gain": pa.array(np.where(r.random(n) < 0.9, 0.0, np.round(r.exponential(5e3, n), 2))),
            "x": pa.array(r.normal(size=n), pa.float64()),
            "town": pa.array(r.choice(["Rome", "Oslo", "Åby"], n), pa.string(), mask=gone),
            "code": pa.array(r.choice(["u", "v"], n)).dictionary_encode(),
            "yes": pa.array(r.random(n) < 0.5, pa.bool_()),
            "day": pa.array(r.integers(0, 20000, n).astype(np.int32)).cast(pa.date32()),
            "at": pa.array(r.integers(-(10**15), 10**15, n)).cast(pa.timestamp("us", tz="UTC")),
            "year": pa.array(np.full(n, 2024)),
            "none": pa.nulls(n, pa.float32()),
        }
    )


def test_probabilities_of_all_rows_of_a_small_table_sum_to_one():
    made = _likelihood([_category("a", 3), _category("b", 2), _category("c", 2)])
    rows = layout(made.spec).opened(torch.tensor(list(itertools.product(range(3), range(2), range(2)))) + 0.5)
    h = torch.randn(1, 8).expand(len(rows), 8)
    log_p = made.log_prob(h, rows)
    assert log_p.exp().sum() == pytest.approx(1, abs=1e-5)
    assert log_p.std() > 0.1


def test_samples_follow_the_probabilities():
    made = _likelihood([_category("a", 3), _category("b", 2)])
    made.embed.data.mul_(20)
    rows = layout(made.spec).opened(torch.tensor(list(itertools.product(range(3), range(2)))) + 0.5)
    h, n = torch.randn(1, 8, generator=torch.Generator().manual_seed(1)), 20_000
    p = made.log_prob(h.expand(6, 8), rows).exp()
    joint = p.view(3, 2)
    assert (joint - joint.sum(1, keepdim=True) * joint.sum(0)).abs().max() > 0.03  # the second column goes by the first
    drawn = layout(made.spec).closed(made.sample(h.expand(n, 8), torch.Generator().manual_seed(0))).floor()
    found = torch.bincount((drawn[:, 0] * 2 + drawn[:, 1]).long(), minlength=6) / n
    assert ((found - p).abs() < 4 * (p * (1 - p) / n).sqrt()).all()


def test_the_density_of_a_binned_number_integrates_to_one():
    made = _likelihood([Column("x", "number", "double", False, 0, (), (), (-1.0, 0.5, 2.0, 7.0), (0.5, 0.3, 0.2))])
    column = made.spec.facts["edges"][0]
    x = torch.linspace(column[0], column[-1], 8001)[:-1] + (column[-1] - column[0]) / 16000
    code = torch.from_numpy(encode(layout(made.spec).columns[0], x.double().numpy(), np.zeros(8000, bool)))
    density = made.log_prob(torch.randn(1, 8).expand(8000, 8), layout(made.spec).opened(code[:, None])).exp()
    assert density.sum() * (column[-1] - column[0]) / 8000 == pytest.approx(1, abs=2e-3)


def test_training_starts_at_independent_columns():
    columns = [Column("a", "category", "string", False, 0, ("u", "v"), (), (), (0.9, 0.1))]
    made = TableAutoregressive(spec_of(columns)).eval().requires_grad_(False)
    log_p = made.log_prob(torch.randn(2, 192), torch.eye(2))
    assert log_p.tolist() == pytest.approx([math.log(0.9), math.log(0.1)], abs=0.6)


@pytest.mark.parametrize("step", [1.0, 0.01, 0.0, 0.25, 5.0, 15.0])
def test_numbers_come_back_from_their_codes(step):
    """Steps are learnt, and no number between them is made; powers of ten alone, the wrong form, make 3.13 of 3.25."""
    values = np.random.default_rng(0).normal(size=3000) * 1000 * max(step, 1)
    values = np.round(np.round(values / step) * step, 2) if step else values
    values[::3] = 0
    missing = np.arange(3000) % 7 == 1
    column = infer("x", values, missing, "double")
    assert column.missing
    assert column.edges
    assert 0.0 in column.values
    assert column.step == step
    back, gone = decode(column, encode(column, values, missing))
    assert (gone == missing).all()
    widths = np.diff(column.edges).max()
    assert np.abs(back - values)[~missing].max() <= max(step, 1e-4 * widths)
    assert (back[~missing & (values == 0)] == 0).all()
    made = decode(column, np.random.default_rng(1).random(3000) * column.size)[0]
    assert values.min() <= made.min() <= made.max() <= values.max()
    if step:
        assert np.abs(made / step - np.round(made / step)).max() < 1e-6
        assert (made == np.round(made, 2)).all()  # as they are written


def test_few_numbers_are_exact_and_none_is_invented():
    values = np.array([2.0**53 - 1, 0.1, 1e-300, -5.5] * 20)
    column = infer("x", values, np.zeros(80, bool), "double")
    assert (decode(column, encode(column, values, np.zeros(80, bool)))[0] == values).all()
    random = np.random.default_rng(0).random(500) * column.size
    assert set(decode(column, random)[0]) <= set(values)


def test_kinds_are_found():
    found = {c.name: c for c in kinds(_rows(), "rows")}
    assert [found[n].kind for n in ("key", "year", "none", "town", "yes", "age", "x")] == [
        "id", "constant", "constant", "category", "category", "number", "number",
    ]  # fmt: skip
    assert found["gain"].values == (0.0,) or 0.0 in found["gain"].values
    assert found["x"].edges
    assert not found["age"].edges
    assert found["gap"].missing
    assert not found["age"].missing


def test_what_training_rows_lack_does_not_reach_the_config(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{'common' if i else 'once'},{i % 3}\n" for i in range(40)))
    lacks = [s for s in range(40) if s]
    data = data_of(read_table(path), "t", np.array(lacks))
    assert data.spec.facts["names"][0] == ("common",)
    assert data.spec.facts["kind"][0] == "constant"


def test_every_type_and_its_gaps_come_back():
    table = _rows()
    columns = kinds(table, "rows")
    back = given_back(columns, data_of(table, "rows").x.numpy())
    assert back.schema.types == table.schema.types
    for name in table.column_names:
        if name in ("x", "at", "key"):  # keys are others
            continue
        assert back[name].to_pylist() == table[name].to_pylist(), name
    assert np.allclose(back["x"].to_numpy(), table["x"].to_numpy(), atol=1e-4)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow"])
def test_files_are_written_as_they_come(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(table_files, "PART", 100)
    table = _rows()
    data, path = data_of(table, "rows"), tmp_path / f"rows{suffix}"
    write_table(path, kinds(table, "rows"), iter(data.x.numpy()[i : i + 150] for i in range(0, 400, 150)))
    back = read_table(path)
    assert len(back) == 400
    assert back.column_names == table.column_names
    assert back["key"].to_pylist() == list(range(407, 807))  # from the greatest key of the data on
    assert back["town"].to_pylist() == table["town"].to_pylist()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_file_trains_and_its_samples_have_its_types(tmp_path):
    path = tmp_path / "people.csv"
    pa_csv.write_csv(_rows().drop_columns(["none"]), path)
    run = genzoo.fit("table-ar", str(path), tmp_path / "run", steps=3, progress=False)
    genzoo.sample(tmp_path / "run", tmp_path / "rows.parquet", n=50)
    made = parquet.read_table(tmp_path / "rows.parquet")
    assert len(made) == 50
    assert made.schema.types == read_table(path).drop_columns([]).schema.types
    assert run.model.sample(8, seed=1, batch_size=3).equals(run.model.sample(8, seed=1))
    assert run.model.sample(4, seed=1).equals(run.model.sample(8, seed=1)[:4])


def test_other_rows_are_judged_by_the_columns_of_the_model(tmp_path):
    rows, path = _rows(), tmp_path / "people.csv"
    run = genzoo.fit("table-ar", rows, tmp_path / "run", steps=2, progress=False)
    few = rows.slice(0, 30).select(rows.column_names[::-1])  # of other levels and bins, in another order
    pa_csv.write_csv(few.drop_columns(["none"]), path)
    exact = run.model.log_likelihood(few).values
    for data in (few, path):
        found = genzoo.score(run.model, data).columns["bound"]
        assert found == pytest.approx(exact.numpy(), rel=1e-3)
    found = genzoo.evaluate(few, rows, metrics=["columns"], progress=False)  # samples in one form, data in another
    assert found.results[0].n_fake == 30


def test_a_frame_trains_through_the_arrow_capsule(tmp_path):
    run = genzoo.fit("table-ar", _rows(), tmp_path / "run", steps=2, progress=False)
    rows = run.model.sample(3, seed=0)  # rows come in and out in one form
    assert (rows.schema.names, rows.num_rows) == (_rows().schema.names, 3)
    numbers = run.model.sample(3, seed=0, numbers=True)
    assert run.model.log_likelihood(rows).values.equal(run.model.log_likelihood(numbers).values)


def test_texts_as_polars_hands_them_over_train_and_come_back_as_texts(tmp_path):
    views = pa.array(["a", "b", None, "a"] * 10, pa.string_view())
    named = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1] * 10, pa.uint32()), pa.array(["x", "y"]))
    kinds = pa.dictionary(pa.uint32(), pa.string_view())
    table = pa.table({"t": views, "c": named.cast(kinds), "n": [1, 2, 3, 4] * 10})
    run = genzoo.fit("table-ar", table, steps=2, options={"data.constraints": "n > 0"}, progress=False)
    made = run.model.sample(50)
    assert made.schema.types == [pa.large_string(), pa.dictionary(pa.uint32(), pa.large_string()), pa.int64()]
    assert set(made["t"].to_pylist()) <= {"a", "b", None}
    assert set(made["c"].to_pylist()) <= {"x", "y", None}
    for name in ("rows.csv", "rows.arrow"):
        table_files.write_arrow(tmp_path / name, made)
        assert len(read_table(tmp_path / name)) == 50


def test_a_frame_that_cannot_be_handed_over_gets_one_sentence():
    class Frame:
        def __arrow_c_stream__(self, requested_schema=None):
            raise TypeError("Expected bytes, got a 'int' object", "column mix")

    with pytest.raises(UsageError, match=r"^the table cannot be read as an Arrow table: .*'int' object column mix"):
        genzoo.fit("table-ar", Frame(), steps=2, progress=False)

    class Silent:
        def __arrow_c_stream__(self, requested_schema=None):
            raise NotImplementedError

    with pytest.raises(UsageError, match=r"^the table cannot be read as an Arrow table: NotImplementedError$"):
        genzoo.fit("table-ar", Silent(), steps=2, progress=False)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("a,a\n1,2\n", {}, "two columns of one name"),
        ("a,b\n", {}, "no rows"),
        ("a\n1\n1\n", {}, "no column to learn"),
        ("town,b\n1,2\n2,3\n", {"drop": ("twon",)}, "did you mean 'town'"),
    ],
)
def test_bad_tables_get_one_sentence(tmp_path, text, options, said):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        TableFile(TableFile.Options(path=str(path), **options)).read("train")


def test_rows_are_shown_in_a_terminal_and_on_a_page_as_they_are_written():
    day = np.datetime64("2026-03-01")
    table = pa.table(
        {
            "day": pa.array(day + np.arange(300).astype("timedelta64[D]")),
            "town": pa.array(["<b>", None, "a\x1b[1m"] * 100),
            "n": pa.array(np.arange(300) % 7),
        }
    )
    data = data_of(table, "rows")
    head, *rows = of(data.spec).lines(data.spec, data.x[:3])
    assert head.split() == ["day", "town", "n"]
    assert [row.split()[0] for row in rows] == ["2026-03-01", "2026-03-02", "2026-03-03"]
    assert [row.split()[-1] for row in rows] == ["0", "1", "2"]
    assert "\x1b" not in "".join(rows)
    page = of(data.spec).fragment(data.spec, data.x[:3]).content
    assert "<td>2026-03-02</td><td></td><td>1</td>" in page
    assert "&lt;b&gt;" in page


def test_texts_numbers_and_truths_are_shown_without_arrow(monkeypatch):
    n = np.arange(400)
    table = pa.table(
        {
            "key": pa.array([f"row-{i:05d}" for i in n]),
            "town": pa.array([None, "York", "Ely", "Bath"] * 100),
            "sure": pa.array([True, None, False, True] * 100),
            "size": pa.array(np.round(np.sin(n) * 40, 2)),
            "age": pa.array([None if i % 9 == 0 else int(i * 7 % 90) for i in n], pa.int64()),
            "one": pa.array([3] * 400, pa.int32()),
            "day": pa.array(np.datetime64("2026-03-01") + n.astype("timedelta64[D]")),
        }
    )
    plain, dated = data_of(table.drop(["day"]), "rows"), data_of(table, "rows")
    assert [c.kind for c in columns(plain.spec)][:1] == ["id"]
    shown = of(plain.spec).lines(plain.spec, plain.x[:60])

    def missing(what):
        raise MissingPackage(f"{what} needs pyarrow")

    monkeypatch.setattr(table_files, "arrow", missing)
    assert of(plain.spec).lines(plain.spec, plain.x[:60]) == shown
    with pytest.raises(MissingPackage, match="needs pyarrow"):
        of(dated.spec).lines(dated.spec, dated.x[:3])
