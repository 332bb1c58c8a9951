"""What is measured of texts: likelihood per character, by which tokenizers compare, and how varied samples are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.estimates import LogLikelihood
from genzoo.core.math.intervals import Estimate, mean
from genzoo.core.modality import of
from genzoo.core.options import option
from genzoo.registry import declare


def texts(evidence: Evidence, x: Tensor) -> list[str]:
    """Stored observations as strings."""
    return of(evidence.spec).lines(evidence.spec, x)


class TextMetric(Metric):
    """Of texts only."""

    niche = True

    def refuses(self, evidence: Evidence) -> str:
        return "" if "alphabet" in evidence.spec.facts else "it is for texts"


class _Rate(TextMetric):
    """Negative log-likelihood of all texts over all that they are long, the end counted with each."""

    covers = "the mean over unlimited data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        samples: int = option(50, "K, codes drawn for each text", low=1)
        limit: int = option(300, "texts", low=1)

    options: Options
    per, nats = "characters", 1.0

    def size(self, text: str) -> int:
        """How long a text is."""
        return len(text)

    def shown(self, rate: float) -> float:
        """What is reported of a rate: any function that never falls."""
        return rate

    def measure(self, evidence: Evidence) -> Measured:
        weights = evidence.log_weights(self.options.samples, self.options.limit).double()
        found = LogLikelihood.of([weights], evidence.spec.size).values / self.nats
        lines = texts(evidence, evidence.data.x[: len(found)])
        each = torch.tensor([self.size(text) + 1.0 for text in lines]).to(found)
        value = -(found.sum() / each.sum()).item()
        around = mean((-found - value * each) / each.mean())  # of a ratio, to first order: residuals have mean 0
        low, high = self.shown(value + around.low), self.shown(value + around.high)
        exact = evidence.model is not None and evidence.model.exact
        estimator = "exact" if exact else f"importance-weighted, K = {len(weights)}"
        if evidence.spec.facts["tokens"] == "bpe":
            estimator += ", of one way to cut a text into pieces, which is an upper bound"
        return Measured(replace(around, value=self.shown(value), low=low, high=high),
                        {"estimator": estimator, self.per: int(each.sum())}, n_real=len(each))  # fmt: skip


@declare.metric(
    "nats-per-character",
    direction="lower",
    unit="nats/char",
    needs=("data", "likelihood"),
    tags=("default", "likelihood", "text"),
)
class NatsPerCharacter(_Rate):
    """Negative log-likelihood of held-out texts over their characters, the end counted with each text.

    Exact where there is no code, else the importance-weighted bound: over all characters, not a mean of means, so that
    texts of characters, bytes and pieces compare.
    """


@declare.metric(
    "bits-per-byte", direction="lower", unit="bits/byte", needs=("data", "likelihood"), tags=("likelihood", "text")
)
class BitsPerByte(_Rate):
    """The same in bits over the bytes of UTF-8, as compressors are measured."""

    per, nats = "bytes", math.log(2)

    def size(self, text: str) -> int:
        return len(text.encode(errors="replace"))


INSTEAD = "take --metrics nats-per-character"


@declare.metric(
    "perplexity-per-word", direction="lower", unit="words", needs=("data", "likelihood"), tags=("likelihood", "text")
)
class PerplexityPerWord(_Rate):
    """How many equally likely words have the likelihood of one in held-out texts: exp(-Σ log p / words).

    A word is what blanks part, with the marks at it, and each text's end is one more: so whatever tokens a model goes
    by, it is of the same words. Of a model with a code it is from a bound, as the details say, and too high. Texts
    with less than one blank between words on average have none, and are refused.
    """

    covers = "the value for unlimited data"
    per = "words"

    def size(self, text: str) -> int:
        return len(text.split())

    def measure(self, evidence: Evidence) -> Measured:
        lines = texts(evidence, evidence.data.x[: self.options.limit])
        if (blanks := sum(max(self.size(text) - 1, 0) for text in lines)) < len(lines):
            raise UsageError(f"there are {blanks} blanks between words in {len(lines)} texts, less than one each, and "
                             f"a word is what blanks part: {INSTEAD}")  # fmt: skip
        return super().measure(evidence)

    def shown(self, rate: float) -> float:
        if rate > 700:
            raise UsageError(f"a word here costs more than 700 nats, too much for a perplexity: {INSTEAD}")
        return math.exp(rate)


def distinct(lines: Sequence[str], n: int) -> tuple[int, int]:
    """How many different runs of n words there are, of how many."""
    runs = [tuple(words[i : i + n]) for words in map(str.split, lines) for i in range(len(words) - n + 1)]
    return len(set(runs)), len(runs)


@declare.metric(
    "distinct-n", direction="higher", unit="share", needs=("samples", "data"), paper="arXiv:1510.03055",
    tags=("default", "text"),
)  # fmt: skip
class Distinct(TextMetric):
    """Share of the runs of n words in samples that are different: a generator that loops has few.

    It falls with the number of samples; that of as many real texts stands in the details.
    """

    @dataclass(frozen=True)
    class Options(Metric.Options):
        n: int = option(2, "words in a run", low=1, high=16)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        samples, real = texts(evidence, evidence.samples), texts(evidence, evidence.real)
        (different, runs), whole = distinct(samples, self.options.n), distinct(real[: len(samples)], self.options.n)
        share = different / max(runs, 1)
        return Measured(Estimate(share, samples=(len(samples),)), {"runs": runs, "real": whole[0] / max(whole[1], 1)},
                        n_fake=len(samples), why="it falls with their number")  # fmt: skip
