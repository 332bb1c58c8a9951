"""Priors that are autoregressive flows of the zuko package."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.math.estimates import spherical
from genzoo.core.model import Model
from genzoo.core.options import option
from genzoo.core.posterior import normal_log_prob
from genzoo.core.prior import Prior, normal_quantiles
from genzoo.core.spec import Latent
from genzoo.plugins.nets.blocks import as_numbers
from genzoo.plugins.priors.standardized import Standardized
from genzoo.registry import declare


class Flow(Standardized):
    """log p(z|y) = log N(f(z; y)) + log |det f'(z; y)|; codes that it is fitted to are standardized first, once.

    A subclass makes f, which zuko calls a transform; f is told the class and the conditions of a conditional model.
    """

    @dataclass(frozen=True)
    class Options(Prior.Options):
        depth: int = option(3, "transforms", low=1, high=64)
        width: int = option(128, "units in each of a transform's two hidden layers", low=1, high=16384)

    options: Options

    def __init__(self, latent: Latent, options: Options | None = None) -> None:
        super().__init__(latent, options)
        if latent.size < 2 or latent.grid:
            raise UsageError(
                "flows of zuko are of flat codes of at least 2 numbers: "
                f"--set latent.size={max(latent.size, 2)} --set latent.grid=0"
            )

    def attach(self, model: Model) -> None:
        super().attach(model)
        self.told = model.classes, model.conditions
        o, width = self.options, (self.options.width, self.options.width)
        self.flow = self.made(self.latent.size, sum(self.told), transforms=o.depth, hidden_features=width).transform

    @abstractmethod
    def made(self, size: int, context: int, **how: Any) -> Any:
        """A flow of zuko's."""

    def transform(self, y: Tensor | None, like: Tensor) -> Any:
        """f, given what the model is told."""
        return self.flow(as_numbers(y, *self.told, like) if any(self.told) else None)

    def base(self, z: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From codes ``(..., B, size)`` to normal numbers, and log |det| of the way there ``(..., B)``."""
        base, volume = self.transform(y, z).call_and_ladj(self.inward(z))
        return base, volume - self.log_volume

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        base, volume = self.base(z, y)
        return normal_log_prob(base).sum(-1) + volume

    def forward(self, base: Tensor, y: Tensor | None = None) -> Tensor:
        """From normal numbers ``(B, size)`` to codes."""
        return self.outward(self.transform(y, base).inv(base))

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        z: Tensor = self(normal_quantiles(uniform, truncation).to(self.center), y)
        return z

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        if any(self.told):  # a way has no class
            return super().path(a, b, t)
        z: Tensor = self(spherical(self.base(a)[0], self.base(b)[0], t))
        return z


@declare.prior("maf", paper="arXiv:1705.07057", tags=("vae", "flow", "autoregressive"))
class MAF(Flow):
    """Masked autoregressive flow prior: a quick density; drawing takes a pass for every number of the code."""

    def made(self, size: int, context: int, **how: Any) -> Any:
        from zuko.flows import MAF

        return MAF(size, context, **how)


@declare.prior("iaf", paper="arXiv:1606.04934", tags=("vae", "flow", "autoregressive"))
class InverseMAF(MAF):
    """Inverse autoregressive flow prior: quick to draw from; its density takes a pass for every number of the code."""

    def transform(self, y: Tensor | None, like: Tensor) -> Any:
        return super().transform(y, like).inv


@declare.prior("nsf", paper="arXiv:1906.04032", tags=("vae", "flow"))
class NSF(Flow):
    """Neural spline flow prior: couplings of rational-quadratic splines on [-5, 5], quick both ways."""

    @dataclass(frozen=True)
    class Options(Flow.Options):
        bins: int = option(8, "of each spline", low=2, high=256)

    options: Options

    def made(self, size: int, context: int, **how: Any) -> Any:
        from zuko.flows import NSF

        return NSF(size, context, bins=self.options.bins, passes=2, **how)
