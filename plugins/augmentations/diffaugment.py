"""Differentiable changes of pixels' colour, place and presence."""

from __future__ import annotations

import torch
from torch import Tensor

from genzoo.core.augmentation import Augmentation
from genzoo.registry import declare


def shifted(x: Tensor, u: Tensor, on: Tensor | float, axis: int) -> Tensor:
    """Shift images ``(B, C, H, W)`` along an axis by up to ⅛, as ``u (B,)`` says; zeros come in; ``on`` is 0 or 1."""
    n, view = x.shape[axis], [len(x), 1, -1, 1] if axis == 2 else [len(x), 1, 1, -1]
    along, far = torch.arange(n, device=x.device), (n + 4) // 8
    source = along - (((u * (2 * far + 1)).floor() - far) * on)[:, None]
    x = x.gather(axis, source.long().clamp(0, n - 1).view(view).expand_as(x))
    return x * ((source >= 0) & (source < n)).view(view)


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
        x, size = shifted(x, u[:, axis + 1], shift.view(b), axis), (n + 1) // 2
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
