"""Self-attention between the places of a picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.plugins.nets.blocks import convolution


class Attention(nn.Module):
    """h + γ W Σ_k softmax_k(q·k) v_k: every place looks at all others; γ starts at 0.

    Zhang et al., *Self-Attention Generative Adversarial Networks*, arXiv:1805.08318; keys and values are pooled by
    two, as in its authors' code.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        small, half = max(1, channels // 8), max(1, channels // 2)
        self.query = convolution(channels, small, 1, 1.0, bias=False)
        self.key = convolution(channels, small, 1, 1.0, bias=False)
        self.value = convolution(channels, half, 1, 1.0, bias=False)
        self.out = convolution(half, channels, 1, 1.0, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def attended(self, h: Tensor) -> Tensor:
        """The values ``(B, C/2, H, W)``, averaged by weights that sum to 1 over the keys."""
        key, value = (F.max_pool2d(layer(h), 2).flatten(2) for layer in (self.key, self.value))
        weights = (self.query(h).flatten(2).transpose(1, 2) @ key).softmax(2)  # (B, queries, keys)
        return torch.unflatten(value @ weights.transpose(1, 2), 2, h.shape[2:])

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        changed: Tensor = h + self.gamma * self.out(self.attended(h))
        return changed
