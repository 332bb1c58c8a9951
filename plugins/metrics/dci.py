"""Disentanglement, completeness and informativeness, by a sparse additive model of the factors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import Estimate
from genzoo.plugins.metrics.disentanglement import known
from genzoo.registry import declare


@dataclass(frozen=True)
class DCI:
    """Scores from 0 to 1 (C. Eastwood and C. Williams, ICLR 2018).

    Attributes:
        disentanglement: 1 if each dimension matters for one factor only; mean weighted by how much it matters.
        completeness: 1 if for each factor one dimension only matters; mean over the factors.
        informativeness: accuracy on held-out data, from 0 at the commonest value to 1, mean over the factors.
        importance: how much each dimension matters for each factor, ``(D, K)``.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: Tensor


def dci(codes: Tensor, factors: Tensor, *, bins: int = 10, steps: int = 300) -> DCI:
    """Fit each factor on half of the data, and test on the other half.

    A factor's value, as a one-hot vector, is predicted by a sum of functions, one of each dimension, constant
    on ``bins`` steps of equal share. A group lasso sets to 0 the functions that show no more than noise would,
    and a dimension's importance is the root mean square of its function: no forest, no seed, one minimum. The
    numbers are not those of papers that use boosted trees, and interactions of dimensions are not seen.

    Args:
        codes: ``(N, D)``.
        factors: ``(N, K)``.
        bins: steps of each function.
        steps: of accelerated proximal gradient descent.
    """
    z, v = known(codes, factors)
    half = len(z) // 2
    blocks, held = _basis(z[:half], z[half:], bins)
    gram = blocks.T @ blocks / half
    step = 1 / torch.linalg.eigvalsh(gram)[-1].item()
    d, width = z.shape[1], blocks.shape[1] // z.shape[1]
    importance, skill = [], []
    for j in range(v.shape[1]):
        values = int(v[:, j].max()) + 1
        target = torch.nn.functional.one_hot(v[:half, j], values).double()
        mean = target.mean(0)
        spread = (mean * (1 - mean)).sum()
        # Noise shows ‖Xᵢᵀ Y / N‖² = (width · spread) / N in expectation; twice its root is out of reach for it.
        penalty = 2 * (width * spread / half).sqrt()
        weight = _group_lasso(gram, blocks.T @ (target - mean) / half, penalty, step, d, steps)
        functions = (blocks.view(half, d, width).transpose(0, 1) @ weight.view(d, width, values)).square()
        importance.append(functions.sum(2).mean(1).sqrt())
        guess, truth = (held @ weight + mean).argmax(1), v[half:, j]
        right, common = (guess == truth).double().mean(), (truth == mean.argmax()).double().mean()
        skill.append(((right - common) / (1 - common).clamp(min=1e-12)).clamp(0, 1))
    table = torch.stack(importance, 1).cpu()
    per_code = 1 - _entropy(table) if table.shape[1] > 1 else torch.ones(d).double()
    per_factor = 1 - _entropy(table.T) if d > 1 else torch.ones(table.shape[1]).double()
    weights = table.sum(1) / table.sum().clamp(min=1e-30)
    found = (table.sum(0) > 0).double()
    return DCI(
        (weights * per_code).sum().item(),
        (found * per_factor).mean().item(),
        torch.stack(skill).mean().item(),
        table,
    )


def _basis(train: Tensor, test: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Indicators of the bins, centred and of unit variance: noise shows alike in each dimension's group."""
    levels = torch.linspace(0, 1, bins + 1, dtype=train.dtype, device=train.device)[1:-1]
    parts: tuple[list[Tensor], list[Tensor]] = ([], [])
    for i in range(train.shape[1]):
        edges = torch.quantile(train[:, i], levels).contiguous()
        one = torch.nn.functional.one_hot(torch.bucketize(train[:, i].contiguous(), edges), bins).double()
        other = torch.nn.functional.one_hot(torch.bucketize(test[:, i].contiguous(), edges), bins).double()
        mean = one.mean(0)
        # Whitened: the covariance of indicators is diag(p) - p pᵀ, singular along (1, …, 1) and for empty bins.
        values, vectors = torch.linalg.eigh(torch.diag(mean) - torch.outer(mean, mean))
        kept = values > 1e-9
        whiten = vectors * torch.where(kept, values.clamp(min=1e-9).rsqrt(), 0.0)
        parts[0].append((one - mean) @ whiten)
        parts[1].append((other - mean) @ whiten)
    return torch.cat(parts[0], 1), torch.cat(parts[1], 1)


def _group_lasso(gram: Tensor, moment: Tensor, penalty: Tensor, step: float, groups: int, steps: int) -> Tensor:
    """Minimize ½ tr Wᵀ G W - tr Wᵀ M + penalty Σ ‖W_i‖ over W ``(groups · width, values)`` (FISTA)."""
    weight = torch.zeros_like(moment)
    ahead, t = weight, 1.0
    for _ in range(steps):
        moved = (ahead - step * (gram @ ahead - moment)).view(groups, -1)
        norm = moved.norm(dim=1, keepdim=True).clamp(min=1e-30)
        new = (moved * (1 - step * penalty / norm).clamp(min=0)).view_as(weight)
        after = (1 + (1 + 4 * t * t) ** 0.5) / 2
        ahead = new + (t - 1) / after * (new - weight)
        weight, t = new, after
    return weight


def _entropy(table: Tensor) -> Tensor:
    """Entropy of each row's shares, over its largest value; 1 for a row of zeros."""
    total = table.sum(1, keepdim=True)
    p = torch.where(total > 0, table / total.clamp(min=1e-30), 1 / table.shape[1])
    entropy: Tensor = -torch.special.xlogy(p, p).sum(1)
    return entropy / torch.log(torch.tensor(float(table.shape[1])))


class _DCI(Metric):
    """The three scores share one fit."""

    def found(self, evidence: Evidence) -> DCI:
        """See `dci`."""
        factors = evidence.data.factors
        assert factors is not None
        return evidence.once("dci", lambda: dci(evidence.posterior()[0], factors.cpu()))

    def measured(self, evidence: Evidence, value: float) -> Measured:
        """One of them, with the table that all are made of."""
        estimate = Estimate(value, samples=(len(evidence.data),))
        details = {"importance": self.found(evidence).importance.tolist(), "factors": list(evidence.data.factor_names)}
        return Measured(estimate, details, why="one fit takes too long to repeat it")

    def refuses(self, evidence: Evidence) -> str:
        """Half of the data is fitted, half is tested."""
        return "" if len(evidence.data) >= 100 else "it needs a hundred observations"


@declare.metric(
    "dci-disentanglement",
    summary="does each number of the code matter for one factor only?",
    direction="higher",
    needs=("data", "encoder", "factors"),
    paper="Eastwood and Williams, ICLR 2018",
    tags=("default", "disentanglement"),
)
class DCIDisentanglement(_DCI):
    """The disentanglement of `dci`, from 0 to 1."""

    def measure(self, evidence: Evidence) -> Measured:
        """See `dci`."""
        return self.measured(evidence, self.found(evidence).disentanglement)


@declare.metric(
    "dci-completeness",
    summary="does one number of the code alone matter for each factor?",
    direction="higher",
    needs=("data", "encoder", "factors"),
    paper="Eastwood and Williams, ICLR 2018",
    tags=("default", "disentanglement"),
)
class DCICompleteness(_DCI):
    """The completeness of `dci`, from 0 to 1."""

    def measure(self, evidence: Evidence) -> Measured:
        """See `dci`."""
        return self.measured(evidence, self.found(evidence).completeness)


@declare.metric(
    "dci-informativeness",
    summary="how well the factors are predicted from the code, above guessing the commonest value",
    direction="higher",
    needs=("data", "encoder", "factors"),
    paper="Eastwood and Williams, ICLR 2018",
    tags=("default", "disentanglement"),
)
class DCIInformativeness(_DCI):
    """The informativeness of `dci`, from 0 to 1."""

    def measure(self, evidence: Evidence) -> Measured:
        """See `dci`."""
        return self.measured(evidence, self.found(evidence).informativeness)
