"""What samples of texts are worth: how likely they are, what they cover, and how alike they are among themselves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import Estimate, mean
from genzoo.core.options import option
from genzoo.plugins.metrics.character_model import CharacterModel
from genzoo.plugins.metrics.texts import TextMetric, texts
from genzoo.registry import declare


class _ByCharacters(TextMetric):
    """Options of both directions."""

    @dataclass(frozen=True)
    class Options(Metric.Options):
        n: int = option(5, "characters that the judge goes by, the last one included", low=1, high=12)
        limit: int = option(1000, "texts that are judged", low=2)
        fitted: int = option(10_000, "texts that the judge is fitted to, at most", low=2)

    options: Options


@declare.metric(
    "forward-lm", direction="lower", unit="nats/char", needs=("samples", "data", "training"), tags=("text", "fidelity"),
    paper="arXiv:1706.03872",
)  # fmt: skip
class Forward(_ByCharacters):
    """How likely samples are to a model of 5 characters that was fitted to the training data.

    Lower is better, down to what held-out texts have, which stands in the details: below it samples are likelier than
    texts are, as those of a low temperature. It says nothing of what is missing: see reverse-lm.
    """

    covers = "the mean over unlimited samples, by this training data"

    def measure(self, evidence: Evidence) -> Measured:
        o, training = self.options, evidence.training
        assert training is not None
        judge = CharacterModel(texts(evidence, training.x[: o.fitted]), o.n)
        samples, real = texts(evidence, evidence.samples[: o.limit]), texts(evidence, evidence.real[: o.limit])
        return Measured(judge.per_character(samples), {"real": judge.per_character(real).value}, n_fake=len(samples))


@declare.metric(
    "reverse-lm", direction="lower", unit="nats/char", needs=("samples", "data"), tags=("text", "diversity"),
    paper="arXiv:1706.03872",
)  # fmt: skip
class Reverse(_ByCharacters):
    """How likely held-out texts are to a model of 5 characters that was fitted to the samples.

    Lower is better: what samples lack is dear. It falls with their number, so that only values of as many compare.
    """

    covers = "the mean over unlimited data, by these samples"

    def measure(self, evidence: Evidence) -> Measured:
        o = self.options
        samples, real = texts(evidence, evidence.samples[: o.fitted]), texts(evidence, evidence.real[: o.limit])
        found = CharacterModel(samples, o.n).per_character(real)
        return Measured(found, {"fitted to": len(samples)}, n_fake=len(samples), n_real=len(real),
                        why="it falls with the number of samples")  # fmt: skip


Words = Sequence[str]


def _runs(lines: Sequence[Words], k: int) -> list[Counter[tuple[str, ...]]]:
    return [Counter(tuple(words[i : i + k]) for i in range(len(words) - k + 1)) for words in lines]


def bleu(lines: Sequence[Words], n: int, others: Sequence[Words] | None = None) -> list[float]:
    """BLEU of each line against other ones, or against all others of its own: how much of it these have too.

    Clipped counts of runs of 1 to n words, and a penalty for short ones. A count is clipped at the most that one other
    line has; the two largest per run tell that of all others. No match of a run counts as a tenth of one, and a line
    without a word that others have is 0. The length that counts is that of the nearest other line, the shorter of two.
    """
    scores = torch.zeros(len(lines), dtype=torch.float64)
    orders = torch.zeros(len(lines), dtype=torch.float64)
    for k in range(1, n + 1):
        counts = _runs(lines, k)
        most: dict[tuple[str, ...], tuple[int, int, int]] = {}  # the largest count, whose it is, the second largest
        for i, found in enumerate(counts if others is None else _runs(others, k)):
            for run, c in found.items():
                first, whose, second = most.get(run, (0, -1, 0))
                most[run] = (c, i, first) if c > first else (first, whose, max(c, second))
        for i, found in enumerate(counts):
            if found:
                hit = 0
                for run, c in found.items():
                    first, whose, second = most.get(run, (0, -1, 0))
                    hit += min(c, second if others is None and whose == i else first)
                scores[i] += math.log(max(hit, 0.1) / found.total()) if hit or k > 1 else -math.inf
                orders[i] += 1
    sizes = Counter(map(len, lines if others is None else others))
    out = []
    for i, words in enumerate(lines):
        there = [s for s in sizes if others is not None or sizes[s] > (s == len(words))]
        if not words or not there:
            out.append(0.0)
            continue
        nearest = min(there, key=lambda s: (abs(s - len(words)), s))
        out.append(math.exp(min(0.0, 1 - nearest / len(words)) + (scores[i] / orders[i]).item()))
    return out


@declare.metric(
    "bleu-n", direction="higher", unit="share", needs=("samples", "data", "training"), tags=("text", "fidelity"),
    paper="Papineni et al., ACL 2002",
)  # fmt: skip
class BLEU(TextMetric):
    """Mean BLEU of samples against held-out texts: the runs of 1 to n words that these have too, at the same length.

    That of as many training texts against the same stands in the details. It rises with the number of held-out texts,
    and says nothing of what is missing: a sentence that is said again and again has a high one. Beside it stands
    self-bleu.
    """

    covers = "the mean over unlimited samples, against these texts"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        n: int = option(4, "longest run of words", low=1, high=8)
        limit: int = option(500, "samples", low=2)
        against: int = option(1000, "held-out texts that they are held against, at most", low=1)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        o, training = self.options, evidence.training
        assert training is not None
        real = [line.split() for line in texts(evidence, evidence.real[: o.against])]
        made, read = (
            torch.tensor(bleu([line.split() for line in texts(evidence, x[: o.limit])], o.n, real)).double()
            for x in (evidence.samples, training.x)
        )
        return Measured(mean(made), {"real": read.mean().item()}, n_fake=len(made), n_real=len(real),
                        why="it rises with the number of held-out texts")  # fmt: skip


@declare.metric(
    "self-bleu", direction="lower", unit="share", needs=("samples", "data"), tags=("text", "diversity"),
    paper="arXiv:1802.01886",
)  # fmt: skip
class SelfBLEU(TextMetric):
    """Mean BLEU of each sample against all others: near 1 where a generator says the same again and again.

    That of as many real texts stands in the details. It falls with shuffled words, so it is no measure of quality.
    """

    @dataclass(frozen=True)
    class Options(Metric.Options):
        n: int = option(4, "longest run of words", low=1, high=8)
        limit: int = option(500, "samples", low=2)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        o = self.options
        found = [
            torch.tensor(bleu([line.split() for line in texts(evidence, x[: o.limit])], o.n), dtype=torch.float64)
            for x in (evidence.samples, evidence.real)
        ]
        return Measured(Estimate(found[0].mean().item(), samples=(len(found[0]),)), {"real": found[1].mean().item()},
                        n_fake=len(found[0]), why="it rises with their number")  # fmt: skip


@declare.metric(
    "valid-words", direction="higher", unit="share", needs=("samples", "data", "training"), tags=("text", "fidelity")
)
class ValidWords(TextMetric):
    """Share of the words in samples that the training data has; that of held-out texts stands in the details."""

    covers = "the mean share over unlimited samples, by this training data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        limit: int = option(1000, "samples", low=2)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        training = evidence.training
        assert training is not None
        known = {word for line in texts(evidence, training.x) for word in line.split()}
        samples, real = (texts(evidence, x[: self.options.limit]) for x in (evidence.samples, evidence.real))
        each = [torch.tensor([float(w in known) for w in line.split()]).mean() for line in samples if line.split()]
        words = [w in known for line in real for w in line.split()]
        found = mean(torch.stack(each).double()) if len(each) > 1 else Estimate(0.0, samples=(len(each),))
        return Measured(found, {"real": sum(words) / max(len(words), 1)}, n_fake=len(samples))
