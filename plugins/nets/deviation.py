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


class Comparison(nn.Module):
    """What a critic adds to its scores for how alike its features are to those of the rest of the batch.

    ``deviation`` is that of groups of four, as above. ``discrimination`` (Salimans et al., arXiv:1606.03498) maps the
    features to 5 numbers M for each of 32 kernels, and counts Σ exp(-‖M_i - M_j‖₁) over the others j. A linear layer
    beside the critic's head reads them.
    """

    def __init__(self, form: str, features: int, outputs: int) -> None:
        super().__init__()
        kernels = 32 if form == "discrimination" else 1
        self.kernels = nn.Linear(features, 5 * kernels, bias=False) if form == "discrimination" else None
        self.deviation = MinibatchDeviation(4)
        self.read = nn.Linear(kernels, outputs, bias=False)

    def alike(self, h: Tensor) -> Tensor:
        """Of features ``(B, F)`` how many others are like each, by kernel, ``(B, 32)``."""
        assert self.kernels is not None
        m = self.kernels(h).float().unflatten(1, (-1, 5))
        distances: Tensor = (m[:, None] - all_gather(m)[None]).abs().sum(3)
        return torch.exp(-distances).sum(1) - 1  # itself, at no distance

    def forward(self, h: Tensor) -> Tensor:
        """Map features ``(B, F)`` to what is added to the head's numbers, ``(B, outputs)``."""
        if self.kernels is None:
            said = own_part(self.deviation.deviations(all_gather(h).float()), len(h))[:, None]
        else:
            said = self.alike(h)
        found: Tensor = self.read(said.to(h.dtype))
        return found
