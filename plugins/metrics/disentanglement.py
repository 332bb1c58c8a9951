"""Does one number of a code tell of one factor? MIG, modularity, SAP and the FactorVAE score.

All take codes ``(N, D)`` and the factors that made the observations, whole numbers ``(N, K)`` from 0. On a
code that is the factors themselves they are 1 (SAP: see there); on noise 0, the FactorVAE score 1/K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.evaluation.report import AT_COUNTS
from genzoo.core.math.intervals import Estimate, jackknife, share
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.registry import declare


def known(codes: Tensor, factors: Tensor) -> tuple[Tensor, Tensor]:
    """Codes as float64 and factors as whole numbers, checked.

    Raises:
        UsageError: if they do not fit each other, or a factor never varies.
    """
    z = checks.features(codes, "codes", least=4, dtype=torch.float64)
    if factors.dim() != 2 or len(factors) != len(z) or factors.is_floating_point() or int(factors.min()) < 0:
        raise UsageError(f"factors are whole numbers ({len(z)}, K) from 0, not {factors.dtype} {tuple(factors.shape)}")
    constant = (factors == factors[0]).all(0)
    if constant.any():
        raise UsageError(f"factor {int(constant.int().argmax())} has one value only, so nothing can tell of it")
    return z, factors.long().to(z.device)


def mutual_information(codes: Tensor, factors: Tensor, bins: int = 20) -> tuple[Tensor, Tensor]:
    """I(z_i; v_j) in nats ``(D, K)`` and H(v_j) ``(K,)``, with codes in ``bins`` steps of equal width.

    Counting makes it too large by about (bins - 1)(values - 1) / 2N, for every dimension alike.
    """
    z, v = known(codes, factors)
    low, high = z.min(0).values, z.max(0).values
    width = torch.where(high > low, high - low, torch.ones_like(low))
    binned = ((z - low) / width * bins).long().clamp(max=bins - 1)
    information = torch.zeros(z.shape[1], v.shape[1], dtype=torch.float64)
    entropy = torch.zeros(v.shape[1], dtype=torch.float64)
    for j in range(v.shape[1]):
        values = int(v[:, j].max()) + 1
        entropy[j] = _entropy(torch.bincount(v[:, j], minlength=values))
        for i in range(z.shape[1]):
            joint = torch.bincount(binned[:, i] * values + v[:, j], minlength=bins * values).view(bins, values)
            information[i, j] = _entropy(joint.sum(1)) + entropy[j] - _entropy(joint)
    return information.clamp(min=0), entropy


def mig(codes: Tensor, factors: Tensor, bins: int = 20) -> float:
    """Mutual information gap (R. Chen et al., arXiv:1802.04942).

    Mean over factors of the best dimension's information less the second best's, over the factor's entropy:
    low where a factor is spread over several dimensions.
    """
    information, entropy = mutual_information(codes, factors, bins)
    return (_gaps(information) / entropy).mean().item()


def modularity(codes: Tensor, factors: Tensor, bins: int = 20) -> float:
    """Modularity (K. Ridgeway and M. Mozer, arXiv:1802.05312): low where a dimension tells of several factors.

    Mean over dimensions of 1 - Σ_{j ≠ best} I_ij² / (I_best² (K - 1)), of two factors or more. Dimensions that tell of
    no factor, by no more information than counting makes of noise, count as 0.
    """
    information, _ = mutual_information(codes, factors, bins)
    k = information.shape[1]
    if k < 2:
        raise UsageError("modularity needs at least two factors")
    values = factors.max(0).values.double().cpu()
    noise = 2 * (bins - 1) * values.max() / (2 * len(codes))  # twice what noise is expected to show
    squares = information.square()
    best = squares.max(1).values
    score = 1 - (squares.sum(1) - best) / (best.clamp(min=1e-30) * (k - 1))
    return torch.where(best.sqrt() > noise, score, 0.0).mean().item()


def sap(codes: Tensor, factors: Tensor, ordered: tuple[bool, ...] | None = None) -> float:
    """Separated attribute predictability (A. Kumar et al., arXiv:1711.00848).

    Mean over factors of how much better one dimension predicts it than the next best. Of a factor that is ``ordered``,
    as all are if not said, the prediction's worth is the squared correlation, from 0 to 1. Of an unordered one it is
    the balanced accuracy on the second half of the data, with thresholds midway between the classes' means on the
    first: chance is 1/V, and so a perfect code's gap is 1 - 1/V.

    Raises:
        UsageError: if ``ordered`` has another length than there are factors, or codes have one dimension.
    """
    z, v = known(codes, factors)
    d, k = z.shape[1], v.shape[1]
    ordered = (True,) * k if ordered is None else ordered
    if len(ordered) != k or d < 2:
        raise UsageError(f"SAP takes {k} flags, one per factor, and codes of two dimensions or more")
    scores = torch.zeros(d, k, dtype=torch.float64)
    for j in range(k):
        scores[:, j] = _correlation(z, v[:, j]) if ordered[j] else _thresholds(z, v[:, j])
    return _gaps(scores).mean().item()


def factor_vae_score(codes: Tensor, factors: Tensor, *, votes: int = 800, batch: int = 64, seed: int = 0) -> float:
    """Accuracy of the FactorVAE score's majority vote (H. Kim and A. Mnih, arXiv:1802.05983).

    For each vote one factor is held fixed in a batch; the dimension that varies least, relative to how it
    varies over all data, names the factor. The dimension-to-factor table is made of as many votes as it is
    then tested on, so that noise scores 1/K in expectation. Dimensions that hardly vary at all do not vote.
    The observations must cover each factor's values many times.
    """
    z, v = known(codes, factors)
    return majority(*ballots(z, v, votes, batch, seed)) if float(z.var(0).max()) > 0 else 1 / v.shape[1]


def ballots(z: Tensor, v: Tensor, votes: int, batch: int, seed: int) -> tuple[Tensor, Tensor]:
    """Votes for the table and for the test, ``(votes, 2)`` each: the dimension that varies least, and the factor."""
    k, g = v.shape[1], generator(seed, 0)
    variance = z.var(0, correction=0)
    used = (variance > 1e-4 * variance.max()).nonzero().flatten()
    scaled = z[:, used] / variance[used].sqrt()
    groups = [[(v[:, j] == u).nonzero().flatten() for u in torch.unique(v[:, j])] for j in range(k)]
    fixed = torch.randint(k, (2 * votes,), generator=g)
    least = torch.empty_like(fixed)
    for i, j in enumerate(fixed.tolist()):
        group = groups[j][int(torch.randint(len(groups[j]), (1,), generator=g))]
        index = group[torch.randint(len(group), (batch,), generator=g).to(group.device)]
        least[i] = scaled[index].var(0).argmin()
    both = torch.stack([least, fixed], 1)
    return both[::2], both[1::2]


def majority(table: Tensor, test: Tensor) -> float:
    """Share of test votes whose factor is the one that their dimension had most often in the table."""
    dimensions, factors = (torch.cat([table, test]).amax(0) + 1).tolist()
    counts = torch.zeros(dimensions, factors).index_put_((table[:, 0], table[:, 1]), torch.ones(1), accumulate=True)
    return (counts.argmax(1)[test[:, 0]] == test[:, 1]).double().mean().item()


def _entropy(counts: Tensor) -> Tensor:
    p = counts.double().flatten() / counts.sum()
    total: Tensor = torch.special.xlogy(p, p).sum()
    return -total.cpu()


def _gaps(scores: Tensor) -> Tensor:
    """Best less second best over dimensions, for each factor."""
    padded = torch.cat([scores, torch.zeros(1, scores.shape[1], dtype=scores.dtype)])
    best = padded.topk(2, dim=0).values
    return best[0] - best[1]


def _correlation(z: Tensor, v: Tensor) -> Tensor:
    """Squared correlation of each dimension with a factor, ``(D,)``, 0 for constant ones."""
    a, b = z - z.mean(0), v.double() - v.double().mean()
    power = a.square().sum(0) * b.square().sum()
    return torch.where(power > 0, (a * b[:, None]).sum(0).square() / power.clamp(min=1e-300), 0.0).cpu()


def _thresholds(z: Tensor, v: Tensor) -> Tensor:
    """Balanced accuracy of the nearest class mean on one dimension at a time, ``(D,)``."""
    half, values = len(z) // 2, torch.unique(v)
    means = torch.stack(
        [z[:half][v[:half] == u].mean(0) if bool((v[:half] == u).any()) else z[0] + torch.inf for u in values]
    )
    guess = values[(z[half:, None] - means[None]).abs().argmin(1)]  # (N/2, D)
    right = [(guess[v[half:] == u] == u).double().mean(0) for u in values if bool((v[half:] == u).any())]
    return torch.stack(right).mean(0).cpu()


class Factors(Metric):
    """Posterior means of data whose factors are known."""

    def codes(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Codes ``(N, D)`` and factors ``(N, K)``, N ≥ 100."""
        assert evidence.data.factors is not None
        if len(evidence.data) < 100:
            raise UsageError("it needs a hundred observations")
        return evidence.posterior()[0], evidence.data.factors.cpu()


class _Resampled(Factors):
    """Those whose interval the jackknife gives."""

    covers = AT_COUNTS
    score: ClassVar[Callable[..., float]]

    @dataclass(frozen=True)
    class Options(Metric.Options):
        resamples: int = option(20, "parts of the jackknife; 0 for no interval", low=0)

    def more(self, evidence: Evidence) -> tuple[Any, ...]:
        """What the score takes beside codes and factors."""
        return ()

    def measure(self, evidence: Evidence) -> Estimate:
        """The score with its interval, leaving out codes and factors together."""
        (z, v), more, parts = self.codes(evidence), self.more(evidence), self.options.resamples

        def of(index: Tensor) -> float:
            return type(self).score(z[index], v[index], *more)

        return jackknife(of, torch.arange(len(z)), parts=parts, seed=evidence.seed, low=0.0, high=1.0)


@declare.metric(
    "mig",
    direction="higher",
    needs=("data", "encoder", "factors"),
    paper="arXiv:1802.04942",
    tags=("default", "disentanglement"),
)
class MIG(_Resampled):
    """Mutual information gap: is each factor in one number of the code?

    1 if one number tells all of each factor and the others nothing, 0 on noise.
    """

    score = staticmethod(mig)


@declare.metric(
    "modularity",
    direction="higher",
    needs=("data", "encoder", "factors"),
    paper="arXiv:1802.05312",
    tags=("default", "disentanglement"),
)
class Modularity(_Resampled):
    """Does each number of the code tell of one factor only?

    1 if no number tells of two factors; 0 on noise.
    """

    score = staticmethod(modularity)


@declare.metric(
    "sap",
    direction="higher",
    needs=("data", "encoder", "factors"),
    paper="arXiv:1711.00848",
    tags=("default", "disentanglement"),
)
class SAP(_Resampled):
    """Separated attribute predictability: how far the best number predicts a factor above the next.

    Of ordered factors the squared correlation decides, of names the accuracy of thresholds: a perfect code scores 1, or
    1 - 1/V for a factor of V names.
    """

    score = staticmethod(sap)

    def more(self, evidence: Evidence) -> tuple[Any, ...]:
        """Which factors are numbers rather than names."""
        names = evidence.data.factor_names
        return (tuple(not name.endswith("*") for name in names),) if names else ()


@declare.metric(
    "factor-vae",
    direction="higher",
    unit="accuracy",
    needs=("data", "encoder", "factors"),
    paper="arXiv:1802.05983",
    tags=("default", "disentanglement"),
)
class FactorVAEScore(Factors):
    """FactorVAE score: does the number that varies least name the factor that was held fixed?

    Accuracy of a majority vote; chance is one over the number of factors, which the details tell.
    """

    covers = "the accuracy of unlimited votes by the table of these, given the data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        votes: int = option(800, "votes for the table, and as many for the test", low=10)

    def measure(self, evidence: Evidence) -> Measured:
        codes, factors = self.codes(evidence)
        votes = self.options.votes
        score = factor_vae_score(codes, factors, votes=votes, seed=evidence.seed)
        estimate = replace(share(round(score * votes), votes), value=score, samples=(len(codes),))
        return Measured(estimate, {"chance": 1 / factors.shape[1]})
