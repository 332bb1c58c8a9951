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
    """Mean log-likelihood of held-out data; a lower bound in expectation.

    Attributes:
        nats: mean of the bound per observation, higher is better. The interval tells of the data's spread.
        bits: negative mean in bits per dimension, lower is better.
        estimator: ``ELBO`` for one sample, ``importance-weighted, K = …`` for more.
        samples: K.
        effective: mean over the data of (Σw)² / Σw², between 1 and K: near 1 the bound hangs on one weight.
        worst: the smallest of these.
        error: standard error of the mean that comes of drawing K weights only, in nats; NaN for K = 1.
    """

    nats: Estimate
    bits: Estimate
    estimator: str
    samples: int
    effective: float
    worst: float
    error: float


def importance_weighted(log_weights: Tensor, dimensions: int) -> LikelihoodEstimate:
    """The bound log (1/K) Σ_k w_k, averaged over the data (Y. Burda et al., arXiv:1509.00519).

    Args:
        log_weights: log p(x, z_k) - log q(z_k|x) in nats, ``(K, N)``, as `genzoo.core.model.Model.log_weights`
            gives them.
        dimensions: numbers in one observation.

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
    if log_weights.dim() != 2 or not log_weights.numel():
        raise UsageError(f"log weights are numbers of shape (K, N), not {tuple(log_weights.shape)}")
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

    def weights(self, evidence: Evidence) -> Tensor:
        """``(K, N)``."""
        return evidence.log_weights(self.options.samples, self.options.limit)

    def exact(self, evidence: Evidence) -> bool:
        """Whether there is nothing to estimate."""
        return evidence.model is not None and evidence.model.exact

    def measured(self, found: LikelihoodEstimate, evidence: Evidence, bits: bool = False) -> Measured:
        """A bound with all that says how far it can be trusted; an exact likelihood says that it is one."""
        if self.exact(evidence):
            details = {"estimator": "exact", "nats": found.nats.value, "bits per dimension": found.bits.value}
            return Measured(found.bits if bits else found.nats, details, n_real=found.nats.samples[0])
        details = {
            "estimator": found.estimator,
            "samples": found.samples,
            "nats": found.nats.value,
            "bits per dimension": found.bits.value,
            "standard error of the weights": found.error,
            "effective samples": found.effective,
            "fewest effective samples": found.worst,
        }
        return Measured(found.bits if bits else found.nats, details, n_real=found.nats.samples[0])


@declare.metric(
    "log-likelihood",
    summary="importance-weighted log-likelihood of held-out data, a lower bound",
    direction="higher",
    unit="nats",
    needs=("data", "likelihood"),
    paper="arXiv:1509.00519",
    tags=("default", "likelihood"),
    rank=1,
)
class LogLikelihoodBound(_Weighted):
    """log (1/K) Σ p(x, z_k) / q(z_k|x), averaged over data; probability of 8-bit or binary data, else density."""

    def measure(self, evidence: Evidence) -> Measured:
        return self.measured(importance_weighted(self.weights(evidence), evidence.spec.size), evidence)

    def title(self, evidence: Evidence) -> str:
        return f"log-likelihood ({'exact' if self.exact(evidence) else f'IW, K = {self.options.samples}'})"


@declare.metric(
    "bits-per-dimension",
    summary="the same bound as bits for each number of an observation",
    direction="lower",
    unit="bits/dim",
    needs=("data", "likelihood"),
    paper="arXiv:1509.00519",
    tags=("default", "likelihood"),
)
class BitsPerDimension(_Weighted):
    """Negative log-likelihood over dimensions and log 2: what a lossless code would need at most."""

    def measure(self, evidence: Evidence) -> Measured:
        return self.measured(importance_weighted(self.weights(evidence), evidence.spec.size), evidence, bits=True)


@declare.metric(
    "elbo",
    summary="evidence lower bound on held-out data",
    direction="higher",
    unit="nats",
    needs=("data", "likelihood"),
    paper="arXiv:1312.6114",
    tags=("default", "likelihood"),
    rank=2,
)
class ELBO(_Weighted):
    """E_q[log p(x, z) - log q(z|x)], averaged over data; below the log-likelihood by KL(q(z|x) ‖ p(z|x))."""

    def measure(self, evidence: Evidence) -> Measured:
        return self.measured(elbo(self.weights(evidence), evidence.spec.size), evidence)

    def refuses(self, evidence: Evidence) -> str:
        return "the log-likelihood is exact, not bounded" if self.exact(evidence) else ""

    def title(self, evidence: Evidence) -> str:
        return "ELBO"
