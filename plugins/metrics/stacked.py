"""Modes of stacked pictures: each channel is classified, and the classes are the digits of a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genzoo.core.evaluation import Evidence, Measured, Metric
from genzoo.core.intervals import Estimate, bootstrap
from genzoo.core.options import option
from genzoo.plugins.metrics.fashion_classifier import FashionClassifier
from genzoo.plugins.metrics.labels import ClassCoverage, class_coverage, stacked
from genzoo.registry import declare

NAME = "stacked-fashion"
MODES = 1000


class _Stacked(Metric):
    """The protocol of stacked MNIST on Fashion-MNIST: 26,000 samples."""

    niche = True

    def predicted(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Modes of the samples and of the data, ``(N,)`` and ``(M,)``, numbers from 0 to 999."""
        return evidence.once("stacked", lambda: (modes_of(evidence.samples), modes_of(evidence.real)))

    def coverage(self, evidence: Evidence) -> ClassCoverage:
        """Against uniform shares."""
        return class_coverage(self.predicted(evidence)[0], MODES)

    def details(self, evidence: Evidence) -> dict[str, Any]:
        """What the data themselves score by the same judge: nobody can be expected to do better."""
        found, real = self.coverage(evidence), class_coverage(self.predicted(evidence)[1], MODES)
        return {
            "of": MODES,
            "missing": list(found.missing)[:100],
            "floor": found.floor,
            "modes of the data": real.captured,
            "kl of the data": real.kl,
        }

    def refuses(self, evidence: Evidence) -> str:
        """The judge knows clothes."""
        return "" if evidence.spec.name == NAME else f"it is of the data set {NAME}"


@declare.metric(
    "stacked-modes",
    summary="modes of a thousand that a classifier of each channel finds among stacked pictures",
    direction="higher",
    unit="modes",
    needs=("samples", "data", "images"),
    paper="arXiv:1611.02163",
    modalities=("image",),
    tags=("default", "modes"),
)
class StackedModes(_Stacked):
    """Combinations of three classes with at least one sample; the protocol takes 26,000."""

    def measure(self, evidence: Evidence) -> Measured:
        """See `class_coverage`."""
        found = self.coverage(evidence)
        estimate = Estimate(float(found.captured), samples=(found.samples,))
        return Measured(estimate, self.details(evidence), why="a count over all samples")


@declare.metric(
    "stacked-kl",
    summary="KL of stacked pictures' modes, as a classifier of each channel sees them, from the uniform thousand",
    direction="lower",
    unit="nats",
    needs=("samples", "data", "images"),
    paper="arXiv:1705.07761",
    modalities=("image",),
    tags=("default", "modes"),
)
class StackedKL(_Stacked):
    """Reverse KL(samples' histogram ‖ uniform). The details have the finite-sample floor and the data's own."""

    @dataclass(frozen=True)
    class Options(Metric.Options):
        """The interval."""

        resamples: int = option(100, "of the bootstrap for the interval; 0 for none", low=0)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        """See `class_coverage`."""
        modes, resamples = self.predicted(evidence)[0], self.options.resamples
        found = bootstrap(
            lambda m: class_coverage(m, MODES).kl, modes, resamples=resamples, seed=evidence.seed, low=0.0
        )
        return Measured(found, self.details(evidence))


@torch.no_grad()
def modes_of(x: Tensor) -> Tensor:
    """Modes ``(N,)`` of stacked pictures ``(N, 3, 28, 28)`` in [0, 1]."""
    judge = FashionClassifier.pretrained()
    channels = x.flatten(0, 1)[:, None]
    classes = torch.cat([judge(part).argmax(1) for part in torch.split(channels, 500)])
    return stacked(classes.view(len(x), -1))
