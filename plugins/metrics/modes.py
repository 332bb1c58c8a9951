"""Mode coverage where the modes are known, of mixtures and of stacked pictures: collapse measured, not eyeballed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Extractor, Measured, Metric
from genzoo.core.evaluation.report import AT_COUNTS, POPULATION
from genzoo.core.math.intervals import Estimate, jackknife, share
from genzoo.core.options import option
from genzoo.core.spec import DataSpec
from genzoo.plugins.metrics.labels import ClassCoverage, class_coverage, kl_with_interval
from genzoo.registry import declare, the_registry

LEAST = 20  # high-quality samples that a mode of a mixture needs to count as captured
MODES = 1000  # of stacked pictures
COUNT = "a count over all samples"  # why there is no interval


@dataclass(frozen=True)
class ModeCoverage:
    """How samples spread over the modes of a mixture."""

    modes: int  # modes that have at least 20 high-quality samples
    of: int  # modes that there are
    high_quality: float  # share of samples within three standard deviations of the nearest centre
    kl: float  # KL(histogram of the high-quality samples over modes ‖ uniform) in nats; infinite without any
    floor: float  # what `kl` is in expectation for that many samples of a uniform histogram, (K - 1) / 2N
    samples: int  # how many were judged

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with None for what is infinite."""
        return {k: v if math.isfinite(v) else None for k, v in asdict(self).items()}


def mode_coverage(x: Tensor, centres: Sequence[Sequence[float]], sigma: float) -> ModeCoverage:
    """Judge samples ``(N, D)`` by the protocol of VEEGAN (arXiv:1705.07761), with at least 20 samples for a mode.

    The modes have the means ``centres (K, D)`` and the standard deviation ``sigma`` along each axis. A single sample
    would not do for a mode: 2,500 uniformly random points come close to 21 of 25.
    """
    means = torch.tensor(centres, dtype=torch.float64)
    points = torch.nan_to_num(x.double().cpu(), nan=math.inf)
    distance, nearest = torch.cdist(points, means, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
    good = distance <= 3 * sigma
    counts = torch.bincount(nearest[good], minlength=len(means)).double()
    n = int(counts.sum())
    p = counts / max(n, 1)
    kl = float(torch.special.xlogy(p, p * len(means)).sum()) if n else math.inf
    floor = (len(means) - 1) / (2 * n) if n else math.inf
    return ModeCoverage(int((counts >= LEAST).sum()), len(means), float(good.double().mean()), kl, floor, len(x))


class _Modes(Metric):
    """The protocol of `mode_coverage` on a mixture whose modes are known."""

    niche = True

    def found(self, evidence: Evidence) -> ModeCoverage:
        known = evidence.data.modes
        assert known is not None
        return evidence.once("modes", lambda: mode_coverage(evidence.samples, known.centres, known.sigma))

    def measured(self, evidence: Evidence, estimate: Estimate, why: str = "") -> Measured:
        return Measured(estimate, self.found(evidence).to_dict(), why=why)

    def refuses(self, evidence: Evidence) -> str:
        known = evidence.data.modes
        return "" if known is not None and known.centres else "the centres of the data's modes are not known"


@declare.metric(
    "modes",
    direction="higher",
    unit="modes",
    needs=("samples", "data"),
    paper="arXiv:1705.07761",
    tags=("default", "modes"),
    modalities=("vector",),
    rank=1,
)
class Modes(_Modes):
    """Modes of a known mixture with at least 20 samples within three standard deviations.

    How many modes of ``ring8`` or ``grid25`` the model covers; 2,500 samples is the protocol.
    """

    def measure(self, evidence: Evidence) -> Measured:
        found = self.found(evidence)
        return self.measured(evidence, Estimate(float(found.modes), samples=(found.samples,)), COUNT)


@declare.metric(
    "high-quality",
    direction="higher",
    unit="share",
    needs=("samples", "data"),
    paper="arXiv:1705.07761",
    tags=("default", "modes"),
    modalities=("vector",),
)
class HighQuality(_Modes):
    """Share of samples within three standard deviations of a mode; 98.9 % of the data are.

    Of a known mixture. One mode alone can score 100 %: read it beside ``modes``.
    """

    covers = POPULATION

    def measure(self, evidence: Evidence) -> Measured:
        found = self.found(evidence)
        return self.measured(evidence, share(round(found.high_quality * found.samples), found.samples))


@declare.metric(
    "mode-kl",
    direction="lower",
    unit="nats",
    needs=("samples", "data"),
    paper="arXiv:1705.07761",
    tags=("default", "modes"),
    modalities=("vector",),
)
class ModeKL(_Modes):
    """KL of the high-quality samples' histogram over the modes from the uniform one.

    How unevenly the modes of a known mixture are covered; ``floor`` in the details is what chance leaves.
    """

    covers = AT_COUNTS

    @dataclass(frozen=True)
    class Options(Metric.Options):
        resamples: int = option(200, "parts of the jackknife; 0 for no interval", low=0)

    def measure(self, evidence: Evidence) -> Measured:
        known, found = evidence.data.modes, self.found(evidence)
        assert known is not None
        if not math.isfinite(found.kl):
            return self.measured(evidence, Estimate(found.kl, samples=(found.samples,)), "no good sample")
        good = found.high_quality * found.samples
        estimate = jackknife(
            lambda x: mode_coverage(x, known.centres, known.sigma).kl,
            evidence.samples,
            parts=self.options.resamples,
            less=(found.of - 1) / (2 * good**2),  # as in `kl_with_interval`
            seed=evidence.seed,
            low=0.0,
        )
        return self.measured(evidence, estimate)


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
    direction="higher",
    unit="modes",
    needs=("samples", "data", "images"),
    paper="arXiv:1611.02163",
    modalities=("image",),
    tags=("default", "modes"),
)
class StackedModes(_Stacked):
    """Modes of a thousand that a classifier of each channel finds among stacked pictures.

    Combinations of three classes with at least one sample; the protocol takes 26,000.
    """

    def measure(self, evidence: Evidence) -> Measured:
        found = self.coverage(evidence)
        return Measured(Estimate(float(found.captured), samples=(found.samples,)), self.details(evidence), why=COUNT)


@declare.metric(
    "stacked-kl",
    direction="lower",
    unit="nats",
    needs=("samples", "data", "images"),
    paper="arXiv:1705.07761",
    modalities=("image",),
    tags=("default", "modes"),
)
class StackedKL(_Stacked):
    """KL of stacked pictures' modes, as a classifier of each channel sees them, from the uniform thousand.

    The details have what chance leaves at this count (``floor``), and the data's own.
    """

    covers = AT_COUNTS

    @dataclass(frozen=True)
    class Options(Metric.Options):
        resamples: int = option(100, "parts of the jackknife; 0 for no interval", low=0)

    def measure(self, evidence: Evidence) -> Measured:
        found = kl_with_interval(self.predicted(evidence)[0], MODES, self.options.resamples)
        return Measured(found, self.details(evidence))


def stacked(predicted: Tensor, classes: int = 10) -> Tensor:
    """One class of many from the classes of stacked images, ``(N, C)`` to ``(N,)``: digits of a number."""
    powers = classes ** torch.arange(predicted.shape[1] - 1, -1, -1, device=predicted.device)
    return (predicted.long() * powers).sum(1)


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
