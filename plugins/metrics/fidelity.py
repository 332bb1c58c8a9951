"""Fidelity and diversity apart: precision, recall, density and coverage on nearest-neighbour balls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Metric
from genzoo.core.math.intervals import Estimate, mean, normal, share
from genzoo.core.math.neighbours import centred, slabs
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare

_PARTS = 20  # of the samples, for coverage's interval


@dataclass(frozen=True)
class Fidelity:
    """What balls that reach from each point to its k-th neighbour within its own set hold of the other set.

    The intervals say how well the judged points stand for their distribution, given the other set: exact
    binomial ones for the shares, Student's for density, and for coverage the jackknife over samples.
    """

    precision: Estimate  # share of samples in some ball of the data
    recall: Estimate  # share of data in some ball of the samples
    density: Estimate  # balls of the data that a sample lies in, over k; 1 in expectation for the data's own
    coverage: Estimate  # share of the data's balls that hold a sample


def fidelity(samples: Tensor, data: Tensor, *, k: int = 5) -> Fidelity:
    """Improved precision and recall (arXiv:1904.06991), density and coverage (arXiv:2002.09797).

    Of features ``(N, D)`` and ``(M, D)``; k sets a ball's radius.

    Raises:
        UsageError: if a set has no k neighbours to a point, or the features differ in size.
    """
    if k < 1:
        raise UsageError(f"a ball reaches to at least the first neighbour, not to number {k}")
    fake, real = checks.pair(samples, data, least=k + 1)
    fake, real = centred(fake, real)
    fake_radii, real_radii = _radii(fake, k), _radii(real, k)
    balls = torch.zeros(len(fake), dtype=torch.float64, device=fake.device)
    covered = torch.empty(len(real), dtype=torch.bool, device=real.device)
    recalled = torch.empty_like(covered)
    parts = min(_PARTS, len(fake))
    part = torch.randperm(len(fake), generator=generator(0)).to(fake.device) % parts
    member = torch.nn.functional.one_hot(part, parts).to(fake.dtype)
    without = torch.zeros(parts, dtype=torch.float64, device=fake.device)  # balls that hold a sample of no other part
    norms = real.square().sum(1, keepdim=True)
    for rows, slab in slabs(real, fake):
        slab += norms[rows]
        inside = slab < real_radii[rows, None]
        balls += inside.sum(0)
        covered[rows] = inside.any(1)
        held = inside.to(fake.dtype) @ member
        without += (held.sum(1, keepdim=True) - held > 0.5).sum(0)
        recalled[rows] = (slab < fake_radii).any(1)
    found = (share(balls > 0), share(recalled), mean(balls / k), _spread(share(covered), without / len(real)))
    return Fidelity(*(replace(one, samples=(len(fake), len(real))) for one in found))


def _spread(exact: Estimate, without: Tensor) -> Estimate:
    """The wider of the exact interval and the jackknife's: balls that overlap are held by the same samples."""
    parts = len(without)
    error = (without.var() * (parts - 1) ** 2 / parts).sqrt().item()
    found = normal(exact.value, error, (), "", parts - 1)
    low, high = max(min(exact.low, found.low), 0.0), min(max(exact.high, found.high), 1.0)
    return replace(exact, low=low, high=high, interval="exact binomial or jackknife, the wider")


def _radii(x: Tensor, k: int) -> Tensor:
    """Squared distance from each point to its k-th neighbour in its own set, ``(N,)``.

    A little less, by the rounding of such distances: where samples copy the data, a neighbour that lies on
    the ball is outside, as it is in exact arithmetic, and not in or out by chance.
    """
    found = torch.empty(len(x), dtype=x.dtype, device=x.device)
    norms = x.square().sum(1)
    for rows, slab in slabs(x, x):
        found[rows] = slab.topk(k + 1, dim=1, largest=False).values[:, -1]  # itself among them
    slack = 4 * torch.finfo(x.dtype).eps * (norms + norms.mean())
    return (found + norms - slack).clamp(min=0)


class _Fidelity(Metric):
    """The four numbers share one pass over the distances."""

    part: ClassVar[str]

    @dataclass(frozen=True)
    class Options(Metric.Options):
        k: int = option(5, "neighbours that set a ball's radius", low=1)

    def measure(self, evidence: Evidence) -> Estimate:
        k = self.options.k
        found = evidence.once(("fidelity", k), lambda: fidelity(*checks.both(evidence), k=k))
        one: Estimate = getattr(found, self.part)
        return one


@declare.metric(
    "precision",
    direction="higher",
    needs=("samples", "data", "features"),
    paper="arXiv:1904.06991",
    tags=("default", "fidelity"),
    rank=1,
)
class Precision(_Fidelity):
    """Share of samples that lie among the data.

    Fidelity: a sample counts if it lies within reach of the data. Blind to what is missing.
    """

    part, covers = "precision", "the share of unlimited samples, given the data"


@declare.metric(
    "recall",
    direction="higher",
    needs=("samples", "data", "features"),
    paper="arXiv:1904.06991",
    tags=("default", "fidelity"),
    rank=2,
)
class Recall(_Fidelity):
    """Share of the data that lie among the samples.

    Diversity: an observation counts if it lies within reach of samples. Outliers among the samples raise it.
    """

    part, covers = "recall", "the share of unlimited data, given the samples"


@declare.metric(
    "density",
    direction="higher",
    needs=("samples", "data", "features"),
    paper="arXiv:2002.09797",
    tags=("default", "fidelity"),
    rank=3,
)
class Density(_Fidelity):
    """How densely the data surround a sample; 1 for the data's own distribution.

    Fidelity that outliers of the data do not fool: balls of the data that hold a sample, over k. It may exceed 1.
    """

    part, covers = "density", "the mean of unlimited samples, given the data"


@declare.metric(
    "coverage",
    direction="higher",
    needs=("samples", "data", "features"),
    paper="arXiv:2002.09797",
    tags=("default", "fidelity"),
)
class Coverage(_Fidelity):
    """Share of the data that have a sample nearby.

    Diversity that outliers of the samples do not fool: share of the data's balls that hold a sample.
    """

    part, covers = "coverage", "the expected value at this count of samples, given the data"
