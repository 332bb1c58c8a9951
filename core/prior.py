"""Priors over codes p(z)."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.math.estimates import spherical
from genzoo.core.math.tables import Steps, inverted
from genzoo.core.noise import Draws
from genzoo.core.posterior import CodePart, TokenHead, normal_log_prob

if TYPE_CHECKING:
    from genzoo.core.model import Model


class Prior(CodePart):
    """p(z), or p(z|y) of a conditional model."""

    discrete: bool = False  # `log_prob` gives probabilities of codes that are among a few, not densities
    unfitted: str = ""  # why there is nothing to sample yet, of a prior that waits for ``genzoo prior fit``
    joint: bool = True  # it may be trained beside the other parts of a model, not only fitted to their codes
    told: tuple[int, int] = (0, 0)  # how many classes and conditions its codes go by
    family: str = ""  # what `genzoo.core.posterior.Posterior.closed` calls it, if any posterior has a closed KL to it

    @abstractmethod
    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Log density, or probability, of codes ``(..., B, *latent.shape)`` in nats; it may go by labels ``y (B,)``."""

    @abstractmethod
    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Turn uniform numbers in [0, 1), ``(B, *noise_shape)``, into the same codes ``(B, *latent.shape)`` every time.

        A truncation keeps every normal number that codes are made of within ± so many standard deviations (Brock et
        al., arXiv:1809.11096): fidelity for diversity. None keeps the whole prior; see `untruncated`.
        """

    def draw(self, draws: Draws, y: Tensor | None = None) -> Tensor:
        """Codes for a training batch, ``(B, *latent.shape)``."""
        return self.sample(draws.uniform(*self.noise_shape), y)

    @property
    def stages(self) -> tuple[int, ...]:
        """How many of the noise's numbers are for each part of a code that goes by the parts before; none for one."""
        return self.of[0].generator.stages if self.noise_shape == self.latent.shape else ()

    @property
    def bound_noise(self) -> tuple[int, ...]:
        """Normal numbers that `bound` takes for one code; none where the density itself is maximized."""
        return ()

    def bound(self, z: Tensor, y: Tensor | None, noise: Tensor) -> Tensor:
        """What is maximized in place of the log density where the prior is fitted, by noise ``(B, *bound_noise)``."""
        return self.log_prob(z, y)

    def sums(self, z: Tensor, y: Tensor | None) -> dict[str, Tensor]:
        """What `after_step` wants summed over the codes ``(B, *latent.shape)`` that it is fitted to, detached."""
        return {}

    def after_step(self, seen: Mapping[str, Tensor]) -> None:
        """Move what is no matter of gradients, given a step's `sums` over all data; while it is fitted only."""

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Ways between codes ``(N, *latent.shape)`` through what is likely, at ``(S,)`` points t: ``(N, S, …)``."""
        return straight(a, b, t)

    def untruncated(self, truncation: float | None) -> None:
        """Refuse a truncation: for priors that are made of no normal numbers."""
        if truncation is not None:
            raise UsageError("truncation keeps normal numbers near their mean, and this model's prior is made of none")


class TokenPrior(Prior):
    """Base of priors over the tokens of a `genzoo.core.posterior.TokenHead`, one uniform number each."""

    discrete = True

    def attach(self, model: Model) -> None:
        super().attach(model)
        if not isinstance(model.head, TokenHead):
            raise UsageError("this prior is over tokens: use --posterior vq, or another discrete one")
        self._head = (model.head,)

    @property
    def head(self) -> TokenHead:
        """The posterior's head, which knows the codes of tokens."""
        return self._head[0]

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (self.head.places,)

    @property
    def stages(self) -> tuple[int, ...]:
        """Grids where there are several, else quarters: a place is drawn after those above it and to its left."""
        quarter = self.head.places // 4
        return self.head.stages or ((quarter,) * 3 + (self.head.places - 3 * quarter,) if quarter else ())

    def log_prob_of(self, tokens: Tensor, y: Tensor | None = None) -> Tensor:
        """Log probability of tokens ``(..., B, places)`` themselves, where a posterior knows which it has drawn."""
        codes = self.head.embed(tokens.flatten(0, -2))
        return self.log_prob(codes.view(*tokens.shape[:-1], *self.latent.shape), y)

    def steps(self, n: int, y: Tensor | None = None) -> Steps:
        """Say the distribution of ``n`` codes' tokens, a few places at a time: what is drawn, and coded, by."""
        raise UsageError("this prior does not say its tokens' probabilities one after another: use --prior transformer")

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        """Token by token, inverting the distribution function at each number."""
        self.untruncated(truncation)
        device = next(chain(self.parameters(), self.head.parameters(), self.head.buffers()), uniform).device
        return self.head.embed(inverted(self.steps(len(uniform), y), uniform.to(device)))

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        tokens = self.head.tokens_of(straight(a, b, t).flatten(0, 1))
        return self.head.embed(tokens).view(len(a), len(t), *self.latent.shape)


def straight(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Straight lines ``(N, S, *shape)`` between ``(N, *shape)``."""
    return torch.lerp(a[:, None], b[:, None], t.view(1, -1, *[1] * (a.dim() - 1)))


def normal_quantiles(uniform: Tensor, truncation: float | None = None) -> Tensor:
    """Turn uniform numbers in [0, 1) into standard normal ones, all within ± a truncation if there is one."""
    # Float32 numbers in [0, 1) are multiples of 2^-24: the middle of each step is never 0 or 1.
    u = uniform.double() + 2**-25
    if truncation is not None:
        low = 0.5 * math.erfc(truncation / math.sqrt(2))
        u = low + u * (1 - 2 * low)
    # The quantile function, as ndtri, with the same bits once it is rounded, and quicker.
    z: Tensor = torch.erfinv(u.mul_(2).sub_(1)).mul_(math.sqrt(2))
    return z.to(uniform.dtype)


class NormalPrior(Prior):
    """The standard normal."""

    family = "normal"

    def log_prob(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return normal_log_prob(z).flatten(-len(self.latent.shape)).sum(-1)

    def draw(self, draws: Draws, y: Tensor | None = None) -> Tensor:
        return draws.normal(*self.latent.shape)

    def sample(self, uniform: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Tensor:
        return normal_quantiles(uniform, truncation)

    def path(self, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
        """Great circles, which keep to the shell where a normal has its mass."""
        return spherical(a.flatten(1), b.flatten(1), t).view(len(a), len(t), *self.latent.shape)
