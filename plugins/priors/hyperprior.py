"""Scale hyperprior: some channels of a rounded code say how wide the others are distributed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.math.tables import Steps, snapped, wide
from genzoo.core.model import Model
from genzoo.core.options import option
from genzoo.core.prior import Prior, TokenPrior
from genzoo.plugins.posteriors.rounded import RoundedHead
from genzoo.registry import declare

LEAST = 1e-9  # of a probability, so that its logarithm has slopes
SCALES = (math.log(0.11), math.log(256.0), 64)  # table of the widths by which numbers are coded


def normal_box(x: Tensor, log_scale: Tensor) -> Tensor:
    """Density of N(0, s²) + U(-1/2, 1/2), which at a whole number is the probability of rounding to it."""
    inverse = torch.exp(-log_scale) * math.sqrt(0.5)
    away = x.abs()  # in the other tail, and by torch's ndtr, differences lose all their digits
    return 0.5 * (torch.erfc((away - 0.5) * inverse) - torch.erfc((away + 0.5) * inverse))


@declare.prior("scale-hyperprior", paper="arXiv:1802.01436", tags=("vae", "quantizer", "compression"))
class ScaleHyperprior(TokenPrior):
    """p(z) Π N(y; 0, s(z)²) of a code of rounded numbers: ``prior.side`` of its channels are z, which are coded first.

    z's numbers have a density for each channel, a mixture of logistic distributions; a network of convolutions turns
    them into the scale of every number of y. With ``side`` 0 all channels have learned densities of their own: the
    factorized prior of arXiv:1611.01704. Unlike the paper's, z lies on the same grid as y, since grids are small here.

    Labels are told to the networks, and not to it.

    When: lossy compression, with ``--posterior rounded`` and the objective `rate-distortion`.
    """

    @dataclass(frozen=True)
    class Options(Prior.Options):
        side: int = option(4, "channels of the code that tell the scales of the others; 0 for learned densities", low=0)
        width: int = option(32, "channels of the network between", low=1, high=4096)
        components: int = option(3, "logistic distributions in a channel's density", low=1, high=64)

    options: Options

    def attach(self, model: Model) -> None:
        super().attach(model)
        o, channels = self.options, self.latent.shape[0]
        if not isinstance(model.head, RoundedHead):
            raise UsageError("the scale-hyperprior is over rounded codes: use --posterior rounded")
        if o.side >= channels:
            raise UsageError(f"prior.side must leave channels to code, and the code has {channels}: "
                             f"--set latent.size={o.side + 12}")  # fmt: skip
        if o.side and not self.latent.grid:
            raise UsageError("the scale-hyperprior's network needs a grid: --set latent.grid=7, or prior.side=0")
        own, k = o.side or channels, o.components
        self.logits = nn.Parameter(torch.zeros(own, k))
        self.places = nn.Parameter(
            torch.linspace(-2.0, 2.0, k).expand(own, k).clone() if k > 1 else torch.zeros(own, k)
        )
        self.log_scales = nn.Parameter(torch.full((own, k), 0.5))
        self.network = nn.Sequential(
            nn.Conv2d(o.side, o.width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(o.width, o.width, 3, padding=1), nn.SiLU(),
            nn.Conv2d(o.width, channels - o.side, 3, padding=1),
        ) if o.side else nn.Identity()  # fmt: skip

    def _own(self, z: Tensor) -> Tensor:
        """Density of z's numbers plus the noise, elementwise: ``(..., C, *grid)``."""
        shape = (-1, *[1] * (len(self.latent.shape) - 1))
        pi, total = self.logits.softmax(1), torch.zeros_like(z)
        for k in range(pi.shape[1]):
            inverse = torch.exp(-self.log_scales[:, k]).view(shape)
            away = (z - self.places[:, k].view(shape)).abs()
            total = total + pi[:, k].view(shape) * (
                torch.sigmoid((0.5 - away) * inverse) - torch.sigmoid((-0.5 - away) * inverse)
            )
        return total

    def _log_scales(self, z: Tensor) -> Tensor:
        """Of y's numbers, ``(B, C, *grid)``, given those of z."""
        return wide(self.network(z)).clamp(*SCALES[:2])

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        lead, n = z.shape[: -len(self.latent.shape)], self.options.side
        z = z.reshape(-1, *self.latent.shape)
        side, rest = (z[:, :n], z[:, n:]) if n else (z, z[:, :0])
        log_p = self._own(side).clamp(min=LEAST).log().flatten(1).sum(1)
        if n:
            log_p = log_p + normal_box(rest, self._log_scales(side)).clamp(min=LEAST).log().flatten(1).sum(1)
        return log_p.view(lead)

    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        """Those of z, then those of y, whose scales are the nearest of a table, so that a last bit is no matter."""
        side, grid, reach = self.options.side or self.latent.shape[0], self.latent.shape[1:], self.head.codes // 2
        whole = torch.arange(-reach, reach + 1).to(self.logits)
        first = torch.arange(side * math.prod(grid))
        table = self._own(whole.view(-1, 1, *[1] * len(grid)).expand(-1, side, *grid)).flatten(1).T
        symbols = yield first, table.expand(n, *table.shape)
        if self.options.side:
            z = (symbols - reach).to(self.logits).view(n, side, *grid)
            low, high, count = SCALES
            step = (high - low) / (count - 1)
            at = ((snapped(self._log_scales(z)) - low) / step).round().long()
            widths = low + step * torch.arange(count, dtype=self.logits.dtype, device=whole.device)
            tables = normal_box(whole, widths[:, None])
            yield first[-1] + 1 + torch.arange(at[0].numel()), F.embedding(at.flatten(1), tables)
