"""How odd each observation is: how badly a model remakes it, how unlikely it finds it, how far it lies from others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genzoo.core.arguments import checked
from genzoo.core.data import Data, Split
from genzoo.core.errors import GenzooError, UsageError, did_you_mean
from genzoo.core.evaluation.evidence import Evidence, Extractor, as_floats
from genzoo.core.evaluation.feature_cache import FeatureCache
from genzoo.core.likelihood import Implicit
from genzoo.core.math.neighbours import nearest
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.storage.files import given_path, write_json
from genzoo.core.storage.npz import write_arrays
from genzoo.registry import Registry, the_registry
from genzoo.registry.verbs.data import open_data
from genzoo.registry.verbs.evaluate import open_extractor
from genzoo.registry.verbs.per_observation import by_name, named, write_table
from genzoo.registry.verbs.sample import check_fits, observations, open_model
from genzoo.registry.verbs.subjects import data_of, open_reference, subset

Numbers = NDArray[Any]
WORDS = {"reconstruction": 1, "bound": -1, "distance": 1}  # and whether the odd have more or less of it
MOST = 5_000  # training observations that distances are to
SUFFIXES = (".csv", ".npz", ".json")


@dataclass(frozen=True, eq=False)
class Scores:
    """What `score` gives: a row for each observation, in the order of their names.

    Attributes:
        names: of the files, or numbers of the rows.
        columns: numbers ``(N,)`` by name: ``reconstruction``, ``bound``, ``distance``, as far as there are such.
        nearest: the name of the nearest training observation, or its number; empty without distances.
        by: the column that `rank` goes by; what it goes by is the odder the earlier.
        record: what all rest on, as plain data: the data, the reference, the extractor.
    """

    names: tuple[str, ...]
    columns: Mapping[str, Numbers]
    nearest: tuple[str, ...] = ()
    by: str = "distance"
    record: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def rank(self) -> Numbers:
        """The place of each from the oddest, which has 1, by the column `by`."""
        order = self.order()
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(1, len(order) + 1)
        return places

    def order(self, by: str = "") -> Numbers:
        """Numbers of the rows from the oddest on."""
        column = by or self.by
        found: Numbers = np.argsort(-WORDS[column] * self.columns[column], kind="stable")
        return found

    def table(self) -> dict[str, Any]:
        """All columns by name, as files hold them."""
        more = {"nearest": list(self.nearest)} if self.nearest else {}
        return {"file": list(self.names), **self.columns, **more, "rank": self.rank}

    def oddest(self, n: int = 10) -> list[dict[str, Any]]:
        """The rows that rank first, as plain data."""
        table = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self.table().items()}
        return [{k: v[i] for k, v in table.items()} for i in self.order()[:n].tolist()]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the record, and a list for each column."""
        table = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self.table().items()}
        return {**self.record, "by": self.by, **table}

    def save(self, out: str | os.PathLike[str]) -> Path:
        """Write all rows as ``.csv``, ``.npz`` or ``.json``."""
        path = score_path(out)
        if path.suffix.lower() == ".csv":
            write_table(path, self.table())
        elif path.suffix.lower() == ".npz":
            names = {"file": "files"}
            write_arrays(path, **{names.get(k, k): np.asarray(v) for k, v in self.table().items()})
        else:
            write_json(path, self.to_dict())
        return path


def score_path(out: str | os.PathLike[str]) -> Path:
    """Where scores can be written; refuses anything but ``.csv``, ``.npz`` and ``.json``."""
    path = given_path(out)
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        raise UsageError(f"scores are written to a .csv, .npz or .json file, not to {path.name!r}")
    return path


@checked
def score(
    weights: Model | str | os.PathLike[str],
    data: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    by: str | None = None,
    training: Any = None,
    split: Split | None = None,
    neighbours: int = 5,
    samples: int = 16,
    seed: int = 0,
    extractor: str | os.PathLike[str] | Extractor | None = None,
    data_options: Mapping[str, Any] | None = None,
    batch_size: int = 256,
    device: str = "auto",
    cache: bool = True,
) -> Scores:
    """Give each observation numbers that tell how odd it is to a model, with its name, in the order of the names.

    ``reconstruction`` is the root mean square between an observation and what the model makes of its code, in data
    units (of numbers without bounds, in model space). ``bound`` is the lower bound on log p(x) in nats, or log p(x)
    where that is exact. ``distance`` is that to the fifth nearest of at most 5,000 training observations in an
    extractor's features, or of the rest of the data where the training data is not known. A model without an encoder or
    a likelihood has less of them. See docs/evaluation.md for which to trust when.

    Args:
        weights: a model, or what `genzoo.load` takes.
        data: a `Data`, or what `genzoo.load_data` takes.
        out: a ``.csv``, ``.npz`` or ``.json`` file.
        by: the column that ranks go by; None takes ``distance``.
        training: the data to measure distances to; None takes what the run says that it was trained on.
        split: ``train``, ``test`` or ``all``; None takes the test split where data have one, and otherwise all.
        neighbours: how many neighbours the distance reaches to.
        samples: codes that the bound is the mean of.
        seed: of those codes.
        extractor: name of an extractor, a file, or an `Extractor`; None takes one that was trained on nothing.
        data_options: of the data set by name: ``{"size": "32"}``.
        batch_size: observations at a time.
        device: where networks run.
        cache: whether to keep features on disk, and use those that are there.

    Raises:
        UsageError: if the data do not fit the model, or what ranks are to go by is not there.
    """
    path = None if out is None else score_path(out)
    if neighbours < 1 or samples < 1:
        raise UsageError("neighbours and samples are whole numbers from 1")
    if by is not None and by not in WORDS:
        raise UsageError(f"by is {', '.join(WORDS)}, not {by!r}{did_you_mean(by, WORDS)}")
    registry, model = the_registry(), open_model(weights, device)
    opened = by_name(open_reference(registry, data, split, None, data_options, like=[model])[0])
    check_fits(model, opened.spec)
    columns, absent = _by_model(model, opened, samples, seed, batch_size)
    known, what = _training(registry, weights, model, opened, training)
    ready = extractor if isinstance(extractor, Extractor) else open_extractor(
        registry, extractor or of(opened.spec).general, opened.spec)  # fmt: skip
    closest: tuple[str, ...] = ()
    if known is None and len(opened) < 2:
        absent["distance"] = "there is one observation, and no other to compare it with"
    else:
        evidence = Evidence(opened, lambda: (opened.x, None), n_fake=0, training=lambda: known, extractor=ready,
                            cache=FeatureCache() if cache else None, device=model.device,
                            batch_size=batch_size)  # fmt: skip
        columns["distance"], closest = _distances(evidence, neighbours)
    if by is None:
        by = next(name for name in ("distance", "reconstruction", "bound") if name in columns)
    if by not in columns:
        raise GenzooError(f"there is no {by} to rank by: {absent[by]}")
    record = {"data": opened.name or "data", "split": opened.split, "distance to": what, "extractor": ready.name,
              "neighbours": neighbours, "samples": samples, "absent": absent}  # fmt: skip
    found = Scores(tuple(map(str, next(iter(named(opened).values())))), columns, closest, by, record)
    if path is not None:
        found.save(path)
    return found


def _by_model(
    model: Model, data: Data, samples: int, seed: int, batch_size: int
) -> tuple[dict[str, Numbers], dict[str, str]]:
    """What the model says of each observation, and of what it says nothing, why."""
    found, absent = dict[str, Numbers](), dict[str, str]()
    likelihood = not isinstance(model.likelihood, Implicit) and model.likelihood.normalized
    if model.encoder is None:
        absent["reconstruction"] = "the model has no encoder"
    if not likelihood or (model.encoder is None and not model.exact):
        absent["bound"] = "the model has no encoder" if likelihood else "the model has no likelihood"
    if len(absent) == 2:
        return found, absent
    try:
        x, told = observations(model, data, len(data))
    except UsageError as e:  # it is conditional, and the data do not say on what, or on what it does not know
        return found, dict.fromkeys(("reconstruction", "bound"), str(e)) | absent
    if "reconstruction" not in absent:
        again, spec = model.reconstruct(x, **told, batch_size=batch_size, numbers=True).cpu(), data.spec
        before = as_floats(data)
        if of(spec).bounds is None:
            before, again = (of(spec).to_model(spec, v) for v in (before, again))
        found["reconstruction"] = _array((before - again).square().flatten(1).mean(1).sqrt())
    if "bound" not in absent:
        parts = model.importance_weights(x, **told, samples=1 if model.exact else samples, seed=seed)
        found["bound"] = _array(torch.cat([w.mean(0).cpu() for w in parts]))
    return found, absent


def _training(registry: Registry, weights: Any, model: Model, data: Data, training: Any) -> tuple[Data | None, str]:
    """The training data, where that is known and another; and what to call it."""
    if training is not None:
        known = open_data(registry, training, None, split="train")
        check_fits(model, known.spec)
        return subset(known, MOST), _called(known)
    recorded = data_of(registry, weights, "train") if isinstance(weights, (str, os.PathLike)) else None
    if recorded is not None:
        return subset(recorded, MOST), _called(recorded)
    return None, "the rest of the data"


def _called(known: Data) -> str:
    some = f"{MOST:,} of the {len(known):,} observations" if len(known) > MOST else f"the {len(known):,} observations"
    return f"{some} of {known.name or 'the training data'} ({known.split})"


def _distances(evidence: Evidence, k: int) -> tuple[Numbers, tuple[str, ...]]:
    """The distance of each observation to its k-th nearest, and the name of its nearest, which is not itself."""
    own, training = evidence.real_features.features, evidence.training
    if training is None:
        k = min(k, len(own) - 1)
        distance, index = nearest(own, own, k, itself=True)
        names = next(iter(named(evidence.data).values()))
        return _array(distance[:, k - 1]), tuple(str(names[i]) for i in index[:, 0].tolist())
    # What was trained on is found again, and is not its own neighbour.
    theirs = evidence.training_features.features
    k = min(k, len(theirs))
    distance, index = nearest(own, theirs, min(k + 1, len(theirs)))
    seen = {hash(row.numpy().tobytes()) for row in as_floats(training, whole=False)}
    again = torch.tensor([hash(row.numpy().tobytes()) in seen for row in as_floats(evidence.data, whole=False)])
    skip = (again & (distance.shape[1] > 1)).long()
    last = (k - 1 + skip).clamp(max=distance.shape[1] - 1)
    names = next(iter(named(training).values()))
    first = index.gather(1, skip[:, None])[:, 0].tolist()
    return _array(distance.gather(1, last[:, None])[:, 0]), tuple(str(names[i]) for i in first)


def _array(x: Tensor) -> Numbers:
    found: Numbers = x.double().numpy()
    return found
