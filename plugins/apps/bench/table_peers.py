"""Train CTGAN or TVAE on a .csv file and write rows; run by a Python that has the package ctgan, and by no other.

``python table_peers.py FOLDER JSON`` reads ``train.csv``, writes ``rows.csv``, and prints its seconds as JSON. Missing
categories are a category of their own, and missing numbers the median, since these models take none.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any


def main(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Fit, and sample as many rows as there were."""
    import torch

    pandas, ctgan = import_module("pandas"), import_module("ctgan")
    torch.set_num_threads(asked["threads"])
    torch.manual_seed(asked["seed"])
    import_module("numpy").random.seed(asked["seed"])
    frame = pandas.read_csv(folder / "train.csv", keep_default_na=False, na_values=[""])
    discrete = [name for name in frame.columns if name in asked["discrete"]]
    for name in frame.columns:
        filling = "" if name in discrete else frame[name].median()
        frame[name] = frame[name].astype(object).fillna("") if name in discrete else frame[name].fillna(filling)
        if name in discrete:
            frame[name] = frame[name].astype(str)
    model = getattr(ctgan, asked["model"])(epochs=asked["epochs"], **asked["options"])
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(frame, discrete)
    found = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    begun = time.process_time()
    model.sample(asked["n"]).to_csv(folder / "rows.csv", index=False)
    return found | {"sampling": time.process_time() - begun}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), json.loads(sys.argv[2]))))
