"""Time of ``genzoo list`` beside 100 installed plugins with 400 entries, as a factor of ``import torch``.

Run it alone on the machine: ``python tests/bench/plugins.py [--runs 15] [--plugins 100] [--entries 4]``.
Runs alternate (torch, list beside the plugins, list without them, torch, …); the goal is 0.15 at most. Everything is
compiled, as pip leaves it, and read before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL = 0.15
MODULE = """from genzoo.registry import hookimpl

genzoo_api = 1


@hookimpl
def genzoo_register(registry):
"""
README = "A readme, as long as they are.\n" * 200


def install(site: Path, plugins: int, entries: int) -> None:
    """Write light plugins as pip leaves them: a package, and a dist-info with metadata, entry points and a record."""
    for p in range(plugins):
        package, info = site / f"light_{p}", site / f"light_{p}-1.{p}.dist-info"
        package.mkdir()
        info.mkdir()
        lines = [
            f"    registry.critic('light-{p}-{e}', 'light_{p}.nets:Critic{e}', modalities=('image',), summary='One.')\n"
            for e in range(entries)
        ]
        (package / "__init__.py").write_text(MODULE + "".join(lines))
        (package / "nets.py").write_text("import torch\n")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: light-{p}\nVersion: 1.{p}\n\n{README}")
        (info / "entry_points.txt").write_text(f"[genzoo]\nlight_{p} = light_{p}\n")
        (info / "RECORD").write_text(f"light_{p}/__init__.py,,\nlight_{p}/nets.py,,\n")


def seconds(command: list[str], path: str) -> float:
    env = {k: v for k, v in os.environ.items() if not k.startswith("GENZOO_") and k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run(command, env=env | {"PYTHONPATH": path}, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--plugins", type=int, default=100)
    parser.add_argument("--entries", type=int, default=4)
    args = parser.parse_args()
    torch, listing = [sys.executable, "-c", "import torch"], [sys.executable, "-m", "genzoo.cli", "list"]
    with tempfile.TemporaryDirectory() as folder:
        install(Path(folder), args.plugins, args.entries)
        found: dict[str, list[float]] = {"with them": [], "without": []}
        for run in range(args.runs + 1):  # the first is a warm-up, which compiles all of it
            base = seconds(torch, folder)
            ratios = {"with them": seconds(listing, folder) / base, "without": seconds(listing, "") / base}
            for name, value in ratios.items() if run else ():
                found[name].append(value)
    print(f"genzoo list beside {args.plugins} plugins with {args.plugins * args.entries} entries, as a factor of "
          "python -c 'import torch': median (smallest, largest)")  # fmt: skip
    for name, values in found.items():
        print(f"{name:<12} {statistics.median(values):.3f} ({min(values):.3f}, {max(values):.3f})")
    print(f"goal         {GOAL}")


if __name__ == "__main__":
    main()
