"""Which classes a model makes, in which shares, and whether it makes what it was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.evaluation.report import POPULATION
from genzoo.core.math.intervals import Estimate, jackknife, share
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.plugins.metrics.judge import judge, refuses
from genzoo.registry import declare


@dataclass(frozen=True)
class ClassCoverage:
    """How samples spread over classes, as a classifier sees them.

    Attributes:
        captured: classes with at least one sample.
        of: classes there are.
        missing: those with none.
        kl: reverse KL(samples' shares ‖ reference shares) in nats; infinite outside the reference's support.
        floor: what `kl` is in expectation for as many samples of the reference itself, (K - 1) / 2N.
        shares: ``(K,)``.
        samples: how many were judged.
    """

    captured: int
    of: int
    missing: tuple[int, ...]
    kl: float
    floor: float
    shares: Tensor
    samples: int


def class_coverage(predicted: Tensor, classes: int, reference: Tensor | None = None) -> ClassCoverage:
    """Count classes and compare their shares; with 1,000 of them, the stacked-images protocol (arXiv:1705.07761).

    Args:
        predicted: classes of samples, ``(N,)``.
        classes: how many there are.
        reference: the data's shares ``(K,)``; None is uniform.

    Raises:
        UsageError: if a class is out of range.
    """
    predicted = checks.labels(predicted, len(predicted), "predicted classes")
    if not len(predicted) or int(predicted.max()) >= classes:
        raise UsageError(f"predicted classes are from 0 to {classes - 1}, and there is at least one")
    counts = torch.bincount(predicted, minlength=classes).double()
    q = torch.full_like(counts, 1 / classes) if reference is None else reference.to(counts) / reference.sum()
    p = counts / counts.sum()
    kl = (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum().item()
    missing = tuple((counts == 0).nonzero().flatten().tolist())
    floor = (int((q > 0).sum()) - 1) / (2 * len(predicted))
    return ClassCoverage(classes - len(missing), classes, missing, kl, floor, p, len(predicted))


def kl_with_interval(predicted: Tensor, classes: int, parts: int, reference: Tensor | None = None) -> Estimate:
    """The `kl` of `class_coverage`, with the jackknife's interval of what it is in expectation at that many samples.

    Args:
        predicted: classes of samples, ``(N,)``.
        classes: how many there are.
        parts: of the jackknife; 0 for no interval.
        reference: the data's shares ``(K,)``, taken as they are; None is uniform.
    """
    # 2N · KL is nearly χ² with a degree for each further class where the shares agree; its variance is second-order.
    second = (len(torch.unique(predicted)) - 1) / (2 * len(predicted) ** 2)
    return jackknife(lambda y: class_coverage(y, classes, reference).kl, predicted, parts=parts, less=second, low=0.0)


def stacked(predicted: Tensor, classes: int = 10) -> Tensor:
    """One class of many from the classes of stacked images, ``(N, C)`` to ``(N,)``: digits of a number."""
    powers = classes ** torch.arange(predicted.shape[1] - 1, -1, -1, device=predicted.device)
    return (predicted.long() * powers).sum(1)


def corrected(predicted: Tensor, real: Tensor, truth: Tensor, classes: int, steps: int = 500) -> Tensor:
    """Shares of classes ``(K,)`` among samples, freed of the classifier's own confusions.

    The most likely shares p for which Σ_k p_k P(predicted | k) gives what was predicted, where P comes from data of
    known class; by expectation maximization (M. Saerens et al., Neural Computation 2002).

    Args:
        predicted: classes of samples as the classifier sees them, ``(N,)``.
        real: classes of data as it sees them, ``(M,)``.
        truth: what they are, ``(M,)``.
        classes: how many there are.
        steps: of the maximization.
    """
    table = torch.zeros(classes, classes, dtype=torch.float64)
    table.index_put_((truth, real), torch.ones(len(truth), dtype=torch.float64), accumulate=True)
    table += 1e-3 / classes + 1e-3 * torch.eye(classes, dtype=torch.float64)  # for classes that the data lack
    table /= table.sum(1, keepdim=True)
    seen = torch.bincount(predicted, minlength=classes).double() / len(predicted)
    p = torch.full((classes,), 1 / classes, dtype=torch.float64)
    for _ in range(steps):
        p = p * (table @ (seen / (p @ table)))
    return p


def conditional_accuracy(predicted: Tensor, asked: Tensor) -> Estimate:
    """Share of label-conditioned samples that a held-out classifier takes for what was asked for."""
    n = len(asked)
    return share(
        checks.labels(predicted, n, "predicted classes") == checks.labels(asked, n, "labels").to(predicted.device)
    )


class _Judged(Metric):
    """What a classifier says of samples."""

    def coverage(self, evidence: Evidence) -> ClassCoverage:
        """Spread over the classes of the data, in the shares in which the classifier sees the data themselves."""
        found, classes = judge(evidence), evidence.spec.classes
        reference = torch.bincount(found.real, minlength=classes).double().clamp(min=0.5)
        return evidence.once("class coverage", lambda: class_coverage(found.fake, classes, reference))

    def details(self, evidence: Evidence) -> dict[str, Any]:
        """Shares by class, and how good the judge is."""
        coverage, judged = self.coverage(evidence), judge(evidence)
        names = evidence.spec.class_names or tuple(map(str, range(evidence.spec.classes)))
        real = torch.bincount(judged.real, minlength=coverage.of).double() / len(judged.real)
        return {
            "of": coverage.of,
            "shares": dict(zip(names, coverage.shares.tolist(), strict=True)),
            "shares of the data": dict(zip(names, real.tolist(), strict=True)),
            "classifier": judged.name,
            "accuracy of the classifier": judged.accuracy,
        }

    def refuses(self, evidence: Evidence) -> str:
        return refuses(evidence)


@declare.metric(
    "classes",
    summary="classes of the data that a classifier finds among the samples, and which are missing",
    direction="higher",
    unit="classes",
    needs=("samples", "data", "features", "labels"),
    tags=("default", "modes"),
    rank=2,
)
class ClassesCaptured(_Judged):
    """Classes of which the samples hold at least a fifth of what the data do; the details name what is missing.

    A classifier that errs finds classes that are not there, so its confusions on the data are taken out of the
    shares first (see `corrected`).
    """

    def measure(self, evidence: Evidence) -> Measured:
        found, details, classes = judge(evidence), self.details(evidence), evidence.spec.classes
        assert evidence.labels is not None
        truth = evidence.labels.cpu()
        shares = corrected(found.fake, found.real, truth, classes)
        usual = torch.bincount(truth, minlength=classes).double() / len(truth)
        there = (shares >= 0.2 * usual) & (shares > 0)
        names = list(details["shares"])
        details["corrected shares"] = dict(zip(names, shares.tolist(), strict=True))
        details["missing"] = [n for n, captured in zip(names, there.tolist(), strict=True) if not captured]
        return Measured(Estimate(float(there.sum())), details, why="a count over all samples")


@declare.metric(
    "class-kl",
    summary="KL of the samples' classes from the data's, as a classifier sees both",
    direction="lower",
    unit="nats",
    needs=("samples", "data", "features", "labels"),
    paper="arXiv:1705.07761",
    tags=("default", "modes"),
)
class ClassKL(_Judged):
    """Reverse KL(shares of the samples ‖ shares of the data), both by the same classifier.

    The details' ``floor`` is what as many observations of the data themselves would score in expectation.
    """

    covers = "the expected value at this count of samples, given the data's shares"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        resamples: int = option(200, "parts of the jackknife; 0 for no interval", low=0)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        judged, classes = judge(evidence), evidence.spec.classes
        reference = torch.bincount(judged.real, minlength=classes).double().clamp(min=0.5)
        estimate = kl_with_interval(judged.fake, classes, self.options.resamples, reference)
        return Measured(estimate, {**self.details(evidence), "floor": self.coverage(evidence).floor})


@declare.metric(
    "conditional-accuracy",
    summary="share of label-conditioned samples that a held-out classifier takes for what was asked for",
    direction="higher",
    unit="share",
    needs=("samples", "data", "features", "labels", "conditional"),
    paper="arXiv:1610.09585",
    tags=("default", "conditioning"),
)
class ConditionalAccuracy(_Judged):
    """How often a conditional model makes what it was asked for; a model that always draws one picture does too."""

    covers = POPULATION

    def measure(self, evidence: Evidence) -> Measured:
        judged, asked = judge(evidence), evidence.asked
        assert asked is not None
        details = {"classifier": judged.name, "accuracy of the classifier": judged.accuracy}
        return Measured(conditional_accuracy(judged.fake, asked.cpu()), details)
