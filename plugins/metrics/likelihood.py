"""Log-likelihood estimates from importance weights, with the estimator by its name."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import Estimate, mean
from genzoo.core.options import option
from genzoo.registry import declare


@dataclass(frozen=True)
class LikelihoodEstimate:
    """Mean log-likelihood of held-out data; a lower bound in expectation."""

    nats: Estimate  # mean of the bound per observation, higher is better; the interval tells of the data's spread
    bits: Estimate  # negative mean in bits per dimension, lower is better
    estimator: str  # ``ELBO`` for one sample, ``importance-weighted, K = …`` for more
    samples: int  # K
    effective: float  # mean over the data of (Σw)² / Σw², between 1 and K: near 1 the bound hangs on one weight
    worst: float  # the smallest of these
    error: float  # standard error of the mean that comes of drawing K weights only, in nats; NaN for K = 1


def importance_weighted(log_weights: Tensor, dimensions: int) -> LikelihoodEstimate:
    """The bound log (1/K) Σ_k w_k, averaged over the data (Y. Burda et al., arXiv:1509.00519).

    The weights are log p(x, z_k) - log q(z_k|x) in nats, ``(K, N)``, of observations of that many numbers, as
    `Model.importance_weights` gives them.

    Raises:
        UsageError: if there are no weights, or one is NaN.
    """
    if log_weights.dim() != 2 or not log_weights.numel() or dimensions < 1 or bool(log_weights.isnan().any()):
        raise UsageError(f"log weights are numbers of shape (K, N), none of them NaN, not {tuple(log_weights.shape)}")
    w = log_weights.double()
    k, n = w.shape
    total = torch.logsumexp(w, 0)
    effective = torch.exp(2 * total - torch.logsumexp(2 * w, 0))
    # Var[log mean w] ≈ Var[w] / (K mean(w)²) = (K / ESS - 1) / (K - 1), by the delta method.
    error = ((k / effective - 1) / (k - 1)).clamp(min=0).sum().sqrt().item() / n if k > 1 else math.nan
    name = "ELBO" if k == 1 else f"importance-weighted, K = {k}"
    nats = mean(total - math.log(k))
    per = 1 / (dimensions * math.log(2))
    bits = replace(nats, value=-nats.value * per, low=-nats.high * per, high=-nats.low * per)
    return LikelihoodEstimate(nats, bits, name, k, effective.mean().item(), effective.min().item(), error)


def elbo(log_weights: Tensor, dimensions: int) -> LikelihoodEstimate:
    """The evidence lower bound from the same weights ``(K, N)``: their mean over k, which uses all of them."""
    bound = importance_weighted(log_weights.double().mean(0, keepdim=True), dimensions)
    k, n = log_weights.shape
    error = (log_weights.double().var(0) / k).sum().sqrt().item() / n if k > 1 else math.nan
    return replace(bound, estimator=f"ELBO, mean of {k}" if k > 1 else "ELBO", samples=k, error=error)


class _Weighted(Metric):
    """Importance weights from the model's own posterior, shared by all that is made of them."""

    covers = "the mean over unlimited data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        samples: int = option(100, "K, codes drawn for each observation", low=1)
        limit: int = option(500, "observations", low=1)

    options: Options

    def bound(self, log_weights: Tensor, dimensions: int) -> LikelihoodEstimate:
        return importance_weighted(log_weights, dimensions)

    def number(self, found: LikelihoodEstimate) -> Estimate:
        return found.nats

    def exact(self, evidence: Evidence) -> bool:
        """Whether there is nothing to estimate."""
        return evidence.model is not None and evidence.model.exact

    def measure(self, evidence: Evidence) -> Measured:
        """A bound with all that says how far it can be trusted; an exact likelihood says that it is one."""
        weights = evidence.log_weights(self.options.samples, self.options.limit)
        found = self.bound(weights, evidence.spec.size)
        details = {
            "estimator": found.estimator,
            "samples": found.samples,
            "nats": found.nats.value,
            "bits per dimension": found.bits.value,
            "standard error of the weights": found.error,
            "effective samples": found.effective,
            "fewest effective samples": found.worst,
        }
        if self.exact(evidence):
            details = {"estimator": "exact", **{k: details[k] for k in ("nats", "bits per dimension")}}
        return Measured(self.number(found), details, n_real=found.nats.samples[0])


@declare.metric(
    "log-likelihood",
    direction="higher",
    unit="nats",
    needs=("data", "likelihood"),
    paper="arXiv:1509.00519",
    tags=("default", "likelihood"),
    rank=1,
)
class LogLikelihoodBound(_Weighted):
    """Importance-weighted log-likelihood of held-out data, a lower bound.

    log (1/K) Σ p(x, z_k) / q(z_k|x), averaged over data; probability of 8-bit or binary data, else density.
    """

    def title(self, evidence: Evidence) -> str:
        return f"log-likelihood ({'exact' if self.exact(evidence) else f'IW, K = {self.options.samples}'})"


@declare.metric(
    "bits-per-dimension",
    direction="lower",
    unit="bits/dim",
    needs=("data", "likelihood"),
    paper="arXiv:1509.00519",
    tags=("default", "likelihood"),
)
class BitsPerDimension(_Weighted):
    """The log-likelihood's bound as bits for each number of an observation.

    Negative log-likelihood over dimensions and log 2: what a lossless code would need at most.
    """

    def number(self, found: LikelihoodEstimate) -> Estimate:
        return found.bits


@declare.metric(
    "elbo",
    direction="higher",
    unit="nats",
    needs=("data", "likelihood"),
    paper="arXiv:1312.6114",
    tags=("default", "likelihood"),
    rank=2,
)
class ELBO(_Weighted):
    """Evidence lower bound on held-out data.

    E_q[log p(x, z) - log q(z|x)], averaged over data; below the log-likelihood by KL(q(z|x) ‖ p(z|x)).
    """

    def bound(self, log_weights: Tensor, dimensions: int) -> LikelihoodEstimate:
        return elbo(log_weights, dimensions)

    def refuses(self, evidence: Evidence) -> str:
        return "the log-likelihood is exact, not bounded" if self.exact(evidence) else ""

    def title(self, evidence: Evidence) -> str:
        return "ELBO"
