"""What a checkpoint costs over writing its tensors and syncing them. Run it alone on the machine:

    python tests/bench/checkpoint.py [--megabytes 100] [--rounds 5] [--out FOLDER]

Both write the same tensors (a model, its critic's, and Adam's two moments of both) to the same disk; genzoo's
checkpoint adds the hash of everything, the manifest, the renames and the sync of folders.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
from _pairs import line, ratios

import genzoo
from genzoo.core.training.runs import save_checkpoint
from genzoo.core.training.trainer import Trainer


def trained(megabytes: float) -> Trainer:
    """A GAN on vectors whose model weighs so much, after a step."""
    width, held = int((megabytes * 2**20 / 4 / 2) ** 0.5), list[Trainer]()
    options = {"generator": "mlp", "critic": "mlp", "generator.width": width, "critic.width": width}
    options |= {"generator.depth": 3, "critic.depth": 3}
    genzoo.fit("gan", torch.randn(64, 2), steps=1, batch_size=8, options=options, device="cpu", progress=False,
               on_start=lambda trainer, config: held.append(trainer))  # fmt: skip
    return held[0]


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--megabytes", type=float, default=100, help="of the model; the checkpoint has six times as many"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a folder on the disk in question")
    given = parser.parse_args()
    trainer = trained(given.megabytes)
    folder = Path(tempfile.mkdtemp(dir=given.out))
    times: dict[str, list[float]] = {"plain": [], "genzoo": []}

    def plain() -> None:
        start = time.perf_counter()
        for number, tensors in enumerate((trainer.model.state_dict(), trainer.state()[0])):
            save_file(tensors, folder / f"plain-{number}")
            handle = os.open(folder / f"plain-{number}", os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
            os.unlink(folder / f"plain-{number}")
        times["plain"].append(time.perf_counter() - start)

    def ours() -> None:
        trainer.step += 1
        start = time.perf_counter()
        trainer.prepare_state()
        save_checkpoint(folder, trainer, keep=1)
        times["genzoo"].append(time.perf_counter() - start)

    try:
        found = ratios(ours, plain, given.rounds)
        size = sum(p.stat().st_size for p in folder.rglob("*.safetensors")) / 2**20
    finally:
        shutil.rmtree(folder)
    for name, seconds in times.items():
        print(f"{name:<16} {statistics.median(seconds):.3f} s for {size:.0f} MB")
    print(line("speed", found))


if __name__ == "__main__":
    main()
