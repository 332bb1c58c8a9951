"""Short binary strings from a Markov chain, whose entropy is known: where exact likelihoods show."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

STAY = (0.9, 0.7)  # probability that 0 follows 0, and that 1 follows 1


@declare.dataset(
    "strings",
    summary="binary strings of a Markov chain, as pictures of one row; their entropy is known",
    modalities=("image",),
    tags=("toy", "bundled"),
)
class Strings(DataSource):
    """Binary strings, stored as pictures of one row: the first symbol is fair, a later one repeats with `STAY`."""

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        samples: int = option(20_000, "strings of the train split; the test split has a quarter of it", low=4)
        length: int = option(8, "symbols of a string", low=2, high=256)
        seed: int = option(0, "seed of the draw")

    options: Options

    @staticmethod
    def entropy(length: int) -> float:
        """Entropy of a string in nats: what a perfect model's negative log-likelihood is."""
        of = [-p * math.log(p) - (1 - p) * math.log(1 - p) for p in STAY]
        one, total = 0.5, math.log(2)
        for _ in range(length - 1):
            total += (1 - one) * of[0] + one * of[1]
            one = one * STAY[1] + (1 - one) * (1 - STAY[0])
        return total

    def read(self, split: Split) -> Data:
        o, train = self.options, split == "train"
        n = o.samples if train else o.samples // 4
        u = torch.rand(n, o.length, generator=generator(o.seed, 0 if train else 1))
        x = torch.empty(n, o.length, dtype=torch.uint8)
        x[:, 0] = u[:, 0] < 0.5
        for i in range(1, o.length):
            stay = torch.tensor(STAY)[x[:, i - 1].long()]
            x[:, i] = torch.where(u[:, i] < stay, x[:, i - 1], 1 - x[:, i - 1])
        spec = DataSpec.image(1, 1, o.length, levels=2, name="strings")
        return Data(spec, x[:, None, None], name="strings", license="CC0-1.0", split=split)
