"""A thousand modes: three grey pictures as the channels of one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from genzoo.core.data import Data, DataSource, KnownModes, Split
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.datasets.bundled import Digits, FashionMini
from genzoo.plugins.datasets.fashion_mnist import FashionMNIST
from genzoo.registry import declare

TESTED = 26_000  # stacks of the test split, as the protocol takes


class Stacked(DataSource):
    """Three pictures, drawn independently, as the channels of one."""

    name: str
    """Of the data."""
    classifier: str
    """Extractor that tells the class of each channel."""

    @dataclass(frozen=True)
    class Options(DataSource.Options):
        samples: int = option(60_000, "stacks of the train split; the test split has 26,000 at most", low=1)
        seed: int = option(0, "seed of the draw")

    options: Options

    def base(self, split: Split) -> Data:
        """The grey pictures to draw from."""
        raise NotImplementedError

    def read(self, split: Split) -> Data:
        o, base = self.options, self.base(split)
        n = o.samples if split == "train" else min(o.samples, TESTED)
        chosen = torch.randint(len(base), (n, 3), generator=generator(o.seed, 0 if split == "train" else 1))
        x = base.x[:, 0][chosen]
        spec = DataSpec.image(3, *base.spec.shape[1:], name=self.name)
        return replace(
            base, spec=spec, rows=x, y=None, name=self.name, modes=KnownModes(TESTED, classifier=self.classifier)
        )


@declare.dataset(
    "stacked-digits",
    summary="three handwritten digits as colour channels: 1,000 modes",
    paper="arXiv:1611.02163",
    modalities=("image",),
    tags=("toy", "bundled"),
)
class StackedDigits(Stacked):
    """Three handwritten digits, drawn independently, as the channels of one: the numbers from 0 to 999.

    The protocol of stacked MNIST (L. Metz et al., arXiv:1611.02163): 26,000 samples, modes and reverse KL by a
    classifier of each channel (the metrics ``stacked-modes`` and ``stacked-kl``). There are no labels: a thousand
    classes would tell a model what it is to find.
    """

    name, classifier = "stacked-digits", "digit-classifier"

    @dataclass(frozen=True)
    class Options(Stacked.Options):
        pass

    options: Options

    def base(self, split: Split) -> Data:
        return Digits().read(split)


@declare.dataset(
    "stacked-fashion",
    summary="three pictures of clothes as colour channels: 1,000 modes",
    paper="arXiv:1611.02163",
    modalities=("image",),
    tags=("toy", "bundled"),
)
class StackedFashion(Stacked):
    """Three pictures of clothes, drawn independently, as the channels of one: 10³ combinations of classes.

    The protocol of stacked MNIST (see ``stacked-digits``) on Fashion-MNIST, whose classes are harder to tell apart.
    """

    name, classifier = "stacked-fashion", "fashion-classifier"

    @dataclass(frozen=True)
    class Options(Stacked.Options):
        whole: bool = option(False, "of the whole Fashion-MNIST, which has to be there, instead of the part that ships")

    options: Options

    def base(self, split: Split) -> Data:
        source: DataSource = FashionMNIST() if self.options.whole else FashionMini()
        return source.read(split)
