"""Inception-style score: samples that a classifier is sure of, spread over all its classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.noise import generator
from genzoo.plugins.metrics import checks
from genzoo.plugins.metrics.estimate import Estimate, mean


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
