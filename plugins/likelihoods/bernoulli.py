"""Bernoulli and continuous Bernoulli likelihoods: pixels as coins, and what grey pixels want instead."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import UsageError
from genzoo.core.likelihood import Likelihood
from genzoo.core.math.tables import Steps
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.registry import declare


@declare.likelihood("bernoulli", modalities=("image",))
class Bernoulli(Likelihood):
    """Coin flips for binary pixels: log p(x|l) = Σ log σ(x l), with x = ±1 and logits l."""

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if not of(spec).pixels:
            raise UsageError(
                f"the bernoulli likelihood is for binary images, and this is {spec.modality} data: "
                "use --likelihood gaussian"
            )
        if spec.levels != 2:
            raise UsageError(
                "the bernoulli likelihood is for binary data, and this is not: binarize it with "
                "--set data.binarize=static, or use --likelihood continuous-bernoulli "
                "or --likelihood discretized-logistic"
            )

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return -F.softplus(-x * params.float()).flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        """2 σ(l) - 1."""
        return torch.tanh(params / 2)

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        p = torch.sigmoid(params.float())
        return torch.bernoulli(p, generator=generator) * 2 - 1

    def steps(self, params: Tensor) -> Steps:
        logits = params.double().flatten(1)
        yield torch.arange(self.spec.size), torch.sigmoid(torch.stack([-logits, logits], -1))


def log_normalizer(logits: Tensor) -> Tensor:
    """Log C(λ) of the continuous Bernoulli: C = l / tanh(l/2), by its series where l is near 0."""
    near = logits.abs() < 0.1
    safe = torch.where(near, torch.ones_like(logits), logits)
    # log |l / tanh(l/2)|, with log tanh(|l|/2) = log(1 - e^-|l|) - log(1 + e^-|l|)
    a = safe.abs()
    exact = a.log() - torch.log1p(-torch.exp(-a)) + torch.log1p(torch.exp(-a))
    square = logits.square()
    series = math.log(2) + square / 12 - square.square() * 7 / 1440
    return torch.where(near, series, exact)


@declare.likelihood("continuous-bernoulli", paper="arXiv:1907.06845", modalities=("image",))
class ContinuousBernoulli(Likelihood):
    """Density C(λ) λ^x (1-λ)^(1-x) on [0, 1]: what cross-entropy on grey pixels leaves out is C."""

    discrete = False

    @classmethod
    def check(cls, spec: DataSpec) -> None:
        if not of(spec).pixels:
            raise UsageError("the continuous-bernoulli likelihood is for pixels in [0, 1]: use --likelihood gaussian")

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log density in nats per observation."""
        logits = params.float()
        x01 = (x + 1) / 2
        return (x01 * logits - F.softplus(logits) + log_normalizer(logits)).flatten(1).sum(1)

    def mean(self, params: Tensor) -> Tensor:
        """E[x] = σ(l) / tanh(l/2) - 1/l, brought to [-1, 1]."""
        logits = params.float()
        near = logits.abs() < 0.1
        safe = torch.where(near, torch.ones_like(logits), logits)
        exact = torch.sigmoid(safe) / torch.tanh(safe / 2) - 1 / safe
        series = 0.5 + logits / 12 - logits**3 / 720
        return 2 * torch.where(near, series, exact) - 1

    def sample(self, params: Tensor, generator: torch.Generator | None = None) -> Tensor:
        logits = params.float()
        u = torch.rand(logits.shape, generator=generator, device=logits.device)
        flip = logits > 0  # x(u, l) = 1 - x(1-u, -l), so that the exponential never overflows
        below, v = -logits.abs(), torch.where(flip, 1 - u, u)
        near = below > -1e-3
        safe = torch.where(near, -torch.ones_like(below), below)
        # v = 1 far from logit 0 gives log 0, whose place is at 1.
        x = torch.where(near, v, torch.log1p(v * torch.expm1(safe)) / safe).clamp(max=1)
        return 2 * torch.where(flip, 1 - x, x) - 1
