"""Whether more rows of a rare class help: classifiers, each tuned, judged on rows that nothing was made from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch

from genzoo.core.errors import GenzooError
from genzoo.core.math.intervals import Estimate, student
from genzoo.plugins.metrics.rows import unfitted

AS_IS, MOVED, WEIGHTS = "as it is", "threshold moved", "class weights"
TREES, LINEAR, CHOSEN = "trees", "logistic", "the better"
TREE_SETTINGS = ((31, 0.1, (25, 50, 100)), (8, 0.05, (60, 120, 240)))  # leaves, learning rate, rounds
LINEAR_SETTINGS = (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)  # inverse strength of the penalty
FEWEST, INNER, CONFIDENCE = 20, 0.2, 0.95  # rare rows that are judged by; share of rows that settings are chosen by
MANY = 50_000  # rows from which on trees take several threads
MEASURES = ("ap", "auc", "f1", "log_loss")


@dataclass(frozen=True)
class Made:
    """Rows of the rare class that are added to real ones, ``(N, D)``, and what each weighs."""

    x: Any
    weight: float = 1.0


@dataclass(frozen=True)
class Fold:
    """Rows to learn from and rows to judge by, numbers ``(N, D)`` with whether each is of the rare class.

    ``made`` is what a treatment adds to the rows to learn from that are not ``inner``.
    """

    x: Any
    y: Any
    inner: Any  # of those, the ones that settings and thresholds are chosen by; nothing else sees them
    test_x: Any
    test_y: Any
    made: Mapping[str, Made]


@dataclass(frozen=True)
class Line:
    """A treatment under a classifier: means over the splits, and how its average precision differs from `AS_IS`."""

    treatment: str
    classifier: str
    means: Mapping[str, float]
    difference: Estimate


@dataclass(frozen=True)
class Verdict:
    """All lines, and what they say."""

    lines: tuple[Line, ...]
    splits: int
    rare: float  # mean count of rare rows in a test part
    sentence: str
    helps: bool = False  # rows that a model made raise the average precision beyond what chance gives

    def line(self, treatment: str, classifier: str = CHOSEN) -> Line:
        """The line of a treatment."""
        return next(v for v in self.lines if (v.treatment, v.classifier) == (treatment, classifier))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        rows = [
            {"treatment": v.treatment, "classifier": v.classifier, **v.means,
             "difference": v.difference.value, "low": v.difference.low, "high": v.difference.high}
            for v in self.lines
        ]  # fmt: skip
        return {"sentence": self.sentence, "helps": self.helps, "splits": self.splits, "rare rows": self.rare,
                "lines": rows}  # fmt: skip


def halves(y: Any, repeats: int, seed: int) -> Iterator[tuple[Any, Any]]:
    """Places of rows to learn from and rows to judge by: halves with equal shares of the rare class, and swapped."""
    for repeat in range(repeats):
        random, first = np.random.default_rng([seed, repeat]), np.zeros(len(y), bool)
        for group in (np.flatnonzero(y), np.flatnonzero(~y)):
            first[random.permutation(group)[: len(group) // 2]] = True
        yield np.flatnonzero(first), np.flatnonzero(~first)
        yield np.flatnonzero(~first), np.flatnonzero(first)


def inner_part(y: Any, seed: int) -> Any:
    """A mask ``(N,)`` of the rows that settings are chosen by, a fifth of each class."""
    random, chosen = np.random.default_rng([seed, 1]), np.zeros(len(y), bool)
    for group in (np.flatnonzero(y), np.flatnonzero(~y)):
        chosen[random.permutation(group)[: max(round(INNER * len(group)), 1)]] = True
    return chosen


def judged(
    folds: Iterator[Fold], category: Mapping[str, Sequence[bool]], *, seed: int = 0, generated: Sequence[str] = (),
    apart: bool = False,
) -> Verdict:  # fmt: skip
    """Judge every treatment on every split; ``generated`` names those whose rows a model made.

    ``category`` says of each classifier which numbers it takes as categories.

    Each classifier is tuned for each treatment on the inner part of the rows, which it does not learn from: of every
    setting the same fit is judged, by the threshold that is best for it there. The better of the two classifiers by
    the same part is a third one. Differences are paired by split; their intervals allow for splits that share rows
    (Nadeau and Bengio, *Inference for the generalization error*, 2003), unless they are ``apart``.
    """
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    rare, splits, overlap = [], 0, 1.0
    for fold in folds:
        splits, overlap = splits + 1, 0.0 if apart else len(fold.test_y) / len(fold.y)
        rare.append(int(fold.test_y.sum()))
        few = len(fold.y) < MANY  # threads of trees that wait for each other cost more than they give
        with import_module("threadpoolctl").threadpool_limits(1 if few else torch.get_num_threads()):
            for treatment in (AS_IS, WEIGHTS, *fold.made):
                tried = {kind: _one(kind, fold, treatment, category[kind], seed) for kind in (TREES, LINEAR)}
                tried[CHOSEN] = max(tried.values(), key=lambda scores: scores["inner"])
                for kind, scores in tried.items():
                    found.setdefault((treatment, kind), []).append(scores)
    if not splits:
        raise GenzooError("there are no splits to judge by")
    for kind in (TREES, LINEAR, CHOSEN):
        plain = found[AS_IS, kind]
        found[MOVED, kind] = plain
        found[AS_IS, kind] = [{**scores, "f1": scores["f1 at ½"]} for scores in plain]
    order = {name: i for i, name in enumerate((AS_IS, MOVED, WEIGHTS))}
    lines = []
    for (treatment, kind), several in sorted(found.items(), key=lambda item: (
            (TREES, LINEAR, CHOSEN).index(item[0][1]), order.get(item[0][0], 9))):  # fmt: skip
        means = {m: float(np.mean([s[m] for s in several])) for m in MEASURES}
        gains = [s["ap"] - t["ap"] for s, t in zip(several, found[AS_IS, kind], strict=True)]
        lines.append(Line(treatment, kind, means, paired(gains, overlap)))
    return _said(Verdict(tuple(lines), splits, float(np.mean(rare)), ""), generated)


def paired(differences: Sequence[float], overlap: float) -> Estimate:
    """The mean of differences over splits that share rows; ``overlap`` is rows judged by over rows learned from."""
    n, value = len(differences), float(np.mean(differences))
    if n < 2:
        return Estimate(value, samples=(n,))
    error = math.sqrt((1 / n + overlap) * float(np.var(differences, ddof=1)))
    reach = student(CONFIDENCE, n - 1) * error
    low, high = max(value - reach, -1.0), min(value + reach, 1.0)  # no difference of precisions lies beyond
    return Estimate(value, low, high, (n,), "corrected resampled t")


def _one(kind: str, fold: Fold, treatment: str, category: Sequence[bool], seed: int) -> dict[str, float]:
    """Scores of a classifier under a treatment."""
    from sklearn import metrics

    x, y = fold.x[~fold.inner], fold.y[~fold.inner]
    weight = np.ones(len(y))
    if treatment == WEIGHTS:
        weight = np.where(y, len(y) / (2 * max(y.sum(), 1)), len(y) / (2 * max((~y).sum(), 1)))
    elif treatment != AS_IS:
        more = fold.made[treatment]
        x, y = np.concatenate([x, more.x]), np.concatenate([y, np.ones(len(more.x), bool)])
        weight = np.concatenate([weight, np.full(len(more.x), more.weight)])
    inner_x, inner_y = fold.x[fold.inner], fold.y[fold.inner]
    tried = [
        (float(metrics.average_precision_score(inner_y, p)), -i, p, given)
        for i, (p, given) in enumerate(_settings(kind, category, x, y, weight, (inner_x, fold.test_x), seed))
    ]
    inner, _, p, given = max(tried, key=lambda t: t[:2])
    return {
        "inner": inner,
        "ap": float(metrics.average_precision_score(fold.test_y, given)),
        "auc": float(metrics.roc_auc_score(fold.test_y, given)),
        "f1": float(metrics.f1_score(fold.test_y, given >= _threshold(inner_y, p), zero_division=0.0)),
        "f1 at ½": float(metrics.f1_score(fold.test_y, given >= 0.5, zero_division=0.0)),
        "log_loss": float(metrics.log_loss(fold.test_y, given.clip(1e-7, 1 - 1e-7))),
    }


def _threshold(y: Any, p: Any) -> float:
    """The probability from which on a row is called rare with the greatest F1."""
    from sklearn import metrics

    precision, recall, at = metrics.precision_recall_curve(y, p)
    scores = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return float(at[min(int(scores.argmax()), len(at) - 1)])


def _settings(
    kind: str, category: Sequence[bool], x: Any, y: Any, w: Any, asked: Sequence[Any], seed: int
) -> Iterator[list[Any]]:
    """Probabilities that each setting gives several sets of rows; trees grow on from one count to the next."""
    if kind == TREES:
        for leaves, rate, counts in TREE_SETTINGS:
            model = unfitted("trees", category, seed, max_iter=1, max_leaf_nodes=leaves, learning_rate=rate,
                             warm_start=True)  # fmt: skip
            for rounds in counts:
                model.set_params(max_iter=rounds).fit(x, y, w)
                yield [model.predict_proba(rows)[:, 1] for rows in asked]
        return
    pipe = unfitted("linear", category, seed)
    ready, last = pipe[:-1], pipe[-1].set_params(warm_start=True, max_iter=200, tol=1e-3)
    seen = ready.fit_transform(x)
    asked = [ready.transform(rows) for rows in asked]
    for strength in LINEAR_SETTINGS:
        last.set_params(C=strength).fit(seen, y, w)
        yield [last.predict_proba(rows)[:, 1] for rows in asked]


def _said(verdict: Verdict, generated: Sequence[str]) -> Verdict:
    """The same with its sentence."""
    plain = verdict.line(AS_IS)
    others = [v for v in verdict.lines if v.classifier == CHOSEN and v.treatment not in (AS_IS, MOVED)]
    base = f"AP {plain.means['ap']:.3f}, the better of tuned trees and logistic regression"
    made = [v for v in others if v.treatment in generated]
    best = max(made or others, key=lambda v: v.difference.value)
    winners = [v for v in others if v.difference.low > 0]
    if winners:
        top = max(winners, key=lambda v: v.difference.value)
        text = f"{_range(top)} over the data as they are ({base})"
    else:
        text = f"Nothing tried beats the data as they are ({base}); {_range(best)}"
    if made and winners and not any(v in made for v in winners):
        text += f"; {_range(best)}"
    helps = any(v in made for v in winners)
    return Verdict(verdict.lines, verdict.splits, verdict.rare, f"{text}.", helps)


def _range(line: Line) -> str:
    d = line.difference
    return f"{line.treatment}: {d.value:+.3f} ({d.low:+.3f} to {d.high:+.3f})"
