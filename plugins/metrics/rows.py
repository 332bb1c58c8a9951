"""What metrics of tables share: rows as values, as few kinds for counting, their distances, and classifiers of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.errors import GenzooError
from genzoo.core.evaluation.evidence import Evidence, Metric, as_floats
from genzoo.core.spec import DataSpec
from genzoo.plugins.modalities.columns import Column, decode, learnt

FEW = 50  # commonest levels of a category that are counted apart
MOST_CATEGORIES = 255  # that boosted trees take as such
_CELLS = 4_000_000  # distances held at a time


class OfTables(Metric):
    """A metric of rows of a table."""

    niche = True

    def refuses(self, evidence: Evidence) -> str:
        return "" if "dtype" in evidence.spec.facts else "it is for rows of a table"


def training_rows(evidence: Evidence) -> Tensor:
    """Codes of the rows that the model was trained on."""
    found = evidence.training
    assert found is not None
    return evidence.once("training rows", lambda: as_floats(found))


def is_category(c: Column) -> bool:
    """Whether levels of a column have no order."""
    return c.kind == "category"


def values(spec: DataSpec, codes: Tensor) -> Any:
    """Rows of codes as numbers ``(N, S)``: values, levels of categories, NaN for what is missing."""
    found = []
    for c, code in zip(learnt(spec), codes.double().numpy().T, strict=True):
        if is_category(c):
            number = np.floor(code)
            gone = (number == 0) if c.missing else np.zeros(len(code), bool)
        else:
            number, gone = decode(c, code)
        found.append(np.where(gone, np.nan, number))
    return np.stack(found, 1)


def keys(rows: Any, leave: int | None = None) -> Any:
    """Bytes that are equal where rows ``(N, S)`` are, without one column if it is named."""
    kept = rows if leave is None else np.delete(rows, leave, 1)
    whole = np.ascontiguousarray(np.where(np.isnan(kept), -np.inf, kept) + 0.0)  # -0 is 0
    return whole.view(np.dtype((np.void, whole.shape[1] * 8)))[:, 0]


@dataclass(frozen=True)
class Bins:
    """How rows are counted: deciles of numbers, the commonest levels of categories, and what is missing apart."""

    edges: list[Any]  # of a number; of a category its commonest levels, sorted
    category: list[bool]

    @classmethod
    def of(cls, spec: DataSpec, rows: Any, count: int = 10) -> Bins:
        """By the values ``(N, S)`` of real rows."""
        category, edges = [is_category(c) for c in learnt(spec)], []
        for unordered, v in zip(category, rows.T, strict=True):
            there = v[~np.isnan(v)]
            if unordered:
                levels, tally = np.unique(there, return_counts=True)
                edges.append(np.sort(levels[np.argsort(-tally, kind="stable")[:FEW]]))
            else:
                marks = np.quantile(there, np.linspace(0, 1, count + 1)[1:-1]) if len(there) else np.empty(0)
                edges.append(np.unique(marks))
        return cls(edges, category)

    def __call__(self, rows: Any) -> Any:
        """Kinds of values ``(N, S)``, whole numbers from 0."""
        found = []
        for unordered, edges, v in zip(self.category, self.edges, rows.T, strict=True):
            gone = np.isnan(v)
            if unordered:
                at = np.searchsorted(edges, v).clip(max=max(len(edges) - 1, 0))
                kind = np.where(edges[at] == v, at, len(edges)) if len(edges) else np.zeros(len(v), np.int64)
            else:
                kind = np.searchsorted(edges, v, side="right")
            found.append(np.where(gone, len(edges) + 1, kind))
        return np.stack(found, 1)

    @property
    def sizes(self) -> list[int]:
        """Kinds of each column."""
        return [len(e) + 2 for e in self.edges]


class Nearness:
    """Distances of rows: ranks of numbers among training rows from 0 to 1, 1 for each category or gap that differs."""

    def __init__(self, spec: DataSpec, training: Any) -> None:
        self.category = np.array([is_category(c) for c in learnt(spec)])
        self.sorted = [np.sort(v[~np.isnan(v)]) for v in training.T]
        self.numbers, self.kinds = self.placed(training)

    def placed(self, rows: Any) -> tuple[Tensor, Tensor]:
        """Ranks of numbers ``(N, R)``, and categories with gaps of numbers ``(N, K)``."""
        ranks, kinds = [], []
        for unordered, known, v in zip(self.category, self.sorted, rows.T, strict=True):
            gone = np.isnan(v)
            if unordered:
                kinds.append(np.where(gone, -1, v))
                continue
            below = np.searchsorted(known, v) + np.searchsorted(known, v, side="right")
            ranks.append(np.where(gone, 0.5, below / (2 * max(len(known), 1))))
            if gone.any() or len(known) < len(rows):
                kinds.append(gone)
            else:
                kinds.append(np.zeros(len(v)))
        return (torch.from_numpy(np.stack(ranks, 1) if ranks else np.zeros((len(rows), 0))).float(),
                torch.from_numpy(np.stack(kinds, 1) if kinds else np.zeros((len(rows), 0))).float())  # fmt: skip

    def nearest(self, rows: Any, k: int = 1, among: Any = None) -> Tensor:
        """Distances to the k nearest training rows, or rows ``among``, ``(N, k)``."""
        x, levels = self.placed(rows)
        y, others = (self.numbers, self.kinds) if among is None else self.placed(among)
        step, found = max(_CELLS // max(len(y), 1), 1), []
        for part, kind in zip(torch.split(x, step), torch.split(levels, step), strict=True):
            d = torch.cdist(part, y, p=1) if x.shape[1] else torch.zeros(len(part), len(y))
            for j in range(others.shape[1]):
                d += kind[:, j, None] != others[None, :, j]
            found.append(d.topk(min(k, len(y)), largest=False).values)
        return torch.cat(found)


def sklearn(what: str) -> Any:
    """Import scikit-learn, or say how to install it."""
    try:
        import sklearn
    except ImportError:
        raise GenzooError(f"{what} needs scikit-learn: pip install 'genzoo[sklearn]'") from None
    return sklearn


def classifier(
    kind: str, spec: DataSpec, seed: int, rounds: int, leave: int | None = None, regression: bool = False
) -> Any:
    """Boosted trees or a linear model for rows of `values`, without one column if it is named."""
    columns = [c for s, c in enumerate(learnt(spec)) if s != leave]
    if kind == "trees":
        few = [is_category(c) and c.size <= MOST_CATEGORIES for c in columns]
        return unfitted(kind, few, seed, regression, max_iter=rounds)
    return unfitted(kind, [is_category(c) for c in columns], seed, regression)


def unfitted(kind: str, category: Sequence[bool], seed: int, regression: bool = False, **options: Any) -> Any:
    """Boosted trees or a linear model for numbers ``(N, D)``, of which some are categories; options are the trees'."""
    sklearn("a fitted classifier")
    if kind == "trees":
        from sklearn import ensemble

        fit = ensemble.HistGradientBoostingRegressor if regression else ensemble.HistGradientBoostingClassifier
        named = list(category) if any(category) else None
        return fit(early_stopping=False, categorical_features=named, random_state=seed, **options)
    from sklearn import compose, impute, linear_model, pipeline, preprocessing

    hot = [i for i, unordered in enumerate(category) if unordered]
    plain = [i for i, unordered in enumerate(category) if not unordered]
    scaled = pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler())
    ready = compose.ColumnTransformer([
        ("hot", preprocessing.OneHotEncoder(handle_unknown="ignore", max_categories=FEW), hot), ("plain", scaled, plain)
    ])  # fmt: skip
    last = linear_model.Ridge() if regression else linear_model.LogisticRegression(max_iter=1000)
    return pipeline.make_pipeline(ready, last)
