"""What a metric may need of its `genzoo.core.evaluation.evidence.Evidence`, and why that is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from genzoo.core.likelihood import Implicit
from genzoo.core.modality import of


def _encoder(e: Any) -> str:
    if e.model is None:
        return "these are samples without their model"
    if e.model.encoder is None:
        return "the model has no encoder"
    return _told_labels(e)


def _told_labels(e: Any) -> str:
    if e.model is not None and e.model.classes and e.labels is None:
        return "the model is conditional and the data has no labels"
    return ""


def _likelihood(e: Any) -> str:
    if e.model is None:
        return "these are samples without their model"
    if isinstance(e.model.likelihood, Implicit):
        return "the model has no likelihood: a GAN's generator puts out samples, not a distribution"
    if not e.model.likelihood.normalized:
        return "what the model is trained by is a distance, whose exponential is no density: it has no likelihood"
    return _told_labels(e) if e.model.exact else _encoder(e)


def _training(e: Any) -> str:
    return "" if e.has_training else "the training data is not known: name a data set or a path, or give training="


NEEDS: Mapping[str, Callable[[Any], str]] = {
    "samples": lambda e: "",
    "data": lambda e: "",
    "images": lambda e: "" if of(e.spec).pixels else f"it is of images, and this is {e.spec.modality} data",
    "features": lambda e: "" if e.extractor else e.why_no_extractor,
    "labels": lambda e: "" if e.labels is not None else "the data has no labels",
    "training": _training,
    "encoder": _encoder,
    "likelihood": _likelihood,
    "conditional": lambda e: "" if e.has_asked else "the samples were not asked to be of any class",
    "factors": lambda e: "" if e.data.factors is not None else "the factors behind this data are not known",
}
