"""Samples that are training observations: found, counted, and held against what unseen data would score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric, as_floats
from genzoo.core.math.intervals import Estimate, mean, share
from genzoo.core.math.neighbours import nearest
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare

_DEPTH = 8  # neighbours looked at for one that is no duplicate of the first


@dataclass(frozen=True)
class Memorization:
    """How near samples come to the training set.

    Attributes:
        copies: share of samples with a ratio below the limit.
        unseen: the same share among held-out data: what a model that copies nothing scores. None without any.
        nearer: probability that a sample lies nearer to the training set than held-out data do, less half of
            ties: .5 for a perfect model, 1 for a copying one (C. Meehan et al., arXiv:2004.05675). None without.
        limit: of the ratio.
        index: the copies among the samples, the nearest to its original first, ``(C,)``.
        original: index of the training observation that each copies, ``(C,)``.
        ratio: of every sample, ``(N,)``.
        neighbour: index of every sample's nearest training observation, ``(N,)``.
        distance: to it, ``(N,)``.
    """

    copies: Estimate
    unseen: Estimate | None
    nearer: Estimate | None
    limit: float
    index: Tensor
    original: Tensor
    ratio: Tensor
    neighbour: Tensor
    distance: Tensor

    @property
    def found(self) -> bool:
        """Whether samples are copies more often than unseen data are, beyond both intervals."""
        if self.unseen is None:
            return self.copies.low > self.limit**2
        return self.copies.low > self.unseen.high


def memorization(
    samples: Tensor, training: Tensor, unseen: Tensor | None = None, *, limit: float = 1 / 3
) -> Memorization:
    """Distance-ratio test: a copy is much nearer to one training observation than to any other.

    The ratio is of the distance to the nearest and to the second nearest (T. Yoon et al., ICML SPIGM 2023),
    where the second is the next that is no duplicate of the first, so that repeated data hide no copy.

    Args:
        samples: pixels or features ``(N, D)``.
        training: all that the model was trained on, ``(M, D)``.
        unseen: held-out data ``(H, D)``, to say what share is to be expected.
        limit: ratio below which a sample is a copy.

    Raises:
        UsageError: if the limit is not between 0 and 1, or the sizes differ.
    """
    if not 0 < limit < 1:
        raise UsageError(f"the ratio below which a sample is a copy lies between 0 and 1, not at {limit:g}")
    x, train = checks.pair(samples, training, least=1, names=("samples", "training data"))
    if len(train) < 2:
        raise UsageError("memorization needs at least two training observations to compare distances")
    distance, neighbour, ratio = _ratios(x, train)
    copies = ratio < limit
    index = copies.nonzero().flatten()
    index = index[distance[index].argsort(stable=True)]
    expected = nearer = None
    if unseen is not None:
        held, _ = checks.pair(unseen, training, least=1, names=("unseen data", "training data"))
        far, _, usual = _ratios(held.to(train), train)
        expected, nearer = share(usual < limit), _nearer(distance, far)
    return Memorization(share(copies), expected, nearer, limit, index, neighbour[index], ratio, neighbour, distance)


def _ratios(x: Tensor, train: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    distance, index = nearest(x, train, min(_DEPTH, len(train)))
    first, step = train[index[:, 0]], max(4_000_000 // (index.shape[1] * x.shape[1]), 1)
    parts = zip(torch.split(first, step), torch.split(index, step), strict=True)
    apart = torch.cat([(train[i] - f[:, None]).square().sum(2).sqrt() for f, i in parts])
    size = train.square().sum(1).mean().sqrt()
    same = apart <= 1e-5 * size
    second = torch.where(same.all(1), distance[:, -1], distance.gather(1, same.int().argmin(1)[:, None])[:, 0])
    first_distance = distance[:, 0].contiguous()
    return first_distance, index[:, 0], first_distance / second.clamp(min=torch.finfo(second.dtype).tiny)


def _nearer(distance: Tensor, unseen: Tensor) -> Estimate:
    """Mann–Whitney's statistic as a probability, with E. DeLong's interval of it."""
    ordered, own = unseen.sort().values, distance.sort().values
    below = torch.searchsorted(ordered, distance, right=True) + torch.searchsorted(ordered, distance)
    above = torch.searchsorted(own, unseen, right=True) + torch.searchsorted(own, unseen)
    x, y = 1 - below.double() / (2 * len(unseen)), above.double() / (2 * len(distance))
    a, b = mean(x), mean(y)
    width = ((a.high - a.value) ** 2 + (b.high - b.value) ** 2) ** 0.5 if len(x) > 1 < len(y) else float("nan")
    return Estimate(
        a.value,
        max(a.value - width, 0),
        min(a.value + width, 1),
        (len(x), len(y)),
        "Mann–Whitney with DeLong's variance",
    )


@declare.metric(
    "memorization",
    summary="share of samples that copy a training observation, with pictures of the copies",
    direction="lower",
    unit="share",
    needs=("samples", "data", "training"),
    paper="Yoon et al., ICML SPIGM 2023",
    tags=("default", "copies"),
)
class Copies(Metric):
    """Share of samples much nearer to one training observation than to the next, in pixels.

    Beside it stands the same share among the data, which is what a model that copies nothing scores; the
    details' ``found`` is true if the samples' share is above it beyond both intervals.
    """

    covers = "the share of unlimited samples, given the training data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        ratio: float = option(
            0.3333333333333333, "nearest over second nearest distance that makes a copy", low=0.01, high=0.99
        )
        limit: int = option(2000, "samples, and data, that are judged", low=1)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        training = evidence.training
        assert training is not None
        o, train = self.options, as_floats(training).flatten(1)
        same = evidence.data.split == "train"
        unseen = None if same else evidence.real[: o.limit].flatten(1)
        samples = evidence.samples[: o.limit]
        found = memorization(samples.flatten(1), train, unseen, limit=o.ratio)
        details = {
            "found": found.found,
            "share among the data": found.unseen.value if found.unseen else None,
            "nearer than the data": found.nearer.value if found.nearer else None,
            "samples": found.index.tolist()[:100],
            "originals": found.original.tolist()[:100],
            "training observations": len(train),
        }
        pictures, shape = {}, evidence.spec.shape
        nearest = found.distance.argsort(stable=True)[:10]
        shown = {"nearest": (nearest, found.neighbour[nearest]), "copies": (found.index[:10], found.original[:10])}
        for name, (ours, theirs) in shown.items():
            drawn = evidence.pictured(torch.cat([samples[ours], train[theirs].view(-1, *shape)])) if len(ours) else None
            if drawn is not None:
                pictures[name] = drawn
        return Measured(found.copies, details, pictures, n_fake=len(samples))

    def refuses(self, evidence: Evidence) -> str:
        return "" if evidence.training is None or len(evidence.training) > 1 else "it needs two training observations"
