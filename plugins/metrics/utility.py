"""Whether samples serve as the data do: a classifier that learns from them, and one that tells both apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from genzoo.core.errors import GenzooError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import Estimate, bootstrap, smaller
from genzoo.core.options import option
from genzoo.plugins.metrics.rows import OfTables, classifier, is_category, keys, sklearn, training_rows, values
from genzoo.plugins.modalities.columns import Column, learnt, number_text
from genzoo.registry import declare

ONE = "it is that of one fitted classifier"


def _bare(found: Estimate) -> Estimate:
    """The number alone: the interval of rows that are judged does not hold what another fit would give."""
    return Estimate(found.value, samples=found.samples)


def _moved(column: Column, made: Any, real: Any) -> dict[str, str]:
    """A caution where classes have other shares in samples than in data: by more than chance, and by .05 at least."""
    kinds = np.unique(np.concatenate([made, real]))
    counts = np.stack([np.bincount(np.searchsorted(kinds, x), minlength=len(kinds)) for x in (made, real)])
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    apart = np.abs(shares[0] - shares[1])
    if not counts.sum(1).all() or apart.sum() / 2 < 0.05:
        return {}
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
    chi2 = torch.tensor(((counts - expected) ** 2 / expected).sum() / 2)
    if torch.special.gammaincc(torch.tensor((len(kinds) - 1) / 2).double(), chi2) > 1e-3:
        return {}
    k = int(apart.argmax())
    level = column.texts[int(kinds[k])] if is_category(column) else number_text(kinds[k])
    told = f"{level} in {column.name} has a share of {shares[0, k]:.1%} among samples and {shares[1, k]:.1%} in data"
    return {"caution": f"{told}: F1 and chances of classes follow from that, AUC and average precision hardly"}


class _Fitted(OfTables):
    """What is measured by a fitted classifier."""

    @dataclass(frozen=True)
    class Options(Metric.Options):
        model: Literal["trees", "linear"] = option("trees", "boosted trees, or a logistic (or ridge) regression")
        rounds: int = option(200, "trees, or in multi-class tasks trees of each class", low=1, high=10_000)
        limit: int = option(40_000, "rows that it is fitted to, and rows that it is tested on", low=50)

    options: Options
    quick: ClassVar[Mapping[str, Any]] = {"rounds": 10, "limit": 400}

    def refuses(self, evidence: Evidence) -> str:
        if not (why := super().refuses(evidence)):
            sklearn("a fitted classifier")
        return why

    def scores(self, evidence: Evidence, x: Any, y: Any, test: Any, leave: int | None, seed: int) -> Any:
        """Probabilities of the classes ``(M, C)``, which come in the order of the labels that there are, and those."""
        o = self.options
        fit = classifier(o.model, evidence.spec, seed, o.rounds, leave).fit(x[: o.limit], y[: o.limit])
        return fit.predict_proba(test), fit.classes_


@declare.metric("detection", direction="lower", unit="AUC", rank=32, modalities=("table",), tags=("default", "table"))
class Detection(_Fitted):
    """How well a classifier tells samples from data: AUC, .5 where it cannot.

    It is fitted to 70 % of as many rows of each and tested on the rest. Identical rows stay on one side, since a twin
    of a row that was seen gives itself away. The data are to be rows that the model was not trained on; beside it
    stands the same of training rows against them.
    """

    def told_apart(self, evidence: Evidence, fake: Any, real: Any, seed: int) -> Estimate:
        """The area under the curve with its interval."""
        n = min(len(fake), len(real), self.options.limit)
        x = np.concatenate([fake[:n], real[:n]])
        y = np.repeat([1, 0], n)
        groups = np.unique(keys(x), return_inverse=True)[1]
        random = np.random.default_rng(seed)
        test = random.random(groups.max() + 1)[groups] < 0.3
        order = random.permutation(np.flatnonzero(~test))
        if len(np.unique(y[order])) < 2 or len(np.unique(y[test])) < 2:
            raise GenzooError("there are too few rows to tell samples from data by")
        p = self.scores(evidence, x[order], y[order], x[test], None, seed)[0][:, 1]
        return smaller(torch.from_numpy(p[y[test] == 0]), torch.from_numpy(p[y[test] == 1]))

    def measure(self, evidence: Evidence) -> Measured:
        spec = evidence.spec
        fake, real = values(spec, evidence.samples), values(spec, evidence.real)
        found, details = self.told_apart(evidence, fake, real, evidence.seed), dict[str, Any]()
        if evidence.has_training and evidence.data.split not in ("train", "all"):
            rows = values(spec, training_rows(evidence))
            some = rows[np.random.default_rng(1).permutation(len(rows))]
            details["of training rows"] = round(self.told_apart(evidence, some, real, evidence.seed).value, 4)
        n = min(len(fake), len(real), self.options.limit)
        return Measured(_bare(found), details, n_real=n, n_fake=n, why=ONE)


@declare.metric(
    "tstr", direction="higher", unit="AUC or R²", needs=("samples", "data", "training"), rank=35, modalities=("table",),
    tags=("default", "table"),
)  # fmt: skip
class Utility(_Fitted):
    """Train on synthetic, test on real: how well a classifier that saw samples alone predicts a column of the data.

    AUC of the column of ``data.labels`` (the mean over its classes where they are more than two), or R² of another
    column of numbers that ``target`` names. The details say average precision, F1, the share of the commonest class
    in samples and in data, and the same number of training rows and of shuffled columns. They caution where classes
    have other shares in samples than in data, as in those of a model that saw all classes equally often.
    """

    @dataclass(frozen=True)
    class Options(_Fitted.Options):
        target: str = option("", "the column; default the one that is the data's class")

    options: Options

    def refuses(self, evidence: Evidence) -> str:
        if why := super().refuses(evidence):
            return why
        found = learnt(evidence.spec)
        if self.options.target and self.options.target not in [c.name for c in found]:
            return f"there is no column {self.options.target!r} among those that are learnt"
        if not self.options.target and not any(evidence.spec.facts.get("label", ())):
            return "no column is the class: --set data.labels=COLUMN, or --set tstr.target=COLUMN"
        return "" if len(found) > 1 else "there is no other column to predict it from"

    def measure(self, evidence: Evidence) -> Measured:
        test = values(evidence.spec, evidence.real)
        train = values(evidence.spec, training_rows(evidence))
        random = np.random.default_rng(evidence.seed)
        shuffled = np.stack([random.permutation(v) for v in train.T], 1)
        found, details = self.taught(evidence, values(evidence.spec, evidence.samples), test)
        for what, rows in (("of training rows", train), ("of shuffled columns", shuffled)):
            details[what] = round(self.taught(evidence, rows, test)[0].value, 4)
        return Measured(_bare(found), details, n_real=min(len(test), self.options.limit), why=ONE)

    def taught(self, evidence: Evidence, rows: Any, test: Any) -> tuple[Estimate, dict[str, Any]]:
        """What a classifier that learned from some rows of `values` is worth on others, and what else is said of it."""
        found, name, limit = learnt(evidence.spec), self.options.target, self.options.limit
        target = next(s for s, c in enumerate(found) if (c.name == name if name else c.label))
        column, test = found[target], test[:limit]
        if len(rows) > limit:
            rows = rows[np.random.default_rng(evidence.seed).permutation(len(rows))]
        given = rows[~np.isnan(rows[:, target])], test[~np.isnan(test[:, target])]
        x, y, z, true = (*(v for rows in given for v in (np.delete(rows, target, 1), rows[:, target])),)
        if not is_category(column) and (bool(column.edges) or column.size > 20):
            return self.explained(evidence, x, y, z, true, target), {}
        return self.predicted(evidence, x, y, z, true, target)

    def explained(self, evidence: Evidence, x: Any, y: Any, z: Any, true: Any, target: int) -> Estimate:
        """R² of a regression, and its spread over the rows that it is tested on."""
        o = self.options
        fit = classifier(o.model, evidence.spec, evidence.seed, o.rounds, target, True).fit(x[: o.limit], y[: o.limit])
        both = torch.from_numpy(np.stack([fit.predict(z), true], 1))

        def r2(rows: torch.Tensor) -> float:
            return float(1 - (rows[:, 0] - rows[:, 1]).square().sum() / (rows[:, 1] - rows[:, 1].mean()).square().sum())

        return bootstrap(r2, both, seed=evidence.seed, high=1)

    def predicted(
        self, evidence: Evidence, x: Any, y: Any, z: Any, true: Any, target: int
    ) -> tuple[Estimate, dict[str, Any]]:
        """AUC over the rows that it is tested on, with what else is said of a classifier."""
        from sklearn import metrics

        there, counts = np.unique(true, return_counts=True)
        details: dict[str, Any] = {"commonest in data": round(float(counts.max() / len(true)), 4)}
        common = there[counts.argmax()]
        details["commonest in samples"] = round(float((y == common).mean()), 4) if len(y) else 0.0
        details |= _moved(learnt(evidence.spec)[target], y, true)
        if len(there) < 2:
            raise GenzooError("the data to test on hold one class")
        if len(np.unique(y)) < 2:  # nothing can be learnt: any order of the rows is as good as any other
            return Estimate(0.5, samples=(len(true),)), details | {"samples": "hold one class"}
        p, classes = self.scores(evidence, x, y, z, target, evidence.seed)
        whole = np.zeros((len(z), len(there)))
        for i, c in enumerate(there):
            whole[:, i] = p[:, list(classes).index(c)] if c in classes else 0.0
        hot = true[:, None] == there[None]
        areas = [smaller(torch.from_numpy(whole[~hot[:, i], i]), torch.from_numpy(whole[hot[:, i], i]))
                 for i in range(len(there))]  # fmt: skip
        rare = int(counts.argmin())
        found = areas[rare] if len(there) == 2 else Estimate(float(np.mean([a.value for a in areas])))
        precision = [metrics.average_precision_score(hot[:, i], whole[:, i]) for i in range(len(there))]
        guess = there[whole.argmax(1)]
        scored = metrics.f1_score(true == there[rare], guess == there[rare], zero_division=0.0)
        details |= {
            "average precision": round(float(precision[rare] if len(there) == 2 else np.mean(precision)), 4),
            "F1": round(float(scored if len(there) == 2 else metrics.f1_score(true, guess, average="macro")), 4),
        }
        return found, details
