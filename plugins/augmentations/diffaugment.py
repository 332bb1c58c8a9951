"""Differentiable changes of pixels' colour, place and presence, always or by a probability that follows the critic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.augmentation import Augmentation
from genzoo.core.options import option
from genzoo.registry import declare


def augmented(x: Tensor, u: Tensor, p: Tensor | float) -> Tensor:
    """Change images ``(B, C, H, W)`` by ``u`` ``(B, 10)``; colour, shift and cutout each with probability ``p``."""
    b, _, h, w = x.shape
    colour, shift, cutout = ((u[:, 7:] < p).to(x.dtype)).view(b, 3, 1, 1, 1).unbind(1)
    brightness, saturation, contrast = u[:, :3].view(b, 3, 1, 1, 1).unbind(1)
    x = x + colour * (brightness - 0.5)
    x = x.mean(1, keepdim=True).lerp(x, 1 + colour * (2 * saturation - 1))
    x = x.mean((1, 2, 3), keepdim=True).lerp(x, 1 + colour * (contrast - 0.5))
    hole = torch.ones((), dtype=torch.bool, device=x.device)
    for axis, n in ((2, h), (3, w)):
        along, view = torch.arange(n, device=x.device), [b, 1, n, 1] if axis == 2 else [b, 1, 1, n]
        far, size = (n + 4) // 8, (n + 1) // 2
        step = (u[:, axis + 1] * (2 * far + 1)).floor() - far
        source = along - step[:, None] * shift.view(b, 1)
        x = x.gather(axis, source.long().clamp(0, n - 1).view(view).expand_as(x))
        x = x * ((source >= 0) & (source < n)).view(view)
        start = (u[:, axis + 3] * (n + 1 - size % 2)).floor()[:, None] - size // 2
        hole = hole & ((along >= start) & (along < start + size)).view(view)
    return x * (1 - cutout * hole)


@declare.augmentation("diffaugment", paper="arXiv:2006.10738", modalities=("image",))
class DiffAugment(Augmentation):
    """Brightness, saturation, contrast, translation and cutout of images (Zhao et al., arXiv:2006.10738).

    Real and generated images are changed by draws of their own, in both players' turns. In units of [-1, 1]:
    brightness ± ½, saturation × (0, 2), contrast × (½, 3/2), shift by up to ⅛ with zeros, a hole of half the side.
    """

    numbers = 10
    rank = 3

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        return augmented(x, u, 1.0)


@declare.augmentation("ada", paper="arXiv:2006.06676", modalities=("image",))
class ADA(DiffAugment):
    """Each kind of change of DiffAugment with probability p, moved towards E[sign D(x)] = target (arXiv:2006.06676).

    p rises while the critic is surer of real images than the target says, and falls otherwise.
    """

    watched = ("sign", "images")
    reads_zero = True

    @dataclass(frozen=True)
    class Options(DiffAugment.Options):
        target: float = option(0.6, "mean sign of the critic's scores of real images that p aims at", low=0, high=1)
        images: float = option(500_000.0, "images over which p goes from 0 to 1", low=1)
        highest: float = option(0.85, "largest p: near 1 samples look augmented themselves", low=0, high=1)

    options: Options
    p: Tensor

    def __init__(self, options: Augmentation.Options | None = None) -> None:
        super().__init__(options)
        self.register_buffer("p", torch.zeros(()))

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        return augmented(x, u, self.p)

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        step = torch.sign(seen["sign"] - self.options.target) * seen["images"] / self.options.images
        self.p.add_(step).clamp_(0, self.options.highest)
