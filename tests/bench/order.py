"""What the order of data costs by their number: CPU time of a batch, of resuming, and memory. Prints a table."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

SIZES = (10**4, 10**6, 10**7, 10**8, 10**9)
BATCH, BATCHES = 256, 2000


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


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measured(int(sys.argv[1]))))
        sys.exit()
    print("| observations | first batch | each after it | first after resuming | memory |")
    print("| --- | --- | --- | --- | --- |")
    for n in SIZES:
        done = subprocess.run([sys.executable, __file__, str(n)], capture_output=True, text=True, check=True)
        m = json.loads(done.stdout)
        print(f"| {n:.0e} | {1e3 * m['first']:.1f} ms | {1e6 * m['each']:.0f} µs | {1e3 * m['resumed']:.1f} ms | "
              f"{m['memory']:.1f} MiB |", flush=True)  # fmt: skip
