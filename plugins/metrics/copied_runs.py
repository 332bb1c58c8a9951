"""Runs of characters that samples of texts have in common with the training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import Evidence, Measured, Metric
from genzoo.core.math.intervals import share
from genzoo.core.options import option
from genzoo.plugins.metrics.texts import TextMetric, texts
from genzoo.registry import declare


def with_run(lines: Sequence[str], training: Sequence[str], n: int) -> tuple[set[int], list[str], str]:
    """Which lines have a run of n characters that a training text has, these training texts, and one such run.

    A run lies within one text. All runs of the lines are kept, and training texts are read once.
    """
    owners: dict[str, list[int]] = {}
    for i, line in enumerate(lines):
        for j in range(len(line) - n + 1):
            owners.setdefault(line[j : j + n], []).append(i)
    theirs, shared = list[str](), set[str]()
    for text in training:
        if hits := [run for j in range(len(text) - n + 1) if (run := text[j : j + n]) in owners]:
            theirs.append(text)
            shared.update(hits)
    return {i for run in shared for i in owners[run]}, theirs, min(shared, default="")


def longest_run(lines: Sequence[str], training: Sequence[str]) -> str:
    """The longest run of characters that a line and a training text have in common; of several the first by order.

    By halves, since every part of a shared run is shared: what has no run of n characters has no longer one, and is
    not looked at again.
    """
    best, least, most = "", 1, min(max(map(len, lines), default=0), max(map(len, training), default=0))
    n = min(32, most)  # of few texts more is shared
    while least <= most:
        ours, theirs, run = with_run(lines, training, n)
        if run:
            best, least = run, n + 1
            lines, training = [lines[i] for i in sorted(ours)], theirs
        else:
            most = n - 1
        n = (least + most + 1) // 2
    return best


@declare.metric(
    "copied-runs", direction="lower", unit="share", needs=("samples", "data", "training"), tags=("text", "copies"),
    paper="arXiv:2111.09509",
)  # fmt: skip
class CopiedRuns(TextMetric):
    """Share of samples that have a run of n characters in common with a training text: what was learned by heart.

    Texts repeat each other, so the share of held-out texts stands in the details, where the data were held out, and
    so do the longest run of any sample, in words, and its length beside that of held-out texts. A sample that is
    shorter than n has no such run; where all are, or all training texts, it is refused.
    """

    covers = "the share of unlimited samples, given the training data"

    @dataclass(frozen=True)
    class Options(Metric.Options):
        n: int = option(50, "characters in a run", low=1)
        limit: int = option(1000, "samples, and held-out texts, that are judged", low=1)

    options: Options

    def measure(self, evidence: Evidence) -> Measured:
        o, training = self.options, evidence.training
        assert training is not None
        known, samples = texts(evidence, training.x), texts(evidence, evidence.samples[: o.limit])
        enough = sum(len(line) >= o.n for line in samples)
        most = min(max(map(len, lines), default=0) for lines in (samples, known))
        if most < o.n:
            what = "training text" if enough else "sample"
            raise UsageError(f"no {what} has {o.n} characters, so none has a run of so many in common: "
                             f"--set copied-runs.n={max(most // 2, 1)} for shorter runs, "
                             "or leave it out of --metrics")  # fmt: skip
        run = longest_run(samples, known)
        details: dict[str, object] = {"longest": len(run), "it reads": run}
        details["samples of n characters or more"] = enough
        if evidence.data.split not in ("train", "all"):
            real = texts(evidence, evidence.real[: o.limit])
            details["of held-out texts"] = len(with_run(real, known, o.n)[0]) / len(real)
            details["longest of held-out texts"] = len(longest_run(real, known))
        copied = with_run(samples, known, o.n)[0]
        return Measured(share(len(copied), len(samples)), details, n_fake=len(samples))
