"""Inception-style score: samples that a classifier is sure of, spread over all its classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Metric
from genzoo.core.evaluation.report import AT_COUNTS
from genzoo.core.math.intervals import Estimate, mean
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare


def classifier_score(logits: Tensor, *, splits: int = 10, seed: int = 0) -> Estimate:
    """Mean over splits of exp E KL(p(y|x) ‖ p(y)), from 1 (worst) to the number of classes.

    It is the inception score (T. Salimans et al., arXiv:1606.03498) only if the logits are Inception's. It
    never sees the data: a model that draws one perfect sample of each class has the best score.

    Args:
        logits: a classifier's, ``(N, classes)``.
        splits: disjoint parts in a random order; the interval is Student's over them, none for one split.
        seed: of that order.

    Raises:
        UsageError: if there are fewer observations than splits.
    """
    logits = checks.features(logits, "logits", least=1, dtype=torch.float64)
    if not 1 <= splits <= len(logits):
        raise UsageError(f"{len(logits)} observations cannot be cut into {splits} splits")
    order = torch.randperm(len(logits), generator=generator(seed, 0)).to(logits.device)
    log_p = torch.log_softmax(logits[order], 1)
    scores = torch.stack([_score(part) for part in log_p.tensor_split(splits)])
    found = mean(scores, f"t over {splits} splits")
    return Estimate(found.value, found.low, found.high, (len(logits),), found.interval)


def _score(log_p: Tensor) -> Tensor:
    marginal = torch.logsumexp(log_p, 0) - math.log(len(log_p))
    p = log_p.exp()
    return (p * (log_p - marginal)).sum(1).mean().exp()


@declare.metric(
    "classifier-score",
    summary="Inception-style score: samples that a classifier is sure of, spread over its classes",
    direction="higher",
    needs=("samples", "features"),
    paper="arXiv:1606.03498",
    tags=("distribution",),
)
class ClassifierScore(Metric):
    """exp E KL(p(y|x) ‖ p(y)), from 1 to the number of classes; it never looks at the data.

    Its name is the inception score only with Inception as the classifier.
    """

    covers = AT_COUNTS

    @dataclass(frozen=True)
    class Options(Metric.Options):
        splits: int = option(10, "disjoint parts that it is averaged over", low=1)

    options: Options

    def measure(self, evidence: Evidence) -> Estimate:
        logits = evidence.fake_features.logits
        assert logits is not None
        return classifier_score(logits, splits=self.options.splits, seed=evidence.seed)

    def refuses(self, evidence: Evidence) -> str:
        name = evidence.extractor.name if evidence.extractor is not None else ""
        if evidence.extractor is None or not evidence.extractor.class_names:
            return f"the extractor {name!r} does not classify"
        few = f"{evidence.n_fake} samples cannot be cut into {self.options.splits} splits"
        return few if evidence.n_fake < self.options.splits else ""

    def title(self, evidence: Evidence) -> str:
        inception = evidence.extractor is not None and evidence.extractor.inception
        return "inception score" if inception else "classifier score"
