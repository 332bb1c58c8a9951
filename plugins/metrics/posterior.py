"""What a posterior uses of its code: active units, KL per dimension, and whether it has collapsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import Estimate, mean
from genzoo.plugins.metrics import checks
from genzoo.registry import declare


@dataclass(frozen=True)
class Usage:
    """How a code's dimensions are used.

    Attributes:
        active: dimensions whose posterior mean varies over the data by more than .01 (arXiv:1509.00519).
        of: dimensions there are.
        kl: mean over the data of KL(q(z_i|x) ‖ p(z_i)) in nats, ``(D,)``, where it comes apart; else of the
            whole code, ``(1,)``.
        variance: of the posterior mean over the data, ``(D,)``.
        idle: dimensions that are the prior for nearly all data: KL ≤ .01 nats for 99 % of them, the
            (ε, δ)-collapse of J. Lucas et al. (arXiv:1911.02469); all or none where the KL is of the whole code.
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
        kl: KL in nats per observation and dimension, ``(N, D)``, as `genzoo.core.posterior.Posterior.kl` gives it,
            or of the whole code, ``(N, 1)``.
        active: least variance of the mean.
        idle: largest KL, in nats, of a dimension that is not used.
        share: of the data that may exceed it all the same.

    Raises:
        UsageError: if the two differ in shape or there are fewer than two observations.
    """
    means, divergence = checks.features(mean, "posterior means"), checks.features(kl, "divergences")
    if means.shape != divergence.shape and divergence.shape != (len(means), 1):
        raise UsageError(f"means are {tuple(means.shape)} and divergences {tuple(divergence.shape)}: both are (N, D)")
    variance = means.double().var(0)
    unused = ((divergence > idle).double().mean(0) <= share).expand(means.shape[1])
    return Usage(
        int((variance > active).sum()), means.shape[1], divergence.double().mean(0), variance, int(unused.sum())
    )


class _Codes(Metric):
    """What the posteriors of the data look like."""

    def found(self, evidence: Evidence) -> Usage:
        return evidence.once("usage", lambda: usage(*evidence.posterior()))

    def details(self, evidence: Evidence) -> dict[str, Any]:
        """By dimension, and whether the posterior has collapsed."""
        found = self.found(evidence)
        return {
            "of": found.of,
            "idle": found.idle,
            "collapsed": found.collapsed,
            "kl": float(found.kl.sum()),
            **({"kl per dimension": found.kl.tolist()} if len(found.kl) == found.of else {}),
            "variance of the mean per dimension": found.variance.tolist(),
        }

    def refuses(self, evidence: Evidence) -> str:
        return "" if len(evidence.data) > 1 else "it needs two observations"


@declare.metric(
    "active-units",
    summary="numbers of a code whose posterior mean varies over the data; 0 is a collapsed posterior",
    direction="higher",
    unit="dimensions",
    needs=("data", "encoder"),
    paper="arXiv:1509.00519",
    tags=("default", "representation"),
)
class ActiveUnits(_Codes):
    """Dimensions with a variance over .01; the details hold variance and KL of each, and the collapse flag."""

    def measure(self, evidence: Evidence) -> Measured:
        estimate = Estimate(float(self.found(evidence).active), samples=(len(evidence.data),))
        return Measured(estimate, self.details(evidence), why="a count over all dimensions")


@declare.metric(
    "posterior-kl",
    summary="what a code says of its observation: KL(q(z|x) ‖ p(z)), and that of each dimension",
    direction="none",
    unit="nats",
    needs=("data", "encoder"),
    paper="arXiv:1312.6114",
    tags=("default", "representation"),
)
class PosteriorKL(_Codes):
    """Mean over the data of the KL of the whole code; near 0 the decoder ignores it."""

    covers = "the mean over unlimited data"

    def measure(self, evidence: Evidence) -> Measured:
        return Measured(mean(evidence.posterior()[1].sum(1)), self.details(evidence))

    def title(self, evidence: Evidence) -> str:
        return "KL to the prior"
