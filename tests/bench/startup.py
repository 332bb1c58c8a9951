"""Time of commands that import no torch, as a factor of ``import torch``. Run it alone on the machine:

python tests/bench/startup.py [--runs 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = (["list"], ["show", "wgan-gp"], ["plugins"], ["--help"], ["compare", "--help"], ["--version"])


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    args = parser.parse_args()
    torch, genzoo = [sys.executable, "-c", "import torch"], [sys.executable, "-m", "genzoo.cli"]
    found: dict[str, list[float]] = {" ".join(c): [] for c in COMMANDS}
    for run in range(args.runs + 1):
        base = seconds(torch)
        for command in COMMANDS:
            ratio = seconds([*genzoo, *command]) / base
            if run:  # the first is a warm-up
                found[" ".join(command)].append(ratio)
    print("time as a factor of python -c 'import torch': median (smallest, largest)")
    for name, values in found.items():
        print(f"{'genzoo ' + name:<22} {statistics.median(values):.3f} ({min(values):.3f}, {max(values):.3f})")


if __name__ == "__main__":
    main()
