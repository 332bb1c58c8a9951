"""Smooth resampling by two, and the layers of equalized learning rates that go with it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.plugins.nets.pyramid import Size, strides


def smoothing(by: Size) -> Tensor:
    """The filter [1, 3, 3, 1] / 4 along an axis that is halved, 1 along another: ``(1, 1, h, w)``."""
    line, one = torch.tensor([0.25, 0.75, 0.75, 0.25]), torch.ones(1)
    rows, columns = (line if n == 2 else one for n in by)
    return (rows[:, None] * columns)[None, None]


class Resample(nn.Module):
    """From one rung of the ladder to the next, up or down, by the filter [1, 3, 3, 1]: linear interpolation.

    Beyond the border are zeros, as in StyleGAN2 and R3GAN (whose [1, 2, 1] comes to the same filter).
    """

    def __init__(self, small: Size, large: Size, up: bool) -> None:
        super().__init__()
        self.up, self.by = up, strides(small, large)
        self.odd = (large[0] - self.by[0] * small[0], large[1] - self.by[1] * small[1])
        self.pad = (self.by[0] - 1, self.by[1] - 1)
        self.register_buffer("filter", smoothing(self.by) / (1 if up else math.prod(self.by)))
        self.filter: Tensor

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, C, *small)`` to ``(B, C, *large)``, or back."""
        c = h.shape[1]
        kernel = self.filter.expand(c, -1, -1, -1)
        if self.up:
            return F.conv_transpose2d(h, kernel, None, self.by, self.pad, self.odd, c)
        return F.conv2d(h, kernel, None, self.by, self.pad, 1, c)


class EqualLinear(nn.Linear):
    """A linear layer whose weights are N(0, 1), and are scaled as it computes: Adam's steps are then equal in scale.

    Karras et al., *Progressive Growing of GANs*, arXiv:1710.10196. ``rate`` multiplies its learning rate.
    """

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__(inputs, outputs)
        self.rate, self.scale = rate, rate / math.sqrt(inputs)
        nn.init.normal_(self.weight, 0.0, 1 / rate)
        nn.init.constant_(self.bias, bias / rate)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualConv(nn.Conv2d):
    """A convolution of the same kind; ``by`` smooths along the axes that it halves first."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bias: bool = True, by: Size = (1, 1)) -> None:
        pad = (kernel // 2 if by[0] == 1 else 0, kernel // 2 if by[1] == 1 else 0)
        super().__init__(inputs, outputs, kernel, stride=by, padding=pad, bias=bias)
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.by = by
        self.register_buffer("filter", smoothing(by) / math.prod(by) if by != (1, 1) else None)
        self.filter: Tensor | None

    def forward(self, h: Tensor) -> Tensor:
        if self.filter is not None:
            c = h.shape[1]
            around = (2 * self.by[0] - 2, 2 * self.by[1] - 2)
            h = F.conv2d(h, self.filter.expand(c, -1, -1, -1), None, 1, around, 1, c)
        return F.conv2d(h, self.weight * self.scale, self.bias, self.stride, self.padding)
