"""Phase shuffle: what the critic is shown of a waveform begins a few samples earlier or later."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.augmentation import Augmentation
from genzoo.core.options import option
from genzoo.registry import declare


@declare.augmentation("phase-shuffle", paper="arXiv:1802.04208", tags=("audio",))
class PhaseShuffle(Augmentation):
    """Each waveform is shifted by -n to n samples, all shifts alike likely, and mirrored at its ends.

    Transposed convolutions leave a hum whose phase is always the same, by which a critic knows them; shifted, it does
    not. WaveGAN shuffles the features of every layer; here it is the waveform that is shifted, for any critic.
    """

    numbers, rank = 1, 2

    @dataclass(frozen=True)
    class Options(Augmentation.Options):
        most: int = option(2, "n, samples of the largest shift", low=0)

    options: Options

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        n, last = self.options.most, x.shape[-1] - 1
        by = (u[:, :1] * (2 * n + 1)).long().clamp(max=2 * n) - n
        place = (torch.arange(last + 1, device=x.device) + by).abs()
        place = (last - (last - place).abs()).clamp(min=0)  # of a clip that is shorter than the shift
        return x.gather(2, place[:, None].expand(x.shape))
