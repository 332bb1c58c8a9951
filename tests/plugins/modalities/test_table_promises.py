"""What is promised of tables: a test for each complaint about other tools, and each trap, that no other file has."""

from __future__ import annotations

import contextlib
import datetime
import json
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow")
import pyarrow as pa
from pyarrow.csv import write_csv

import genzoo
from genzoo.cli.main import main
from genzoo.core.data import DataSource
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.training.trainer import Observer
from genzoo.plugins.apps.tables.inspect_file import inspect
from genzoo.plugins.apps.tables.treatments import smote
from genzoo.plugins.datasets import table_file
from genzoo.plugins.datasets.table_file import data_of, kinds
from genzoo.plugins.modalities.columns import infer, learnt
from genzoo.plugins.modalities.table_files import given_back, read_table, write_arrow
from genzoo.registry import the_registry

SMALL = {"likelihood.hidden": 8}
R = np.random.default_rng(0)


def independent(table, recipe="table-ar", **options):
    """A model of a table's margins: its logits are the log frequencies, and nothing else."""
    data = data_of(table, "rows")
    model = genzoo.create(recipe, data.spec, options=SMALL | options)
    torch.nn.init.zeros_(model.likelihood.weight)
    return model


def test_wide_tables_are_refused_with_their_widest_columns_before_anything_is_encoded(monkeypatch):
    monkeypatch.setattr(table_file, "MOST_WIDE", 150)
    table = pa.table({"a": R.normal(size=3000), "b": R.choice(["u", "v"], 3000), "c": R.normal(size=3000)})
    monkeypatch.setattr(table_file, "encoded", None)
    with pytest.raises(UsageError, match=r"204 numbers wide .* more than 150; the widest columns are a \(100\), c"):
        data_of(table, "rows")


def test_the_width_of_wide_rows_is_said(monkeypatch):
    monkeypatch.setattr(table_file, "WIDE", 5)
    data = data_of(pa.table({"a": R.choice(list("abcdefgh"), 300)}), "rows")
    assert any("8 numbers wide" in line for line in data.read.notes)


def test_columns_are_found_in_one_pass_of_less_than_two_seconds_for_a_million_values():
    values, begun = R.normal(size=200_000), time.process_time()
    infer("x", values, np.zeros(len(values), bool), "double")
    assert time.process_time() - begun < 0.4


def test_fits_and_samples_are_functions_of_the_seed_bit_for_bit():
    table = pa.table({"a": R.choice(["u", "v"], 200), "x": R.normal(size=200)})
    one, two, other = (
        genzoo.fit("table-ar", table, steps=2, seed=s, options=SMALL, progress=False).model for s in (0, 0, 1)
    )
    rows = [m.sample(40, seed=5) for m in (one, two, other)]
    assert rows[0] == rows[1] != rows[2]
    assert one.sample(7, seed=5, batch_size=3) == rows[0].slice(0, 7)
    assert one.sample(40, seed=5, batch_size=11) == rows[0]


def test_spikes_shares_ranges_steps_gaps_and_rare_levels_come_back_at_their_shares():
    """Of independent columns the distribution of a sample is known; spread-out spikes, the wrong form, are none."""
    n = 2000
    pay = np.where(R.random(n) < 0.3, 0.0, np.round(R.lognormal(6, 1, n) / 0.25) * 0.25)
    town = R.permutation(np.repeat(["big", "small", "rare"], [1500, 480, 20]))
    table = pa.table({"pay": pa.array(pay, mask=R.random(n) < 0.1), "town": town})
    made = independent(table).sample(n, seed=0)
    assert len(made) == n
    true, fake = (t["pay"].to_numpy(zero_copy_only=False) for t in (table, made))
    for share in (lambda v: (v == 0).mean(), lambda v: np.isnan(v).mean()):
        p = share(true)
        assert share(fake) == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / n))
    there = fake[~np.isnan(fake)]
    assert np.nanmin(true) <= there.min() <= there.max() <= np.nanmax(true)
    assert (there % 0.25 == 0).all()
    assert set(made["town"].to_pylist()) == {"big", "small", "rare"}


@pytest.mark.parametrize("n", [1, 2, 63, 65, 1001])
def test_as_many_rows_as_asked_for(tmp_path, n):
    model = independent(pa.table({"a": R.choice(["u", "v"], 50), "i": R.integers(0, 300, 50).astype("int8")}))
    assert len(model.sample(n, seed=1)) == n
    assert len(model.sample(n, seed=1, where="a = 'u'")) == n


def test_the_command_writes_all_rows_or_none_unless_fewer_will_do(tmp_path, monkeypatch, capsys):
    out, asked = tmp_path / "rows.csv", "sex = 'Female' AND age = 17"
    command = ["genzoo", "sample", "table-ar/adult", "-n", "500", "--max-draws", "300", "--where", asked]
    for more, code in (([], 3), (["--allow-fewer"], 0)):
        monkeypatch.setattr(sys, "argv", [*command, "--out", str(out), *more])
        ended = 0
        try:
            main()
        except SystemExit as e:
            ended = e.code or 0
        assert ended == code
        assert "of 500 rows found among 300" in capsys.readouterr().err
        assert out.exists() != bool(code)
    assert all(row["age"] == 17 for row in read_table(out).to_pylist())


def test_a_level_of_other_rows_counts_as_the_rarest_and_a_far_number_as_the_end():
    spec = data_of(pa.table({"a": ["u"] * 50 + ["v"] * 9, "x": np.arange(59) / 2}), "rows").spec
    table = pa.table({"a": ["new", "u", "new", "newer"], "x": [1e9] * 4})
    found = table_file.encoded(table, spec, "new", "the model")
    rows = given_back(learnt(spec), found.x.numpy())
    assert rows.to_pylist() == [{"a": a, "x": 29.0} for a in "vuvv"]
    assert found.read.notes == (
        "3 values of column 'a', such as 'new', are unknown to the model and taken for its rarest",
    )
    one = table_file.encoded(table.slice(3), spec, "new", "the data").read.notes
    assert one == ("a value of column 'a', 'newer', is unknown to the data and taken for its rarest",)


def test_unknown_cells_are_counted_among_the_rows_that_are_read(tmp_path):
    path, other = tmp_path / "ours.csv", tmp_path / "theirs.csv"
    path.write_text("a,x\n" + "".join(f"{'uvw'[i % 3]},{i % 7}\n" for i in range(600)))
    other.write_text("a,x\n" + "".join(f"{'uvn'[i % 3]},{i % 7}\n" for i in range(600)))
    model = genzoo.fit("table-vae", str(path), steps=1).model
    for split, n in (("test", 60), ("all", 600)):
        data = genzoo.load_data(str(other), split=split)
        assert not any("unknown" in note for note in data.read.notes)
        found = of(model.spec).as_known(data, model.spec)
        strange = sum(data.x[:, 0].floor() == data.spec.facts["names"][0].index("n")).item()
        assert len(found) == n
        assert 0 < strange < n
        assert f"{strange} values of column 'a', such as 'n', are unknown to the model and taken for its rarest" in (
            found.read.notes
        )
        some = of(model.spec).as_known(data.take(slice(30)).take(torch.arange(5, 10)), model.spec)
        assert torch.equal(some.x, found.x[5:10])


SINGLE = {
    "one column": ({"a": ["u", "v", "u", "v"]}, ""),
    "two rows": ({"a": ["u", "v"], "x": [1.0, 2.0]}, ""),
    "one row": ({"a": ["u"], "x": [1.0]}, "no column to learn"),
    "no rows": ({"a": pa.array([], pa.string())}, "no rows"),
    "only keys": ({"id": list(range(100))}, "no column to learn"),
}


@pytest.mark.parametrize("what", SINGLE)
def test_small_tables_train_by_any_batch_or_get_one_sentence(what):
    held, said = SINGLE[what]
    how = {
        "steps": 1,
        "batch_size": 7,
        "progress": False,
        "options": SMALL | {"train.validation": 0, "train.patience": 0},
    }
    if said:
        with pytest.raises(UsageError, match=said):
            genzoo.fit("table-ar", pa.table(held), **how)
    else:
        assert len(genzoo.fit("table-ar", pa.table(held), **how).model.sample(3)) == 3


def test_a_batch_that_packs_do_not_divide_is_refused_with_one_that_they_do():
    table = pa.table({"a": R.choice(["u", "v"], 60), "x": R.normal(size=60)})
    how = {"steps": 1, "progress": False, "options": {"objective.pack": 3}}
    with pytest.raises(UsageError, match=r"\(7\) must be a multiple of objective.pack \(3\): batch_size=63 is one"):
        genzoo.fit("pacgan", table, batch_size=7, **how)
    assert len(genzoo.fit("pacgan", table, batch_size=6, **how).model.sample(5)) == 5


def test_drawing_levels_is_declared_noise_so_that_a_resumed_game_is_the_same(tmp_path):
    """Numbers drawn within the generator, the wrong form, would be others after a stop."""
    table = pa.table({"a": R.choice(["u", "v"], 80), "x": R.normal(size=80)})
    how = {"seed": 0, "batch_size": 8, "progress": False, "options": {"train.checkpoint_every": 1, "train.keep": 9}}

    def stop(trainer, config):
        trainer.observers.append(type("Stop", (Observer,), {
            "step": lambda self, trainer: setattr(trainer, "stopping", trainer.step == 2)})())  # fmt: skip

    whole = genzoo.fit("table-gan", table, tmp_path / "whole", steps=4, **how)
    part = genzoo.fit("table-gan", table, tmp_path / "part", steps=4, on_start=stop, **how)
    assert part.steps == 2
    again = genzoo.fit(data=table, resume=tmp_path / "part", progress=False)
    for a, b in zip(whole.model.state_dict().values(), again.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_samples_that_are_told_no_class_have_the_shares_of_the_data(tmp_path):
    """Classes in turns, the wrong form for rows, would be a half each."""
    table = pa.table({"y": R.permutation(np.repeat(["a", "b"], [90, 10])), "x": R.normal(size=100)})
    data = data_of(table, "rows", label="y")
    model = genzoo.create("table-gan", data.spec, options={"conditional": True})
    found = model.sample(4000, seed=0)["y"].to_pylist()
    assert found.count("b") / 4000 == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / 4000))
    assert model.sample(100, seed=0)["y"].to_pylist() == found[:100]
    assert set(model.sample(50, seed=0, labels="b")["y"].to_pylist()) == {"b"}


@pytest.mark.parametrize("name", ["adult", "penguins"])
def test_the_bundled_tables_come_back_cell_by_cell(name):
    registry = the_registry()
    table, _ = registry.load(registry.get("dataset", name), DataSource)().table()
    found = kinds(table, name)
    back = given_back(found, data_of(table, name).x.numpy())
    assert back.schema == table.schema
    for c in found:
        ours, theirs = (t[c.name].combine_chunks() for t in (back, table))
        assert ours.is_null().equals(theirs.is_null())
        if c.edges:  # within the stated part of a bin
            wide = max(np.diff(c.edges))
            assert (
                np.abs(ours.to_numpy(zero_copy_only=False) - theirs.to_numpy(zero_copy_only=False)).max() <= 1e-4 * wide
            )
        else:
            assert ours.to_pylist() == theirs.to_pylist()


TIMES = {
    "clocks": (pa.timestamp("s", "Europe/Berlin"), [1698537600 + 600 * i for i in range(20)]),  # 2023-10-29, both hours
    "1677": (pa.timestamp("ns"), [-9223372036854775807 + 1000 * i for i in range(20)]),
    "leap": (pa.date32(), [datetime.date(y, 2, 29) for y in (1904, 1996, 2000, 2024, 2400)] * 4),
    "eastern": (pa.timestamp("ms", "Asia/Kathmandu"), [86_400_000 * i for i in range(20)]),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_at_a_change_of_clocks_of_long_ago_and_on_leap_days_come_back(name):
    kind, values = TIMES[name]
    column = pa.array(values, kind)
    table = pa.table({"t": pa.concat_arrays([column, column])})
    back = given_back(kinds(table, "rows"), data_of(table, "rows").x.numpy())
    assert back.schema == table.schema
    if name == "1677":  # nanoseconds of centuries are more than a double holds
        apart = back["t"].cast(pa.int64()).to_numpy() - table["t"].cast(pa.int64()).to_numpy()
        assert abs(apart).max() <= 1024
    else:
        assert back["t"].to_pylist() == table["t"].to_pylist()


ODD = ["nan", "None", "", " a", "a", None] * 5


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_odd_texts_are_levels_beside_missing_in_typed_files(tmp_path, suffix):
    table = pa.table({"t": ODD, "x": list(range(3)) * 10})
    write_arrow(tmp_path / f"t{suffix}", table)
    read = read_table(tmp_path / f"t{suffix}")
    back = given_back(kinds(read, "rows"), data_of(read, "rows").x.numpy())
    assert back["t"].to_pylist() == ODD


def test_in_csv_blanks_at_the_ends_go_and_words_for_missing_are_missing(tmp_path):
    (tmp_path / "t.csv").write_text("t,x\n" + "nan,1\nNone,2\n,3\n a ,1\na,2\n?,3\n" * 5)
    assert read_table(tmp_path / "t.csv")["t"].to_pylist()[:6] == [None, None, None, "a", "a", None]


TYPED = {
    "flags": pa.array([True, None, False] * 9),
    "bytes": pa.array([1, None, -3] * 9, pa.int8()),
    "money": pa.array([None, 3, 5] * 9, pa.decimal128(9, 2)),
    "codes": pa.array([7, None, 9] * 9).dictionary_encode(),
    "large": pa.array(["a", None, "b"] * 9, pa.large_string()),
    **{unit: pa.array([1, None, 10**9] * 9, pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
}


@pytest.mark.parametrize("name", TYPED)
def test_samples_have_the_schema_of_the_rows(name):
    table = pa.table({name: TYPED[name], "a": ["u", "v", "w"] * 9})
    made = independent(table).sample(30, seed=0)
    assert made.schema.types == table.schema.types
    if name != "ns":  # which Python's own type cannot hold
        assert set(made[name].to_pylist()) <= set(TYPED[name].to_pylist())


@pytest.mark.parametrize("column", [pa.array([[1]] * 60), pa.array([{"a": 1}] * 60)])
def test_lists_and_structs_are_refused(column):
    with pytest.raises(UsageError, match="column 'l'"):
        data_of(pa.table({"l": column, "a": ["u", "v"] * 30}), "rows")


def test_a_column_that_is_a_copy_is_said_and_can_follow_the_other(tmp_path):
    a = R.integers(0, 9, 200)
    write_arrow(tmp_path / "t.csv", pa.table({"a": a, "twin": a, "word": [f"w{v}" for v in a], "day": a + 20240101}))
    found = inspect(tmp_path / "t.csv")
    assert {"a determines twin", "a determines word"} <= set(found.candidates)
    assert "YYYYMMDD" in found.could["day"]


STREAM = """
import resource, sys, torch, numpy as np, pyarrow as pa, genzoo
from genzoo.plugins.datasets.table_file import data_of
from genzoo.registry.verbs.sample import sample
torch.set_num_threads(1)
r = np.random.default_rng(0)
data = data_of(pa.table({"a": r.choice(["u", "v"], 500), "x": r.normal(size=500)}), "rows")
model = genzoo.create("table-ar", data.spec, options={"likelihood.hidden": 8})
for n in (100_000, int(sys.argv[2])):
    sample(model, sys.argv[1], n, batch_size=16384)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_ten_times_the_rows_are_written_in_as_much_memory(tmp_path, suffix):
    ran = subprocess.run([sys.executable, "-c", STREAM, str(tmp_path / f"rows.{suffix}"), "1000000"], text=True,
                         capture_output=True, check=True)  # fmt: skip
    few, many = map(float, ran.stdout.split())
    assert many - few < 50


@pytest.mark.slow
def test_gaps_that_go_with_another_column_are_reproduced():
    """b is missing exactly where a > 0: of what is drawn ninety-nine in a hundred rows obey."""
    a = R.normal(size=5000)
    table = pa.table({"a": a, "b": pa.array(R.choice(["u", "v"], 5000), mask=a > 0)})
    made = genzoo.fit("table-ar", table, steps=800, seed=0, progress=False).model.sample(5000, seed=0)
    a, gone = made["a"].to_numpy(), np.array([v is None for v in made["b"].to_pylist()])
    assert ((a > 0) == gone).mean() >= 0.99


@pytest.mark.slow
def test_three_columns_that_depend_only_together_are_learnt():
    """Columns of xor are independent in pairs: a copula, the wrong form, has them independent in threes."""
    a, b = R.integers(2, size=(2, 8000))
    table = pa.table({"a": a.astype(str), "b": b.astype(str), "c": (a ^ b).astype(str)})
    apart = {}
    for recipe in ("table-ar", "copula"):
        made = genzoo.fit(recipe, table, steps=600, seed=0, progress=False).model.sample(20_000, seed=0)
        code = sum(2**i * np.array(made[k].to_pylist(), int) for i, k in enumerate("abc"))
        true = np.array([0.25 if v in (0, 3, 5, 6) else 0 for v in range(8)])
        apart[recipe] = np.abs(np.bincount(code, minlength=8) / 20_000 - true).sum() / 2
    assert apart["table-ar"] < 0.02 < 0.3 < apart["copula"]


RECIPES = [e.address for e in the_registry().entries("recipe") if "table" in (e.modalities or ("table",))]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_that_takes_tables_trains_on_a_mixed_one(recipe):
    """Or it says in a sentence before step 1 why it does not."""
    n = 120
    table = pa.table({
        "town": pa.array(R.choice(["u", "v", "w"], n), mask=R.random(n) < 0.1), "flag": R.random(n) < 0.5,
        "pay": np.where(R.random(n) < 0.3, 0.0, R.lognormal(3, 1, n)), "age": pa.array(R.integers(0, 80, n), pa.int8()),
        "day": pa.array(R.integers(0, 20_000, n), pa.int32()).cast(pa.date32()),
    })  # fmt: skip
    data = data_of(table, "rows", label="flag")
    try:
        run = genzoo.fit(recipe, data, steps=2, batch_size=16, seed=0, progress=False)
    except UsageError as e:
        pytest.skip(str(e))
    if run.model.prior.unfitted:  # autoencoders without one
        assert run.model.encode(table).shape[0] == n
        return
    made = run.model.sample(9, seed=0)
    assert made.schema.types == table.schema.types
    assert len(made) == 9


def test_rows_between_neighbours_take_memory_that_does_not_grow_with_their_square(monkeypatch):
    monkeypatch.setattr("genzoo.plugins.apps.tables.treatments._CELLS", 60_000)
    rows = R.normal(size=(3000, 4))
    tracemalloc.start()
    made = smote(rows, [False] * 4, 500, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.shape == (500, 4)
    assert peak < 3000 * 3000 * 8 / 4  # the square, of one number each, is 72 MB


@pytest.mark.parametrize(("recipe", "share"), [("table-ar", 0.1), ("table-vae", 0.05)])
def test_rows_that_are_held_out_judge_a_run_unless_told_otherwise(tmp_path, recipe, share):
    run = genzoo.fit(recipe, "penguins", tmp_path / "run", steps=3, batch_size=16, device="cpu", progress=False)
    assert run.config.train.patience > 0 or recipe != "table-ar"
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    rows = record["data"]["observations"] + record["data"]["held_out"]
    assert record["data"]["held_out"] == pytest.approx(rows * share, abs=1)
    assert np.isfinite(record["metrics"]["held-out loss"])


def test_samples_of_a_model_that_saw_all_classes_equally_often_are_flagged(tmp_path, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    kind = R.permutation(np.repeat(["common", "rare"], [540, 60]))
    table = pa.table({"kind": kind, "x": np.where(kind == "rare", 1, 0) + R.integers(0, 2, 600)})
    write_csv(table, tmp_path / "rows.csv")
    command = [
        "genzoo",
        "eval",
        "--data",
        str(tmp_path / "rows.csv"),
        "--metrics",
        "tstr",
        "-n",
        "400",
        "--device",
        "cpu",
    ]
    for sampling in ("uniform", "balanced"):
        options = SMALL | {"data.labels": "kind", "train.sampling": sampling, "train.lr": 5e-2, "train.average": 0}
        genzoo.fit("table-ar", str(tmp_path / "rows.csv"), tmp_path / sampling, options=options, steps=40,
                   batch_size=64, device="cpu", progress=False)  # fmt: skip
        monkeypatch.setattr(
            sys, "argv", [*command, str(tmp_path / sampling), "--set", "tstr.rounds=2", "--set", "tstr.target=kind"]
        )
        with contextlib.suppress(SystemExit):
            main()
        said = "".join(capsys.readouterr())
        assert "AUC or R²" in said
        assert ("in kind has a share of" in said) is (sampling == "balanced")
