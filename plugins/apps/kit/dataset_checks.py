"""Checks of data sets: that a split is what its DataSpec says, and the same every time."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from genzoo.core.data import Data
from genzoo.core.errors import GenzooError
from genzoo.plugins.apps.kit.cases import Case, expect, shape_text
from genzoo.plugins.apps.kit.findings import Skip

LIMIT = 2000  # observations that are looked at


def opened(case: Case, split: Any = "train", limit: int = LIMIT) -> Data:
    """One split; data that is not on this machine is skipped."""
    try:
        data = case.cls(case.cls.Options(limit=limit)).load(split)
    except GenzooError as e:
        raise Skip(f"its {split} split cannot be opened here: {e}") from e
    mend = "return Data(spec, rows, labels)"
    expect(isinstance(data, Data), "a genzoo.core.data.Data from read()", type(data).__name__, mend)
    found: Data = data
    return found


def spec(case: Case) -> None:
    """Observations have shape, type and range that the DataSpec says, and labels are classes."""
    data = opened(case)
    about, x, y = data.spec, data.x, data.y
    expect(tuple(x.shape[1:]) == about.shape and len(x), f"observations of shape (N, {shape_text(about.shape)[1:]}",
           shape_text(x.shape), "give the DataSpec the shape that the rows have")  # fmt: skip
    if not data.dynamic and (about.levels or 0) <= 256:
        mend = "store levels as uint8, and real numbers as float32"
        storage = torch.uint8 if about.levels else torch.float32
        expect(x.dtype == storage, f"rows of {storage} for levels={about.levels}", x.dtype, mend)
    if x.is_floating_point():
        expect(torch.isfinite(x).all(), "finite numbers", "others", "leave those rows out, or fill them")
    else:
        varied = len(x) == 1 or x.float().std() > 0
        expect(varied, "observations that differ", "a constant", "look at what read() reads")
        if about.levels and not data.dynamic:
            mend = "give DataSpec the right levels"
            expect(int(x.max()) < about.levels, f"levels below {about.levels}", int(x.max()), mend)
    found = (
        "no labels" if y is None else f"labels of {y.dtype} {shape_text(y.shape)} in {int(y.min())} … {int(y.max())}"
    )
    right = (y is None) == (not about.classes)
    if y is not None and right:
        right = y.dtype == torch.int64 and y.shape == (len(x),) and 0 <= int(y.min()) <= int(y.max()) < about.classes
    mend = "set classes to the number of labels, and number them from 0"
    expect(right, f"int64 labels (N,) of {about.classes} classes", found, mend)
    named = case.entry.modalities
    expect(not named or about.modality in named, f"modality {' or '.join(named)}, as registered", about.modality,
           "correct one of the two")  # fmt: skip


def deterministic(case: Case) -> None:
    """Opened twice, it is the same, bit for bit."""
    mend = "draw from a generator with a fixed seed, sort file names"
    same = opened(case).fingerprint() == opened(case).fingerprint()
    expect(same, "the same observations every time", "others", mend)


def splits(case: Case) -> None:
    """Train and test have the same DataSpec and no observation in common."""
    train, test = opened(case), opened(case, "test")
    mend = "take scale and shift from the training split"
    expect(train.spec == test.spec, "one DataSpec for both splits", "two", mend)
    apart = train.fingerprint() != test.fingerprint()
    mend = "read other observations where split is 'test'"
    expect(apart, "a test split of its own", "the training split again", mend)
    possible = (train.spec.levels or 2**24) ** train.spec.size  # where there are few, they recur
    if train.spec.size > 4 and possible > 2**20:
        seen = {hashlib.sha256(row.numpy().tobytes()).digest() for row in train.x}
        same = sum(hashlib.sha256(row.numpy().tobytes()).digest() in seen for row in test.x)
        expect(same <= len(test) / 2, "a test split apart from the training split",
               f"{same} of {len(test)} observations in both", "split before shuffling or augmenting")  # fmt: skip


def limit(case: Case) -> None:
    """Fewer observations on request are the first ones."""
    few, more = opened(case, limit=5), opened(case, limit=50)
    first = len(few) <= 5 and torch.equal(few.x, more.x[: len(few)])
    expect(first, "the first 5 observations with limit=5", f"{len(few)}, or others", "leave limit to load()")
