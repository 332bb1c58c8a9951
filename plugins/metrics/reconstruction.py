"""How well a model gives back what it was shown: PSNR and SSIM of held-out images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import mean
from genzoo.core.options import option
from genzoo.plugins.metrics.similarity import psnr, scales_of, ssim
from genzoo.registry import declare

_FLOOR = 1 / (12 * 255**2)  # mean squared error of rounding to 8 bits: what equal pictures cannot be told from


class _Reconstruction(Metric):
    """Held-out images, encoded at the posterior mean and decoded."""

    covers = "the mean over unlimited data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        limit: int = option(2000, "images", low=1)

    options: Options

    def measured(self, values: Tensor, evidence: Evidence, **details: float) -> Measured:
        """Mean over images, with the worst of them as a picture above what came back."""
        x, again = evidence.reconstructions(self.options.limit)
        worst = values.argsort()[:8]
        pictures = {"worst": torch.cat([x[worst], again[worst]])}
        return Measured(mean(values), {"worst": values.min().item(), **details}, pictures, n_real=len(x))


@declare.metric(
    "psnr",
    summary="peak signal-to-noise ratio of reconstructions of held-out images",
    direction="higher",
    unit="dB",
    needs=("data", "images", "encoder"),
    modalities=("image",),
    tags=("default", "reconstruction"),
    rank=1,
)
class PSNR(_Reconstruction):
    """Mean over images of -10 log₁₀ of the mean squared error of pixels in [0, 1]; equal images score 58.9 dB.

    Beside it the details tell the score of the data's mean image, which takes no code at all.
    """

    def measure(self, evidence: Evidence) -> Measured:
        x, again = evidence.reconstructions(self.options.limit)
        blank = psnr(x, x.mean(0, keepdim=True).expand_as(x))
        most = -10 * torch.log10(torch.tensor(_FLOOR, dtype=torch.float64))
        return self.measured(psnr(x, again).clamp(max=most), evidence, **{"of the mean image": blank.mean().item()})

    def title(self, evidence: Evidence) -> str:
        return "PSNR of reconstructions"


@declare.metric(
    "ssim",
    summary="structural similarity of reconstructions of held-out images",
    direction="higher",
    needs=("data", "images", "encoder"),
    paper="Wang et al., IEEE TIP 2004",
    modalities=("image",),
    tags=("default", "reconstruction"),
)
class SSIM(_Reconstruction):
    """Mean over images of SSIM with what the model makes of them; 1 is the same image."""

    def measure(self, evidence: Evidence) -> Measured:
        x, again = evidence.reconstructions(self.options.limit)
        parts = zip(torch.split(x, 500), torch.split(again, 500), strict=True)
        return self.measured(torch.cat([ssim(a, b) for a, b in parts]), evidence)

    def refuses(self, evidence: Evidence) -> str:
        scales_of(*evidence.spec.shape[1:])
        return ""

    def title(self, evidence: Evidence) -> str:
        return "SSIM of reconstructions"
