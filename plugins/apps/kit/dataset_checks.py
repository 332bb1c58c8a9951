"""Checks of data sets: that a split is what its DataSpec says, and the same every time."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from genzoo.core.data import Data, DataSource
from genzoo.core.errors import GenzooError
from genzoo.plugins.apps.kit.cases import Case, shape_text
from genzoo.plugins.apps.kit.findings import Fault, Skip

LIMIT = 2000  # observations that are looked at


def opened(case: Case, split: Any = "train", **options: Any) -> Data:
    """One split; data that is not on this machine is skipped."""
    if not issubclass(case.cls, DataSource):
        raise Fault("a subclass of genzoo.core.data.DataSource", case.cls.__name__, "derive it from that")
    try:
        data = case.cls(case.cls.Options(**options)).load(split)
    except GenzooError as e:
        raise Skip(f"it cannot be opened here: {e}") from e
    if not isinstance(data, Data):
        raise Fault("a genzoo.core.data.Data from read()", type(data).__name__, "return Data(spec, rows, labels)")
    return data


def spec(case: Case) -> None:
    """Observations have shape, type and range that the DataSpec says, and labels are classes."""
    data = opened(case, limit=LIMIT)
    about, x = data.spec, data.x
    if tuple(x.shape[1:]) != about.shape or not len(x):
        raise Fault(f"observations of shape (N, {shape_text(about.shape)[1:]}", shape_text(x.shape),
                    "give the DataSpec the shape that the rows have")  # fmt: skip
    storage = torch.uint8 if about.levels and about.levels <= 256 else torch.float32
    if x.dtype != storage and not data.dynamic and not (about.levels and about.levels > 256):
        raise Fault(f"rows of {storage} for levels={about.levels}", str(x.dtype),
                    "store levels as uint8, and real numbers as float32")  # fmt: skip
    if x.is_floating_point() and not torch.isfinite(x).all():
        raise Fault("finite numbers", "others", "leave those rows out, or fill them")
    if about.levels and not x.is_floating_point() and int(x.max()) >= about.levels and not data.dynamic:
        raise Fault(f"levels below {about.levels}", f"{int(x.max())}", "give DataSpec the right levels")
    if not x.is_floating_point() and len(x) > 1 and x.float().std() == 0:
        raise Fault("observations that differ", "a constant", "look at what read() reads")
    if (data.y is not None) != bool(about.classes):
        raise Fault(f"labels, since classes={about.classes}" if about.classes else "no labels, since classes=0",
                    "none" if data.y is None else "some", "set classes to the number of labels")  # fmt: skip
    if data.y is not None and (
        data.y.dtype != torch.int64 or tuple(data.y.shape) != (len(x),)
        or int(data.y.min()) < 0 or int(data.y.max()) >= about.classes
    ):  # fmt: skip
        raise Fault(f"labels int64 (N,) in 0 … {about.classes - 1}",
                    f"{data.y.dtype} {shape_text(data.y.shape)} in {int(data.y.min())} … {int(data.y.max())}",
                    "number the classes from 0")  # fmt: skip
    if case.entry.modalities and about.modality not in case.entry.modalities:
        raise Fault(
            f"modality {' or '.join(case.entry.modalities)}, as registered", about.modality, "correct one of the two"
        )


def deterministic(case: Case) -> None:
    """Opened twice, it is the same, bit for bit."""
    a, b = (opened(case, limit=LIMIT).fingerprint() for _ in range(2))
    if a != b:
        raise Fault(
            "the same observations every time", "others", "draw from a generator with a fixed seed, sort file names"
        )


def splits(case: Case) -> None:
    """Train and test have the same DataSpec and no observation in common."""
    train = opened(case, limit=LIMIT)
    try:
        test = opened(case, "test", limit=LIMIT)
    except Skip as e:
        raise Skip(f"it has no test split here: {e}") from e
    if train.spec != test.spec:
        raise Fault("one DataSpec for both splits", "two", "take scale and shift from the training split")
    if train.fingerprint() == test.fingerprint():
        raise Fault(
            "a test split of its own", "the training split again", "read other observations where split is 'test'"
        )
    possible = (train.spec.levels or 2**24) ** train.spec.size  # where there are few, they recur
    if train.spec.size > 4 and possible > 2**20:
        seen = {hashlib.sha256(row.numpy().tobytes()).digest() for row in train.x}
        same = sum(hashlib.sha256(row.numpy().tobytes()).digest() in seen for row in test.x)
        if same > len(test) / 2:
            raise Fault("a test split apart from the training split", f"{same} of {len(test)} observations in both",
                        "split before shuffling or augmenting")  # fmt: skip


def limited(case: Case) -> None:
    """Fewer observations on request are the first ones."""
    few, more = opened(case, limit=5), opened(case, limit=50)
    if len(few) > 5 or not torch.equal(few.x, more.x[: len(few)]):
        raise Fault("the first 5 observations with limit=5", f"{len(few)}, or others", "leave limit to load()")
