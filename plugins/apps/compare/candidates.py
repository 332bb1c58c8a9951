"""What a comparison's page shows: the models that are compared, and the data that all were measured against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from genzoo.core.data import Data
from genzoo.core.model import Model
from genzoo.plugins.apps.compare.comparison import Comparison
from genzoo.registry.weights.history import History


@dataclass(frozen=True)
class Candidate:
    """One of those compared.

    Attributes:
        name: what it is called here.
        source: what was given.
        model: the model, None of samples and of reports.
        samples: in data units, of samples that were given in place of a model.
        asked: the classes that were asked of them, where they were.
        history: how it was made, as far as that is known.
    """

    name: str
    source: str
    model: Model | None = None
    samples: Tensor | None = None
    asked: Tensor | None = None
    history: History = field(default_factory=History)


@dataclass(frozen=True)
class FullComparison(Comparison):
    """A comparison, with the models and the data that a page shows.

    Attributes:
        sides: what was compared.
        data: the data that all were measured against, None between reports.
        training: gives the data that models were trained on, or None.
        seed: of all samples.
        extractor: as it was given.
    """

    sides: tuple[Candidate, ...] = ()
    data: Data | None = None
    training: Callable[[], Data | None] = lambda: None
    seed: int = 0
    extractor: Any = None
