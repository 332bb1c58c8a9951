"""A step of named recipes on 64 GPUs, on paper: what is computed and moved is counted, rates are given. Prints a table.

python tests/bench/plan.py [CASE …]

FLOPs and kernels are those of one step of the recipe's own trainer on a CPU, with two observations, all its turns and
penalties; of penalties that fall on every k-th step, the mean of k. The first step, which makes the optimizers'
state too, is not counted. FLOPs grow with the batch, kernels do not.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import genzoo
from genzoo.core.data import Data
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.core.training.trainer import Observer, Trainer
from genzoo.registry import the_registry
from genzoo.registry.recipes.compose import compose
from genzoo.registry.verbs.initialize import initialize

GPUS, FLOPS, WIRE, LAUNCH, DISK = 64, 0.4 * 990e12, 50e9, 5e-6, 7e9  # in bfloat16; bytes/s between nodes; s; bytes/s
KEPT = 16  # bytes of a parameter: itself, its gradient, Adam's two moments
SMALL = 2

# name: recipe, data, global batch, options
TEXT = {"tokens": "characters", "alphabet": "".join(map(chr, range(33, 127)))}
SOUND = {**of("audio").examples()[0].facts, "rate": 16_000, "samples": 16_384}
CASES: dict[str, tuple[str, DataSpec, int, dict[str, Any]]] = {
    "r3gan, 28×28": ("r3gan", DataSpec.image(1, 28, 28), 256, {}),
    "stylegan2, 256×256": ("stylegan2", DataSpec.image(3, 256, 256), 512, {"generator.width": 32, "critic.width": 32}),
    "biggan, 128×128": ("biggan", DataSpec.image(3, 128, 128, classes=1000), 2048,
                        {"generator.width": 96, "critic.width": 96}),
    "nvae, 64×64": ("nvae", DataSpec.image(3, 64, 64), 512, {"generator.width": 128, "encoder.width": 128}),
    "vq-vae, 128×128": ("vq-vae", DataSpec.image(3, 128, 128), 512, {"generator.width": 64, "encoder.width": 64}),
    "lm, 512 characters": ("lm", DataSpec("text", (513,), 97, facts=TEXT), 512, {"likelihood.hidden": 2048}),
    "wavegan, 1 s": ("wavegan", DataSpec("audio", (1, 16_384), scale=(0.1,), facts=SOUND), 512, {}),
    "table-ar, adult": ("table-ar", None, 4096, {}),  # type: ignore[dict-item]
}  # fmt: skip


class Counting(TorchDispatchMode):
    """Counts operations that a GPU would start a kernel for, and their FLOPs."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.kernels += not func.is_view
        if count := flop_registry.get(func._overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out


class AfterOne(Observer):
    """Starts to count after the first step."""

    def __init__(self, counted: Counting) -> None:
        self.counted = counted

    def step(self, trainer: Trainer) -> None:
        if trainer.step == 1:
            self.counted.kernels = self.counted.flops = 0


def _few(value: float) -> str:
    return f"{value:,.2f}" if value >= 0.005 else "<0.01"


def row(name: str) -> str:
    """Count steps of one case, and put the mean of them on the GPUs."""
    recipe, spec, batch, given = CASES[name]
    spec = spec or genzoo.load_data("adult").spec
    kind = of(spec)
    x = kind.to_storage(spec, kind.to_units(spec, kind.random(spec, 4)))
    if spec.modality == "text":  # of the longest that was drawn: a batch costs what its longest text does
        x = x[(x != 0).sum(1).argmax()].expand_as(x).clone()
    y = torch.arange(4) % spec.classes if spec.classes else None
    train = {"train.batch_size": SMALL, "train.validation": 0, "train.patience": 0}
    more = {"conditional": True} if spec.classes and recipe == "biggan" else {}
    config = compose(the_registry(), spec, recipe, given | train | more)
    steps = math.lcm(*(part.options.get("every", 1) for part in config.lists.get("regularizer", ())))
    objective, nets = initialize(config, 0)
    counted = Counting()
    options = replace(config.train, steps=1 + steps)
    trainer = Trainer(objective, nets, Data(spec, x, y, "random"), options, observers=[AfterOne(counted)])
    with counted:
        trainer.train()
    learned = sum(p.numel() for playing in trainer.player_states for p in playing.parameters)
    kernels, work = counted.kernels / steps, counted.flops / steps / SMALL * batch / GPUS
    seen = x[0].numel() * x.element_size() * batch * trainer.turns
    wire = 2 * (GPUS - 1) / GPUS * 4 * learned
    took = {
        "computing": work / FLOPS,
        "gradients": wire / WIRE,
        "kernels": kernels * LAUNCH,
        "data": seen / DISK,
    }
    first, ms = max(took, key=lambda k: took[k]), {k: f"{1e3 * v:,.1f} ms" for k, v in took.items()}
    cells = [name, f"{learned / 1e6:,.1f} M", f"{batch:,}", f"{_few(work / 1e12)} TFLOP, {ms['computing']}",
             f"{wire / 1e6:,.0f} MB, {ms['gradients']}", f"{kernels:,.0f}, {ms['kernels']}",
             f"{seen / 1e6:,.1f} MB, {ms['data']}", f"{_few(KEPT * learned / 1e9)} GB", first]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("case", nargs="*", help=f"of {'; '.join(CASES)}; default: all")
    asked = parser.parse_args().case
    if unknown := [name for name in asked if name not in CASES]:
        parser.error(f"there is no case {unknown[0]!r}: they are {'; '.join(CASES)}")
    torch.set_num_threads(1)
    start = time.process_time()
    print("| recipe | learned | batch | computing, a GPU | gradients, a GPU | kernels | data, all | states | longest |")
    print(f"|{' --- |' * 9}")
    for case in asked or CASES:
        print(row(case), flush=True)
    print(f"\n{time.process_time() - start:.0f} s of one core", file=sys.stderr)
