"""What memory training takes, against what it needs. Run it alone:

    python tests/bench/memory.py [--device cpu] [--images 240000]

Every recipe trains twice on resident data, each time in a fresh process. One tells the peak of its memory, from
reading the file to the last step, above what it had after importing everything and training a tiny model once
(resident set on the CPU, allocated by torch on CUDA). The other adds up what must be there at once: data and labels,
parameters and buffers, gradients, the optimizer's state, the moving average, and what autograd saves for the
backward pass of the largest turn.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import genzoo
from genzoo.core.training.trainer import Trainer

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "VAE-MLP": ("vae", {"generator": "mlp", "encoder": "mlp", "train.validation": 0.1}),
    "VAE-conv": ("vae", {"train.validation": 0.1}),
    "WGAN-GP-conv": ("wgan-gp", {}),
}
STEPS = 20


def train(case: str, path: str, device: str, **more: Any) -> None:
    recipe, options = CASES[case]
    options = {**options, "train.batch_size": 64, "train.average": 10_000}
    genzoo.fit(recipe, path, steps=STEPS, options=options, device=device, progress=False, **more)


def resident_set(what: str) -> int:
    """VmRSS or VmHWM (its peak) of this process, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(text.split()[1]) * 1024 for text in lines if text.startswith(what))


def peak(case: str, path: str, tiny: str, device: str) -> int:
    """Peak above what a process has that did everything once, on hardly any data."""
    train(case, tiny, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        train(case, path, device)
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident_set("VmRSS")
    train(case, path, device)
    return resident_set("VmHWM") - before


def needed(case: str, path: str, device: str) -> dict[str, int]:
    """Bytes that must be there at once, by kind."""
    found: dict[str, int] = {}

    def look(trainer: Trainer, _: object) -> None:
        own = list(trainer.nets.parameters())
        held = 0 if trainer.held_out is None else trainer.held_out.nbytes
        found["data"] = trainer.data.nbytes + held
        found["networks"] = _bytes([*own, *trainer.nets.buffers()])
        found["gradients"] = max(_bytes(playing.parameters) for playing in trainer.player_states)
        found["optimizer"] = 2 * _bytes([p for playing in trainer.player_states for p in playing.parameters])
        found["average"] = _bytes(list(trainer.average.model.parameters())) if trainer.average else 0
        known = (
            {p.untyped_storage().data_ptr() for p in own} | {trainer.data.rows.untyped_storage().data_ptr()}
            if (isinstance(trainer.data.rows, Tensor))
            else {p.untyped_storage().data_ptr() for p in own}
        )
        most, saved = 0, dict[int, int]()

        def note(t: Tensor) -> Tensor:
            storage = t.untyped_storage()
            if storage.data_ptr() not in known:
                saved[storage.data_ptr()] = storage.nbytes()
            return t

        for playing in trainer.player_states:
            turn = playing.turn

            def watched(*args: Any, turn: Any = turn) -> Any:
                nonlocal most
                saved.clear()
                with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
                    result = turn(*args)
                most = max(most, sum(saved.values()))
                found["activations"] = most
                return result

            playing.turn = watched

    train(case, path, device, on_start=look)
    return found


def _bytes(tensors: list[Any]) -> int:
    return sum(t.nbytes for t in tensors)


def child(mode: str, case: str, *paths: str, device: str) -> Any:
    command = [sys.executable, __file__, "--child", mode, "--only", case, "--device", device, "--paths", *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=240_000)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--paths", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        function = {"peak": peak, "needed": needed}[args.child]
        print(json.dumps(function(args.only, *args.paths, args.device)))  # type: ignore[operator]
        return
    with tempfile.TemporaryDirectory() as folder:
        path, tiny = (str(Path(folder, name)) for name in ("data.npy", "tiny.npy"))
        for file, n in ((path, args.images), (tiny, 512)):
            np.save(file, np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8))
        print("MB above a process that did the same on hardly any data: peak, needed, their ratio; what is needed")
        for case in CASES:
            if args.only in case:
                parts = child("needed", case, path, device=args.device)
                most, total = child("peak", case, path, tiny, device=args.device) / 1e6, sum(parts.values()) / 1e6
                words = ", ".join(f"{kind} {size / 1e6:.1f}" for kind, size in parts.items())
                print(f"{case:<16} {most:7.1f} {total:7.1f} {most / total:6.2f}  {words}", flush=True)


if __name__ == "__main__":
    main()
