"""Time and memory of drawing very many rows of a table into a file.

    python tests/bench/table_rows.py [--weights table-ar/adult] [-n 10000000] [--suffix parquet]

Without weights the model is a small one of four columns, so that what is measured is the way to the file. The peak of
memory is printed at a hundredth of the rows, at a tenth, and at all of them: it must not grow.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import genzoo


def small() -> genzoo.Model:
    """A model that has seen nothing but the margins of four columns."""
    import pyarrow as pa

    from genzoo.plugins.datasets.table_file import data_of

    r = np.random.default_rng(0)
    table = pa.table({"town": r.choice(["Rome", "Oslo", "Bern"], 5000), "pay": np.round(r.lognormal(7, 1, 5000), 2),
                      "age": r.integers(0, 100, 5000), "id": np.arange(5000)})  # fmt: skip
    return genzoo.create("table-ar", data_of(table, "rows").spec, options={"likelihood.hidden": 8})


def main() -> None:
    """Draw a hundredth, a tenth and all of the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="a model; default a small one")
    parser.add_argument("-n", type=int, default=10_000_000)
    parser.add_argument("--suffix", default="parquet", choices=["parquet", "csv", "arrow"])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = genzoo.load(asked.weights) if asked.weights else small()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rows.{asked.suffix}"
        for n in (asked.n // 100, asked.n // 10, asked.n):
            path.unlink(missing_ok=True)
            begun = time.process_time()
            genzoo.sample(model, path, n, batch_size=16_384)
            seconds = time.process_time() - begun
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{n:>12,} rows of .{asked.suffix}: {seconds:.1f} s, {n / seconds:,.0f} a second, "
                  f"{path.stat().st_size / 2**20:,.0f} MB, peak of memory {peak:,.0f} MB", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
