"""What a step costs on two processes, for each family at its own sizes, of data that ship. Prints a table.

    python tests/bench/two_processes.py [--rounds 2]

One process and two take turns, a thread each. The ratios are of both processes' CPU time to one's, and of time by the
clock: .5 would be twice as fast. Batch sizes are the recipes' own, and the same on both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SECOND = {"objective": "fit-prior", "prior": "mixture"}
CASES: dict[str, tuple[str, str, int, dict[str, Any], bool]] = {
    "VAE": ("vae", "fashion-mini", 40, {}, False),
    "GAN under a penalty": ("wgan-gp", "fashion-mini", 6, {}, False),
    "quantizer": ("vq-vae", "fashion-mini", 24, {}, False),
    "second stage": ("vae", "fashion-mini", 40, SECOND, False),
    "table": ("table-ar", "adult", 60, {}, False),
    "text": ("lm", "kjv-mini", 10, {}, False),
    "sound": ("wavegan", "spoken-digits-mini", 12, {}, False),
    "sharded GAN": ("r3gan", "fashion-mini", 14, {}, True),
}  # fmt: skip


def work(out: Path) -> None:
    """One process of one or two: CPU seconds of all of them and seconds by the clock, a step, of every case."""
    import torch

    import genzoo
    from genzoo.core.distributed.init import init_runtime

    torch.set_num_threads(1)
    runtime, found = init_runtime(torch.device("cpu")), {}
    for name, (recipe, data, steps, options, shard) in CASES.items():
        first = out.with_suffix("") if options is SECOND else None
        if first is not None:
            genzoo.fit(recipe, data, first, steps=1, device="cpu", progress=False)
        clock: list[float] = []

        def begin(trainer: Any, config: Any, clock: list[float] = clock) -> None:
            clock[:] = time.process_time(), time.perf_counter()

        given = options | {"train.validation": 0, "train.patience": 0}
        genzoo.fit(recipe, data, steps=steps, options=given, init=first, device="cpu", progress=False, on_start=begin,
                   shard=shard and runtime.size > 1)  # fmt: skip
        spent = torch.tensor(time.process_time() - clock[0], dtype=torch.float64)
        found[name] = (float(runtime.total(spent)) / steps, (time.perf_counter() - clock[1]) / steps)
    if runtime.first:
        out.write_text(json.dumps(found))


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "work":
        work(Path(sys.argv[2]))
        sys.exit()
    from genzoo.core.distributed.launch import launch

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    if (rounds := parser.parse_args().rounds) < 1:
        parser.error(f"--rounds is 1 or more, not {rounds}")
    seen: dict[int, list[dict[str, list[float]]]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as temporary:
        for n in [1, 2] * rounds:
            out = Path(temporary, f"{len(seen[n])}-of-{n}.json")
            if code := launch([sys.executable, __file__, "work", str(out)], n):
                sys.exit(code)
            seen[n].append(json.loads(out.read_text()))
    print("| family | recipe, data | a step of one process | CPU of two | clock of two |")
    print(f"|{' --- |' * 5}")
    for name, (recipe, data, *_) in CASES.items():
        one, two = ([statistics.median(f[name][i] for f in seen[n]) for i in (0, 1)] for n in (1, 2))
        print(
            f"| {name} | `{recipe}`, {data} | {1e3 * one[0]:,.0f} ms | {two[0] / one[0]:.2f} | {two[1] / one[1]:.2f} |"
        )
