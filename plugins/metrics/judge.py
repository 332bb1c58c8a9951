"""Who says of what class a sample is: the extractor's own classifier where it knows the classes, else a fitted one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence
from genzoo.core.math import logistic

_MOST = 10_000  # training observations that a classifier is fitted on


@dataclass(frozen=True)
class Judgement:
    """Classes as a classifier sees them.

    Attributes:
        fake: of the samples, ``(N,)``.
        real: of the data, ``(M,)``.
        accuracy: on the data; no model can be expected to score above it.
        name: of the classifier.
    """

    fake: Tensor
    real: Tensor
    accuracy: float
    name: str


def knows(evidence: Evidence) -> bool:
    """Whether the extractor classifies into the data's own classes."""
    names = evidence.extractor.class_names if evidence.extractor is not None else ()
    return bool(names) and tuple(names) == tuple(evidence.spec.class_names)


def refuses(evidence: Evidence) -> str:
    """Why nobody can judge classes here, "" if somebody can."""
    if knows(evidence):
        return ""
    if not evidence.has_training:
        return "no classifier knows the data's classes, and there is no training data to fit one on"
    return ""


def judge(evidence: Evidence) -> Judgement:
    """Classify samples and data: by the extractor, or by logistic regression on features of the training split."""
    return evidence.once("judge", lambda: _judge(evidence))


def _judge(evidence: Evidence) -> Judgement:
    fake, real = evidence.fake_features, evidence.real_features
    assert evidence.extractor is not None
    assert evidence.labels is not None
    if knows(evidence):
        assert fake.logits is not None
        assert real.logits is not None
        guess, guess_real, name = fake.logits.argmax(1), real.logits.argmax(1), evidence.extractor.name
    else:
        training = evidence.training
        assert training is not None
        assert training.y is not None
        features = evidence.training_features.features
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))[:_MOST]
        fitted = logistic.fit(features[order], training.y[order], evidence.spec.classes, decay=1e-2)
        guess, guess_real = fitted.predict(fake.features), fitted.predict(real.features)
        name = f"logistic regression on {evidence.extractor.name}"
    accuracy = (guess_real == evidence.labels).double().mean().item()
    return Judgement(guess, guess_real, accuracy, name)
