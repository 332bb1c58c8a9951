"""How well the columns of samples, and their pairs, match the data's, each beside what chance alone would give."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.evaluation.report import AT_COUNTS
from genzoo.core.math.intervals import Estimate, jackknife
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.plugins.metrics.rows import Bins, OfTables, is_category, keys, training_rows, values
from genzoo.plugins.modalities.columns import learnt
from genzoo.registry import declare


def column_errors(fake: Any, real: Any, category: list[bool]) -> Any:
    """Distance of each column's distribution ``(S,)`` from 0 to 1: total variation, of numbers Kolmogorov–Smirnov's.

    What is missing is a value of its own, the least.
    """
    found = []
    for unordered, a, b in zip(category, fake.T, real.T, strict=True):
        a, b = (np.sort(np.where(np.isnan(v), -np.inf, v)) for v in (a, b))
        at = np.unique(np.concatenate([a, b]))
        below = [np.searchsorted(v, at, side="right") / len(v) for v in (a, b)]
        if unordered:
            found.append(0.5 * np.abs(np.diff(below[0], prepend=0) - np.diff(below[1], prepend=0)).sum())
        else:
            found.append(np.abs(below[0] - below[1]).max())
    return np.array(found)


def pair_errors(fake: Any, real: Any, sizes: list[int], pairs: list[tuple[int, int]]) -> Any:
    """Total variation of each two-way table ``(P,)``, of kinds ``(N, S)`` that `Bins` counts."""
    found = []
    for i, j in pairs:
        n = sizes[i] * sizes[j]
        shares = [np.bincount(k[:, i] * sizes[j] + k[:, j], minlength=n) / len(k) for k in (fake, real)]
        found.append(0.5 * np.abs(shares[0] - shares[1]).sum())
    return np.array(found)


class _Mean(OfTables):
    """A mean of errors of samples, with a jackknife."""

    silent, covers, quick = ("parts",), AT_COUNTS, {"parts": 4}

    @dataclass(frozen=True)
    class Options(Metric.Options):
        parts: int = option(49, "times that a part is left out for the interval, 0 for none", low=0, high=400)

    options: Options


def _halves(real: Any, errors: Callable[[Any, Any], Any]) -> float | None:
    """The same of one half of the data against the other: what chance alone gives at half the count."""
    if len(real) < 4:
        return None
    order = torch.randperm(len(real), generator=generator(0)).numpy()
    return float(errors(real[order[: len(real) // 2]], real[order[len(real) // 2 :]]).mean())


def _estimated(
    fake: Any, real: Any, errors: Callable[[Any, Any], Any], parts: int, seed: int, twice: bool = False
) -> Estimate:
    """The mean of errors with its interval."""

    def mean(a: Tensor, b: Tensor) -> float:
        return float(errors(a.numpy(), b.numpy()).mean())

    return jackknife(mean, torch.from_numpy(fake), torch.from_numpy(real), parts=parts, low=0, high=1, seed=seed,
                     twice=twice)  # fmt: skip


@declare.metric("columns", direction="lower", unit="share", rank=30, modalities=("table",), tags=("default", "table"))
class Columns(_Mean):
    """Mean distance of the columns' distributions: total variation of categories, Kolmogorov–Smirnov's of numbers.

    The details name the worst columns, and the same between two halves of the data: the floor.
    """

    def measure(self, evidence: Evidence) -> Measured:
        spec = evidence.spec
        fake, real = (values(spec, x) for x in (evidence.samples, evidence.real))
        category, names = [is_category(c) for c in learnt(spec)], [c.name for c in learnt(spec)]

        def errors(a: Any, b: Any) -> Any:
            return column_errors(a, b, category)

        each = errors(fake, real)
        details = {
            "worst": {names[i]: round(float(each[i]), 4) for i in np.argsort(-each)[:10]},
            "between halves of the data": _halves(real, errors),
        }
        # A greatest difference is not smooth: less its second-order parts, the interval holds in 90 % of cases.
        return Measured(_estimated(fake, real, errors, self.options.parts, evidence.seed, twice=True), details)


@declare.metric("pairs", direction="lower", unit="share", rank=31, modalities=("table",), tags=("default", "table"))
class Pairs(_Mean):
    """Mean total variation of all two-way tables, numbers in deciles of the data and categories' 50 commonest levels.

    The details name the worst pairs, and say the same of columns that are shuffled, of which each is right alone, and
    between two halves of the data.
    """

    def refuses(self, evidence: Evidence) -> str:
        if why := super().refuses(evidence):
            return why
        return "" if len(learnt(evidence.spec)) > 1 else "one column makes no pair"

    def measure(self, evidence: Evidence) -> Measured:
        spec, names = evidence.spec, [c.name for c in learnt(evidence.spec)]
        rows = values(spec, evidence.real)
        bins = Bins.of(spec, rows)
        fake, real = bins(values(spec, evidence.samples)), bins(rows)
        pairs = list(itertools.combinations(range(len(names)), 2))[:2000]

        def errors(a: Any, b: Any) -> Any:
            return pair_errors(a, b, bins.sizes, pairs)

        random = np.random.default_rng(evidence.seed)
        shuffled = np.stack([random.permutation(column) for column in real.T], 1)
        each = errors(fake, real)
        details = {
            "worst": {" × ".join(names[k] for k in pairs[i]): round(float(each[i]), 4) for i in np.argsort(-each)[:10]},
            "of shuffled columns": float(errors(shuffled, real).mean()),
            "between halves of the data": _halves(real, errors),
        }
        return Measured(_estimated(fake, real, errors, self.options.parts, evidence.seed), details)


@declare.metric(
    "levels-lost", direction="lower", unit="levels", needs=("samples", "data", "training"), rank=33,
    modalities=("table",), tags=("default", "table"),
)  # fmt: skip
class LevelsLost(OfTables):
    """How many levels that ``least`` training rows or more have occur in no sample; the details name them.

    With as many samples as training rows, a level of 20 rows is missed by chance once in 10⁸ times.
    """

    @dataclass(frozen=True)
    class Options(Metric.Options):
        least: int = option(20, "training rows that have a level", low=1)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        train, lost = training_rows(evidence), list[str]()
        for s, c in enumerate(learnt(evidence.spec)):
            have, made = (torch.bincount(x[:, s].floor().long(), minlength=c.size) for x in (train, evidence.samples))
            gone = ((have >= self.options.least) & (made == 0)).nonzero().flatten().tolist()
            lost += [f"{c.name}: {_level(c, k)}" for k in gone]
        details = {"lost": lost[:100], "training rows": len(train)}
        return Measured(Estimate(float(len(lost)), samples=(len(evidence.samples),)), details, why="it is a count")


def _level(c: Any, k: int) -> str:
    from genzoo.plugins.modalities.columns import number_text

    if c.missing and k == 0:
        return "missing"
    k -= int(c.missing)
    if c.names:
        return str(c.names[k])
    if k < len(c.values):
        return number_text(c.values[k])
    return f"{c.edges[k - len(c.values)]:g} to {c.edges[k - len(c.values) + 1]:g}"


@declare.metric(
    "repeats", direction="lower", unit="share", rank=34, modalities=("table",), tags=("default", "table")
)  # fmt: skip
class Repeats(OfTables):
    """Share of samples that repeat an earlier one, value for value; the details say the same of the data."""

    def measure(self, evidence: Evidence) -> Measured:
        n = min(len(evidence.samples), len(evidence.real))
        shares = []
        for x in (evidence.samples, evidence.real):
            found = keys(values(evidence.spec, x[:n]))
            shares.append(1 - len(np.unique(found)) / n)
        found = Estimate(shares[0], samples=(n,))
        return Measured(found, {"of the data": shares[1]}, n_real=n, n_fake=n, why="repeats are not independent")
