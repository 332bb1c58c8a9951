"""Loading 200 MB of weights from a warm cache, against safetensors into networks that are already there.

``python tests/bench/load.py [--megabytes 200] [--pairs 25] [--json]`` interleaves A, B, A, B, … in one process.
Ours builds the networks and checks everything: manifest, config, header, shapes, and from memory hash and numbers.
The other side is ``load_file`` and ``load_state_dict`` into networks that are there before the clock starts, which is
more than fair to it; into networks that it builds, as everybody must; and into such on ``meta``, with ``assign=True``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _pairs import interval
from safetensors.torch import load_file

import genzoo
from genzoo.core.build import build
from genzoo.core.model import Model
from genzoo.core.spec import DataSpec
from genzoo.core.storage.weights import read_config
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import resolver


def times(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> list[float]:
    """Our time as a factor of theirs, for each pair: below 1 is faster."""
    ours(), theirs()
    found = []
    for pair in range(pairs):
        seconds = {}
        for who in (ours, theirs) if pair % 2 else (theirs, ours):
            start = time.perf_counter()
            kept = who()
            seconds[who] = time.perf_counter() - start
            del kept
        found.append(seconds[ours] / seconds[theirs])
    return found


def main() -> None:
    """Write the weights, time both ways, print the ratios."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--megabytes", type=float, default=200)
    given.add_argument("--pairs", type=int, default=25)
    given.add_argument("--json", action="store_true")
    told = given.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_CACHE_HOME"] = f"{place}/cache"
        width = round(math.sqrt(told.megabytes * 1e6 / 4 / 4))  # four square layers
        options = {"generator": "mlp", "encoder": "mlp", "generator.depth": 3, "encoder.depth": 3, "encoder.taper": 1.0}
        options |= {"generator.width": width, "encoder.width": width}
        model = genzoo.create("vae", DataSpec("vector", (16,)), options=options)
        folder = Path(place) / "weights"
        model.save(folder)
        path = folder / "model.safetensors"
        print(f"{path.stat().st_size / 1e6:.0f} MB, {len(model.state_dict())} tensors")
        time.sleep(0.2)
        start = time.perf_counter()
        genzoo.load(folder)
        first = time.perf_counter() - start
        print(f"first load, hashed and looked through: {first * 1e3:.0f} ms")
        config = read_config(folder)
        resolve = resolver(the_registry(), config)

        def built(device: str) -> Model:
            with torch.device(device):
                return build(config, resolve, critics=False)[1].model

        ways: dict[str, Callable[[], object]] = {
            "networks ready": lambda: model.load_state_dict(load_file(path)),
            "networks built": lambda: built("cpu").load_state_dict(load_file(path)),
            "built on meta": lambda: built("meta").load_state_dict(load_file(path), assign=True),
        }
        table = {}
        for name, theirs in ways.items():
            found = times(lambda: genzoo.load(folder), theirs, told.pairs)
            low, high = interval(found)
            table[name] = {"ratio": statistics.median(found), "low": low, "high": high, "pairs": told.pairs}
            print(f"genzoo.load / load_file, {name:<16} {statistics.median(found):.3f}  [{low:.3f}, {high:.3f}]  "
                  f"{told.pairs} pairs")  # fmt: skip
        if told.json:
            print(json.dumps(table))


if __name__ == "__main__":
    main()
