"""What rows are judged by, on codes ``(N, S)`` of known columns: use, detection, margins, pairs, distances.

Boosted trees are scikit-learn's, 200 rounds, no early stopping, categories as they are, seed 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from typing import Any

import numpy as np
import torch

from genzoo.core.errors import GenzooError
from genzoo.core.math.intervals import smaller
from genzoo.plugins.modalities.columns import Column, decode

MOST_CATEGORIES = 254  # that boosted trees take as categories; rarer ones go by their place in the list
ROUNDS = 200


def features(columns: Sequence[Column], codes: Any) -> Any:
    """Numbers ``(N, S)`` that trees take: values of numbers, places of categories in their list, NaN if missing."""
    parts = []
    for s, c in enumerate(columns):
        if c.kind == "category":
            level = np.floor(codes[:, s]).astype(np.float64)
            parts.append(np.where((level == 0) & c.missing, np.nan, level - c.missing))
        else:
            values, missing = decode(c, codes[:, s])
            parts.append(np.where(missing, np.nan, values.astype(np.float64)))
    return np.stack(parts, 1)


def trees(columns: Sequence[Column], *, classify: bool = True, **options: Any) -> Any:
    """Boosted trees that know which columns are categories."""
    try:
        from sklearn import ensemble
    except ImportError:
        raise GenzooError("judging rows by trees needs scikit-learn: pip install 'genzoo[sklearn]'") from None
    few = [c.kind == "category" and len(c.names) <= MOST_CATEGORIES for c in columns]
    how = {"max_iter": ROUNDS, "early_stopping": False, "random_state": 0, "categorical_features": few, **options}
    kind = ensemble.HistGradientBoostingClassifier if classify else ensemble.HistGradientBoostingRegressor
    return kind(**how)


def _own_threads(judge: Callable[..., Any]) -> Callable[..., Any]:
    """A judge whose trees take as many threads as torch does."""

    @wraps(judge)
    def call(*args: Any, **options: Any) -> Any:
        trees(())  # scikit-learn is there
        with import_module("threadpoolctl").threadpool_limits(torch.get_num_threads()):
            return judge(*args, **options)

    return call


@_own_threads
def use(columns: Sequence[Column], made: Any, unseen: Any, target: int) -> dict[str, float]:
    """How well trees that learned from ``made`` rows tell the target column of unseen real ones.

    AUC, F1 and average precision where it has two levels (the rarer one counts), macro over classes where it has more,
    and R² where it is a number.
    """
    rest = [s for s in range(len(columns)) if s != target]
    other, c = [columns[s] for s in rest], columns[target]
    x, x_real = features(other, made[:, rest]), features(other, unseen[:, rest])
    if c.kind == "number" and (c.edges or c.size > 20):
        y, y_real = (features([c], part[:, [target]])[:, 0] for part in (made, unseen))
        there, there_real = ~np.isnan(y), ~np.isnan(y_real)
        model = trees(other, classify=False).fit(x[there], y[there])
        return {"r2": float(model.score(x_real[there_real], y_real[there_real]))}
    from sklearn import metrics

    y, y_real = (np.floor(part[:, target]).astype(int) for part in (made, unseen))
    classes = np.unique(y_real)
    if len(np.unique(y)) < 2:
        return {"auc": 0.5, "f1": 0.0, "ap": float((y_real == np.bincount(y_real).argmin()).mean())}
    model = trees(other).fit(x, y)
    p = np.zeros((len(y_real), c.size))
    p[:, model.classes_] = model.predict_proba(x_real)
    if len(classes) == 2:
        rare = min(classes, key=lambda k: (y_real == k).sum())
        hit, score = y_real == rare, p[:, rare]
        return {
            "auc": float(metrics.roc_auc_score(hit, score)),
            "f1": float(metrics.f1_score(hit, score > 0.5)),
            "ap": float(metrics.average_precision_score(hit, score)),
        }
    each = [(y_real == k, p[:, k]) for k in classes]
    return {
        "auc": float(np.mean([metrics.roc_auc_score(hit, score) for hit, score in each])),
        "f1": float(metrics.f1_score(y_real, p.argmax(1), average="macro")),
        "ap": float(np.mean([metrics.average_precision_score(hit, score) for hit, score in each])),
    }


@_own_threads
def detection(columns: Sequence[Column], unseen: Any, made: Any, seed: int = 0) -> float:
    """AUC of trees that tell as many made rows from unseen ones; equal rows stay on one side of the split."""
    n, r = min(len(unseen), len(made)), np.random.default_rng(seed)
    x = np.concatenate([unseen[r.permutation(len(unseen))[:n]], made[r.permutation(len(made))[:n]]])
    y = np.repeat([0, 1], n)
    x = features(columns, x)
    twins = np.unique(np.nan_to_num(x, nan=-1e300), axis=0, return_inverse=True)[1].reshape(-1)
    learn = r.random(twins.max() + 1)[twins] < 0.7
    from sklearn.metrics import roc_auc_score

    model = trees(columns).fit(x[learn], y[learn])
    return float(roc_auc_score(y[~learn], model.predict_proba(x[~learn])[:, 1]))


def margins(columns: Sequence[Column], real: Any, made: Any) -> list[float]:
    """How far each column's distribution is: Kolmogorov-Smirnov of numbers, total variation of categories."""
    found = []
    for s, c in enumerate(columns):
        if c.kind == "category":
            a, b = (np.bincount(np.floor(x[:, s]).astype(int), minlength=c.size) / len(x) for x in (real, made))
            found.append(float(np.abs(a - b).sum() / 2))
        else:  # codes are in the order of values, and missing comes first
            a, b = np.sort(real[:, s]), np.sort(made[:, s])
            at = np.concatenate([a, b])
            low, high = (np.searchsorted(v, at, side="right") / len(v) for v in (a, b))
            found.append(float(np.abs(low - high).max()))
    return found


def pairs(columns: Sequence[Column], real: Any, made: Any) -> float:
    """Mean total variation of all two-way tables, numbers in tenths of the real rows."""
    cells = []
    for s, c in enumerate(columns):
        if c.kind == "category" or c.size <= 10:
            cells.append([np.floor(x[:, s]).astype(int) for x in (real, made)])
        else:
            both = [features([c], x[:, [s]])[:, 0] for x in (real, made)]
            cut = np.unique(np.nanquantile(both[0], np.linspace(0, 1, 11)[1:-1], method="nearest"))
            cells.append([np.searchsorted(cut, v, side="right") + np.isnan(v) for v in both])  # missing apart
    found = []
    for i, (a, b) in enumerate(cells):
        for p, q in cells[:i]:
            wide = max(p.max(), q.max()) + 1
            size = (max(a.max(), b.max()) + 1) * wide
            first, second = (np.bincount(v * wide + w, minlength=size) / len(v) for v, w in ((a, p), (b, q)))
            found.append(np.abs(first - second).sum() / 2)
    return float(np.mean(found)) if found else 0.0


def lost(columns: Sequence[Column], train: Any, made: Any, least: int = 20) -> int:
    """How many levels and bins of at least so many training rows no made row has."""
    count = 0
    for s, c in enumerate(columns):
        a, b = (np.bincount(np.floor(x[:, s]).astype(int), minlength=c.size) for x in (train, made))
        count += int(((a >= least) & (b == 0)).sum())
    return count


def separated(a: Any, b: Any) -> float:
    """AUC of telling numbers of a from those of b by their size: the chance that one of a is greater."""
    return smaller(torch.from_numpy(b), torch.from_numpy(a)).value


def nearest(columns: Sequence[Column], rows: Any, among: Any, scale: Any, part: int = 200) -> Any:
    """Distance of each row to the nearest of others: numbers by ``scale``, 1 for each category that differs."""
    kinds = [c.kind == "category" for c in columns]
    found, (x, z) = [], (np.nan_to_num(features(columns, v), nan=-1.0) for v in (rows, among))
    number = [s for s, k in enumerate(kinds) if not k]
    a, b = (torch.from_numpy((v[:, number] / scale[number]).astype(np.float32)) for v in (x, z))
    p, q = (torch.from_numpy(v.astype(np.float32)) for v in (x, z))
    for i in range(0, len(a), part):
        d = torch.cdist(a[i : i + part], b, p=1)
        for s in (s for s, k in enumerate(kinds) if k):
            d += (p[i : i + part, s, None] != q[None, :, s]).float()
        found.append(d.amin(1))
    return torch.cat(found).numpy()


def closeness(columns: Sequence[Column], train: Any, unseen: Any, made: Any, n: int = 4000) -> dict[str, float]:
    """Copies of training rows, the median distance to the nearest one, and the share of rows that are nearer to
    training rows than to as many unseen ones, of ``n`` made rows; a half is ideal.
    """
    r = np.random.default_rng(0)
    made = made[r.permutation(len(made))[:n]]
    spread = np.nanquantile(features(columns, train), [0.01, 0.99], axis=0)
    scale = np.where(spread[1] > spread[0], spread[1] - spread[0], 1.0)
    m = min(len(train), len(unseen))
    to_train = nearest(columns, made, train, scale)
    to_some = nearest(columns, made, train[r.permutation(len(train))[:m]], scale)
    to_unseen = nearest(columns, made, unseen[r.permutation(len(unseen))[:m]], scale)
    nearer = (to_some < to_unseen).mean() + 0.5 * (to_some == to_unseen).mean()
    return {"copies": float((to_train < 1e-6).mean()), "dcr": float(np.median(to_train)), "nearer": float(nearer)}
