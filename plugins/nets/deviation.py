"""What a critic is told of how alike the observations of a batch are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genzoo.core.distributed.gather import all_gather, own_part


class MinibatchDeviation(nn.Module):
    """One more channel: how much features deviate in a group of the batch, averaged over all of them.

    Karras et al., *Progressive Growing of GANs*, arXiv:1710.10196: √(variance + 1e-8), of the biased variance. Groups
    are the largest of up to ``group`` that divide the batch, member i of a group being observation i·B/size + its
    number, as in their code; they are of the whole batch where processes share it. A network with this layer
    ``mixes`` observations (`genzoo.core.networks.Critic`).
    """

    def __init__(self, group: int) -> None:
        super().__init__()
        self.group = group

    def deviations(self, h: Tensor) -> Tensor:
        """Of features ``(B, ...)`` each observation's number, ``(B,)``."""
        n = len(h)
        size = max(k for k in range(1, min(self.group, n) + 1) if n % k == 0)
        groups = h.reshape(size, n // size, -1)
        return (groups.var(0, correction=0) + 1e-8).sqrt().mean(1).repeat(size)

    def forward(self, h: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C + 1, H, W)``."""
        said = self.deviations(all_gather(h).float()) if len(h) else h.new_zeros(0)
        said = own_part(said, len(h)).to(h.dtype)[:, None, None, None]
        return torch.cat([h, said.expand(-1, 1, *h.shape[2:])], 1)
