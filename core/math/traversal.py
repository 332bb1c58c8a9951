"""Ways through the space of codes: one number of a code at a time, those first that do most."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from genzoo.core.conditions import labels_for
from genzoo.core.data import Data
from genzoo.core.errors import UsageError
from genzoo.core.evaluation.evidence import as_floats
from genzoo.core.model import Model

REACH = 2.5  # standard deviations of the prior to either side


@dataclass(frozen=True)
class Traversal:
    """What single numbers of a code do."""

    x: Tensor  # (D, S, *spec.shape) in data units: D numbers of the code, S values of each
    dimensions: tuple[int, ...]  # which numbers of the code, the most active first
    activity: tuple[float, ...]  # of each of them
    measure: str  # what activity is: nats of KL to the prior, or the mean change of what comes out
    values: tuple[float, ...]  # what each number was set to, (S,)


def traverse(
    model: Model,
    rows: int = 8,
    steps: int = 9,
    *,
    seed: int = 0,
    label: int | str | None = None,
    data: Data | None = None,
    reach: float = REACH,
    dimensions: tuple[int, ...] = (),
) -> Traversal:
    """Move single numbers of a code from ``-reach`` to ``reach`` and leave the others as they are.

    The most active ``rows`` numbers are taken, or those of ``dimensions``, and ``steps`` values of each, both ends
    included, from a code of ``seed``; ``label`` is of a conditional model. Activity is the KL to the prior that
    ``data`` show, or, without an encoder or data, the change in what comes out.

    Raises:
        UsageError: if a number is out of range.
    """
    size = model.latent.numbers
    if rows < 1 or steps < 2:
        raise UsageError(f"a traversal has at least 1 row and 2 steps, not {rows} and {steps}")
    if not 0 < reach <= 100:
        raise UsageError(f"a traversal reaches a positive number of standard deviations, at most 100, not {reach:g}")
    for d in dimensions:
        if not 0 <= d < size:
            raise UsageError(f"there is no number {d} in a code of {size}: they are 0 to {size - 1}")
    if not model.classes and label is not None:
        raise UsageError("this model is not conditional: it takes no label")
    labels = labels_for(model, label or 0, 1) if model.classes else None
    activity, measure = _activity(model, seed, labels, data, reach)
    chosen = list(dimensions) or activity.argsort(descending=True, stable=True)[: min(rows, size)].tolist()
    values = torch.linspace(-reach, reach, steps)
    z = model.codes(0, 1, seed=seed, labels=labels).flatten(1).repeat(len(chosen), steps, 1)
    for row, d in enumerate(chosen):
        z[row, :, d] = values.to(z)
    y = None if labels is None else labels.repeat(len(chosen) * steps)
    x = model.decode(z.view(-1, *model.latent.shape), y, numbers=True).view(len(chosen), steps, *model.unit_shape)
    active = tuple(float(activity[d]) for d in chosen)
    return Traversal(x, tuple(chosen), active, measure, tuple(values.tolist()))


def _activity(model: Model, seed: int, labels: Tensor | None, data: Data | None, reach: float) -> tuple[Tensor, str]:
    """How much each number of a code matters ``(size,)``, and by what measure."""
    if model.encoder is not None and data is not None and not (model.classes and data.y is None):
        with suppress(UsageError):  # of a class that the model does not know
            some = data.take(slice(1000))
            _, kl = model.posterior_numbers(as_floats(some), **some.told(model))
            if kl.shape[1] == model.latent.numbers:
                return kl.double().mean(0).cpu(), "nats"
    size = model.latent.numbers
    few = max(1, min(8, 2048 // size))
    told = None if labels is None else labels.repeat(few)
    z = model.codes(0, few, seed=seed, labels=told).flatten(1)
    change = torch.empty(size, dtype=torch.float64)
    for d in range(size):  # both ends of one number at a time: memory does not grow with the code
        ends = z.repeat(2, 1)
        ends[:few, d], ends[few:, d] = -reach, reach
        x = model.decode(
            ends.view(-1, *model.latent.shape), None if labels is None else labels.repeat(2 * few), numbers=True
        )
        change[d] = (x[few:] - x[:few]).abs().double().mean().item()
    return change, "mean change"
