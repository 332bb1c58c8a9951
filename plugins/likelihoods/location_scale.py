"""Densities with heavier tails than the Gaussian: Student's t, Laplace, and the hyperbolic secant's powers."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.likelihood import Likelihood
from genzoo.core.options import option
from genzoo.core.posterior import LOG_2PI
from genzoo.core.spec import DataSpec
from genzoo.registry import declare

LOWEST = -6.0  # log scale that a generator can ask for: pixels that never vary would take it to -∞


def predicted(params: Tensor, start: float) -> tuple[Tensor, Tensor]:
    """A generator's locations and log scales, softly above `LOWEST`; they start about log ``start``."""
    location, raw = params.float().chunk(2, dim=1)
    return location, LOWEST + F.softplus(raw + math.log(start) - LOWEST)


class LocationScale(Likelihood):
    """Π f((x - m) / s) / s over the numbers of an observation, m from the generator; a variant gives log f and draws.

    Densities are in data units, as all likelihoods' are; s counts in model space.
    """

    discrete = False

    @dataclass(frozen=True)
    class Options(Likelihood.Options):
        scale: Literal["shared", "per-dimension", "predicted"] = option(
            "shared", "one learned scale, one for each number of an observation, or one that the generator says"
        )
        value: float = option(0.1, "scale in model space where learning starts", low=1e-6)

    options: Options

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        if (o := self.options).scale != "predicted":
            self.log_scale = nn.Parameter(torch.full(spec.shape if o.scale != "shared" else (), math.log(o.value)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """A location for each number, and a log scale where the generator says it."""
        first, *rest = self.spec.shape
        return (2 * first if self.options.scale == "predicted" else first, *rest)

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor]:
        predicts = self.options.scale == "predicted"
        return predicted(params, self.options.value) if predicts else (params.float(), self.log_scale)

    @abstractmethod
    def standard_log_prob(self, t: Tensor) -> Tensor:
        """Log f(t), elementwise."""

    @abstractmethod
    def standard_sample(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw from f, as many as ``like`` has numbers."""

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        location, log_scale = self._split(params)
        each = self.standard_log_prob((x - location) * torch.exp(-log_scale)) - log_scale
        return each.flatten(1).sum(1) - self.log_volume

    def mean(self, params: Tensor) -> Tensor:
        return self._split(params)[0]

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        location, log_scale = self._split(params)
        return location + log_scale.exp() * self.standard_sample(location, generator)


@declare.likelihood("student-t", paper="Takahashi et al., IJCAI 2018")
class StudentT(LocationScale):
    """Student's t with ν degrees of freedom, learned and never below 2, so that a variance exists.

    log f(t) = log Γ((ν+1)/2) - log Γ(ν/2) - ½ log(πν) - (ν+1)/2 log(1 + t²/ν). Observations far off pull with a
    bounded force; ν → ∞ is the Gaussian.
    """

    @dataclass(frozen=True)
    class Options(LocationScale.Options):
        scale: Literal["shared", "per-dimension", "predicted"] = option(
            "per-dimension", "one learned scale, one for each number of an observation, or one that the generator says"
        )
        freedom: float = option(5.0, "degrees of freedom where learning starts", low=2.01)

    options: Options

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        above = self.options.freedom - 2
        self.raw_freedom = nn.Parameter(torch.tensor(above + math.log(-math.expm1(-above))))  # softplus' inverse

    @property
    def freedom(self) -> Tensor:
        """ν."""
        return 2 + F.softplus(self.raw_freedom)

    def standard_log_prob(self, t: Tensor) -> Tensor:
        nu = self.freedom
        exact = torch.lgamma((nu + 1) / 2) - torch.lgamma(nu / 2) - 0.5 * torch.log(math.pi * nu)
        series = -0.5 * LOG_2PI - 0.25 / nu + 1 / (24 * nu**3)  # of large numbers float32 would lose the difference
        return torch.where(nu > 40, series, exact) - (nu + 1) / 2 * torch.log1p(t.square() / nu)

    def standard_sample(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        half = self.freedom / 2
        normal = torch.randn(like.shape, generator=generator, device=like.device)
        return normal * torch.rsqrt(torch._standard_gamma(half.expand_as(like), generator) / half)


@declare.likelihood("laplace")
class Laplace(LocationScale):
    """f(t) = ½ exp(-|t|): the absolute error with its normalizer, whose best location is a median."""

    def standard_log_prob(self, t: Tensor) -> Tensor:
        return -t.abs() - math.log(2)

    def standard_sample(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        u = torch.rand(like.shape, generator=generator, device=like.device) - 0.5
        return -u.sign() * torch.log1p(-2 * u.abs().clamp(max=0.5 - 2**-25))


@declare.likelihood("log-cosh", paper="Chen et al., Log Hyperbolic Cosine Loss Improves Variational Auto-Encoder, 2018")
class LogCosh(LocationScale):
    """log f(t) = -(1/a) log cosh(a t) - log Z: squared error near 0, absolute error far off, a where they meet.

    Z = √π/a · Γ(1/2a) / Γ(1/2a + ½). With B of a Beta(1/2a, 1/2a), logit(B) / 2a is a draw.
    """

    @dataclass(frozen=True)
    class Options(LocationScale.Options):
        sharpness: float = option(10.0, "a: the error is squared below about 1/a scales", low=0.01, high=1000)

    options: Options

    def standard_log_prob(self, t: Tensor) -> Tensor:
        a = self.options.sharpness
        log_z = 0.5 * math.log(math.pi) - math.log(a) + math.lgamma(0.5 / a) - math.lgamma(0.5 / a + 0.5)
        u = (a * t).abs()  # log cosh u = u + log(1 + e^-2u) - log 2, which cannot overflow
        return -(u + F.softplus(-2 * u) - math.log(2)) / a - log_z

    def standard_sample(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        a, shape = self.options.sharpness, (2, *like.shape)
        # Gamma(p) is Gamma(p + 1) U^(1/p), whose logarithm is finite where a small p would underflow.
        gamma = torch._standard_gamma(torch.full(shape, 0.5 / a + 1, device=like.device), generator)
        u = 1 - torch.rand(shape, generator=generator, device=like.device)
        first, second = (gamma.log() + u.log() * 2 * a).unbind(0)
        return (first - second) / (2 * a)
