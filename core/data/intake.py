"""From arrays to data: what is accepted, and whether it is read into memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from genzoo.core.data import arrays
from genzoo.core.data.binarize import standardized
from genzoo.core.data.forms import Form, Look, raw_parts
from genzoo.core.data.observations import Data
from genzoo.core.data.rows import ArrayLike, Rows, Stored, row_bytes
from genzoo.core.errors import UsageError
from genzoo.core.spec import DataSpec
from genzoo.core.units import free_bytes


def from_arrays(
    x: Any,
    y: Any = None,
    *,
    name: str = "",
    modality: Literal["image", "vector"] | None = None,
    layout: Literal["first", "last"] | None = None,
    class_names: Sequence[str] = (),
    standardize: bool = True,
    license: str = "",
    split: str = "train",
    memory: int | None = None,
) -> Data:
    """Make data of arrays or tensors, sharing their memory where nothing needs converting.

    Args:
        x: images or vectors. Images are uint8 (0 … 255, also where only 0 and 1 occur), bool (binary:
            ``levels`` 2), whole numbers within 0 … 255, or floats in [0, 1], which are stored as uint8 if
            all are multiples of 1/255, and are binary if there are only zeros and ones; grey ``(N, H, W)``, or
            with 1, 3 or 4 channels first or last. Four channels are RGBA and are composited on white. Vectors
            are floats ``(N, D)``. A memory-mapped array, or another `genzoo.core.data.rows.ArrayLike`, is read into
            memory if it fits and otherwise as it is needed.
        y: class labels 0 … classes − 1, ``(N,)``, or None.
        name: for people, records and presets.
        modality: ``image`` or ``vector``; None goes by rank and type.
        layout: whether an image's channels come ``first`` or ``last``, any number of them; None finds out.
        class_names: what the labels are called; also says how many there are.
        standardize: give vectors a model space of mean 0 and standard deviation 1 per column.
        license: of the data.
        split: which part it is.
        memory: bytes that may be taken for observations; None takes up to half of what is free.

    Raises:
        UsageError: for anything else; one sentence that says what was found and what to do.
    """
    what = name or "the data"
    array: Any = x if is_lazy(x) else arrays.numbers(x, what)
    arrays.refuse_no_numbers(array.dtype, what)
    if modality not in (None, "image", "vector"):
        raise UsageError(f"arrays are of modality 'image' or 'vector', not {modality!r}")
    shape = tuple(map(int, array.shape))
    if len(shape) not in ((2,) if modality == "vector" else (3, 4) if modality == "image" else (2, 3, 4)):
        raise UsageError(
            f"{what} has shape {shape}: give images as (N, H, W), (N, C, H, W) or (N, H, W, C), vectors as (N, D)"
        )
    if 0 in shape:
        raise UsageError(f"{what} is empty: its shape is {shape}")
    labels, classes = arrays.labels(y, shape[0], class_names, what)
    names = tuple(class_names) if classes else ()
    vectors = len(shape) == 2
    if vectors and array.dtype.kind != "f" and modality is None:
        raise UsageError(
            f"{what} has shape {shape} and type {array.dtype}: reshape to (N, H, W) if these are "
            "images, or convert to float32 if they are vectors"
        )
    look = Look(shape, array.dtype, vectors=vectors, layout=layout, what=what)
    if look.needed:
        for part in raw_parts(array):
            look.add(part)
    form = look.form()
    rows = stored(array, form, memory)
    if vectors:
        data = Data(
            DataSpec("vector", form.shape, classes=classes, class_names=names, name=name),
            rows, labels, name, license, split,
        )  # fmt: skip
        return standardized(data) if standardize else data
    channels, height, width = form.shape
    spec = DataSpec.image(channels, height, width, levels=form.levels, classes=classes, class_names=names, name=name)
    return Data(spec, rows, labels, name, license, split)


def is_lazy(x: Any) -> bool:
    """Whether an array is not in memory: mapped from a file, or one of ours that reads as it is indexed."""
    if isinstance(x, np.memmap):
        return True
    known = isinstance(x, (Tensor, np.ndarray, list, tuple, str))
    return not known and isinstance(getattr(x, "dtype", None), np.dtype) and not hasattr(x, "__array__")


def stored(raw: ArrayLike, form: Form, memory: int | None) -> Tensor | Rows:
    """Raw rows in storage form: their own memory where nothing changes, a tensor if it fits, else read as needed.

    Args:
        raw: where they come from.
        form: how they are stored.
        memory: bytes that a tensor may take; None takes up to half of what is free.
    """
    if isinstance(raw, np.ndarray) and form.same(raw):
        return torch.from_numpy(raw.reshape(len(raw), *form.shape))
    rows = Stored(raw, form, (raw.shape[0], *form.shape), form.dtype)
    most = free_bytes() // 2 if memory is None else memory
    if len(rows) * row_bytes(rows) > most:
        return rows
    out, start = torch.empty(rows.shape, dtype=rows.dtype), 0
    for part in raw_parts(raw):  # slices of the raw rows, which are quicker to take than lists of them
        out.numpy()[start : start + len(part)] = form(part)
        start += len(part)
    return out
