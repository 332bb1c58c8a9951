"""What data cost by their number: their order, a step and a checkpoint. CPU time and memory. Prints two tables.

The observations are points that are computed from their number when they are read, so that 10⁹ of them need no disk.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES = (10**4, 10**6, 10**7, 10**8, 10**9)
BATCH, BATCHES, STEPS = 256, 2000, 200


def measured(n: int) -> dict[str, float]:
    """Of a process of its own, since memory is that of its peak."""
    import torch

    from genzoo.core.noise import Order

    torch.set_num_threads(1)
    order = Order(16, 0)
    order.take(0, 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    order = Order(n, 0)
    order.take(0, BATCH)
    first = time.process_time() - start
    start = time.process_time()
    for i in range(1, BATCHES):
        order.take(i * BATCH, BATCH)
    each = (time.process_time() - start) / (BATCHES - 1)
    start = time.process_time()
    Order(n, 0).take(2 * n + n // 2, BATCH)
    resumed = time.process_time() - start
    return {"first": first, "each": each, "resumed": resumed,
            "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}  # fmt: skip


def trained(n: int) -> dict[str, float]:
    """A training on so many points, streamed: its steps and its checkpoint."""
    import torch

    from genzoo.core.data import Data
    from genzoo.core.hardware import Hardware
    from genzoo.core.spec import DataSpec
    from genzoo.core.training.runs import save_checkpoint
    from genzoo.core.training.trainer import Trainer
    from genzoo.registry import the_registry
    from genzoo.registry.recipes.compose import compose
    from genzoo.registry.verbs.initialize import initialize

    class Points:
        shape, dtype = (n, 2), torch.float32

        def __len__(self) -> int:
            return n

        def take(self, index: torch.Tensor) -> torch.Tensor:
            angle = index.double() * 2.399963
            return torch.stack([angle.cos(), angle.sin()], 1).float()

    torch.set_num_threads(1)
    spec = DataSpec("vector", (2,), scale=(1.0,), name="points")
    options = {"train.steps": STEPS, "train.batch_size": BATCH, "train.validation": 0}
    config = compose(the_registry(), spec, "vae", options)

    hardware = Hardware(device="cpu", data_memory=2**15, data_workers=0)
    objective, nets = initialize(config, 0)
    data = Data(spec, Points(), name="points")
    trainer: Any = Trainer(objective, nets, data, config.train, hardware=hardware)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    trainer.train()
    step, start = (time.process_time() - start) / STEPS, time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        trainer.prepare_state()
        written = save_checkpoint(Path(folder), trainer, keep=1)
        save = time.process_time() - start
        size = sum(f.stat().st_size for f in written.iterdir())
    return {"step": step, "save": save, "bytes": size,
            "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(json.dumps({"order": measured, "training": trained}[sys.argv[1]](int(sys.argv[2]))))
        sys.exit()
    print("| observations | first batch | each after it | first after resuming | memory |")
    print("| --- | --- | --- | --- | --- |")
    for n in SIZES:
        done = subprocess.run([sys.executable, __file__, "order", str(n)], capture_output=True, text=True, check=True)
        m = json.loads(done.stdout)
        print(f"| {n:.0e} | {1e3 * m['first']:.1f} ms | {1e6 * m['each']:.0f} µs | {1e3 * m['resumed']:.1f} ms | "
              f"{m['memory']:.1f} MiB |", flush=True)  # fmt: skip
    print("\n| observations | a step | a checkpoint | its size | memory |\n| --- | --- | --- | --- | --- |")
    for n in SIZES:
        done = subprocess.run(
            [sys.executable, __file__, "training", str(n)], capture_output=True, text=True, check=True
        )
        m = json.loads(done.stdout)
        print(f"| {n:.0e} | {1e3 * m['step']:.2f} ms | {1e3 * m['save']:.0f} ms | {m['bytes']:,} bytes | "
              f"{m['memory']:.1f} MiB |", flush=True)  # fmt: skip
