"""Log-likelihood estimates from importance weights, with the estimator by its name."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.core.errors import GenzooError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.estimates import LogLikelihood
from genzoo.core.math.intervals import mean
from genzoo.core.modality import of
from genzoo.core.options import option
from genzoo.registry import declare


class _Weighted(Metric):
    """Importance weights from the model's own posterior, shared by all that is made of them."""

    covers = "the mean over unlimited data"
    in_bits: ClassVar[bool] = False

    @dataclass(frozen=True)
    class Options(Metric.Options):
        samples: int = option(100, "K, codes drawn for each observation", low=1)
        limit: int = option(500, "observations", low=1)

    def bound(self, weights: Tensor, dimensions: int) -> tuple[str, LogLikelihood]:
        """An estimate from log weights ``(K, N)``, and what it is called."""
        return f"importance-weighted, K = {len(weights)}", LogLikelihood.of([weights], dimensions)

    def exact(self, evidence: Evidence) -> bool:
        """Whether there is nothing to estimate."""
        return evidence.model is not None and evidence.model.exact

    def measure(self, evidence: Evidence) -> Measured:
        """A bound with all that says how far it can be trusted; an exact likelihood says that it is one."""
        weights = evidence.log_weights(self.options.samples, self.options.limit).double()
        if weights.isnan().any():
            raise GenzooError("the model's importance weights are no numbers")
        name, found = self.bound(weights, evidence.spec.size)
        per, nats = 1 / (evidence.spec.size * math.log(2)), mean(found.values)
        bits = replace(nats, value=-nats.value * per, low=-nats.high * per, high=-nats.low * per)
        details: dict[str, Any] = {"nats": nats.value}
        if not _own_lengths(evidence):
            details["bits per dimension"] = bits.value
        if self.exact(evidence):
            details = {"estimator": "exact", **details}
        else:
            details = {
                "estimator": "ELBO" if found.samples == 1 else name,
                "samples": found.samples,
                **details,
                "standard error of the weights": found.standard_error.square().sum().sqrt().item() / len(found.values),
                "effective samples": found.effective_samples.mean().item(),
                "fewest effective samples": found.effective_samples.min().item(),
            }
        if evidence.model is not None and not evidence.model.likelihood.discrete:
            details["density"] = True  # which does not compare with a probability: see `Result.compare`
        return Measured(bits if self.in_bits else nats, details, n_real=len(found.values))


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

    in_bits = True

    def refuses(self, evidence: Evidence) -> str:
        return "texts have no dimensions but lengths of their own: see nats-per-character" * _own_lengths(evidence)


def _own_lengths(evidence: Evidence) -> bool:
    """Whether observations are of different lengths, so that what pads them is no dimension."""
    return of(evidence.spec).lengths(evidence.spec, evidence.data.x[:1]) is not None


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

    def bound(self, weights: Tensor, dimensions: int) -> tuple[str, LogLikelihood]:
        k = len(weights)  # their mean uses all of them
        error = (weights.var(0) / k).sqrt() if k > 1 else weights[0] * math.nan
        found = LogLikelihood(weights.mean(0), error, torch.ones_like(error), k, dimensions, None)
        return f"ELBO, mean of {k}", found

    def refuses(self, evidence: Evidence) -> str:
        return "the log-likelihood is exact, not bounded" if self.exact(evidence) else ""

    def title(self, evidence: Evidence) -> str:
        return "ELBO"
