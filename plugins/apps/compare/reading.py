"""What a page shows of kinds that are read line by line: pairs of lines, and ways from one line to another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from genzoo.core.errors import GenzooError
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.text import html
from genzoo.plugins.metrics.copied_runs import longest_run, with_run

PAIRS, WAYS, STEPS = 5, 3, 5
LEAST = 8  # characters in a row that say anything


def pairs(above: Iterable[str], below: Iterable[str]) -> str:
    """Lines with what belongs to each below it, as HTML."""
    rows = (f"<li>{html(a)}<p>{html(b)}</p></li>" for a, b in zip(above, below, strict=True))
    return f'<ol class="pairs">{"".join(rows)}</ol>'


def ways(model: Model, seed: int) -> str:
    """Lines on the way from one random code to another, a list for each way; `GenzooError` without a code."""
    if not model.latent.size:
        raise GenzooError("the model has no code")
    codes = model.codes(0, 2 * WAYS, seed=seed)
    labels = [i % model.classes for i in range(WAYS)] if model.classes else None
    x = model.interpolate(codes[:WAYS], codes[WAYS:], STEPS, labels=labels, numbers=True)
    return "".join(
        "<ol>" + "".join(f"<li>{html(line)}</li>" for line in of(model.spec).lines(model.spec, way)) + "</ol>"
        for way in x
    )


def reconstructions(model: Model, x: Tensor, labels: Tensor | None) -> str:
    """Lines above what a model makes of their codes."""
    kind, again = of(model.spec), model.reconstruct(x, labels, numbers=True)
    return pairs(kind.lines(model.spec, x), kind.lines(model.spec, again))


def learned_by_heart(lines: Sequence[str], training: Sequence[str]) -> list[tuple[str, str, str]]:
    """The lines with the longest runs of characters of a training text: a line, that text, and the run."""
    low, high = LEAST, max(map(len, lines), default=0)
    found, theirs = with_run(lines, training, low)[:2]
    if not found:
        return []
    while low < high:  # the longest run that as many lines have
        n = (low + high + 1) // 2
        some, texts, _ = with_run([lines[i] for i in sorted(found)], theirs, n)
        if len(some) >= min(PAIRS, len(found)):
            low, found, theirs = n, {sorted(found)[i] for i in some}, texts
        else:
            high = n - 1
    runs = [(line := lines[i], longest_run([line], theirs)) for i in sorted(found)]
    runs = sorted(runs, key=lambda pair: -len(pair[1]))[:PAIRS]
    return [(line, next(t for t in theirs if run in t), run) for line, run in runs]
