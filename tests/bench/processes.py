"""What working together costs, on one machine: run it alone on the machine.

    python tests/bench/processes.py [--pairs 11] [--processes 2]

Each process trains with one thread and a global batch of 128. Prints the speed of so many processes as a factor of
one's, and what the exchange of flags (stop, save) costs of a step, as the factor between runs with and without it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

CASES = {"VAE-MLP": ("vae", {"generator": "mlp", "encoder": "mlp"}, 40), "VAE-conv": ("vae", {}, 8)}


def work(name: str, pairs: int, out: Path) -> None:
    """One process: seconds of equal numbers of steps, with and without the exchange in turns."""
    import torch

    import genzoo
    from genzoo.core.distributed.init import init_runtime
    from genzoo.core.distributed.runtime import FlagExchange
    from genzoo.core.training.trainer import Trainer
    from genzoo.registry import the_registry
    from genzoo.registry.recipes.compose import compose
    from genzoo.registry.verbs.initialize import initialize

    torch.set_num_threads(1)
    recipe, options, steps = CASES[name]
    data = genzoo.load_data("fashion-mini")
    common = {"train.batch_size": 128, "train.steps": 10**9, "train.log_every": steps, "train.validation": 0}
    config = compose(the_registry(), data.spec, recipe, {**common, **options})
    runtime = init_runtime(torch.device("cpu"))
    trainer = Trainer(*initialize(config, 0), data, config.train, runtime=runtime)
    exchange, found = FlagExchange.exchange, []
    for number in range(2 * pairs + 2):
        FlagExchange.exchange = exchange if number % 2 else lambda self, *flags: flags  # type: ignore[method-assign]
        trainer.steps = trainer.step + steps
        runtime.barrier()
        began = time.perf_counter()
        trainer.train()
        runtime.barrier()
        found.append((time.perf_counter() - began) / steps)
    if runtime.first:
        out.write_text(json.dumps(found[2:]))  # the first two warm up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work[0], args.pairs, Path(args.work[1]))
        return
    from _pairs import line

    from genzoo.core.distributed.launch import launch

    with tempfile.TemporaryDirectory() as folder:
        for name in (n for n in CASES if args.only in n):
            command = [sys.executable, __file__, "--pairs", str(args.pairs), "--work", name]
            one, many = Path(folder, "one.json"), Path(folder, "many.json")
            subprocess.run([*command, str(one)], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
            launch([*command, str(many)], args.processes)
            alone, together = json.loads(one.read_text()), json.loads(many.read_text())
            speed = [a / b for a, b in zip(alone, together, strict=True)]
            print(line(f"{name}: {args.processes} processes to one", speed), flush=True)
            flags = [a / b for a, b in zip(together[::2], together[1::2], strict=True)]
            print(line(f"{name}: with flags to without", flags), flush=True)


if __name__ == "__main__":
    main()
