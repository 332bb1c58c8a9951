"""What codes are worth: how much of them a posterior uses, and what they say of labels beside PCA of one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric, as_floats
from genzoo.core.math import logistic
from genzoo.core.math.intervals import Estimate, mean, share
from genzoo.core.math.neighbours import nearest
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare

_ACTIVE = 0.01  # least variance of a posterior's mean over the data
_IDLE, _SHARE = 0.01, 0.01  # largest KL in nats of a dimension that is not used, and the share of the data above it


@dataclass(frozen=True)
class Usage:
    """How a code's dimensions are used."""

    active: int  # dimensions whose posterior mean varies over the data by more than .01 (arXiv:1509.00519)
    of: int  # dimensions there are
    kl: Tensor  # mean over the data of KL(q(z_i|x) ‖ p(z_i)) in nats, (D,), or where it is of the whole code (1,)
    variance: Tensor  # of the posterior mean over the data, (D,)
    idle: int  # dimensions that are the prior for nearly all data

    @property
    def collapsed(self) -> bool:
        """Whether the code says nothing of the data: no unit is active (free bits cannot hide that), or all idle."""
        return self.active == 0 or self.idle == self.of


def usage(means: Tensor, kl: Tensor) -> Usage:
    """Judge posteriors by means ``(N, D)`` and KL to the prior in nats, ``(N, D)`` or of the whole code ``(N, 1)``.

    A dimension is idle if its KL is at most .01 nats for 99 % of the data, the (ε, δ)-collapse of J. Lucas et al.
    (arXiv:1911.02469); all are, or none, where the KL is of the whole code.

    Raises:
        UsageError: if the two differ in shape or there are fewer than two observations.
    """
    means, divergence = checks.features(means, "posterior means"), checks.features(kl, "divergences")
    if means.shape != divergence.shape and divergence.shape != (len(means), 1):
        raise UsageError(f"means are {tuple(means.shape)} and divergences {tuple(divergence.shape)}: both are (N, D)")
    variance = means.double().var(0)
    unused = ((divergence > _IDLE).double().mean(0) <= _SHARE).expand(means.shape[1])
    active, idle = int((variance > _ACTIVE).sum()), int(unused.sum())
    return Usage(active, means.shape[1], divergence.double().mean(0), variance, idle)


class _Codes(Metric):
    """What the posteriors of the data look like."""

    def found(self, evidence: Evidence) -> Usage:
        return evidence.once("usage", lambda: usage(*evidence.posterior()))

    def details(self, evidence: Evidence) -> dict[str, Any]:
        """By dimension, and whether the posterior has collapsed."""
        found = self.found(evidence)
        spread = {"variance of the mean per dimension": found.variance.tolist()}
        if _points(evidence):
            return {"of": found.of, "collapsed": found.active == 0, **spread}
        return {
            "of": found.of,
            "idle": found.idle,
            "collapsed": found.collapsed,
            "kl": float(found.kl.sum()),
            **({"kl per dimension": found.kl.tolist()} if len(found.kl) == found.of else {}),
            **spread,
        }


def _points(evidence: Evidence) -> bool:
    model = evidence.model
    return model is not None and model.head is not None and model.head.point


@declare.metric(
    "active-units",
    direction="higher",
    unit="dimensions",
    needs=("data", "encoder"),
    paper="arXiv:1509.00519",
    tags=("default", "representation"),
)
class ActiveUnits(_Codes):
    """Numbers of a code whose posterior mean varies over the data; 0 is a collapsed posterior.

    Dimensions with a variance over .01; the details hold variance and KL of each, and the collapse flag.
    """

    def measure(self, evidence: Evidence) -> Measured:
        estimate = Estimate(float(self.found(evidence).active), samples=(len(evidence.data),))
        return Measured(estimate, self.details(evidence), why="a count over all dimensions")


@declare.metric(
    "posterior-kl",
    direction="none",
    unit="nats",
    needs=("data", "encoder"),
    paper="arXiv:1312.6114",
    tags=("default", "representation"),
)
class PosteriorKL(_Codes):
    """What a code says of its observation: KL(q(z|x) ‖ p(z)), and that of each dimension.

    Mean over the data of the KL of the whole code; near 0 the decoder ignores it.
    """

    covers = "the mean over unlimited data"

    def measure(self, evidence: Evidence) -> Measured:
        return Measured(mean(evidence.posterior()[1].sum(1)), self.details(evidence))

    def refuses(self, evidence: Evidence) -> str:
        return "codes are points, which have no KL to a prior" if _points(evidence) else ""

    def title(self, evidence: Evidence) -> str:
        return "KL to the prior"


@dataclass(frozen=True)
class Probe:
    """Test accuracy of the simplest classifiers on one representation."""

    linear: Estimate  # of multinomial logistic regression
    neighbours: Estimate  # of a vote of the k nearest training codes
    dimensions: int  # numbers in the representation


def principal(x: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Mean ``(D,)`` and the directions ``(D, R)`` in which observations ``(N, D)`` vary most, largest first."""
    x = checks.features(x, "observations", dtype=torch.float64)
    rank = min(rank, x.shape[1], len(x) - 1)
    centred = x - x.mean(0)
    if len(x) > x.shape[1]:
        vectors = torch.linalg.eigh(centred.T @ centred / (len(x) - 1))[1].flip(1)
    else:
        vectors = torch.linalg.svd(centred, full_matrices=False)[2].T
    return x.mean(0), vectors[:, :rank]


def probe(x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor, *, k: int = 5) -> Probe:
    """Fit on training codes ``(N, D)`` and labels ``(N,)``, and count on test codes ``(M, D)`` and their labels.

    Of the k neighbours that vote, the nearest of those that tie decides.

    Raises:
        UsageError: if codes and labels do not fit each other.
    """
    x, test_x = checks.pair(x, test_x, names=("training codes", "test codes"), dtype=torch.float32)
    y, test_y = (checks.labels(of, len(z), "labels").to(x.device) for of, z in ((y, x), (test_y, test_x)))
    if not 1 <= k < len(x):
        raise UsageError(f"from 1 to {len(x) - 1} neighbours vote here, not {k}")
    classes = int(max(y.max(), test_y.max())) + 1
    linear = logistic.fit(x, y, classes).predict(test_x)
    return Probe(share(linear == test_y), share(_vote(x, y, test_x, classes, k) == test_y), x.shape[1])


def _vote(x: Tensor, y: Tensor, points: Tensor, classes: int, k: int) -> Tensor:
    """Classes ``(M,)`` of points ``(M, D)`` by the labels ``(N,)`` of their k nearest in x ``(N, D)``."""
    labels = y[nearest(points, x, k)[1]]
    # A hair more for the nearer ones: too little to outvote anybody, enough to break a tie.
    weights = 1 + torch.arange(k, 0, -1, device=x.device) / (2.0 * k * k)
    votes = torch.zeros(len(points), classes, device=x.device)
    return votes.scatter_add_(1, labels, weights.expand(len(points), k)).argmax(1)


def representation(
    codes: Tensor, x: Tensor, y: Tensor, test_codes: Tensor, test_x: Tensor, test_y: Tensor, *, k: int = 5
) -> dict[str, Probe]:
    """Probe ``codes`` as `probe` does, beside what costs nothing: the observations as ``raw`` numbers, and ``PCA``.

    There are as many principal components as a code has numbers: only what is above them was learned.
    """
    raw, test_raw = (checks.features(v, "observations") for v in (x, test_x))
    middle, directions = (t.to(raw) for t in principal(raw, checks.features(codes, "codes").shape[1]))
    components, test_components = ((v - middle) @ directions for v in (raw, test_raw))
    return {
        "codes": probe(codes, y, test_codes, test_y, k=k),
        "raw": probe(raw, y, test_raw, test_y, k=k),
        "PCA": probe(components, y, test_components, test_y, k=k),
    }


class _Probed(Metric):
    """Codes of the training split judged on the data, beside raw numbers and principal components."""

    covers = "the accuracy on unlimited data, given the training codes"
    kind: ClassVar[str]  # of `Probe`'s classifiers

    @dataclass(frozen=True)
    class Options(Metric.Options):
        training: int = option(2000, "training observations, the same for codes and baselines", low=10)
        k: int = option(5, "neighbours that vote", low=1)

    def found(self, evidence: Evidence) -> dict[str, Probe]:
        o = self.options

        def compute() -> dict[str, Probe]:
            order, y = evidence.labelled_training(o.training)
            assert evidence.training is not None
            assert evidence.labels is not None
            some = evidence.training.take(order)
            own, other = evidence.posterior(some)[0], evidence.posterior()[0]
            return representation(own, as_floats(some), y, other, evidence.real, evidence.labels, k=o.k)

        return evidence.once(("representation", o.training, o.k), compute)

    def measure(self, evidence: Evidence) -> Measured:
        """One classifier on the codes, and the same on what costs nothing."""
        found = self.found(evidence)
        details: dict[str, Any] = {"dimensions": found["codes"].dimensions}
        for name in ("raw", "PCA"):
            estimate: Estimate = getattr(found[name], self.kind)
            details |= {name: estimate.value, f"{name} interval": [estimate.low, estimate.high]}
        return Measured(getattr(found["codes"], self.kind), details)

    def refuses(self, evidence: Evidence) -> str:
        told = evidence.model is not None and evidence.model.classes
        if told:
            return "the model is told the labels, so what its codes say of them does not count"
        both = evidence.data.split == "all"  # training codes would be among those that are judged
        return "all of the data is judged: --split test keeps codes to train on apart" if both else ""


@declare.metric(
    "linear-probe",
    direction="higher",
    unit="share",
    needs=("data", "labels", "encoder", "training"),
    paper="arXiv:1610.01644",
    tags=("default", "representation"),
)
class LinearProbe(_Probed):
    """Accuracy of a linear classifier of codes; its details have raw pixels and PCA beside it.

    Logistic regression on posterior means. Only what it is above PCA of as many numbers was learned.
    """

    kind = "linear"


@declare.metric(
    "knn", direction="higher", unit="share", needs=("data", "labels", "encoder", "training"), tags=("representation",)
)
class NearestCodes(_Probed):
    """Accuracy of a vote of the nearest training codes; its details have raw pixels and PCA beside it.

    Nearest neighbours by posterior mean. Only what it is above PCA of as many numbers was learned.
    """

    kind = "neighbours"

    def title(self, evidence: Evidence) -> str:
        return "nearest-neighbour probe"
