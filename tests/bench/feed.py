"""What it costs to stream data rather than keep them resident, and what memory it saves. Run it alone:

    python tests/bench/feed.py [--pairs 15] [--threads 2] [--share 0.25] [--only VAE]

Two trainers of the same run, one with resident data and one under a memory limit of a share of the data, train in
turns (A, B, A, B, …). A number is the speed of streaming as a factor of resident speed: .95 is 5 % slower. Then each
kind trains in a process of its own, which tells how much memory it and its workers take beyond the same run on hardly
any data: anonymous and shared pages, each counted once; what the kernel caches of a file belongs to nobody.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
from _pairs import line, ratios

from genzoo.core.data.observations import Data
from genzoo.core.hardware import Hardware
from genzoo.core.training.trainer import Trainer
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.data import open_data
from genzoo.registry.verbs.initialize import initialize

CASES = {
    "VAE-MLP": ("vae", {"generator": "mlp", "encoder": "mlp"}, 200),
    "VAE-conv": ("vae", {}, 24),
    "WGAN-GP-conv": ("wgan-gp", {}, 4),
}


def make(path: Path, n: int) -> None:
    """A file of noise in the shape of Fashion-MNIST: what it shows does not matter here."""
    np.save(path, np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8))


def trainer(case: str, data: Data, memory: int | None, steps: int, workers: int | None) -> Trainer:
    recipe, options, _ = CASES[case]
    options = {**options, "train.batch_size": 64, "train.steps": 10**9, "train.log_every": steps}
    config = compose(the_registry(), data.spec, recipe, options)
    objective, nets = initialize(config, 0)
    return Trainer(objective, nets, data, config.train, hardware=Hardware(data_memory=memory, data_workers=workers))


def taken() -> float:
    """Memory of this process and all its workers, MB, as much of each page as is theirs."""
    me = os.getpid()
    children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
    return sum(_taken(pid) for pid in (str(me), *children))


def _taken(pid: str) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(text.split()[1]) for text in lines if text.startswith(("Pss_Anon", "Pss_Shmem"))) * 1024 / 1e6


def one_process(args: argparse.Namespace) -> None:
    """Train in this process and print its memory."""
    data = open_data(the_registry(), args.path, memory=args.memory)
    run = trainer(args.only, data, args.memory, 20, args.workers)
    most = 0.0
    for _ in range(4):
        run.steps = run.step + 20
        run.train()
        most = max(most, taken())
    run.feed.close()
    print(json.dumps(most))


def in_a_process(case: str, path: Path, memory: int | None, args: argparse.Namespace) -> float:
    command = [sys.executable, __file__, "--one", "--path", str(path), "--only", case, "--threads", str(args.threads)]
    command += [] if memory is None else ["--memory", str(memory)]
    command += [] if args.workers is None else ["--workers", str(args.workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--images", type=int, default=240_000)
    parser.add_argument("--share", type=float, default=0.25, help="of the data's size that --data-memory is")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--only", default="")
    parser.add_argument("--no-memory", action="store_true", help="leave out the second table")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--path", help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.one:
        return one_process(args)
    cases = [case for case in CASES if args.only in case]
    with tempfile.TemporaryDirectory() as folder:
        path, tiny = Path(folder, "data.npy"), Path(folder, "tiny.npy")
        make(path, args.images)
        make(tiny, 256)
        size = args.images * 28 * 28
        limit = int(size * args.share)
        print(f"{size / 1e6:.0f} MB of data, a limit of {limit / 1e6:.0f} MB, {args.threads} threads")
        print("streamed speed as a factor of resident: median [95 % interval]")
        for case in cases:
            steps = CASES[case][2]
            resident = trainer(case, open_data(the_registry(), path), None, steps, None)
            streamed = trainer(case, open_data(the_registry(), path, memory=limit), limit, steps, args.workers)
            assert resident.feed.resident
            assert not streamed.feed.resident

            def go(run: Trainer, steps: int = steps) -> None:
                run.steps = run.step + steps
                run.train()

            found = ratios(lambda run=streamed, go=go: go(run), lambda run=resident, go=go: go(run), args.pairs)
            streamed.feed.close()
            print(line(case, found), streamed.feed.how, flush=True)
        if args.no_memory:
            return None
        print("memory of all processes beyond a run on hardly any data, MB: resident, streamed")
        for case in cases:
            base = in_a_process(case, tiny, None, args)
            kept = in_a_process(case, path, None, args)
            sent = in_a_process(case, path, limit, args)
            print(f"{case:<16} {kept - base:7.1f} {sent - base:7.1f}", flush=True)
    return None


if __name__ == "__main__":
    main()
