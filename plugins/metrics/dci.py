"""Disentanglement, completeness and informativeness, by scikit-learn's estimators that the papers use."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

from genzoo.core.errors import GenzooError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import Estimate
from genzoo.core.options import option
from genzoo.plugins.metrics.disentanglement import known
from genzoo.registry import declare

Estimator = Literal["forest", "boosting", "lasso"]
MISSING = "DCI needs scikit-learn: pip install 'genzoo[sklearn]'"


@dataclass(frozen=True)
class DCI:
    """Scores from 0 to 1 (C. Eastwood and C. Williams, ICLR 2018).

    Attributes:
        disentanglement: 1 if each dimension matters for one factor only; mean weighted by how much it matters.
        completeness: 1 if for each factor one dimension only matters; mean over the factors.
        informativeness: accuracy on held-out data, from 0 at the commonest value to 1, mean over the factors; of
            the lasso the explained variance.
        importance: how much each dimension matters for each factor, ``(D, K)``; each factor's sum to 1, or are 0.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importance: Tensor


def dci(codes: Tensor, factors: Tensor, *, estimator: Estimator = "forest", seed: int = 0) -> DCI:
    """Fit each factor on half of the data, and test on the other half.

    Args:
        codes: ``(N, D)``.
        factors: ``(N, K)``.
        estimator: a random ``forest`` with the impurity that each dimension takes away as its importance (Eastwood
            and Williams), gradient ``boosting`` likewise (F. Locatello et al., arXiv:1811.12359), or a ``lasso`` with
            the sizes of its weights, which sees linear relations only and takes the factors as numbers.
        seed: of the trees.

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
            counts = torch.bincount(v[:half, j]).argmax()
            common = (v[half:, j] == counts).double().mean().item()
            score = (score - common) / max(1 - common, 1e-12)
        skill.append(min(max(score, 0.0), 1.0))
    table = torch.stack(importance, 1)
    d, k = table.shape
    per_code = 1 - _entropy(table) if k > 1 else torch.ones(d).double()
    per_factor = 1 - _entropy(table.T) if d > 1 else torch.ones(k).double()
    weights = table.sum(1) / table.sum().clamp(min=1e-30)
    return DCI((weights * per_code).sum().item(), per_factor.mean().item(), sum(skill) / len(skill), table)


def _estimator(kind: Estimator, seed: int) -> Any:
    try:
        from sklearn import ensemble, linear_model
    except ImportError as e:
        raise GenzooError(MISSING) from e
    if kind == "forest":
        return ensemble.RandomForestClassifier(n_estimators=50, max_features=None, random_state=seed)
    if kind == "boosting":
        return ensemble.GradientBoostingClassifier(random_state=seed)
    return linear_model.LassoCV(cv=3, random_state=seed)


def _entropy(table: Tensor) -> Tensor:
    """Entropy of each row's shares, over its largest value; 1 for a row of zeros."""
    total = table.sum(1, keepdim=True)
    p = torch.where(total > 0, table / total.clamp(min=1e-30), 1 / table.shape[1])
    entropy: Tensor = -torch.special.xlogy(p, p).sum(1)
    return entropy / torch.log(torch.tensor(float(table.shape[1])))


class _DCI(Metric):
    """The three scores share one fit."""

    version = 2

    @dataclass(frozen=True)
    class Options(Metric.Options):
        estimator: Literal["forest", "boosting", "lasso"] = option("forest", "of the papers: trees, or linear")

    options: Options

    def found(self, evidence: Evidence) -> DCI:
        factors = evidence.data.factors
        assert factors is not None
        codes, how = evidence.posterior()[0], self.options.estimator
        return evidence.once(("dci", how), lambda: dci(codes, factors.cpu(), estimator=how, seed=evidence.seed))

    def measured(self, evidence: Evidence, value: float) -> Measured:
        """One of them, with the table that all are made of."""
        estimate = Estimate(value, samples=(len(evidence.data),))
        details = {"importance": self.found(evidence).importance.tolist(), "factors": list(evidence.data.factor_names)}
        return Measured(estimate, details, why="one fit takes too long to repeat it")

    def refuses(self, evidence: Evidence) -> str:
        if find_spec("sklearn") is None:
            return MISSING
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
        return self.measured(evidence, self.found(evidence).informativeness)
