"""Samples that meet a condition: found among a model's draws, exactly as throwing the others away would find them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genzoo.core.conditions import labels_of, told_of_samples
from genzoo.core.data.observations import to_units
from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.joint import evaluating
from genzoo.core.math.intervals import share
from genzoo.core.modality import of
from genzoo.core.noise import generator, stream_seed

if TYPE_CHECKING:
    from genzoo.core.model import Model

_DRAWN = 512  # at a time: row i of the result depends on nothing but the seed
_WITHIN, _LABELS = -5, -6  # streams of randomness, beside those of `genzoo.core.joint`
Parts = Iterator[tuple[Tensor, Tensor | None]]
LEAST_DRAWS, DRAWS_EACH = 1_000_000, 1000


class Selection(ABC):
    """Which observations are wanted; what it has seen may count (no two alike), so that it serves for one pass."""

    text: str = "the condition"  # in words

    @abstractmethod
    def keeps(self, x: Tensor) -> Tensor:
        """Which of the observations ``(B, …)`` in data units are wanted, ``(B,)`` booleans."""

    def allowed(self) -> Sequence[Tensor | None] | None:
        """What a wanted observation can have in each place, as `Likelihood.within` takes it; None if that is all.

        Raises:
            UsageError: if there can be no wanted observation.
        """
        return None


class TooFewError(GenzooError):
    """Not as many observations were found as were asked for; the command line exits 3."""

    exit_code = 3


@dataclass
class Found:
    """How a search went."""

    wanted: int
    kept: int = 0
    drawn: int = 0
    chance: float = 1.0  # of the part of the condition that needed no draws

    def words(self, many: str, text: str) -> str:
        """``12 of 500 rows found among 1,000,000 drawn: about 0.0012 % (0.0006 to 0.0021) meet CONDITION``."""
        rate = share(self.kept, self.drawn)
        about, low, high = (100 * self.chance * p for p in (rate.value, rate.low, rate.high))
        return (f"{self.kept:,} of {self.wanted:,} {many} found among {self.drawn:,} drawn: about {about:.2g} % "
                f"({low:.2g} to {high:.2g}) meet {text or 'the rules of the data'}")  # fmt: skip


def check_truncation(truncation: float | None) -> None:
    """Raise `UsageError` unless codes can be kept within so many standard deviations."""
    if truncation is not None and not truncation > 0:
        raise UsageError(f"truncation is a positive number of standard deviations, not {truncation}")


@torch.no_grad()
def selected(
    model: Model,
    n: int,
    selection: Selection,
    seed: int = 0,
    labels: Any = None,
    condition: Any = None,
    truncation: float | None = None,
    noise: bool = False,
    max_draws: int | None = None,
    found: Found | None = None,
) -> Parts:
    """Yield ``n`` wanted observations in data units, and labels, a part at a time; see `Model.sample`.

    A likelihood that can draw within what is allowed does; of others, unwanted observations are thrown away. Both
    are draws of the same distribution. ``found`` is told how it went.

    Raises:
        TooFewError: after ``max_draws`` draws (default 1,000 for each that is wanted, at least a million).
    """
    check_truncation(truncation)
    if max_draws is not None and max_draws < 1:
        raise UsageError(f"the most draws must be at least 1, not {max_draws}")
    if isinstance(labels, (list, tuple, Tensor)) and len(labels) != 1:
        raise UsageError("samples that meet a condition take one label for all, or none")
    found, most = found or Found(n), max_draws or max(DRAWS_EACH * n, LEAST_DRAWS)
    allowed = selection.allowed()
    if allowed is not None:
        allowed = [None if a is None else a.to(model.device) for a in allowed]
    with evaluating(model):
        while found.kept < n and found.drawn < most:
            start, count = found.drawn, min(_DRAWN, most - found.drawn)
            told = told_of_samples(model, _DRAWN, labels, condition, stream_seed(seed, _LABELS, start))
            y = None if told is None else told.to(model.device)
            z = model.codes(start, _DRAWN, seed=seed, truncation=truncation, labels=y)
            params = model.generator(z, y)
            random = generator(seed, _WITHIN, start, device=model.device)
            within = model.likelihood.within(params, allowed, random) if allowed is not None else None
            if within is None:
                x = model._noisy(params, start, seed) if noise else model.likelihood.mean(params)
                x, index = x[:count], torch.arange(count, device=x.device)
            else:
                x, index, found.chance = within
                x, index = x[index < count], index[index < count]
            said = labels_of(y)[index] if y is not None and model.classes else None
            x = of(model.spec).told(model.spec, to_units(model.spec, x), said)
            keep = selection.keeps(x).to(x.device).nonzero().flatten()[: n - found.kept]
            found.kept += len(keep)
            found.drawn += count if found.kept < n else int(index[keep[-1]]) + 1
            if len(keep):
                yield x[keep], None if said is None else said[keep]
    if found.kept < n:
        raise TooFewError(
            f"{found.words(of(model.spec).many, selection.text)}: nothing was written. Look further with --max-draws, "
            "or take what there is with --allow-fewer"
        )


def gathered(parts: Parts, size: int, share: tuple[int, int] = (0, 1)) -> Parts:
    """The same observations in batches of ``size``, the last one smaller; of a share (r, k) every k-th from r on."""
    yield from islice(_batches(parts, size), share[0], None, share[1])


def _batches(parts: Parts, size: int) -> Parts:
    held, labels, count = list[Tensor](), list[Tensor](), 0
    for x, y in parts:
        while count + len(x) >= size:
            head = size - count
            held.append(x[:head])
            labels += [] if y is None else [y[:head]]
            yield torch.cat(held), torch.cat(labels) if labels else None
            held, labels, count = [], [], 0
            x, y = x[head:], None if y is None else y[head:]
        held.append(x)
        labels += [] if y is None else [y]
        count += len(x)
    if count:
        yield torch.cat(held), torch.cat(labels) if labels else None
