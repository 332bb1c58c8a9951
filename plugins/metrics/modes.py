"""Mode coverage on mixtures whose modes are known: collapse measured, not eyeballed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.evaluation.report import AT_COUNTS, POPULATION
from genzoo.core.math.intervals import Estimate, jackknife, share
from genzoo.core.options import option
from genzoo.registry import declare

LEAST = 20  # high-quality samples that a mode needs to count as captured


@dataclass(frozen=True)
class ModeCoverage:
    """How samples spread over the modes of a mixture.

    Attributes:
        modes: modes that have at least 20 high-quality samples.
        of: modes that there are.
        high_quality: share of samples within three standard deviations of the nearest centre.
        kl: KL(histogram of the high-quality samples over modes ‖ uniform) in nats; infinite without any.
        floor: what `kl` is in expectation for that many samples of a uniform histogram, (K - 1) / 2N.
        samples: how many were judged.
    """

    modes: int
    of: int
    high_quality: float
    kl: float
    floor: float
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with None for what is infinite."""
        return {k: v if math.isfinite(v) else None for k, v in asdict(self).items()}


def mode_coverage(x: Tensor, centres: Sequence[Sequence[float]], sigma: float) -> ModeCoverage:
    """Judge samples by the protocol of VEEGAN (arXiv:1705.07761), with at least 20 samples for a mode.

    A single sample would not do: 2,500 uniformly random points come close to 21 of 25 modes.

    Args:
        x: samples ``(N, D)``.
        centres: means of the modes, ``(K, D)``.
        sigma: standard deviation of every mode along each axis.
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

    def details(self, evidence: Evidence) -> dict[str, Any]:
        """All that was counted."""
        return self.found(evidence).to_dict()

    def refuses(self, evidence: Evidence) -> str:
        known = evidence.data.modes
        return "" if known is not None and known.centres else "the centres of the data's modes are not known"


@declare.metric(
    "modes",
    summary="modes of a known mixture with at least 20 samples within three standard deviations",
    direction="higher",
    unit="modes",
    needs=("samples", "data"),
    paper="arXiv:1705.07761",
    tags=("default", "modes"),
    modalities=("vector",),
    rank=1,
)
class Modes(_Modes):
    """How many modes of ``ring8`` or ``grid25`` the model covers; 2,500 samples is the protocol."""

    def measure(self, evidence: Evidence) -> Measured:
        found = self.found(evidence)
        estimate = Estimate(float(found.modes), samples=(found.samples,))
        return Measured(estimate, self.details(evidence), why="a count over all samples")


@declare.metric(
    "high-quality",
    summary="share of samples within three standard deviations of a mode; 98.9 % of the data are",
    direction="higher",
    unit="share",
    needs=("samples", "data"),
    paper="arXiv:1705.07761",
    tags=("default", "modes"),
    modalities=("vector",),
)
class HighQuality(_Modes):
    """Samples near a mode of a known mixture. One mode alone can score 100 %: read it beside ``modes``."""

    covers = POPULATION

    def measure(self, evidence: Evidence) -> Measured:
        found = self.found(evidence)
        return Measured(share(round(found.high_quality * found.samples), found.samples), self.details(evidence))


@declare.metric(
    "mode-kl",
    summary="KL of the high-quality samples' histogram over the modes from the uniform one",
    direction="lower",
    unit="nats",
    needs=("samples", "data"),
    paper="arXiv:1705.07761",
    tags=("default", "modes"),
    modalities=("vector",),
)
class ModeKL(_Modes):
    """How unevenly the modes of a known mixture are covered; ``floor`` in the details is what chance leaves."""

    covers = AT_COUNTS

    @dataclass(frozen=True)
    class Options(Metric.Options):
        resamples: int = option(200, "parts of the jackknife; 0 for no interval", low=0)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        known, found = evidence.data.modes, self.found(evidence)
        assert known is not None
        if not math.isfinite(found.kl):
            return Measured(Estimate(found.kl, samples=(found.samples,)), self.details(evidence), why="no good sample")
        good = found.high_quality * found.samples
        estimate = jackknife(
            lambda x: mode_coverage(x, known.centres, known.sigma).kl,
            evidence.samples,
            parts=self.options.resamples,
            less=(found.of - 1) / (2 * good**2),  # as in `kl_with_interval`
            seed=evidence.seed,
            low=0.0,
        )
        return Measured(estimate, self.details(evidence))
