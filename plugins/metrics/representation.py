"""What codes say of labels: linear probe and k-nearest neighbours, beside raw numbers and PCA of one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric, as_floats
from genzoo.core.math import logistic
from genzoo.core.math.intervals import Estimate, share
from genzoo.core.math.neighbours import nearest
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare


@dataclass(frozen=True)
class Probe:
    """Test accuracy of the simplest classifiers on one representation.

    Attributes:
        linear: multinomial logistic regression.
        neighbours: vote of the k nearest training codes.
        dimensions: numbers in the representation.
    """

    linear: Estimate
    neighbours: Estimate
    dimensions: int


@dataclass(frozen=True)
class Representation:
    """Codes beside what costs nothing: only what is above `pca` was learned."""

    codes: Probe
    raw: Probe
    pca: Probe


@dataclass(frozen=True)
class Principal:
    """Principal components: ``mean (D,)``, ``directions (D, R)``, ``variances (R,)``."""

    mean: Tensor
    directions: Tensor
    variances: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Codes ``(N, R)`` of observations ``(N, D)``."""
        return (x - self.mean.to(x)) @ self.directions.to(x)


def principal(x: Tensor, rank: int) -> Principal:
    """The directions in which observations ``(N, D)`` vary most, largest first."""
    x = checks.features(x, "observations", dtype=torch.float64)
    rank = min(rank, x.shape[1], len(x) - 1)
    centred = x - x.mean(0)
    if len(x) > x.shape[1]:
        values, vectors = torch.linalg.eigh(centred.T @ centred / (len(x) - 1))
        return Principal(x.mean(0), vectors.flip(1)[:, :rank], values.flip(0)[:rank].clamp(min=0))
    _, sigma, vt = torch.linalg.svd(centred, full_matrices=False)
    return Principal(x.mean(0), vt[:rank].T, sigma[:rank].square() / (len(x) - 1))


def probe(x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor, *, k: int = 5) -> Probe:
    """Fit on training codes and count on test codes.

    Args:
        x: training codes ``(N, D)``.
        y: their labels ``(N,)``.
        test_x: test codes ``(M, D)``.
        test_y: their labels.
        k: neighbours that vote; the nearest of those that tie decides.

    Raises:
        UsageError: if codes and labels do not fit each other.
    """
    x, test_x = checks.pair(x, test_x, names=("training codes", "test codes"), dtype=torch.float32)
    y, test_y = (
        checks.labels(y, len(x), "labels").to(x.device),
        checks.labels(test_y, len(test_x), "labels").to(x.device),
    )
    if not 1 <= k < len(x):
        raise UsageError(f"from 1 to {len(x) - 1} neighbours vote here, not {k}")
    classes = int(max(y.max(), test_y.max())) + 1
    linear = logistic.fit(x, y, classes).predict(test_x)
    return Probe(share(linear == test_y), share(vote(x, y, test_x, classes, k) == test_y), x.shape[1])


def vote(x: Tensor, y: Tensor, points: Tensor, classes: int, k: int) -> Tensor:
    """Classes ``(M,)`` of points ``(M, D)`` by the labels ``(N,)`` of their k nearest in x ``(N, D)``."""
    labels = y[nearest(points, x, k)[1]]
    # A hair more for the nearer ones: too little to outvote anybody, enough to break a tie.
    weights = 1 + torch.arange(k, 0, -1, device=x.device) / (2.0 * k * k)
    votes = torch.zeros(len(points), classes, device=x.device)
    return votes.scatter_add_(1, labels, weights.expand(len(points), k)).argmax(1)


def representation(
    codes: Tensor, x: Tensor, y: Tensor, test_codes: Tensor, test_x: Tensor, test_y: Tensor, *, k: int = 5
) -> Representation:
    """Probe codes, the observations themselves, and as many of their principal components as a code has numbers.

    Args:
        codes: of the training observations, ``(N, D)``.
        x: the observations ``(N, ...)``.
        y: labels ``(N,)``.
        test_codes: ``(M, D)``.
        test_x: ``(M, ...)``.
        test_y: ``(M,)``.
        k: neighbours that vote.
    """
    raw, test_raw = (checks.features(v, "observations") for v in (x, test_x))
    components = principal(raw, checks.features(codes, "codes").shape[1])
    return Representation(
        probe(codes, y, test_codes, test_y, k=k),
        probe(raw, y, test_raw, test_y, k=k),
        probe(components(raw), y, components(test_raw), test_y, k=k),
    )


class _Probed(Metric):
    """Codes of the training split judged on the data, beside raw numbers and principal components."""

    covers = "the accuracy on unlimited data, given the training codes"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        training: int = option(2000, "training observations, the same for codes and baselines", low=10)
        k: int = option(5, "neighbours that vote", low=1)

    options: Options

    def found(self, evidence: Evidence) -> Representation:
        o = self.options

        def compute() -> Representation:
            assert evidence.training is not None
            order = torch.randperm(len(evidence.training), generator=torch.Generator().manual_seed(0))
            some = evidence.training.take(order[: o.training])
            assert some.y is not None
            assert evidence.labels is not None
            own, other = evidence.posterior(some)[0], evidence.posterior()[0]
            x, test = as_floats(some), evidence.real
            return representation(own, x, some.y, other, test, evidence.labels, k=o.k)

        return evidence.once(("representation", o.training, o.k), compute)

    def measured(self, evidence: Evidence, kind: str) -> Measured:
        """One classifier on the codes, and the same on what costs nothing."""
        found = self.found(evidence)
        baselines = {"raw": found.raw, "PCA": found.pca}
        details: dict[str, Any] = {"dimensions": found.codes.dimensions}
        for name, probe in baselines.items():
            estimate: Estimate = getattr(probe, kind)
            details[name] = estimate.value
            details[f"{name} interval"] = [estimate.low, estimate.high]
        return Measured(getattr(found.codes, kind), details)

    def refuses(self, evidence: Evidence) -> str:
        if evidence.model is not None and evidence.model.classes:
            return "the model is told the labels, so what its codes say of them does not count"
        return "" if len(evidence.data) > 1 else "it needs two observations"


@declare.metric(
    "linear-probe",
    summary="accuracy of a linear classifier of codes; its details have raw pixels and PCA beside it",
    direction="higher",
    unit="share",
    needs=("data", "labels", "encoder", "training"),
    paper="arXiv:1610.01644",
    tags=("default", "representation"),
)
class LinearProbe(_Probed):
    """Logistic regression on posterior means. Only what it is above PCA of as many numbers was learned."""

    def measure(self, evidence: Evidence) -> Measured:
        return self.measured(evidence, "linear")


@declare.metric(
    "knn",
    summary="accuracy of a vote of the nearest training codes; its details have raw pixels and PCA beside it",
    direction="higher",
    unit="share",
    needs=("data", "labels", "encoder", "training"),
    tags=("representation",),
)
class NearestCodes(_Probed):
    """Nearest neighbours by posterior mean. Only what it is above PCA of as many numbers was learned."""

    def measure(self, evidence: Evidence) -> Measured:
        return self.measured(evidence, "neighbours")

    def title(self, evidence: Evidence) -> str:
        return "nearest-neighbour probe"
