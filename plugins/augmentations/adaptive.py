"""Augmentations whose probability follows the critic: it rises while the critic is too sure of real observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.augmentation import Augmentation
from genzoo.core.options import option
from genzoo.plugins.augmentations.diffaugment import augmented
from genzoo.registry import declare


class Adaptive(Augmentation):
    """A probability p that moves towards E[sign D(x)] = target, at a speed that counts observations."""

    watched = ("sign", "images")
    reads_zero = True

    @dataclass(frozen=True)
    class Options(Augmentation.Options):
        target: float = option(0.6, "mean sign of the critic's scores of real images that p aims at", low=0, high=1)
        images: float = option(500_000.0, "images over which p goes from 0 to 1", low=1)
        highest: float = option(0.85, "largest p: near 1 samples look augmented themselves", low=0, high=1)

    options: Options
    p: Tensor

    def __init__(self, options: Augmentation.Options | None = None) -> None:
        super().__init__(options)
        self.register_buffer("p", torch.zeros(()))

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        step = torch.sign(seen["sign"] - self.options.target) * seen["images"] / self.options.images
        self.p.add_(step).clamp_(0, self.options.highest)


@declare.augmentation("ada", paper="arXiv:2006.06676", modalities=("image",))
class ADA(Adaptive):
    """Each kind of change of DiffAugment with probability p, moved towards E[sign D(x)] = target (arXiv:2006.06676).

    p rises while the critic is surer of real images than the target says, and falls otherwise.
    """

    numbers = 10
    rank = 3

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        return augmented(x, u, self.p)


@declare.augmentation("apa", paper="arXiv:2111.06849")
class APA(Adaptive):
    """Real observations give way to samples with probability p, moved as in `ada` (Jiang et al., arXiv:2111.06849).

    The samples are those that the critic judges in the same turn, of the same classes. No observation is changed, so
    that it goes with any kind of data, and nothing can leak into samples.
    """

    numbers = 1
    replaces = True

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        return x

    def stand_in(self, real: Tensor, fake: Tensor, u: Tensor) -> Tensor:
        return torch.where(u.view(-1, *[1] * (real.dim() - 1)) < self.p, fake, real)
