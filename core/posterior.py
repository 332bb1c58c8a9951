"""Posteriors over codes q(z|x): what an encoder's numbers mean."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.options import Configured
from genzoo.core.spec import Latent

if TYPE_CHECKING:
    from genzoo.core.model import Model
    from genzoo.core.networks import Generator

LOG_2PI = math.log(2 * math.pi)


def normal_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) ‖ N(0, 1)) in nats, elementwise: ½ (μ² + σ² - log σ² - 1)."""
    return 0.5 * (mean.square() + log_var.exp() - log_var - 1)


def normal_log_prob(x: Tensor, mean: Tensor | float = 0.0, log_var: Tensor | float = 0.0) -> Tensor:
    """Log density of a normal distribution in nats, elementwise."""
    variance = log_var.exp() if isinstance(log_var, Tensor) else math.exp(log_var)
    return -0.5 * ((x - mean) ** 2 / variance + log_var + LOG_2PI)


class Posterior(ABC):
    """q(z|x) for a batch of observations.

    ``closed`` is the family of priors (`genzoo.core.prior.Prior.family`) against which `kl` is exact; if there is none
    the KL is estimated from a sample.
    """

    closed: str = ""
    y: Tensor | None = None  # the labels (B,) that `genzoo.core.model.Model.posterior` was given
    params: Tensor | None = None  # data parameters of the latest sample, where sampling makes them anyway
    tokens: Tensor | None = None  # numbers of the likeliest codes, int64 (B, places), of a discrete posterior
    drawn: Tensor | None = None  # those of the latest sample, (..., B, places)
    coupled: tuple[str, ...] = ()  # names of `cost` that go by the whole batch, of all processes (`gather.all_gather`)

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The mean code, ``(B, *latent.shape)``."""

    @abstractmethod
    def sample(self, eps: Tensor) -> Tensor:
        """Turn normal noise ``(..., B, *noise_shape)`` into codes ``(..., B, *latent.shape)``, differentiably."""

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log density of codes ``(..., B, *latent.shape)`` in nats, ``(..., B)``."""

    def sample_with_log_prob(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and their log density, in one pass where that is cheaper or the only way.

        With noise of its own beyond the code (a momentum), the density is that of an extended space: E[p(x, z) / q] is
        still p(x).
        """
        z = self.sample(eps)
        return z, self.log_prob(z)

    def kl(self) -> Tensor:
        """KL(q(z|x) ‖ p(z)) in nats of every number of the code, ``(B, numbers)``, where `closed` names the prior."""
        raise GenzooError(f"{type(self).__name__} has no KL in closed form: Model.kl estimates it from a sample")

    def refined(self, log_joint: Callable[[Tensor], Tensor]) -> Posterior:
        """Make use of log p(x, z), which takes ``(K B, *latent.shape)`` codes to ``(K B,)`` nats; by default, don't."""
        return self

    @property
    def start(self) -> Posterior:
        """The posterior before `refined`, which has a density on codes alone."""
        return self

    @property
    def cost(self) -> dict[str, Tensor]:
        """Further terms that the loss takes in, ``(B,)`` each, such as a quantizer's commitment."""
        return {}

    @property
    def sums(self) -> dict[str, Tensor]:
        """What `PosteriorHead.after_step` wants summed over the batch: name to detached tensor of any shape."""
        return {}


class DiagonalNormal(Posterior):
    """A normal posterior with a diagonal covariance (Kingma & Welling, arXiv:1312.6114)."""

    closed = "normal"

    def __init__(self, mean: Tensor, log_var: Tensor) -> None:
        self._mean, self.log_var = mean, log_var

    @property
    def mean(self) -> Tensor:
        return self._mean

    def sample(self, eps: Tensor) -> Tensor:
        return torch.addcmul(self._mean, torch.exp(0.5 * self.log_var), eps)

    def sample_with_log_prob(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        """The density goes by the noise: (z - μ) / σ again would cost passes over all codes, and rounding."""
        log_q = -0.5 * (eps.square() + (self.log_var + LOG_2PI))
        return self.sample(eps), log_q.flatten(1 - self._mean.dim()).sum(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        return normal_log_prob(z, self._mean, self.log_var).flatten(1 - self._mean.dim()).sum(-1)

    def kl(self) -> Tensor:
        return normal_kl(self._mean, self.log_var).flatten(1)


class CodePart(Configured, nn.Module, ABC):
    """A part of a model that is about its codes.

    ``of`` holds the model that it belongs to, in a tuple, so that the model is no part of its own part. Where codes are
    not just any numbers, posterior and prior must have them in the same ``space``, and densities by the same measure.
    """

    space: str = "any numbers"  # what codes are: ``points on a sphere``
    partner: str = "normal"  # name of a prior, or of a posterior, in whose space they are

    def __init__(self, latent: Latent, options: Any = None) -> None:
        super().__init__(options)
        self.latent = latent
        self.of: tuple[Model, ...] = ()

    def attach(self, model: Model) -> None:
        """Become a part of a model; raises UsageError if its other parts do not go with this one."""
        self.of = (model,)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """Numbers that one code is made of: standard normal ones of a posterior, uniform ones of a prior."""
        return self.latent.shape


class PosteriorHead(CodePart):
    """Turns an encoder's numbers into a `Posterior`; part of the model, so it may hold parameters."""

    point: bool = False  # its codes are points: no density, no KL, and no bound on the likelihood
    relaxed: bool = False  # its codes are softened in training, and their weights p(x, z) / q(z|x) make no bound there
    averaged: tuple[str, ...] = ()  # names of buffers that a moving average of the model averages, instead of copying

    def attach(self, model: Model) -> None:
        super().attach(model)
        if self.space != model.prior.space:
            raise UsageError(
                f"this posterior's codes are {self.space}, and this prior's are {model.prior.space}: "
                f"use --prior {self.partner}, or --posterior {model.prior.partner}"
            )

    def prepare(self, generator: Generator) -> None:
        """Be told of the generator before the encoder is built; raises UsageError if they do not go together."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """What the encoder must put out for one observation."""

    @abstractmethod
    def forward(self, numbers: Tensor) -> Posterior:
        """Make the posterior of a batch."""

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        """Move state that is no parameter (a codebook's averages), given the step's `Posterior.sums` over all data."""


class NormalHead(PosteriorHead):
    """Mean and log variance of a `DiagonalNormal`, computed in float32."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (2 * self.latent.size, *self.latent.shape[1:])

    def forward(self, numbers: Tensor) -> Posterior:
        mean, log_var = numbers.float().chunk(2, dim=1)
        return DiagonalNormal(mean, log_var)


class TokenHead(PosteriorHead):
    """Base of discrete posteriors: a code is one of a few vectors at each of its places.

    Its log densities are log probabilities, so the model's prior must be `genzoo.core.prior.Prior.discrete` too.
    """

    certain: bool = True  # it gives an observation the same code every time
    codes: int  # vectors to choose from
    places: int  # how many are chosen for one observation; of a grid row by row
    levels: int = 1  # how many of them, beside each other, are at one place of the code: residuals, groups
    stages: tuple[int, ...] = ()  # places of each of its grids, where there are several

    def attach(self, model: Model) -> None:
        super().attach(model)
        if not model.prior.discrete:
            raise UsageError("this posterior's codes are discrete: use --prior uniform-codes, or another discrete one")

    @abstractmethod
    def embed(self, tokens: Tensor) -> Tensor:
        """Codes ``(B, *latent.shape)`` of tokens, int64 ``(B, places)``."""

    @abstractmethod
    def tokens_of(self, z: Tensor) -> Tensor:
        """Tokens, int64 ``(..., places)``, whose vectors are nearest to codes ``(..., *latent.shape)``."""
