"""Discretized logistic likelihood: the probability of an 8-bit value, not a density at it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Likelihood
from genzoo.core.math.tables import Logistic, Steps, logistic_table, pieces, portions
from genzoo.core.modality import of
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.registry import declare


def log_level(x: Tensor, mean: Tensor, log_scale: Tensor, levels: int) -> Tensor:
    """Log-probability of levels in model space under a logistic distribution, elementwise."""
    half = 1 / (levels - 1)  # of a bin, in model space
    inverse = torch.exp(-log_scale)
    centred = (x - mean) * inverse
    step = half * inverse
    above = F.logsigmoid(centred + step)  # log σ(b)
    below = F.logsigmoid(step - centred)  # log σ(-a)
    inside = torch.log(-torch.expm1(-2 * step))  # log(1 - e^(a-b))
    lowest, highest = x < half - 1, x > 1 - half
    return torch.where(lowest, above, torch.where(highest, below, above + below + inside))


def drawn(mean: Tensor, log_scale: Tensor, levels: int, generator: torch.Generator | None) -> Tensor:
    """Draw levels of the same, in model space."""
    u = torch.rand(mean.shape, generator=generator, device=mean.device).clamp(1e-7, 1 - 1e-7)
    x = (mean + log_scale.exp() * torch.logit(u)).clamp(-1, 1)
    top = levels - 1
    return torch.round((x + 1) / 2 * top) / top * 2 - 1


@declare.likelihood("discretized-logistic", paper="arXiv:1606.04934", modalities=("image",))
class DiscretizedLogistic(Likelihood):
    """A logistic distribution integrated over each pixel level's bin; the outer bins reach to infinity.

    With bin edges a < b in units of the scale s, P = σ(b) - σ(a), whose logarithm is computed as
    log σ(b) + log σ(-a) + log(1 - e^(a-b)): exact however far the pixel lies in the tail.
    """

    @dataclass(frozen=True)
    class Options(Likelihood.Options):
        scale: Literal["shared", "per-pixel"] = option(
            "shared", "one learned scale for each channel, or one for every pixel from the generator"
        )

    options: Options

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        if self.options.scale == "shared":
            self.log_scale = nn.Parameter(torch.full((spec.shape[0], 1, 1), math.log(0.1)))

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if not of(spec).pixels or not spec.levels:
            raise UsageError(
                "the discretized-logistic likelihood is for images with levels (8-bit), and this data is "
                "real numbers: use --likelihood gaussian"
            )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One mean per pixel, and one log scale where every pixel has its own."""
        c, h, w = self.spec.shape
        return (c if self.options.scale == "shared" else 2 * c, h, w)

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor]:
        params = params.float()
        if self.options.scale == "shared":
            return params, self.log_scale.clamp(min=-7)
        mean, log_scale = params.chunk(2, dim=1)
        return mean, (log_scale - 2).clamp(min=-7)  # starts at a scale of e^-2, about 17 levels

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-probability of the levels in nats per observation."""
        mean, log_scale = self._split(params)
        return log_level(x, mean, log_scale, self.levels).flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        return self._split(params)[0].clamp(-1, 1)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean, log_scale = self._split(params)
        return drawn(mean, log_scale, self.levels, generator)

    def steps(self, params: Tensor) -> Steps:
        mean, log_scale = self._split(params)
        log_scale = log_scale.expand_as(mean).flatten(1)
        for where in portions(self.spec.size, len(mean), self.levels):
            yield where, logistic_table(mean.flatten(1)[:, where], log_scale[:, where], self.levels)

    def intervals(self, params: Tensor, parts: int) -> list[tuple[slice, Logistic]]:
        mean, log_scale = self._split(params)
        log_scale = log_scale.expand_as(mean).flatten(1)
        return [(at, Logistic(mean.flatten(1)[:, at], log_scale[:, at], self.levels))
                for at in pieces(self.spec.size, parts)]  # fmt: skip
