"""What a posterior uses of its code: active units, KL per dimension, and whether it has collapsed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.plugins.metrics import checks


@dataclass(frozen=True)
class Usage:
    """How a code's dimensions are used.

    Attributes:
        active: dimensions whose posterior mean varies over the data by more than .01 (arXiv:1509.00519).
        of: dimensions there are.
        kl: mean over the data of KL(q(z_i|x) ‖ p(z_i)) in nats, ``(D,)``, where the prior factorizes.
        variance: of the posterior mean over the data, ``(D,)``.
        idle: dimensions that are the prior for nearly all data: KL ≤ .01 nats for 99 % of them, the
            (ε, δ)-collapse of J. Lucas et al. (arXiv:1911.02469).
    """

    active: int
    of: int
    kl: Tensor
    variance: Tensor
    idle: int

    @property
    def collapsed(self) -> bool:
        """Whether the code says nothing of the data: no unit is active, or every dimension is idle.

        The first catches codes that free bits keep from the prior and that are still the same for all data.
        """
        return self.active == 0 or self.idle == self.of


def usage(mean: Tensor, kl: Tensor, *, active: float = 0.01, idle: float = 0.01, share: float = 0.01) -> Usage:
    """Judge posteriors by their means and their KL to the prior.

    Args:
        mean: posterior means of many observations, ``(N, D)``.
        kl: KL in nats per observation and dimension, ``(N, D)``, as `genzoo.core.posterior.Posterior.kl` gives it.
        active: least variance of the mean.
        idle: largest KL, in nats, of a dimension that is not used.
        share: of the data that may exceed it all the same.

    Raises:
        UsageError: if the two differ in shape or there are fewer than two observations.
    """
    means, divergence = checks.features(mean, "posterior means"), checks.features(kl, "divergences")
    if means.shape != divergence.shape:
        raise UsageError(f"means are {tuple(means.shape)} and divergences {tuple(divergence.shape)}: both are (N, D)")
    variance = means.double().var(0)
    unused = (divergence > idle).double().mean(0) <= share
    return Usage(
        int((variance > active).sum()), means.shape[1], divergence.double().mean(0), variance, int(unused.sum())
    )
