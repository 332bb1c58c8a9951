"""Tables of every type come back as they were, through codes and blocks, whatever hypothesis makes of them."""

from __future__ import annotations

import datetime
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import genzoo
from genzoo.core.config import Config
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.columns import learnt, pack, unpack
from genzoo.plugins.modalities.one_hot import layout

pa = pytest.importorskip("pyarrow")

from genzoo.plugins.datasets.table_file import data_of, kinds  # noqa: E402
from genzoo.plugins.modalities.table_files import given_back  # noqa: E402

DAY = datetime.date(1677, 9, 22), datetime.date(2262, 4, 10)
TYPES = {
    "int8": (pa.int8(), st.integers(-128, 127)),
    "uint16": (pa.uint16(), st.integers(0, 65535)),
    "int64": (pa.int64(), st.integers(-(2**53) + 1, 2**53 - 1)),
    "float": (pa.float32(), st.floats(-1e6, 1e6, width=32)),
    "double": (pa.float64(), st.floats(-1e9, 1e9)),
    "cents": (pa.float64(), st.integers(-(10**6), 10**6).map(lambda v: v / 100)),
    "spikes": (pa.float64(), st.one_of(st.just(0.0), st.just(-1.5), st.floats(1, 1e5))),
    "money": (pa.decimal128(12, 2), st.decimals(-(10**6), 10**6, places=2)),
    "text": (pa.string(), st.sampled_from(["a", "b", "nan", "None", "Ä", "x\ny", "long name", "it's"])),
    "large": (pa.large_string(), st.sampled_from(["p", "q"])),
    "bool": (pa.bool_(), st.booleans()),
    "code": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["u", "v", "w"])),
    "day": (pa.date32(), st.dates(*DAY)),
    "second": (pa.timestamp("s"), st.integers(-(10**9), 2 * 10**9).map(lambda v: np.datetime64(v, "s").item())),
    "micro": (
        pa.timestamp("us", tz="Europe/Rome"),
        st.integers(0, 2 * 10**9).map(lambda v: datetime.datetime.fromtimestamp(v, datetime.UTC)),
    ),
    "clock": (pa.time32("s"), st.times().map(lambda v: v.replace(microsecond=0))),
    "length": (pa.duration("ms"), st.integers(0, 10**9).map(lambda v: datetime.timedelta(milliseconds=v))),
}


@st.composite
def arrow_tables(draw):
    n = draw(st.integers(2, 40))
    names = draw(st.lists(st.sampled_from(list(TYPES)), min_size=1, max_size=4, unique=True))
    columns = {}
    for name in names:
        kind, values = TYPES[name]
        held = draw(st.lists(values if draw(st.booleans()) else st.none() | values, min_size=n, max_size=n))
        columns[name] = pa.array(held, kind) if name != "code" else pa.array(held, pa.string()).dictionary_encode()
    return pa.table(columns)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(arrow_tables())
def test_any_table_comes_back(table):
    found = kinds(table, "rows")
    if not any(c.size for c in found):
        return
    data = data_of(table, "rows")
    x = layout(data.spec).opened(data.x)
    assert torch.equal(layout(data.spec).closed(x), data.x)
    back = given_back(found, data.x.numpy())
    assert back.schema.types == table.schema.types
    for c in found:
        ours, theirs = (t[c.name].to_pylist() for t in (back, table))
        if c.kind == "id":
            continue
        assert [v is None for v in ours] == [v is None for v in theirs]
        pairs = [(a, b) for a, b in zip(ours, theirs, strict=True) if b is not None]
        assert all(a == b or (isinstance(b, float) and math.isclose(a, b, rel_tol=1e-6)) for a, b in pairs), c
    again = DataSpec.from_dict(data.spec.to_dict())
    assert again == data.spec


def test_a_column_of_very_many_categories_is_two_digits_and_packed_names():
    r = np.random.default_rng(0)
    names = np.array([f"user_{i:06d}" for i in range(6_000)], object)
    who = r.permutation(np.concatenate([names, names[:2000]]))
    table = pa.table({"who": pa.array(who), "k": r.integers(0, 3, len(who))})
    data = data_of(table, "rows")
    assert layout(data.spec).sizes == [77, 78, 3]
    assert data.spec.facts["names"][0] == ()
    assert sum(map(len, data.spec.facts["packed"][0])) < 50_000
    assert learnt(DataSpec.from_dict(data.spec.to_dict()))[0].names == learnt(data.spec)[0].names
    assert given_back(kinds(table, "rows"), data.x.numpy())["who"].to_pylist() == table["who"].to_pylist()
    run = genzoo.fit("table-ar", data, None, steps=1, options={"train.batch_size": 8}, progress=False)
    assert sum(p.numel() for p in run.model.likelihood.parameters()) < 160 * 2 * 192 + 10**5
    assert run.model.sample(5, seed=0, numbers=True)[:, 0].max() < 6_000


LARGE = """
import resource, numpy as np, pyarrow as pa, genzoo
n = 600_000
who = np.random.default_rng(0).permutation(np.arange(n) % 300_000)
table = pa.table({"who": pa.array([f"user_{i}" for i in who]), "k": pa.array(who % 3)})
run = genzoo.fit("table-ar", table, OUT, steps=20, progress=False)
made = run.model.sample(100, seed=0, numbers=True)
print(made[:, 0].max().item(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_300_000_categories_train_in_less_than_a_gigabyte(tmp_path):
    script = LARGE.replace("OUT", repr(str(tmp_path / "run")))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    level, megabytes = map(float, ran.stdout.split())
    assert level < 300_001
    assert megabytes < 1000
    assert len(learnt(genzoo.load(tmp_path / "run").spec)[0].names) == 300_000


def test_packed_names_are_read_within_bounds():
    names = ("a", "b\nc", "Ä")
    assert unpack(pack(names)) == names
    for bad in (("not base64!",), ("AAAA",), ("eJw=",)):
        with pytest.raises(UsageError, match="damaged"):
            unpack(bad)


def test_a_spec_with_packed_names_survives_config_json(tmp_path):
    table = pa.table({"t": pa.array(["x\ny", "z"] * 30)})
    run = genzoo.fit("table-ar", data_of(table, "rows"), tmp_path / "run", steps=1, progress=False)
    assert Config.from_dict(run.model.config.to_dict()).data == run.model.spec
    loaded = genzoo.load(tmp_path / "run")
    rows = of(loaded.spec)
    rows.write(tmp_path / "rows.parquet", loaded.spec, 20, iter([(loaded.sample(20, seed=0, numbers=True), None)]))
    from pyarrow import parquet

    assert set(parquet.read_table(tmp_path / "rows.parquet")["t"].to_pylist()) <= {"x\ny", "z"}
    with pytest.raises(UsageError, match="one entry in each list"):
        replace(loaded.spec, facts={**loaded.spec.facts, "packed": ((), ())})
