"""A neural spline flow as posterior, of the zuko package: codes may depend on each other in any smooth way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from genzoo.core.errors import UsageError
from genzoo.core.options import option
from genzoo.core.posterior import DiagonalNormal, Posterior, PosteriorHead
from genzoo.core.spec import Latent
from genzoo.registry import declare


class Splined(Posterior):
    """z = μ + σ f(ε; context), f a flow of monotone rational-quadratic splines."""

    def __init__(self, base: DiagonalNormal, transform: Any) -> None:
        self.base, self.transform = base, transform
        self.volume = 0.5 * base.log_var.sum(-1)
        self.unit = DiagonalNormal(torch.zeros_like(base.mean), torch.zeros_like(base.mean))

    @property
    def mean(self) -> Tensor:
        """Where the normal's mean goes: one code for each observation, near the mean."""
        return self.sample(torch.zeros_like(self.base.mean))

    def sample(self, eps: Tensor) -> Tensor:
        f: Tensor = self.transform(eps)
        return self.base.sample(f)

    def sample_with_log_prob(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        f, volume = self.transform.call_and_ladj(eps)
        return self.base.sample(f), self.unit.log_prob(eps) - volume - self.volume

    def log_prob(self, z: Tensor) -> Tensor:
        eps, volume = self.transform.inv.call_and_ladj((z - self.base.mean) * torch.exp(-0.5 * self.base.log_var))
        log_q: Tensor = self.unit.log_prob(eps) + volume - self.volume
        return log_q


@declare.posterior("spline", paper="arXiv:1906.04032", tags=("vae", "flow"))
class Spline(PosteriorHead):
    """Neural spline flow posterior: a normal whose noise goes through splines that the encoder steers."""

    @dataclass(frozen=True)
    class Options(PosteriorHead.Options):
        depth: int = option(3, "transforms", low=1, high=64)
        width: int = option(128, "units in each of a transform's two hidden layers", low=1, high=16384)
        bins: int = option(8, "of each spline, on [-5, 5]", low=2, high=256)
        context: int = option(32, "numbers that the encoder tells every transform", low=1)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.grid or latent.size < 2:
            raise UsageError(
                "the spline posterior is of flat codes of at least 2 numbers: "
                f"--set latent.size={max(latent.size, 2)} --set latent.grid=0"
            )
        from zuko.flows import NSF

        o = self.options
        flow = NSF(
            latent.size, o.context, bins=o.bins, transforms=o.depth, hidden_features=(o.width, o.width), passes=2
        )
        self.flow: nn.Module = flow.transform

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Mean and log variance, and the context."""
        return (2 * self.latent.size + self.options.context,)

    def forward(self, numbers: Tensor) -> Posterior:
        d, numbers = self.latent.size, numbers.float()
        return Splined(DiagonalNormal(numbers[:, :d], numbers[:, d : 2 * d]), self.flow(numbers[:, 2 * d :]))
