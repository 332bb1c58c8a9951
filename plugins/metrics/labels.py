"""Which classes a model makes, in which shares, and whether it makes what it was asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.plugins.metrics import checks
from genzoo.plugins.metrics.estimate import Estimate, share


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


def stacked(predicted: Tensor, classes: int = 10) -> Tensor:
    """One class of many from the classes of stacked images, ``(N, C)`` to ``(N,)``: digits of a number."""
    powers = classes ** torch.arange(predicted.shape[1] - 1, -1, -1, device=predicted.device)
    return (predicted.long() * powers).sum(1)


def conditional_accuracy(predicted: Tensor, asked: Tensor) -> Estimate:
    """Share of label-conditioned samples that a held-out classifier takes for what was asked for."""
    n = len(asked)
    return share(
        checks.labels(predicted, n, "predicted classes") == checks.labels(asked, n, "labels").to(predicted.device)
    )
