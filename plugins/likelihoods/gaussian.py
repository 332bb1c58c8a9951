"""Gaussian likelihood with a fixed, learned, batch-optimal or predicted standard deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.distributed.gather import all_gather
from genzoo.core.likelihood import Likelihood
from genzoo.core.options import option
from genzoo.core.posterior import LOG_2PI, normal_log_prob
from genzoo.core.spec import DataSpec
from genzoo.plugins.likelihoods.location_scale import predicted
from genzoo.registry import declare


@declare.likelihood("gaussian", paper="arXiv:2006.13202")
class Gaussian(Likelihood):
    """N(x; mean, σ²), with σ fixed, learned, or the one that is best for each batch (σ-VAE).

    σ is shared by all dimensions and counted in model space. ``fixed`` at 1 is the squared error that
    over-regularizes images; ``optimal`` takes σ² = mean squared error of the batch, in closed form, and keeps
    a running value for evaluation. ``predicted`` is heteroscedastic: the generator says a σ for every number, softly
    above e^-6, so that pixels that never vary do not take the density to infinity.
    """

    discrete = False
    gathered = True

    @dataclass(frozen=True)
    class Options(Likelihood.Options):
        sigma: Literal["learned", "fixed", "optimal", "predicted"] = option(
            "learned", "where the standard deviation comes from"
        )
        value: float = option(
            1.0, "standard deviation in model space: the fixed one, or where learning starts", low=1e-6
        )

    options: Options

    def __init__(self, spec: DataSpec, options: Options | None = None) -> None:
        super().__init__(spec, options)
        log_sigma = torch.tensor(math.log(self.options.value))
        if self.options.sigma == "learned":
            self.log_sigma = nn.Parameter(log_sigma)
        elif self.options.sigma != "predicted":
            self.register_buffer("log_sigma", log_sigma)

    @property
    def coupled(self) -> bool:
        """The batch-optimal σ depends on the whole batch."""
        return self.options.sigma == "optimal"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """A mean for each number, and a log σ where it is predicted."""
        first, *rest = self.spec.shape
        return (2 * first if self.options.sigma == "predicted" else first, *rest)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log density in nats per observation, in data units."""
        if self.options.sigma == "predicted":
            mean, log_sigma = predicted(params, self.options.value)
            return normal_log_prob(x, mean, 2 * log_sigma).flatten(1).sum(1) - self.log_volume
        squared = F.mse_loss(params.float(), x, reduction="none").flatten(1)  # one pass, and one back
        d = squared.shape[1]
        if self.options.sigma == "fixed":  # a number: nothing to compute on the device, or to differentiate
            value = self.options.value
            constant = d * (math.log(value) + 0.5 * LOG_2PI) + self.log_volume
            return squared.sum(1).mul(-0.5 / value**2).sub(constant)
        if self.training and self.coupled:
            # Differentiating through σ changes nothing: the loss is stationary in it.
            log_sigma = 0.5 * all_gather(squared.mean(1)).mean().clamp(min=1e-12).log()
            with torch.no_grad():
                self.log_sigma.lerp_(log_sigma, 0.05)
        else:
            log_sigma = self.log_sigma
        error = squared.sum(1) * torch.exp(-2 * log_sigma)
        return -0.5 * error - d * (log_sigma + 0.5 * LOG_2PI) - self.log_volume

    def mean(self, params: Tensor) -> Tensor:
        return params.chunk(2, dim=1)[0] if self.options.sigma == "predicted" else params

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        predicts = self.options.sigma == "predicted"
        mean, log_sigma = predicted(params, self.options.value) if predicts else (params, self.log_sigma)
        eps = torch.randn(mean.shape, generator=generator, device=params.device)
        return mean + log_sigma.exp() * eps
