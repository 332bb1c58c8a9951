"""Mixture of discretized logistics: a pixel has several likely values, and its channels go together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Likelihood
from genzoo.core.math.tables import Steps, from_levels, logistic_table, portions
from genzoo.core.modality import of
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.likelihoods.discretized_logistic import drawn, log_level
from genzoo.registry import declare


@declare.likelihood("logistic-mixture", paper="arXiv:1701.05517", modalities=("image",))
class LogisticMixture(Likelihood):
    """log p of a pixel = log Σ_k π_k Π_c [σ((x_c⁺ - m_ck)/s_ck) - σ((x_c⁻ - m_ck)/s_ck)], as PixelCNN++ has it.

    x⁺ and x⁻ are the ends of a level's bin, those of the outer levels infinite; the logarithms are exact however far a
    pixel lies in a tail. Component k's mean of channel c is μ_ck + Σ_{d<c} tanh(a_cdk) x_d: channels after the first
    follow those before them, and all share π. The generator says π, μ, log s and a of every pixel.

    When: colour images, and pixels that a single bump does not fit, such as edges that may lie here or there. A draw
    (``--noise``) has pixels of one component each; the mean that is shown by default lies between the components.
    """

    @dataclass(frozen=True)
    class Options(Likelihood.Options):
        components: int = option(10, "logistic distributions of each pixel", low=1, high=256)

    options: Options

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if not of(spec).pixels or not spec.levels:
            raise UsageError(
                "the logistic-mixture likelihood is for images with levels (8-bit), and this data is "
                "real numbers: use --likelihood gaussian"
            )

    @property
    def _sizes(self) -> list[int]:
        """Planes of logits, of means, of log scales, and of coefficients between channels."""
        k, c = self.options.components, self.spec.shape[0]
        return [k, k * c, k * c, k * c * (c - 1) // 2]

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (sum(self._sizes), *self.spec.shape[1:])

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log π ``(B, K, 1, H, W)``; means and log scales ``(B, K, C, H, W)``; coefficients ``(B, K, pairs, H, W)``."""
        k = self.options.components
        parts = torch.split(params.float(), self._sizes, 1)
        logits, means, log_scales, tied = (torch.unflatten(p, 1, (k, p.shape[1] // k)) for p in parts)
        # A scale starts at e^-2, about 17 levels of 256.
        return logits.log_softmax(1), means, (log_scales - 2).clamp(min=-7), tied.tanh()

    @staticmethod
    def _follow(mean: Tensor, tied: Tensor, before: list[Tensor]) -> Tensor:
        """The mean ``(B, K, H, W)`` of a channel, given those before it, each ``(B, K or 1, H, W)``."""
        first = len(before) * (len(before) - 1) // 2
        for i, x in enumerate(before):
            mean = mean + tied[:, :, first + i] * x
        return mean

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-probability of the levels in nats per observation."""
        log_pi, means, log_scales, tied = self._split(params)
        channels = list(x[:, None].unbind(2))
        means = torch.stack([self._follow(means[:, :, c], tied, channels[:c]) for c in range(len(channels))], 2)
        each = log_level(x[:, None], means, log_scales, self.levels).sum(2, keepdim=True)
        return torch.logsumexp(log_pi + each, 1).flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        """Means of the components, cut off at the range of the data, by their weights."""
        log_pi, means, _, tied = self._split(params)
        found = list[Tensor]()
        for c in range(means.shape[2]):
            found.append(self._follow(means[:, :, c], tied, found).clamp(-1, 1))
        return (log_pi.exp() * torch.stack(found, 2)).sum(1)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pick a component for each pixel, then draw its channels one after another."""
        log_pi, means, log_scales, tied = self._split(params)
        cumulative = log_pi[:, :, 0].exp().cumsum(1)[:, :-1]
        u = torch.rand((len(params), 1, *self.spec.shape[1:]), generator=generator, device=params.device)
        picked = F.one_hot((u >= cumulative).sum(1), log_pi.shape[1]).movedim(-1, 1)[:, :, None]
        means, log_scales, tied = ((v * picked).sum(1, keepdim=True) for v in (means, log_scales, tied))
        found = list[Tensor]()
        for c in range(means.shape[2]):
            mean = self._follow(means[:, :, c], tied, found)
            found.append(drawn(mean, log_scales[:, :, c], self.levels, generator))
        return torch.cat(found, 1)

    def steps(self, params: Tensor) -> Steps:
        """Channel after channel: what a pixel's channels so far say of its component weighs the next one's table."""
        log_pi, means, log_scales, tied = self._split(params)
        weights, found = log_pi[:, :, 0].double(), list[Tensor]()  # (B, K, H, W)
        plane = self.spec.size // self.spec.shape[0]
        for c in range(means.shape[2]):
            mean, log_scale = self._follow(means[:, :, c], tied, found), log_scales[:, :, c]
            share, mine, scales = (v.flatten(2) for v in (weights.softmax(1), mean, log_scale))
            found_here = list[Tensor]()
            for where in portions(plane, len(mean), self.levels):
                table = torch.zeros(())
                for k in range(mean.shape[1]):
                    part = logistic_table(mine[:, k, where], scales[:, k, where], self.levels)
                    table = table + share[:, k, where, None] * part
                found_here.append((yield where + c * plane, table))
            symbols = torch.cat(found_here, 1)
            x = from_levels(symbols, self.levels).view(-1, 1, *self.spec.shape[1:])
            weights = weights + log_level(x.double(), mean.double(), log_scale.double(), self.levels)
            found.append(x)
