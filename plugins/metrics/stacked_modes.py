"""Modes of stacked pictures: each channel is classified, and the classes are the digits of a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Extractor, Measured, Metric
from genzoo.core.evaluation.report import AT_COUNTS
from genzoo.core.math.intervals import Estimate
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.metrics.labels import ClassCoverage, class_coverage, kl_with_interval, stacked
from genzoo.registry import declare, the_registry

MODES = 1000


class _Stacked(Metric):
    """The protocol of stacked MNIST: 26,000 samples, each channel judged by the bundled classifier of its pictures."""

    niche = True

    def predicted(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Modes of the samples and of the data, ``(N,)`` and ``(M,)``, numbers from 0 to 999."""
        known = evidence.data.modes
        assert known is not None

        def judged() -> tuple[Tensor, Tensor]:
            real, back = distinct(evidence.real)
            seen = classes_of(real, known.classifier)[back].view(len(evidence.real), -1)
            return modes_of(evidence.samples, known.classifier), stacked(seen)

        return evidence.once("stacked", judged)

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
        known = evidence.data.modes
        return "" if known is not None and known.classifier else "no classifier of the data's channels is known"


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

    covers = AT_COUNTS

    @dataclass(frozen=True)
    class Options(Metric.Options):
        resamples: int = option(100, "parts of the jackknife; 0 for no interval", low=0)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        found = kl_with_interval(self.predicted(evidence)[0], MODES, self.options.resamples)
        return Measured(found, self.details(evidence))


def modes_of(x: Tensor, classifier: str) -> Tensor:
    """Modes ``(N,)``, from 0 to 999, of stacked pictures ``(N, 3, H, W)`` in [0, 1] by the extractor of that name."""
    return stacked(classes_of(x.flatten(0, 1)[:, None], classifier).view(len(x), -1))


@torch.no_grad()
def classes_of(x: Tensor, classifier: str) -> Tensor:
    """Classes ``(N,)`` of pictures ``(N, 1, H, W)`` in [0, 1] by the extractor of that name."""
    registry = the_registry()
    cls: Any = registry.load(registry.get("extractor", classifier), Extractor)
    judge = cls.open(DataSpec.image(*x.shape[1:]))
    return torch.cat([judge.extract(part).logits.argmax(1) for part in torch.split(x, 500)])


def distinct(x: Tensor) -> tuple[Tensor, Tensor]:
    """The different channels ``(K, 1, H, W)`` of stacks ``(N, C, H, W)`` and which one each is, ``(N · C,)``.

    Real stacks are made of few pictures, which need not be judged again and again.
    """
    channels = x.cpu().flatten(0, 1)
    rows = np.ascontiguousarray((channels * 255).round().to(torch.uint8).flatten(1).numpy())
    _, first, back = np.unique(rows.view(f"V{rows.shape[1]}").ravel(), return_index=True, return_inverse=True)
    return channels[torch.from_numpy(first)][:, None], torch.from_numpy(back)
