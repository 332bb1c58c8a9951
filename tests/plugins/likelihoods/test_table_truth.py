"""Models of rows against a joint distribution that is known: exact log p, a pattern of missing cells, exclusive or."""

from __future__ import annotations

import numpy as np
import pytest

import genzoo

pa = pytest.importorskip("pyarrow")

from genzoo.plugins.datasets.table_file import data_of, encoded  # noqa: E402
from genzoo.plugins.modalities.columns import decode, learnt  # noqa: E402

SHARE = np.array([0.5, 0.3, 0.2])  # of a
YES = np.array([0.2, 0.5, 0.9])  # chance of b given a
SPIKE, RATE = 0.4, np.array([0.5, 2.0])  # x is 0 with that chance, else exponential of a rate given b


def mixed(n, seed):
    """Rows as an Arrow table, and log p of each: c is missing exactly where x is not 0, and w is u xor v."""
    r = np.random.default_rng(seed)
    a = r.choice(3, n, p=SHARE)
    b = (r.random(n) < YES[a]).astype(int)
    spike = r.random(n) < SPIKE
    x = np.where(spike, 0.0, r.exponential(1 / RATE[b]))
    c = r.integers(0, 4, n) + a
    u, v = r.integers(0, 2, (2, n))
    log_p = np.log(SHARE[a]) + np.log(np.where(b == 1, YES[a], 1 - YES[a])) - np.log(4)  # u and v are two bits
    log_p = log_p - spike * np.log(4)  # of c, where it is there
    log_p = log_p + np.where(spike, np.log(SPIKE), np.log((1 - SPIKE) * RATE[b]) - RATE[b] * x)
    table = pa.table(
        {
            "a": pa.array(np.array(["p", "q", "r"])[a]),
            "b": pa.array(b == 1),
            "x": pa.array(x),
            "c": pa.array(c, pa.int64(), mask=~spike),
            "u": pa.array(np.array(["0", "1"])[u]),
            "v": pa.array(np.array(["0", "1"])[v]),
            "w": pa.array(np.array(["0", "1"])[u ^ v]),
        }
    )
    return table, log_p


@pytest.mark.slow
def test_table_ar_comes_near_the_entropy_of_a_known_joint(tmp_path):
    table, _ = mixed(50_000, 0)
    data = data_of(table, "mixed")
    run = genzoo.fit("table-ar", data, tmp_path / "run", seed=0, progress=False, options={"train.epochs": 5})
    fresh, log_p = mixed(20_000, 1)
    found = run.model.log_likelihood(encoded(fresh, data.spec, "fresh").x).values.numpy()
    gap = log_p - found
    assert -3 * gap.std() / len(gap) ** 0.5 < gap.mean() < 0.03 + 3 * gap.std() / len(gap) ** 0.5

    rows = run.model.sample(20_000, seed=0, batch_size=4096, numbers=True).numpy()
    columns = {c.name: decode(c, rows[:, s]) for s, c in enumerate(learnt(data.spec))}
    x, (_, gone) = columns["x"][0], columns["c"]
    assert ((x != 0) == gone).mean() >= 0.99
    assert (x == 0).mean() == pytest.approx(SPIKE, abs=0.02)
    u, v, w = (columns[k][0].astype(int) for k in "uvw")
    cells = np.bincount(4 * u + 2 * v + w, minlength=8) / len(u)
    assert np.abs(cells - np.array([1, 0, 0, 1, 0, 1, 1, 0]) / 4).sum() / 2 < 0.02
