"""Whether samples are too close to the rows that a model was trained on, each beside rows that it was not trained on.

Distances prove no privacy (arXiv:2505.01524): what they find is a leak, what they do not find may be one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import Estimate, mean, share, smaller
from genzoo.core.options import option
from genzoo.plugins.metrics.rows import Nearness, OfTables, keys, training_rows, values
from genzoo.plugins.modalities.columns import learnt
from genzoo.registry import declare

GIVEN = "the number for unlimited samples, given the rows"


class _Close(OfTables):
    """What is measured by distances to training rows."""

    @dataclass(frozen=True)
    class Options(Metric.Options):
        limit: int = option(2000, "samples, and rows of the data, that are looked at", low=10)

    options: Options
    covers, quick = GIVEN, {"limit": 200}

    def unseen(self, evidence: Evidence) -> Any:
        """Values of rows that the model was not trained on, or None where the data are its training rows."""
        if evidence.data.split in ("train", "all"):
            return None
        return values(evidence.spec, evidence.real[: self.options.limit])

    def nearness(self, evidence: Evidence) -> Nearness:
        train = values(evidence.spec, training_rows(evidence))
        return evidence.once("nearness of rows", lambda: Nearness(evidence.spec, train))

    def distances(self, evidence: Evidence) -> tuple[Tensor, Tensor | None]:
        """Distances of samples and of unseen rows to their two nearest training rows, ``(N, 2)`` each."""
        near, unseen = self.nearness(evidence), self.unseen(evidence)
        fake = values(evidence.spec, evidence.samples[: self.options.limit])
        return evidence.once(
            ("distances to training rows", self.options.limit),
            lambda: (near.nearest(fake, 2), None if unseen is None else near.nearest(unseen, 2)),
        )


class _Beside(_Close):
    """What is nothing without rows that the model was not trained on."""

    def refuses(self, evidence: Evidence) -> str:
        if why := super().refuses(evidence):
            return why
        return "the data are what the model was trained on" if evidence.data.split in ("train", "all") else ""


@declare.metric(
    "row-copies", direction="lower", unit="share", needs=("samples", "data", "training"), rank=36,
    modalities=("table",), tags=("default", "table", "copies"),
)  # fmt: skip
class RowCopies(OfTables):
    """Share of samples that are equal to a training row in all learnt columns.

    The details say the same of rows that the model was not trained on, which is what chance gives, and of both without
    each column that nearly identifies a row (half of its values or more are different), which would hide copies.
    ``found`` is true where any share of samples lies above that of unseen rows, beyond both intervals.
    """

    covers = GIVEN

    def measure(self, evidence: Evidence) -> Measured:
        spec, train = evidence.spec, values(evidence.spec, training_rows(evidence))
        fake, real = values(spec, evidence.samples), values(spec, evidence.real)
        known = evidence.data.split not in ("train", "all")
        details, suspicious, first = dict[str, Any](), False, None
        nearly = [s for s in range(train.shape[1]) if len(np.unique(train[:, s])) >= 0.5 * len(train)]
        for leave in (None, *nearly[:10]):
            if leave is not None and train.shape[1] == 1:
                continue
            seen = np.sort(keys(train, leave))
            of = [share(torch.from_numpy(np.isin(keys(x, leave), seen))) for x in (fake, real)]
            said = "" if leave is None else f" without {learnt(spec)[leave].name}"
            first = first or of[0]
            if leave is not None:
                details[f"samples{said}"] = of[0].value
            if known:
                details[f"unseen rows{said}"] = of[1].value
            suspicious |= of[0].low > (of[1].high if known else 0.01)
        assert first is not None
        return Measured(first, details | {"found": suspicious})


@declare.metric(
    "nearer", direction="lower", unit="share", needs=("samples", "data", "training"), rank=37, modalities=("table",),
    tags=("default", "table", "copies"),
)  # fmt: skip
class Nearer(_Beside):
    """Share of samples that are nearer to the training rows than to as many unseen rows, ties by half: ½ is ideal.

    Distances add up ranks of numbers, and 1 for each category that differs. Data that the model was trained on give
    nothing to compare with.
    """

    def measure(self, evidence: Evidence) -> Measured:
        spec, o = evidence.spec, self.options
        train, real = values(spec, training_rows(evidence)), values(spec, evidence.real)
        n = min(len(train), len(real))
        some = train[np.random.default_rng(0).permutation(len(train))[:n]]
        near, fake = self.nearness(evidence), values(spec, evidence.samples[: o.limit])
        a, b = (near.nearest(fake, 1, among)[:, 0].double() for among in (some, real[:n]))
        scores = (a < b).double() + 0.5 * (a == b).double()
        return Measured(mean(scores), {"rows of each": n}, n_real=n, n_fake=len(fake))


class _Quantile(_Close):
    """A median of samples, beside that of unseen rows."""

    def told(self, evidence: Evidence, of: Tensor, beside: Tensor | None) -> Measured:
        details: dict[str, Any] = {}
        if beside is not None:
            few = float(torch.quantile(beside.double(), 0.01))
            details = {"of unseen rows": float(beside.median()), "samples below 99 % of unseen rows":
                       float((of <= few).double().mean())}  # fmt: skip
        return Measured(median(of), details, n_fake=len(of))


def median(x: Tensor) -> Estimate:
    """The median, between the order statistics that hold it in .95 of cases at least (exact binomial)."""
    n, ordered = len(x), x.double().sort().values
    z = 1.96 * n**0.5 / 2
    low, high = (int(max(0, min(n - 1, k))) for k in (n / 2 - z - 1, n / 2 + z + 0.5))
    return Estimate(float(ordered.median()), float(ordered[low]), float(ordered[high]), (n,), "order statistics")


@declare.metric(
    "dcr", direction="none", unit="distance", needs=("samples", "data", "training"), rank=38, modalities=("table",),
    tags=("table", "copies"),
)  # fmt: skip
class ClosestRecord(_Quantile):
    """Median distance of samples to the closest training row; it should be that of unseen rows, and not below.

    A share of the samples nearer than 99 % of the unseen rows are that is far above 1 % tells of copies.
    """

    def measure(self, evidence: Evidence) -> Measured:
        fake, unseen = self.distances(evidence)
        return self.told(evidence, fake[:, 0], None if unseen is None else unseen[:, 0])


@declare.metric(
    "nndr", direction="none", unit="ratio", needs=("samples", "data", "training"), rank=39, modalities=("table",),
    tags=("table", "copies"),
)  # fmt: skip
class DistanceRatio(_Quantile):
    """Median ratio of the distances to the closest and the second closest training row; near 0 for what is copied."""

    def measure(self, evidence: Evidence) -> Measured:
        fake, unseen = (None if d is None else d[:, 0] / d[:, -1].clamp(min=1e-9) for d in self.distances(evidence))
        assert fake is not None
        return self.told(evidence, fake, unseen)


@declare.metric(
    "membership", direction="lower", unit="AUC", needs=("samples", "data", "training"), rank=40, modalities=("table",),
    tags=("default", "table", "copies"), paper="arXiv:2302.12580",
)  # fmt: skip
class Membership(_Beside):
    """How well an attack tells training rows from unseen ones: AUC, .5 where it cannot.

    The attack that is measured goes by the distance to the closest sample. The details say the same of one that weighs
    it against the distance to other unseen rows (after DOMIAS), of one that knows the model's likelihood where that is
    exact, and each one's share of training rows found where 1 % of the unseen rows are taken for such.
    """

    covers = "the number for unlimited rows, given the samples"

    def measure(self, evidence: Evidence) -> Measured:
        spec, o, model = evidence.spec, self.options, evidence.model
        train, real = training_rows(evidence), evidence.real
        n = min(len(train), len(real) // 2, o.limit)
        members = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:n]]
        others, reference = real[:n], real[len(real) // 2 :][: 5 * o.limit]
        near, fake = self.nearness(evidence), values(spec, evidence.samples[: 5 * o.limit])
        exact = model is not None and model.exact and model.likelihood.normalized  # else its values are none's
        scores, known = dict[str, list[Tensor]](), values(spec, reference)
        for x in (members, others):
            rows = values(spec, x)
            to_samples, to_others = (near.nearest(rows, 1, among)[:, 0].double() for among in (fake, known))
            scores.setdefault("distance", []).append(to_samples)
            scores.setdefault("density ratio", []).append((to_samples + 1e-3).log() - (to_others + 1e-3).log())
            if model is not None and exact and not model.classes and not model.conditions:
                scores.setdefault("likelihood", []).append(-model.log_likelihood(x).values.double().cpu())
        details = dict[str, Any]()
        for what, (inside, outside) in scores.items():
            details[what] = {
                "AUC": round(smaller(inside, outside).value, 4),
                "found at 1 % false": round(float((inside < torch.quantile(outside, 0.01)).double().mean()), 4),
            }
        return Measured(smaller(*scores["distance"]), details, n_real=2 * n, n_fake=len(fake))
