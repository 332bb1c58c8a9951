"""More pictures of a class, made rare for the purpose, and whether they help a small classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genzoo.core.data import Data
from genzoo.core.data.labels import in_arrays
from genzoo.core.errors import UsageError, did_you_mean
from genzoo.core.evaluation.evidence import as_floats
from genzoo.core.modality import of
from genzoo.core.storage.files import replacing
from genzoo.plugins.apps.tables import treatments as ways
from genzoo.plugins.apps.tables.treatments import Making
from genzoo.plugins.apps.tables.verdict import LINEAR, TREES, Fold, Made, Verdict, inner_part, judged
from genzoo.registry.verbs.load import load_data

COMPONENTS, MOST = 40, 2000  # principal components that pictures are judged by; pictures of other classes
COPIES, ALL, HALF = "copies", "generated", "generated, half weight"


@dataclass(frozen=True)
class Pictures:
    """Pictures of which some are rare, those of a test split, and what makes more."""

    train: Data
    test: Data
    rare: int
    making: Making

    def kept(self, drop_to: int, seed: int, most: int | None) -> Tensor:
        """Numbers of the training pictures that stay: so many of the rare class, and at most so many of the others."""
        y, random = _labels(self.train), np.random.default_rng([self.making.seed, seed])
        rare, others = (random.permutation(np.flatnonzero(found)) for found in (y == self.rare, y != self.rare))
        return torch.from_numpy(np.sort(np.concatenate([rare[:drop_to], others[:most]])))

    def drawn(self, data: Data, n: int, seed: int) -> Tensor:
        """So many pictures of the rare class, in data units, of a conditional model of the data."""
        model = self.making.model(data, seed)
        return torch.as_tensor(model.sample(n, seed=seed, labels=self.rare, batch_size=256)).float().cpu()


def _labels(data: Data) -> Any:
    assert data.y is not None
    return data.y.cpu().numpy()


def opened(name: Any, rare: str | None, drop_to: int, making: Making) -> Pictures:
    """Pictures with labels and a test split of their own."""
    train, test = (load_data(name, split=split) for split in ("train", "test"))
    if not of(train.spec).pixels:
        raise UsageError(f"{name} holds {of(train.spec).many}: --drop-to is for pictures, leave it out")
    classes = train.spec.classes_called
    if train.y is None or len(classes) < 2:
        raise UsageError(f"{name} has no classes: augment adds rows or pictures of one")
    if rare is None:
        raise UsageError(f"name the class to make rare with --rare: {name} has {', '.join(classes)}")
    if rare not in classes:
        raise UsageError(f"{name} has no class {rare!r}{did_you_mean(rare, classes)}")
    if drop_to >= (count := int((_labels(train) == classes.index(rare)).sum())):
        raise UsageError(f"{name} has {count:,} pictures of {rare} to train on: keep fewer of them with --drop-to")
    making.check(train.spec)
    return Pictures(train, test, classes.index(rare), making)


def pictures_verdict(task: Pictures, drop_to: int, repeats: int, tell: Callable[[str], object]) -> Verdict:
    """Judge by the test split, for several choices of the pictures that stay."""
    numbers = min(COMPONENTS, as_floats(task.train.take([0])).numel())
    kinds = {kind: [False] * numbers for kind in (TREES, LINEAR)}
    return judged(_folds(task, drop_to, max(repeats, 2), tell), kinds, seed=task.making.seed, generated=(ALL, HALF))


def _folds(task: Pictures, drop_to: int, repeats: int, tell: Callable[[str], object]) -> Iterator[Fold]:
    from sklearn.decomposition import PCA

    test = as_floats(task.test).flatten(1).numpy()
    for i in range(repeats):
        tell(f"choice {i + 1} of {repeats}")
        data = task.train.take(task.kept(drop_to, i, MOST))
        x, y = as_floats(data).flatten(1).numpy(), _labels(data) == task.rare
        seed = task.making.seed + i
        inner, n = inner_part(y, seed), int(np.bincount(_labels(data)).max()) - drop_to
        axes = PCA(min(COMPONENTS, *x.shape), random_state=0).fit(x[~inner])
        made = task.drawn(data.take(torch.from_numpy(np.flatnonzero(~inner))), n, seed)
        more, seen = axes.transform(made.flatten(1).numpy()), axes.transform(x)
        again = ways.copies(seen[~inner & y], max(n, 1), np.random.default_rng(i))
        yield Fold(seen, y, inner, axes.transform(test), _labels(task.test) == task.rare,
                   {COPIES: Made(again), ALL: Made(more), HALF: Made(more, 0.5)})  # fmt: skip


def write_pictures(path: Path, task: Pictures, drop_to: int, weight: float) -> tuple[int, int]:
    """Write the pictures that stay and new ones, in data units, with labels; returns how many of each."""
    data = task.train.take(task.kept(drop_to, 0, None))
    y = _labels(data)
    n = max(int(np.bincount(y).max()) - drop_to, 1)
    made = task.drawn(data, n, task.making.seed)
    held: dict[str, Any] = {
        "samples": torch.cat([as_floats(data), made]).numpy(),
        **in_arrays(torch.from_numpy(np.concatenate([y, np.full(n, task.rare)])), data.spec),
        "genzoo_generated": np.repeat([False, True], [len(y), n]),
        "genzoo_weight": np.repeat([1.0, weight], [len(y), n]),
    }  # fmt: skip
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **held)
    return len(y), n
