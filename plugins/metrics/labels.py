"""Which classes a model makes, in which shares, whether it makes what it was asked for, and how surely."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Features, Measured, Metric
from genzoo.core.evaluation.report import AT_COUNTS, POPULATION
from genzoo.core.math import logistic
from genzoo.core.math.intervals import Estimate, jackknife, mean, share
from genzoo.core.noise import generator
from genzoo.core.options import option
from genzoo.plugins.metrics import checks
from genzoo.plugins.metrics.fidelity import fidelity
from genzoo.registry import declare

_NEIGHBOURS = 5  # that set a ball's radius, as in `coverage`
_MOST = 10_000  # training observations that a classifier is fitted on


@dataclass(frozen=True)
class Judgement:
    """Classes as a classifier sees them."""

    fake: Tensor  # of the samples, (N,)
    real: Tensor  # of the data, (M,)
    accuracy: float  # on the data; no model can be expected to score above it
    name: str  # of the classifier


def knows(evidence: Evidence) -> bool:
    """Whether the extractor classifies into the data's own classes."""
    names = evidence.extractor.class_names if evidence.extractor is not None else ()
    return bool(names) and tuple(names) == tuple(evidence.spec.class_names)


def unjudged(evidence: Evidence) -> str:
    """Why nobody can judge classes here, "" if somebody can."""
    if knows(evidence) or evidence.has_training:
        return ""
    return "no classifier knows the data's classes, and there is no training data to fit one on"


def classifier(evidence: Evidence) -> tuple[Callable[[Features], Tensor], str]:
    """What tells classes ``(N,)`` by features, and its name: the extractor, or logistic regression on training data."""
    return evidence.once("classifier", lambda: _classifier(evidence))


def _classifier(evidence: Evidence) -> tuple[Callable[[Features], Tensor], str]:
    assert evidence.extractor is not None
    if knows(evidence):
        return _surest, evidence.extractor.name
    order, y = evidence.labelled_training(_MOST)
    fitted = logistic.fit(evidence.training_features.features[order], y, evidence.spec.classes, decay=1e-2)
    return (lambda found: fitted.predict(found.features)), f"logistic regression on {evidence.extractor.name}"


def _surest(found: Features) -> Tensor:
    assert found.logits is not None
    return found.logits.argmax(1)


def judge(evidence: Evidence) -> Judgement:
    """Classify samples and data."""
    return evidence.once("judge", lambda: _judge(evidence))


def _judge(evidence: Evidence) -> Judgement:
    assert evidence.labels is not None
    guess, name = classifier(evidence)
    fake, real = guess(evidence.fake_features), guess(evidence.real_features)
    return Judgement(fake, real, (real == evidence.labels).double().mean().item(), name)


@dataclass(frozen=True)
class ClassCoverage:
    """How samples spread over classes, as a classifier sees them."""

    captured: int  # classes with at least one sample
    of: int  # classes there are
    missing: tuple[int, ...]  # those with none
    kl: float  # reverse KL(samples' shares ‖ reference shares) in nats; infinite outside the reference's support
    floor: float  # what `kl` is in expectation for as many samples of the reference itself, (K - 1) / 2N
    shares: Tensor  # (K,)
    samples: int  # how many were judged


def class_coverage(predicted: Tensor, classes: int, reference: Tensor | None = None) -> ClassCoverage:
    """Count classes of samples ``(N,)`` and compare their shares with the data's ``(K,)``, uniform if not given.

    With 1,000 of them it is the stacked-images protocol (arXiv:1705.07761).

    Raises:
        UsageError: if a class is out of range.
    """
    predicted = checks.labels(predicted, len(predicted), "predicted classes")
    if not len(predicted) or int(predicted.max()) >= classes:
        raise UsageError(f"predicted classes are from 0 to {classes - 1}, and there is at least one")
    counts = torch.bincount(predicted, minlength=classes).double()
    q = torch.full_like(counts, 1 / classes) if reference is None else reference.to(counts) / reference.sum()
    p = counts / counts.sum()
    kl = (torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum().item()
    missing = tuple((counts == 0).nonzero().flatten().tolist())
    floor = (int((q > 0).sum()) - 1) / (2 * len(predicted))
    return ClassCoverage(classes - len(missing), classes, missing, kl, floor, p, len(predicted))


def kl_with_interval(predicted: Tensor, classes: int, parts: int, reference: Tensor | None = None) -> Estimate:
    """The `kl` of `class_coverage`, with the jackknife's interval of what it is in expectation at that many samples."""
    # 2N · KL is nearly χ² with a degree for each further class where the shares agree; its variance is second-order.
    second = (len(torch.unique(predicted)) - 1) / (2 * len(predicted) ** 2)
    return jackknife(lambda y: class_coverage(y, classes, reference).kl, predicted, parts=parts, less=second, low=0.0)


def corrected(predicted: Tensor, real: Tensor, truth: Tensor, classes: int, steps: int = 500) -> Tensor:
    """Shares of classes ``(K,)`` among samples ``(N,)``, freed of the classifier's own confusions.

    The most likely shares p for which Σ_k p_k P(predicted | k) gives what was predicted, where P comes from data of
    known class, ``real (M,)`` as the classifier sees it and ``truth (M,)`` as it is; by expectation maximization (M.
    Saerens et al., Neural Computation 2002).
    """
    table = torch.zeros(classes, classes, dtype=torch.float64)
    table.index_put_((truth, real), torch.ones(len(truth), dtype=torch.float64), accumulate=True)
    table += 1e-3 / classes + 1e-3 * torch.eye(classes, dtype=torch.float64)  # for classes that the data lack
    table /= table.sum(1, keepdim=True)
    seen = torch.bincount(predicted, minlength=classes).double() / len(predicted)
    p = torch.full((classes,), 1 / classes, dtype=torch.float64)
    for _ in range(steps):
        p = p * (table @ (seen / (p @ table)))
    return p


class _Judged(Metric):
    """What a classifier says of samples, or of reconstructions."""

    def reference(self, evidence: Evidence) -> Tensor:
        """How often the classifier sees each class among the data themselves, ``(K,)``; not quite never."""
        return torch.bincount(judge(evidence).real, minlength=evidence.spec.classes).double().clamp(min=0.5)

    def coverage(self, evidence: Evidence) -> ClassCoverage:
        """Spread over the classes of the data, against the shares in which the classifier sees the data."""
        classes, reference = evidence.spec.classes, self.reference(evidence)
        return evidence.once("class coverage", lambda: class_coverage(judge(evidence).fake, classes, reference))

    def details(self, evidence: Evidence) -> dict[str, Any]:
        """Shares by class, and how good the judge is."""
        coverage, judged = self.coverage(evidence), judge(evidence)
        names = evidence.spec.classes_called
        real = torch.bincount(judged.real, minlength=coverage.of).double() / len(judged.real)
        return {
            "of": coverage.of,
            "shares": dict(zip(names, coverage.shares.tolist(), strict=True)),
            "shares of the data": dict(zip(names, real.tolist(), strict=True)),
            "classifier": judged.name,
            "accuracy of the classifier": judged.accuracy,
        }

    def refuses(self, evidence: Evidence) -> str:
        return unjudged(evidence)


@declare.metric(
    "classes",
    direction="higher",
    unit="classes",
    needs=("samples", "data", "features", "labels"),
    tags=("default", "modes"),
    rank=2,
)
class ClassesCaptured(_Judged):
    """Classes of the data that a classifier finds among the samples, and which are missing.

    A class counts if the samples hold at least a fifth of what the data do; the details name what is missing. A
    classifier that errs finds classes that are not there, so its confusions on the data are taken out of the shares
    first (M. Saerens et al., Neural Computation 2002).
    """

    def measure(self, evidence: Evidence) -> Measured:
        assert evidence.labels is not None
        found, details, classes = judge(evidence), self.details(evidence), evidence.spec.classes
        truth = evidence.labels.cpu()
        shares = corrected(found.fake, found.real, truth, classes)
        usual = torch.bincount(truth, minlength=classes).double() / len(truth)
        there = (shares >= 0.2 * usual) & (shares > 0)
        names = list(details["shares"])
        details["corrected shares"] = dict(zip(names, shares.tolist(), strict=True))
        details["missing"] = [n for n, captured in zip(names, there.tolist(), strict=True) if not captured]
        return Measured(Estimate(float(there.sum())), details, why="a count over all samples")


@declare.metric(
    "class-kl",
    direction="lower",
    unit="nats",
    needs=("samples", "data", "features", "labels"),
    paper="arXiv:1705.07761",
    tags=("default", "modes"),
)
class ClassKL(_Judged):
    """KL of the samples' classes from the data's, as a classifier sees both.

    Reverse KL(shares of the samples ‖ shares of the data). The details' ``floor`` is what as many observations of the
    data themselves would score in expectation.
    """

    covers = "the expected value at this count of samples, given the data's shares"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        resamples: int = option(200, "parts of the jackknife; 0 for no interval", low=0)

    def measure(self, evidence: Evidence) -> Measured:
        classes, parts, reference = evidence.spec.classes, self.options.resamples, self.reference(evidence)
        estimate = kl_with_interval(judge(evidence).fake, classes, parts, reference)
        return Measured(estimate, {**self.details(evidence), "floor": self.coverage(evidence).floor})


@declare.metric(
    "conditional-accuracy",
    direction="higher",
    unit="share",
    needs=("samples", "data", "features", "labels", "conditional"),
    paper="arXiv:1610.09585",
    tags=("default", "conditioning"),
)
class ConditionalAccuracy(_Judged):
    """Share of label-conditioned samples that a held-out classifier takes for what was asked for.

    A model that draws one picture of each class scores well too: the details give the accuracy by class, and the
    coverage within each, the share of its data that have a sample nearby which was asked to be of it (see `coverage`).
    """

    covers = POPULATION

    def measure(self, evidence: Evidence) -> Measured:
        judged, asked = judge(evidence), evidence.asked
        assert asked is not None
        wanted = checks.labels(asked.cpu(), len(judged.fake), "labels")
        right = judged.fake == wanted
        details = {"classifier": judged.name, "accuracy of the classifier": judged.accuracy}
        return Measured(share(right), {**details, **self.by_class(evidence, wanted, right)})

    def by_class(self, evidence: Evidence, wanted: Tensor, right: Tensor) -> dict[str, dict[str, float]]:
        """Accuracy and coverage of the classes that were asked for ``(N,)``, by name."""
        assert evidence.labels is not None
        names = evidence.spec.classes_called
        fake, real = checks.both(evidence)
        accuracy, covered = dict[str, float](), dict[str, float]()
        for k, name in enumerate(names):
            made, there = wanted == k, evidence.labels.cpu() == k
            if made.any():
                accuracy[name] = right[made].double().mean().item()
            if min(int(made.sum()), int(there.sum())) > _NEIGHBOURS:
                found = fidelity(fake[made.to(fake.device)], real[there.to(real.device)], k=_NEIGHBOURS)
                covered[name] = found.coverage.value
        return {"accuracy by class": accuracy, "coverage by class": covered}


@declare.metric(
    "reconstruction-accuracy",
    direction="higher",
    unit="share",
    needs=("data", "features", "labels", "encoder"),
    tags=("reconstruction",),
)
class ReconstructionAccuracy(_Judged):
    """Share of held-out observations that a classifier still takes for what they are, once encoded and decoded.

    Codes are posterior means. The details say how often it is right about the same observations themselves, and
    whether the model was told their classes: of a conditional one, which is, this says little about the code.
    """

    covers = "the value for unlimited data, given the model and the classifier"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        limit: int = option(500, "observations", low=1)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        assert evidence.labels is not None
        guess, name = classifier(evidence)
        x, again = evidence.reconstructions(self.options.limit)
        truth = evidence.labels[: len(x)].cpu()
        there = guess(evidence.real_features)[: len(x)] == truth
        details = {
            "classifier": name,
            "accuracy on the observations": there.double().mean().item(),
            "told the class": evidence.model is not None and bool(evidence.model.classes),
        }
        return Measured(share(guess(evidence.features_of(again)) == truth), details, n_real=len(x))


def classifier_score(logits: Tensor, *, splits: int = 10, seed: int = 0) -> Estimate:
    """Mean over splits of exp E KL(p(y|x) ‖ p(y)) of a classifier's logits ``(N, K)``, from 1 (worst) to K.

    The splits are disjoint parts in a random order, and the interval is Student's over them: none for one split.

    Raises:
        UsageError: if there are fewer observations than splits.
    """
    logits = checks.features(logits, "logits", least=1, dtype=torch.float64)
    if not 1 <= splits <= len(logits):
        raise UsageError(f"{len(logits)} observations cannot be cut into {splits} splits")
    order = torch.randperm(len(logits), generator=generator(seed, 0)).to(logits.device)
    parts = torch.log_softmax(logits[order], 1).tensor_split(splits)
    return replace(
        mean(torch.stack([_score(part) for part in parts]), f"t over {splits} splits"), samples=(len(logits),)
    )


def _score(log_p: Tensor) -> Tensor:
    marginal = torch.logsumexp(log_p, 0) - math.log(len(log_p))
    p = log_p.exp()
    return (p * (log_p - marginal)).sum(1).mean().exp()


@declare.metric(
    "classifier-score",
    direction="higher",
    needs=("samples", "features"),
    paper="arXiv:1606.03498",
    tags=("distribution",),
)
class ClassifierScore(Metric):
    """Inception-style score: samples that a classifier is sure of, spread over its classes.

    exp E KL(p(y|x) ‖ p(y)), from 1 to the number of classes. It never looks at the data: a model that draws one perfect
    sample of each class has the best score. Its name is the inception score only with Inception as the classifier.
    """

    covers = AT_COUNTS

    @dataclass(frozen=True)
    class Options(Metric.Options):
        splits: int = option(10, "disjoint parts that it is averaged over", low=1)

    def measure(self, evidence: Evidence) -> Estimate:
        logits = evidence.fake_features.logits
        if logits is None:
            raise UsageError("the extractor knows no classes: name one that does with --extractor")
        return classifier_score(logits, splits=self.options.splits, seed=evidence.seed)

    def title(self, evidence: Evidence) -> str:
        return "inception score" if evidence.inception else "classifier score"
