"""A thousand modes: three grey pictures as the channels of one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from genzoo.core.data import Data, DataSource, Split
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.datasets.fashion_mini import FashionMini
from genzoo.plugins.datasets.fashion_mnist import FashionMNIST


class StackedFashion(DataSource):
    """Three pictures of clothes, drawn independently, as the channels of one: 10³ combinations of classes.

    The protocol of stacked MNIST (L. Metz et al., arXiv:1611.02163) on Fashion-MNIST: 26,000 samples, modes and
    reverse KL by a classifier of each channel (the metrics ``stacked-modes`` and ``stacked-kl``). There are no
    labels: a thousand classes would tell a model what it is to find.
    """

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        """How many, and of what."""

        samples: int = option(60_000, "stacks of the train split; the test split has 26,000 at most", low=1)
        whole: bool = option(False, "of the whole Fashion-MNIST, which has to be there, instead of the part that ships")
        seed: int = option(0, "seed of the draw")

    options: Options

    def read(self, split: Split) -> Data:
        """Draw a split out of the same split of Fashion-MNIST."""
        o = self.options
        source: DataSource = FashionMNIST() if o.whole else FashionMini()
        base = source.read(split)
        n = o.samples if split == "train" else min(o.samples, 26_000)
        chosen = torch.randint(len(base), (n, 3), generator=generator(o.seed, 0 if split == "train" else 1))
        x = base.x[:, 0][chosen]
        spec = DataSpec.image(3, *base.spec.shape[1:], name="stacked-fashion")
        return replace(base, spec=spec, rows=x, y=None, name="stacked-fashion")
