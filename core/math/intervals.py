"""A number with its interval, and the few ways the zoo makes intervals: all of them, and nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.noise import generator

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class Estimate:
    """A measured number, and its interval if `low` and `high` are numbers."""

    value: float
    low: float = math.nan
    high: float = math.nan
    samples: tuple[int, ...] = ()  # observations in each of the sets that it was measured on
    interval: str = ""  # how the interval was made, e.g. ``jackknife of 49``
    confidence: float = CONFIDENCE


def bootstrap(
    statistic: Callable[..., float],
    *sets: Tensor,
    resamples: int = 200,
    seed: int = 0,
    low: float = -math.inf,
    high: float = math.inf,
) -> Estimate:
    """The statistic of sets ``(N_i, ...)``, and its spread when each is drawn anew from itself with replacement.

    The resampled values are moved so that their mean is the value before their quantiles are taken: a resample repeats
    observations, which by itself raises a Fréchet distance and lowers a recall. The interval is cut at ``low`` and
    ``high``, the statistic's own limits.
    """
    value, samples = float(statistic(*sets)), tuple(len(s) for s in sets)
    if resamples < 2 or min(samples) < 2:
        return Estimate(value, samples=samples)
    values = torch.empty(resamples, dtype=torch.float64)
    for r in range(resamples):
        chosen = (torch.randint(len(s), (len(s),), generator=generator(seed, r, i)) for i, s in enumerate(sets))
        values[r] = float(statistic(*(s[index.to(s.device)] for s, index in zip(sets, chosen, strict=True))))
    ends = torch.tensor([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], dtype=torch.float64)
    below, above = (value + torch.quantile(values - values.mean(), ends)).clamp(low, high).tolist()
    return Estimate(value, below, above, samples, f"bootstrap of {resamples}")


def jackknife(
    statistic: Callable[..., float],
    *sets: Tensor,
    parts: int = 50,
    prepare: Callable[[Tensor], Any] = lambda x: x,
    more: float = 0.0,
    less: float = 0.0,
    twice: bool = False,
    low: float = -math.inf,
    high: float = math.inf,
    seed: int = 0,
) -> Estimate:
    """The statistic of one or two sets ``(N_i, ...)``, with an interval of its expectation at these counts.

    The variance that leaving out parts gives is never too small in expectation, and counts second-order parts twice,
    which are all that there is where a distance is near 0 (B. Efron and C. Stein, Ann. Statist. 1981). Of two sets, a
    part of each is left out in all combinations: what does not add up is second-order between the sets, and it is
    taken off with what the sets have of it within themselves if their distributions are alike.

    Args:
        statistic: takes as many sets as there are, each as ``prepare`` returned it.
        *sets: one or two of independent observations.
        parts: how many times something is left out: of two sets the root of it from each; 0 for no interval.
        prepare: what is done to each set, and to what is left of it, before the statistic is made of them.
        more: variance of what all parts share, such as random directions; added.
        less: second-order part of the variance of one set, where it is known; taken off, and the least that is left.
        twice: leave second-order parts counted twice, for a statistic that has them so.
        low: smallest value the statistic can have, where the interval is cut.
        high: largest one.
        seed: of which observation is in which part.
    """
    value, samples = float(statistic(*map(prepare, sets))), tuple(len(s) for s in sets)
    groups = min(parts if len(sets) == 1 else math.isqrt(max(parts, 0)), *samples)
    if groups < 2:
        return Estimate(value, samples=samples)
    without = []
    for i, s in enumerate(sets):
        part = torch.randperm(len(s), generator=generator(seed, i)).to(s.device) % groups
        without.append([prepare(s[part != k]) for k in range(groups)])
    found = torch.tensor([statistic(*some) for some in itertools.product(*without)], dtype=torch.float64)
    found = found.view((groups,) * len(sets))
    scale = (groups - 1) ** 2 / groups
    if len(sets) == 1:
        shares, least = [found.var().item() * scale], less
    else:
        rows, columns = found.mean(1), found.mean(0)
        shares = [rows.var().item() * scale, columns.var().item() * scale]
        between = (found - rows[:, None] - columns + found.mean()).square().mean().item() * (groups - 1) ** 2
        n, m = samples
        less = between * (1 + (m / n + n / m) / 2)
        least = sum(shares) / 2
    total = sum(shares)
    variance = (total if twice else max(total - less, least)) + more
    # F. Satterthwaite, Biometrics 1946
    dof = min((total + more) ** 2 * (groups - 1) / max(sum(v * v for v in shares), 1e-300), 1e6)
    made = normal(value, math.sqrt(variance), samples, f"jackknife of {found.numel()}", max(int(dof), 1))
    return replace(made, low=max(made.low, low), high=min(made.high, high))


def normal(value: float, error: float, samples: tuple[int, ...], how: str, dof: int = 0) -> Estimate:
    """An interval of a standard error, by the normal distribution, or Student's where ``dof`` is given."""
    z = student(CONFIDENCE, dof) if dof else math.sqrt(2) * torch.erfinv(_double(CONFIDENCE)).item()
    return Estimate(value, value - z * error, value + z * error, samples, how)


def mean(values: Tensor, how: str = "Student's t") -> Estimate:
    """The mean of independent numbers ``(N,)`` with Student's interval, if they are two or more."""
    v = values.double().flatten()
    n = len(v)
    if n < 2:
        return Estimate(v.mean().item(), samples=(n,))
    return normal(v.mean().item(), v.std().item() / math.sqrt(n), (n,), how, n - 1)


def smaller(some: Tensor, others: Tensor) -> Estimate:
    """Probability that one of ``some`` numbers ``(N,)`` is smaller than one of ``others`` ``(M,)``, ties by half.

    Mann–Whitney's statistic, with E. DeLong's interval (Biometrics 1988): the area under the curve of a score.
    """
    ordered, own = others.sort().values, some.sort().values
    below = torch.searchsorted(ordered, some, right=True) + torch.searchsorted(ordered, some)
    above = torch.searchsorted(own, others, right=True) + torch.searchsorted(own, others)
    a, b = mean(1 - below.double() / (2 * len(others))), mean(above.double() / (2 * len(some)))
    width = ((a.high - a.value) ** 2 + (b.high - b.value) ** 2) ** 0.5  # NaN, and so both ends, where one is alone
    low, high = max(a.value - width, 0), min(a.value + width, 1)
    return Estimate(a.value, low, high, (len(some), len(others)), "Mann–Whitney with DeLong's variance")


def share(hits: Tensor | int, trials: int | None = None) -> Estimate:
    """The share of hits, booleans ``(N,)`` or a count of trials, with its exact interval, which covers .95 at least.

    C. Clopper and E. Pearson, Biometrika 1934.

    Raises:
        UsageError: if there was no trial.
    """
    n = hits.numel() if isinstance(hits, Tensor) else trials or 0
    hits = int(hits.sum()) if isinstance(hits, Tensor) else hits
    if not 0 <= hits <= n or n == 0:
        raise UsageError(f"a share needs at least one trial and no more hits than trials, not {hits} of {n}")
    low = 0.0 if hits == 0 else _root(lambda p: at_least(hits, n, p) - TAIL)
    high = 1.0 if hits == n else _root(lambda p: TAIL - (1 - at_least(hits + 1, n, p)))
    return Estimate(hits / n, low, high, (n,), "exact binomial")


def at_least(hits: int, trials: int, p: float) -> float:
    """Probability of that many hits or more in independent trials of probability ``p`` each."""
    if hits <= 0:
        return 1.0
    if not 0 < p < 1:
        return float(p >= 1)
    k: Tensor = torch.arange(hits, trials + 1, dtype=torch.float64)
    n = _double(trials)
    ways = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    terms = ways + k * math.log(p) + (n - k) * math.log1p(-p)
    return min(float(torch.logsumexp(terms, 0).exp()), 1.0)


def poisson(count: int) -> tuple[float, float]:
    """Exact interval of the mean of which a Poisson count was drawn (F. Garwood, Biometrika 1936)."""
    most = count + 10 * math.sqrt(count + 1) + 10

    def at_most(k: int, rate: float) -> float:
        return float(torch.special.gammaincc(_double(k + 1.0), _double(rate)))

    low = 0.0 if count == 0 else _root(lambda u: 1 - at_most(count - 1, u * most) - TAIL) * most
    return low, _root(lambda u: TAIL - at_most(count, u * most)) * most


def student(confidence: float, dof: int) -> float:
    """Two-sided quantile of Student's t for whole degrees of freedom (Abramowitz & Stegun 26.7.3 and 4)."""

    def inside(t: float) -> float:
        angle = math.atan(t / math.sqrt(dof))
        term = total = 1.0 if dof % 2 == 0 else (math.cos(angle) if dof > 1 else 0.0)
        for k in range(2 + dof % 2, dof, 2):
            term *= (k - 1) / k * math.cos(angle) ** 2
            total += term
        return math.sin(angle) * total if dof % 2 == 0 else 2 / math.pi * (angle + math.sin(angle) * total)

    if dof > 10_000:
        return math.sqrt(2) * torch.erfinv(_double(confidence)).item()
    u = _root(lambda u: inside(u / (1 - u)) - confidence)
    return u / (1 - u)


def _root(f: Callable[[float], float]) -> float:
    """Where an increasing function crosses zero between 0 and 1."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if f(middle) > 0 else (middle, high)
    return (low + high) / 2


def _double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
