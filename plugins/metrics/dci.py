"""Disentanglement, completeness and informativeness, by scikit-learn's estimators that the papers use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from genzoo.core.errors import GenzooError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import Estimate
from genzoo.core.options import option
from genzoo.plugins.metrics.disentanglement import Factors, known
from genzoo.registry import declare

Estimator = Literal["forest", "boosting", "lasso"]


@dataclass(frozen=True)
class DCI:
    """Scores from 0 to 1 (C. Eastwood and C. Williams, ICLR 2018)."""

    disentanglement: float  # 1 if each dimension matters for one factor only; mean weighted by how much it matters
    completeness: float  # 1 if for each factor one dimension only matters; mean over the factors
    informativeness: float  # accuracy on held-out data above guessing the commonest value, mean over the factors
    importance: Tensor  # how much each dimension matters for each factor, (D, K); each factor's sum to 1, or are 0


def dci(codes: Tensor, factors: Tensor, *, estimator: Estimator = "forest", seed: int = 0) -> DCI:
    """Fit each factor on half of the data, and test on the other half.

    The estimators are those of papers: a random ``forest`` with the impurity that each dimension takes away as its
    importance (Eastwood and Williams), gradient ``boosting`` likewise (F. Locatello et al., arXiv:1811.12359), or a
    ``lasso`` with the sizes of its weights, which sees linear relations only, takes the factors as numbers, and scores
    the explained variance.

    Raises:
        GenzooError: if scikit-learn is not installed.
    """
    z, v = known(codes, factors)
    z = (z - z.mean(0)) / z.std(0).clamp(min=1e-12)
    x, y, half = z.cpu().numpy(), v.cpu().numpy(), len(z) // 2
    importance, skill = [], []
    for j in range(y.shape[1]):
        fitted = _estimator(estimator, seed).fit(x[:half], y[:half, j])
        own = torch.as_tensor(abs(fitted.coef_) if estimator == "lasso" else fitted.feature_importances_)
        importance.append(own.double() / own.sum().clamp(min=1e-30))
        score = float(fitted.score(x[half:], y[half:, j]))
        if estimator != "lasso":
            common = (v[half:, j] == torch.bincount(v[:half, j]).argmax()).double().mean().item()
            score = (score - common) / max(1 - common, 1e-12)
        skill.append(min(max(score, 0.0), 1.0))
    table = torch.stack(importance, 1)
    weights = table.sum(1) / table.sum().clamp(min=1e-30)
    disentanglement = (weights * _certainty(table)).sum().item()
    return DCI(disentanglement, _certainty(table.T).mean().item(), sum(skill) / len(skill), table)


def _estimator(kind: Estimator, seed: int) -> Any:
    try:
        from sklearn import ensemble, linear_model
    except ImportError as e:
        raise GenzooError("DCI needs scikit-learn: pip install 'genzoo[sklearn]'") from e
    if kind == "forest":
        return ensemble.RandomForestClassifier(n_estimators=50, max_features=None, random_state=seed)
    if kind == "boosting":
        return ensemble.GradientBoostingClassifier(random_state=seed)
    return linear_model.LassoCV(cv=3, random_state=seed)


def _certainty(table: Tensor) -> Tensor:
    """1 less the entropy of each row's shares over its largest value; 0 for a row of zeros, 1 for one of one share."""
    if table.shape[1] == 1:
        return torch.ones(len(table)).double()
    total = table.sum(1, keepdim=True)
    p = torch.where(total > 0, table / total.clamp(min=1e-30), 1 / table.shape[1])
    entropy: Tensor = -torch.special.xlogy(p, p).sum(1)
    return 1 - entropy / torch.log(torch.tensor(float(table.shape[1])))


class _DCI(Factors):
    """The three scores share one fit."""

    version = 2
    part: ClassVar[str]  # of `DCI`

    @dataclass(frozen=True)
    class Options(Metric.Options):
        estimator: Literal["forest", "boosting", "lasso"] = option("forest", "of the papers: trees, or linear")

    def measure(self, evidence: Evidence) -> Measured:
        how = self.options.estimator
        found = evidence.once(("dci", how), lambda: dci(*self.codes(evidence), estimator=how, seed=evidence.seed))
        details = {"importance": found.importance.tolist(), "factors": list(evidence.data.factor_names)}
        estimate = Estimate(getattr(found, self.part), samples=(len(evidence.data),))
        return Measured(estimate, details, why="one fit takes too long to repeat it")


@declare.metric(
    "dci-disentanglement",
    direction="higher",
    needs=("data", "encoder", "factors"),
    paper="Eastwood and Williams, ICLR 2018",
    tags=("default", "disentanglement"),
)
class DCIDisentanglement(_DCI):
    """Does each number of the code matter for one factor only?

    From 0 to 1: mean over numbers of how sure one is which factor they matter for, weighted by how much they matter.
    """

    part = "disentanglement"


@declare.metric(
    "dci-completeness",
    direction="higher",
    needs=("data", "encoder", "factors"),
    paper="Eastwood and Williams, ICLR 2018",
    tags=("default", "disentanglement"),
)
class DCICompleteness(_DCI):
    """Does one number of the code alone matter for each factor?

    From 0 to 1: mean over factors of how sure one is which number matters for them.
    """

    part = "completeness"


@declare.metric(
    "dci-informativeness",
    direction="higher",
    needs=("data", "encoder", "factors"),
    paper="Eastwood and Williams, ICLR 2018",
    tags=("default", "disentanglement"),
)
class DCIInformativeness(_DCI):
    """How well the factors are predicted from the code, above guessing the commonest value.

    From 0 to 1, on held-out data; of the lasso it is the explained variance.
    """

    part = "informativeness"
