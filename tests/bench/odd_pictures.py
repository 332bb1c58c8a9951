"""Which score tells which odd pictures, as docs/evaluation.md has it: a script without arguments.

The chance that one of 500 odd pictures is found odder by `vae/fashion-mnist` than one of 500 of Fashion-MNIST's test
split, ties counting half.
"""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate

import genzoo
from genzoo.registry.verbs.score import WORDS

N = 500


def main() -> None:
    own, other = (genzoo.load_data("fashion-mnist", split="test").x[i * N : (i + 1) * N] for i in (0, 1))
    digits = genzoo.load_data("digits", split="test").x[:N].float()
    digits = interpolate(digits, own.shape[2:], mode="bilinear", antialias=True).round().byte()
    noise = torch.randint(0, 256, own.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    kinds = {
        "handwritten digits": digits,
        "all black": torch.zeros_like(own),
        "its own pictures at a third of their brightness": other // 3,
        "its own pictures as negatives": 255 - other,
        "noise": noise,
    }
    plain = genzoo.score("vae/fashion-mnist", own).columns
    columns = ("distance", "reconstruction", "bound")
    print("| | " + " | ".join(f"`{c}`" for c in columns) + " |\n| --- | --- | --- | --- |")
    for kind, x in kinds.items():
        found = genzoo.score("vae/fashion-mnist", x).columns
        cells = []
        for column in columns:
            a, b = (torch.as_tensor(of[column]).double() * WORDS[column] for of in (found, plain))
            chance = ((a[:, None] > b).double() + 0.5 * (a[:, None] == b).double()).mean().item()
            cells.append(f"{chance:.2f}")
        print(f"| {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
