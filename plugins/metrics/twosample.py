"""Classifier two-sample test: can anything tell samples from data?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math import logistic
from genzoo.core.math.intervals import Estimate, at_least, share
from genzoo.core.math.neighbours import nearest
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare


@dataclass(frozen=True)
class TwoSample:
    """What a classifier achieves on samples and data that it was not trained on.

    Attributes:
        accuracy: .5 if nothing tells them apart, 1 if everything does; with its exact binomial interval.
        p_value: probability of that accuracy or a higher one if the distributions were equal.
        real: share of the data that are taken for data.
        fake: share of the samples that are taken for samples.
    """

    accuracy: Estimate
    p_value: float
    real: float
    fake: float


def two_sample(
    samples: Tensor, data: Tensor, *, judge: Literal["logistic", "neighbours"] = "logistic", k: int = 5, seed: int = 0
) -> TwoSample:
    """Train on one half and test on the other (D. Lopez-Paz and M. Oquab, arXiv:1610.06545).

    Sets of unequal size are cut to the smaller one, so that chance is one half.

    Args:
        samples: features ``(N, D)``.
        data: features ``(M, D)``.
        judge: ``logistic`` regression, or a vote of the ``neighbours``, which sees what no plane can part
            (in sets of many features it needs many observations).
        k: how many neighbours vote; odd.
        seed: of the halves.

    Raises:
        UsageError: if a set has fewer than four observations, the judge is unknown, or k is even.
    """
    if judge not in ("logistic", "neighbours"):
        raise UsageError(f"the two-sample test's judge is 'logistic' or 'neighbours', not {judge!r}")
    if k < 1 or k % 2 == 0:
        raise UsageError(f"an odd number of neighbours votes, so that there are no ties, not {k}")
    fake, real = checks.pair(samples, data, least=4)
    n = min(len(fake), len(real)) // 2
    train, test = [], []
    for i, s in enumerate((fake, real)):
        order = torch.randperm(len(s), generator=generator(seed, i)).to(s.device)
        train.append(s[order[:n]])
        test.append(s[order[n : 2 * n]])
    x, held = torch.cat(train), torch.cat(test)
    y = torch.arange(2, device=x.device).repeat_interleave(n)
    if judge == "logistic":
        guess = logistic.fit(x, y, 2, decay=1e-2).predict(held)
    else:
        guess = (y[nearest(held, x, min(k, 2 * n - 1 + n % 2))[1]].double().mean(1) > 0.5).long()
    right = guess == y
    hits = int(right.sum())
    return TwoSample(
        share(right), at_least(hits, 2 * n, 0.5), right[n:].double().mean().item(), right[:n].double().mean().item()
    )


@declare.metric(
    "c2st",
    summary="classifier two-sample test: accuracy of telling samples from data, 50 % is best",
    direction="lower",
    unit="accuracy",
    needs=("samples", "data", "features"),
    paper="arXiv:1610.06545",
    tags=("distribution",),
)
class ClassifierTwoSample(Metric):
    """Accuracy of a classifier of features trained on one half of samples and data and tested on the other."""

    covers = "the accuracy of this classifier on unlimited samples and data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        judge: Literal["logistic", "neighbours"] = option("logistic", "a plane between them, or a vote of neighbours")

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        x, y = evidence.fake_features.features, evidence.real_features.features
        found = two_sample(x, y, judge=self.options.judge, seed=evidence.seed)
        details = {"p-value": found.p_value, "data taken for data": found.real, "samples taken for samples": found.fake}
        return Measured(found.accuracy, details)

    def refuses(self, evidence: Evidence) -> str:
        return "" if min(evidence.n_fake, len(evidence.data)) >= 4 else "it needs four samples and four observations"
