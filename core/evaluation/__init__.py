"""What judges models and samples: metrics, what they are given, and reports."""

from __future__ import annotations

from typing import Literal

Direction = Literal["higher", "lower", "none"]
DIRECTIONS: tuple[Direction, ...] = ("higher", "lower", "none")
NEEDS = (
    *("samples", "data", "images", "features", "labels", "training"),
    *("encoder", "likelihood", "conditional", "factors"),
)  # what a metric may need: `genzoo.core.evaluation.evidence.Evidence.lacks` says when each is met; features of samples
# need both
